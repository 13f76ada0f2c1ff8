"""The ledger as a file, so that it goes on after a restart of the exporter in the same boot."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nsexporter.model import Container, OomKill
from nsexporter.oom.entry import Entry
from nsexporter.oom.hierarchical import HierarchicalCounter
from nsexporter.oom.ledger import Ledger
from nsexporter.oom.suspects import Line
from nsexporter.storage import write_atomically

log = logging.getLogger("nsexporter.oom")

_VERSION = 3


class StateFile:
    """The file that the setting `oom.state_file` names, if any, for one boot."""

    def __init__(self, setting: str, boot_id: str) -> None:
        self.path = _path(setting)
        self._boot_id = boot_id
        self._failed = False  # whether the last attempt to write did
        self._saved = 0.0
        self._seconds = 0.0  # that it took

    def load(self) -> tuple[Ledger, int] | None:
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

    def save(self, ledger: Ledger, sequence: int) -> None:
        """Write it, but not so often that it costs much."""
        started = time.monotonic()
        if self.path is None or not self._boot_id or started < self._saved + 20 * self._seconds:
            return
        try:
            write_atomically(self.path, [dump(ledger, sequence, self._boot_id)])
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


def dump(ledger: Ledger, sequence: int, boot_id: str) -> bytes:
    """The ledger, and the last record of the kernel log that is in it.

    Times of the monotonic clock are kept as they are: it runs on within a boot.
    """
    return json.dumps(
        {
            "version": _VERSION,
            "boot_id": boot_id,
            "sequence": sequence,
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


def load(text: bytes, boot_id: str) -> tuple[Ledger, int] | None:
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
        ledger.entries = {cgroup: _entry(one) for cgroup, one in state["entries"].items()}
        for cgroup, (instance, explained) in state["above"].items():
            counter = HierarchicalCounter(_count(instance), _count(explained))
            ledger.hierarchical[cgroup] = counter
        ledger.unplaced = [Line(float(at), OomKill(**kill)) for at, kill in state["unplaced"]]
        for cgroup, (at, sure) in state["suspects"].items():
            ledger.suspects.add(cgroup, float(at), sure=bool(sure))
        ledger.unnamed = [float(time) for time in state["unnamed"]]
        ledger.looked = True
        return ledger, _count(state["sequence"])
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _entry(one: Mapping[str, Any]) -> Entry:
    entry = Entry(**one)
    entry.kills = {str(constraint): _count(kills) for constraint, kills in entry.kills.items()}
    entry.last = OomKill(**one["last"])
    entry.held = [(float(at), OomKill(**kill)) for at, kill in one["held"]]
    entry.below = [float(at) for at in entry.below]
    for value in (entry.instance, entry.value, entry.fresh):
        _count(value)
    if one["container"] is not None:
        pairs = tuple((str(name), str(value)) for name, value in one["container"]["labels"])
        entry.container = Container(**{**one["container"], "labels": pairs})
    return entry


def _path(setting: str) -> Path | None:
    if setting == "auto":
        # systemd gives directories separated by colons (systemd.exec(5), StateDirectory=).
        directory = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(directory, "oom.json") if directory else None
    return None if setting == "none" else Path(setting)
