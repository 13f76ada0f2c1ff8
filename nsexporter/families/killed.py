"""Samples about OOM kills, from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nsexporter.families import labels
from nsexporter.families.columns import Columns
from nsexporter.families.derived import Column
from nsexporter.families.samples import Samples
from nsexporter.model import Cgroup, OomAccount, OomLedger


def living(constraint: str) -> Callable[[Columns], Column]:
    """Kills of every cgroup that is there; those below a container count for the container.

    0 where there was none, for the constraints that there may be: a rise from 0 can be seen, a
    counter that begins with 1 shows none.
    """

    def column(ledger: OomLedger, cgroups: Sequence[Cgroup]) -> Column:
        possible = ("memcg", "none") if ledger.sources.get("kmsg") else ("unknown",)
        if constraint in possible and any(ledger.sources.values()):
            values = _zeros(cgroups)
        else:
            values = [None] * len(cgroups)
        if ledger.accounts:
            for number, cgroup in enumerate(cgroups):
                account = ledger.accounts.get(cgroup.path)
                if account is not None and constraint in account.kills:
                    values[number] = b"%d" % account.kills[constraint]
        return values

    return lambda columns: columns.made(
        ("living", constraint),
        lambda ledger, _: column(ledger, columns.cgroups),
        columns.oom,
        columns.whose,
    )


def accounts(columns: Columns) -> tuple[object, ...]:
    """What the samples are made of."""
    return columns.oom, columns.whose


def _zeros(cgroups: Sequence[Cgroup]) -> list[bytes | None]:
    """0 for every cgroup that is not below a container."""
    below: list[bool] = []  # a container, its own cgroup left out
    for cgroup in cgroups:
        up = cgroup.parent
        contained = up >= 0 and (below[up] or cgroups[up].container is not None)
        below.append(contained and cgroup.container is None)
    return [None if one else b"0" for one in below]


def _gone(columns: Columns) -> Iterator[OomAccount]:
    there = {cgroup.path for cgroup in columns.cgroups}
    for account in columns.snapshot.oom.accounts.values():
        if account.cgroup not in there:
            yield account


def gone(columns: Columns) -> Samples:
    """Kills by constraint of the cgroups that are gone."""
    for account in _gone(columns):
        for constraint, kills in sorted(account.kills.items()):
            yield (*labels.of_account(account), ("constraint", constraint)), kills


def last_time(columns: Columns) -> Samples:
    """When the last kill was, in seconds since the epoch."""
    for account in columns.snapshot.oom.accounts.values():
        if account.last.time is not None:
            yield labels.of_account(account), account.last.time


def last_info(columns: Columns) -> Samples:
    """The name of the last victim."""
    for account in columns.snapshot.oom.accounts.values():
        if account.last.comm is not None:
            yield (*labels.of_account(account), ("task", account.last.comm)), 1


def unattributed(columns: Columns) -> Samples:
    """Kills of which nothing tells the cgroup."""
    kills = columns.snapshot.oom.unattributed
    return [] if kills is None else [((), kills)]


def sources(columns: Columns) -> Samples:
    """1 for what tells of kills here, else 0."""
    for source, tells in sorted(columns.snapshot.oom.sources.items()):
        yield (("source", source),), int(tells)
