"""A command in a guest: `python -m tests.kernels v2 pytest tests/live -k oom`, or any other."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kernels import guests, images


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kernels",
        description="Boot a guest, run a command in this checkout there, power it off.",
    )
    parser.add_argument("guest", choices=guests.GUESTS)
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="pytest and its arguments, or any program"
    )
    options = parser.parse_args()
    command = options.command or ["pytest", "tests/live"]
    if command[0] == "pytest":
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command[1:]]
    guest = guests.GUESTS[options.guest]
    with tempfile.TemporaryDirectory() as directory:
        try:
            with guests.boot(guest, command, Path(directory), guests.environment(guest)) as run:
                for chunk in run.output():
                    sys.stdout.buffer.write(chunk)
                    sys.stdout.buffer.flush()
        except (images.UnavailableError, guests.GuestError) as error:
            print(error, file=sys.stderr)
            return 1
        status = run.status()
        if status is None:
            print(f"the guest died:\n{run.console()}", file=sys.stderr)
        return 1 if status is None else status


if __name__ == "__main__":
    sys.exit(main())
