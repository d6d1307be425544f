#!/usr/bin/env python3
"""Runs the tests of the edge and counts them as scripts/test.sh adds them up.

Needs nginx, fail2ban, nix-instantiate, openssl and curl, and for the tests with the real service what scripts/test.sh sets:
DATABASE_URL, REDIS_URL, JOURNEY_BINARY. Words choose tests: `tests/appliance/run.py test_limits`.
"""

import sys
import unittest
from pathlib import Path


def main(chosen):
    # The folder stays as it was committed.
    sys.dont_write_bytecode = True
    loader = unittest.TestLoader()
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    suite = loader.loadTestsFromNames(chosen) if chosen else loader.discover(folder)
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    broken = len(result.failures) + len(result.errors)
    # A class that cannot be set up fails as one and has run no test.
    passed = max(result.testsRun - broken - len(result.skipped), 0)
    print(f"# pass {passed}\n# fail {broken}\n# skipped {len(result.skipped)}")
    return 0 if result.wasSuccessful() and passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
