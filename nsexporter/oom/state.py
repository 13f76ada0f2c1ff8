"""The ledger as a file, so that it goes on after a restart of the exporter in the same boot."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from nsexporter.model import OomKill
from nsexporter.oom.entry import Entry
from nsexporter.oom.hierarchical import HierarchicalCounter
from nsexporter.oom.ledger import Ledger
from nsexporter.oom.suspects import Line
from nsexporter.storage import write_atomically

log = logging.getLogger("nsexporter.oom")

_VERSION = 4


class Kept(NamedTuple):
    """A ledger, and how far the kernel log is in it: up to the record with that number and, where
    it was counted without the log, all until a time (monotonic)."""

    ledger: Ledger
    sequence: int
    until: float


class StateFile:
    """The file that the setting `oom.state_file` names, if any, for one boot."""

    def __init__(self, setting: str, boot_id: str) -> None:
        self.path = _path(setting)
        self._boot_id = boot_id
        self._failed = False  # whether the last attempt to write did
        self._saved = 0.0
        self._seconds = 0.0  # that it took

    def load(self) -> Kept | None:
        """What `save` was given last in this boot; rubbish is told in the log and ignored."""
        if self.path is None:
            return None
        try:
            return load(self.path.read_bytes(), self._boot_id)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # whatever it is: the ledger begins anew
            log.error("%s is ignored: %s", self.path, error)
            return None

    def save(self, kept: Kept) -> None:
        """Write it, but not so often that it costs much."""
        started = time.monotonic()
        if self.path is None or not self._boot_id or started < self._saved + 20 * self._seconds:
            return
        try:
            write_atomically(self.path, [dump(kept, self._boot_id)])
        except OSError as error:  # a full or a read-only disk costs the file, not the kills
            if not self._failed:
                log.error("the state of the OOM ledger cannot be kept: %s", error)
            self._failed = True
        else:
            if self._failed:
                log.info("the state of the OOM ledger is kept again")
            self._failed = False
        self._saved = time.monotonic()
        self._seconds = self._saved - started


def dump(kept: Kept, boot_id: str) -> bytes:
    """Times of the monotonic clock are kept as they are: it runs on within a boot."""
    ledger = kept.ledger
    return json.dumps(
        {
            "version": _VERSION,
            "boot_id": boot_id,
            "sequence": kept.sequence,
            "until": kept.until,
            "attributed": ledger.attributed,
            "unattributed": ledger.unattributed,
            "entries": {cgroup: asdict(entry) for cgroup, entry in ledger.entries.items()},
            "above": {
                cgroup: (one.instance, one.explained) for cgroup, one in ledger.hierarchical.items()
            },
            "unplaced": [(at, asdict(kill)) for at, kill in ledger.unplaced],
            "suspects": {cgroup: (one.at, one.sure) for cgroup, one in ledger.suspects.items()},
            "unnamed": ledger.unnamed,
        }
    ).encode()


def load(text: bytes, boot_id: str) -> Kept | None:
    """What `dump` wrote; None where it was in another boot. ValueError where it is rubbish."""
    try:
        state = json.loads(text)
        if state["boot_id"] != boot_id:
            return None
        if state["version"] != _VERSION:
            raise ValueError(f"version {state['version']!r}")
        ledger = Ledger()
        ledger.attributed = _count(state["attributed"])
        ledger.unattributed = _count(state["unattributed"])
        ledger.entries = _typed(state["entries"], dict[str, Entry])
        for entry in ledger.entries.values():
            for value in (entry.instance, entry.value, entry.fresh, *entry.kills.values()):
                _count(value)
        above = _typed(state["above"], dict[str, tuple[int, int]])
        for cgroup, (instance, explained) in above.items():
            counter = HierarchicalCounter(_count(instance), _count(explained))
            ledger.hierarchical[cgroup] = counter
        unplaced = _typed(state["unplaced"], list[tuple[float, OomKill]])
        ledger.unplaced = [Line(at, kill) for at, kill in unplaced]
        suspects = _typed(state["suspects"], dict[str, tuple[float, bool]])
        for cgroup, (at, sure) in suspects.items():
            ledger.suspects.add(cgroup, at, sure=sure)
        ledger.unnamed = _typed(state["unnamed"], list[float])
        ledger.looked = True
        return Kept(ledger, _count(state["sequence"]), _typed(state["until"], float))
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


_type_hints = cache(get_type_hints)


def _typed(value: Any, hint: Any) -> Any:
    """What JSON has of a value of that type, made into it again. ValueError for anything else."""
    kind, of = get_origin(hint) or hint, get_args(hint)
    if is_dataclass(hint):
        hints = _type_hints(kind)
        return kind(**{name: _typed(one, hints[name]) for name, one in value.items()})
    if kind is UnionType:  # with None
        return None if value is None else _typed(value, of[0])
    if kind in (dict, Mapping) and type(value) is dict:
        return {name: _typed(one, of[1]) for name, one in value.items()}
    if kind in (list, tuple) and type(value) is list:
        types = of if kind is tuple and of[-1] is not ... else of[:1] * len(value)
        return kind(_typed(one, type_) for one, type_ in zip(value, types, strict=True))
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"{value!r:.80} is not {hint}")


def _path(setting: str) -> Path | None:
    if setting == "auto":
        # systemd gives directories separated by colons (systemd.exec(5), StateDirectory=).
        directory = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(directory, "oom.json") if directory else None
    return None if setting == "none" else Path(setting)
