"""Reading what may have changed against reading everything, on a tree that never rests."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from pathlib import Path

import pytest

from nsexporter import config, exposition
from nsexporter.catalogue import CGROUP_METRICS
from nsexporter.collector import Collector
from nsexporter.families.columns import Columns
from nsexporter.gzip import plain
from nsexporter.kernel.interface_files import REFRESH
from tests.live import lab
from tests.waiting import deadline

KERNEL = {"nsexporter_cgroup_memory_kernel_bytes"}


class Churn:
    """Changes a tree of cgroups at random: all that a host does to its own, but faster."""

    def __init__(self, top: Path, seed: int, *, rename: bool) -> None:
        self._random = random.Random(seed)
        self._top = top
        self._v1 = lab.version() == "v1"
        self._renames = rename and self._v1
        self._names = itertools.count()
        self._stack = contextlib.ExitStack()
        self.cgroups: list[Path] = []

    def __enter__(self) -> Churn:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self) -> None:
        """One change."""
        self._random.choices(
            (self._make, self._remove, self._replace, self._rename, self._limit, self._process),
            (8, 3, 3, 2, 6, 1),
        )[0]()

    def _make(self) -> None:
        above = self._random.choice([self._top, *self.cgroups])
        if above != self._top and not self._v1:
            above = self._top  # v2 lets a cgroup have processes or children with controllers
        self.cgroups.append(above / f"made-{next(self._names)}")
        self.cgroups[-1].mkdir()

    def _leaf(self) -> Path | None:
        leaves = [
            cgroup
            for cgroup in self.cgroups
            if not any(cgroup in other.parents for other in self.cgroups)
            and not (cgroup / "cgroup.procs").read_text()
        ]
        return self._random.choice(leaves) if leaves else None

    def _remove(self) -> None:
        if (leaf := self._leaf()) is not None:
            leaf.rmdir()
            self.cgroups.remove(leaf)

    def _replace(self) -> None:
        if (leaf := self._leaf()) is not None:
            leaf.rmdir()
            leaf.mkdir()

    def _rename(self) -> None:
        if (leaf := self._leaf()) is not None and self._renames:
            renamed = leaf.with_name(f"renamed-{next(self._names)}")
            leaf.rename(renamed)
            self.cgroups[self.cgroups.index(leaf)] = renamed

    def _limit(self) -> None:
        names = (
            ("memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.swappiness")
            if self._v1
            else ("memory.max", "memory.high", "memory.low", "memory.min")
        )
        if self.cgroups:
            name = self._random.choice(names)
            value = self._random.choice((17, 99) if "swap" in name else (64 << 20, 1 << 30))
            (self._random.choice(self.cgroups) / name).write_text(str(value))

    def _process(self) -> None:
        if (leaf := self._leaf()) is not None:
            self._stack.enter_context(lab.process(leaf))


@pytest.mark.parametrize("watch", [True, False], ids=["watched", "walked"])
def test_both_tell_the_same_of_a_churning_tree(
    top: Path, watch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not watch:
        monkeypatch.setattr("nsexporter.kernel.inotify.instance", lambda _: None)
    settings: dict[str, object] = {
        "collection.cgroup_allow": (f"/{top.name}/",),
        "collectors.namespaces.enabled": False,
    }
    root = str(lab.memory_root())
    # Renames are seen at once only where they are told.
    with Churn(top, 1, rename=watch) as churn, contextlib.ExitStack() as stack:
        exact = Collector(config.load(None, {**settings, "collection.exact": True}))
        default = Collector(config.load(None, settings))
        stack.callback(exact.close)
        stack.callback(default.close)
        at_once = 0
        for _ in range(8):
            for _ in range(5):
                for _ in range(5):
                    churn.step()
                told(default)  # in the middle of it
            end = deadline(20)
            while True:  # until nothing was charged meanwhile
                before = told(exact)
                shown = told(default)
                after = told(exact)
                if before == after:
                    break
                assert time.monotonic() < end
            counted = shown["nsexporter_cgroup_processes"]
            assert {line.split(b'"')[1].decode() for line in counted} == {
                str(cgroup).removeprefix(root) for cgroup in churn.cgroups
            }
            old = {metric.name for metric in CGROUP_METRICS if "passes old" in metric.help}
            assert _without(old, shown) == _without(old, after)
            # Kernel memory is counted page by page, and nothing tells of fewer than 64.
            at_once += _without(KERNEL, shown) == _without(KERNEL, after)
            # memory.stat tells of a charge up to two seconds later; what the kernel has uncharged
            # ahead for a CPU it gives back whenever it likes.
            for _ in range(4 * REFRESH):
                if shown == after:
                    break
                shown, after = told(default), told(exact)
            assert shown == after
        assert at_once >= 6


def told(collector: Collector) -> dict[str, list[bytes]]:
    """The lines about cgroups by family, without those that depend on when the passes were."""
    families = exposition.render(Columns(collector.collect()), CGROUP_METRICS)
    return {
        family.name: sorted(plain(family.bodies).splitlines())
        for family in families
        if "_since_last_" not in family.name and "_exceeded_" not in family.name
    }


def _without(names: set[str], lines: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    return {name: some for name, some in lines.items() if name not in names}
