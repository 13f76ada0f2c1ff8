"""`make fuzz SECONDS=600`: every target in turn, for a share of the time each.

By atheris where it is installed (guided by coverage), else by hypothesis. What crashes a target is
printed, by atheris also kept in build/fuzz, to be made a row of a unit test.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.strategies import texts
from tests.fuzz.targets import TARGETS, Target, attempt

KEPT = Path("build/fuzz")


def by_hypothesis(target: Target, seconds: float) -> None:
    """Until the time is up; raises the error of the smallest bytes that crash it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:

        @settings(
            max_examples=200,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(data=texts(target))
        def once(data: bytes) -> None:
            attempt(target, data)

        once()


def by_atheris(name: str, seconds: float) -> int:
    """The exit status of a process that atheris drives: it ends the process itself."""
    corpus = KEPT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    return subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.guided", name, f"-max_total_time={seconds:.0f}"),
            *("-verbosity=0", f"-artifact_prefix={KEPT}/{name}-", str(corpus)),
        ]
    ).returncode


def main() -> int:
    """0 where nothing crashed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("targets", nargs="*", help=f"some of {', '.join(TARGETS)}")
    given_ = arguments.parse_args()
    names = given_.targets or list(TARGETS)
    share = given_.seconds / len(names)
    guided = importlib.util.find_spec("atheris") is not None
    crashed = []
    for name in names:
        print(f"{name}: {share:.0f} s by {'atheris' if guided else 'hypothesis'}", flush=True)
        if guided:
            if by_atheris(name, max(1, share)):
                crashed.append(name)
            continue
        try:
            by_hypothesis(TARGETS[name], share)
        except Exception as error:
            crashed.append(name)
            print(*error.__notes__ if hasattr(error, "__notes__") else (), repr(error), sep="\n")
    print(f"crashed: {', '.join(crashed) or 'none'}")
    return 1 if crashed else 0


if __name__ == "__main__":
    raise SystemExit(main())
