#!/usr/bin/env python3
"""Holds docs/nixos-options.md equal to the options that nixos/module.nix declares.

    tests/appliance/options.py            compares, and shows the difference
    tests/appliance/options.py --write    writes the page
"""

import difflib
import json
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/nixos-options.md"
PREFIX = "services.customer-journey."

HEAD = """# Options of the NixOS module

Everything below `services.customer-journey`. This page is made by `scripts/check-nix.sh --write`; the test run holds it
equal to the module. What the settings of the service itself mean is in [configuration.md](configuration.md).
"""


def read_options():
    """Evaluates the declarations; the store is not needed, so none is opened."""
    result = subprocess.run(
        [
            *("nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json"),
            str(REPOSITORY / "tests/appliance/options.nix"),
            *("--arg", "module", str(REPOSITORY / "nixos/module.nix")),
        ],
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        sys.exit(f"The options cannot be evaluated:\n{result.stderr}")
    return json.loads(result.stdout)


def to_nix(value, indent=""):
    """Writes plain data as Nix does; sets over several lines, as they stand in a configuration."""
    if isinstance(value, dict) and value.get("_type") == "literalExpression":
        return value["text"].strip()
    if isinstance(value, dict):
        deeper = f"{indent}  "
        lines = [f"{deeper}{to_key(key)} = {to_nix(inner, deeper)};\n" for key, inner in value.items()]
        return "{\n" + "".join(lines) + f"{indent}}}" if lines else "{ }"
    if isinstance(value, list):
        return f"[ {' '.join(to_nix(inner, indent) for inner in value)} ]" if value else "[ ]"
    # What is left looks the same in both: null, booleans, numbers, and strings but for an antiquotation.
    return json.dumps(value, ensure_ascii=False).replace("${", "\\${")


def to_key(key):
    return key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_'-]*", key) else json.dumps(key)


def to_markdown(name, value):
    text = to_nix(value)
    if "\n" not in text:
        return f"- {name}: `{text}`\n"
    block = "".join(f"  {line}\n" if line else "\n" for line in text.splitlines())
    return f"- {name}:\n\n  ```nix\n{block}  ```\n"


def section(option):
    name = option["name"].removeprefix(PREFIX)
    text = f"\n## `{name}`\n\n{option['description'].strip()}\n\n- Type: {option['type']}\n"
    if "default" in option:
        text += to_markdown("Default", option["default"])
    return text + to_markdown("Example", option["example"])


def missing(option):
    """Names what an option lacks: a reader of the page needs all of it."""
    return [part for part in ("type", "description", "example") if option.get(part) in (None, "")]


def main(arguments):
    options = sorted(read_options(), key=lambda option: option["name"])
    lacking = [f"{option['name']} has no {part}" for option in options for part in missing(option)]
    if lacking:
        sys.exit("\n".join(lacking))
    shown = [option for option in options if not option["isInternal"]]
    page = HEAD + "".join(section(option) for option in shown)
    if arguments == ["--write"]:
        PAGE.write_text(page)
        print(f"Wrote {PAGE.relative_to(REPOSITORY)} with {len(shown)} options.")
        return
    present = PAGE.read_text() if PAGE.exists() else ""
    if present != page:
        lines = (present.splitlines(), page.splitlines())
        print(*difflib.unified_diff(*lines, "the page", "the module", lineterm="", n=1), sep="\n")
        sys.exit(f"{PAGE.relative_to(REPOSITORY)} does not say what the module does: run scripts/check-nix.sh --write")
    print(f"{len(shown)} options are documented as they are declared.")


if __name__ == "__main__":
    main(sys.argv[1:])
