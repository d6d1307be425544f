# Settings that follow from an option of the module, as `derivedSettings` takes them: `derived "role" { "jobs.enabled" = false; }`.
{ lib }: option: lib.mapAttrs (_: value: { inherit option value; })
