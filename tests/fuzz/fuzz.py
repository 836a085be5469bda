"""
Coverage-guided fuzzer for :mod:`tests.fuzz.target`. Options are those of libFuzzer, such as ``-max_total_time=60``.

The first option without a hyphen is the folder for new inputs. The seed corpus is ``tests/fuzz/corpus``.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ssdpreg"]):
    from tests.fuzz import target


def main() -> None:
    """Run the fuzzer."""
    atheris.enabled_hooks.add("RegEx")
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
