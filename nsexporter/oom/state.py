"""The ledger as a file, so that it goes on after a restart of the exporter in the same boot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nsexporter.model import Container, OomKill
from nsexporter.oom.ledger import Entry, Ledger

_VERSION = 1


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
            "above": ledger.above,
            "unplaced": [(at, asdict(kill)) for at, kill in ledger.unplaced],
            "suspects": ledger.suspects,
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
        ledger.above = {c: (_count(i), _count(n)) for c, (i, n) in state["above"].items()}
        ledger.unplaced = [(float(at), OomKill(**kill)) for at, kill in state["unplaced"]]
        ledger.suspects = {cgroup: float(at) for cgroup, at in state["suspects"].items()}
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
    for value in (entry.instance, entry.value, entry.fresh, entry.below):
        _count(value)
    if one["container"] is not None:
        pairs = tuple((str(name), str(value)) for name, value in one["container"]["labels"])
        entry.container = Container(**{**one["container"], "labels": pairs})
    return entry
