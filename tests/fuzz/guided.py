"""One target under atheris: `python -m tests.fuzz.guided NAME [libFuzzer's flags]`."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["nsexporter"]):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: targets.attempt(target, bytes(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
