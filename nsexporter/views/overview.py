"""A snapshot as a person wants it: containers by danger, namespaces as a map of who shares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nsexporter import capability
from nsexporter.capability import Capability
from nsexporter.families import derived, sharing
from nsexporter.families.columns import Columns, integers
from nsexporter.kernel.host import Host
from nsexporter.model import NS_TYPES, Container, Namespace, OomAccount, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One container's memory; None where the kernel or the privilege gives no value."""

    container: Container
    usage: float | None  # bytes
    working_set: float | None  # bytes
    limit: float | None  # bytes: the effective one, +Inf for none
    limiting: str  # path of the cgroup whose limit that is, empty for none
    headroom: float | None  # bytes
    failcnt: float | None
    oom_kills: int | None  # from the ledger
    last_kill: float | None  # seconds since the epoch
    stalled: float | None  # seconds in which all its processes waited for memory

    @property
    def fullness(self) -> float:
        """How much of what it may grow to is used, 0 to 1; 0 where nothing limits it."""
        if self.limit is None or self.headroom is None or not 0 < self.limit < math.inf:
            return 0.0
        return min(1.0, max(0.0, 1 - self.headroom / self.limit))


def uses(columns: Columns) -> list[Use]:
    """Every container, the fullest first."""
    v1 = columns.snapshot.hierarchy == "v1"
    used = derived.usage(columns)
    working_set = integers(derived.working_set(columns))
    limits = derived.effective_limits(columns)
    headroom = integers(derived.headroom(columns))
    events = "memory.events.local"
    failcnt = integers(columns.number("memory.failcnt") if v1 else columns.key(events, b"max"))
    ledger = columns.snapshot.oom
    told = any(ledger.sources.values())
    stalled = columns.pressure("memory.pressure", b"full")
    found = []
    for i, cgroup in enumerate(columns.cgroups):
        if cgroup.container is None:
            continue
        limit = limits[i]
        limited = limit is not None and limit[0] < math.inf
        account = ledger.accounts.get(cgroup.path)
        found.append(
            Use(
                container=cgroup.container,
                usage=used[i],
                working_set=working_set[i],
                limit=None if limit is None else limit[0],
                limiting=columns.whole.cgroups[limit[1]].path if limit and limited else "",
                headroom=headroom[i],
                failcnt=failcnt[i],
                oom_kills=_total(account) if told else None,
                last_kill=account.last.time if account else None,
                stalled=None if (value := stalled[i]) is None else float(value),
            )
        )
    return sorted(found, key=lambda use: (-use.fullness, -(use.usage or 0), use.container.cgroup))


def _total(account: OomAccount | None) -> int:
    return sum(account.kills.values()) if account else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """The OOM kills of one cgroup, which may be gone."""

    account: OomAccount
    kills: int
    alive: bool


def killed(snapshot: Snapshot) -> list[Killed]:
    """Every cgroup with an OOM kill that is remembered, the newest kill first."""
    there = {cgroup.path for cgroup in snapshot.cgroups}
    found = [
        Killed(account=one, kills=_total(one), alive=one.cgroup in there)
        for one in snapshot.oom.accounts.values()
    ]
    return sorted(found, key=lambda one: (-(one.account.last.time or 0), one.account.cgroup))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """One namespace with who is in it; `scope` as in nsexporter_namespace_info."""

    namespace: Namespace
    scope: str
    containers: tuple[Container, ...]


def namespaces(snapshot: Snapshot) -> list[Shared]:
    """Every namespace with its containers, by type in the order of `NS_TYPES`."""
    by_id = {container.container_id: container for container in snapshot.containers}
    order = {ns_type: i for i, ns_type in enumerate(NS_TYPES)}
    pods = sharing.pods_of(snapshot)
    return [
        Shared(
            namespace=one,
            scope=sharing.scope(one, snapshot.host_namespaces, pods),
            containers=tuple(by_id[i] for i in sorted(one.containers) if i in by_id),
        )
        for one in sorted(snapshot.namespaces, key=lambda one: (order[one.ns_type], one.inode))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One container on the map: namespace type to the inodes that its processes are in."""

    container: Container
    inodes: Mapping[str, Sequence[int]]


def members(snapshot: Snapshot) -> list[Member]:
    """Every container with a process whose namespaces were read, by cgroup."""
    inodes: defaultdict[Container, dict[str, Sequence[int]]] = defaultdict(dict)
    places = sharing.by_container(snapshot.containers, sharing.members(snapshot.namespaces))
    for container, ns_type, some in places:
        inodes[container][ns_type] = sorted(some)
    return [
        Member(container=container, inodes=inodes[container])
        for container in sorted(inodes, key=lambda one: one.cgroup)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One cgroup of the tree; children by usage, the largest first."""

    path: str
    name: str
    container: str = ""  # its name, where it is one's that has one
    usage: float | None  # bytes
    limit: float | None  # bytes: the effective one, +Inf for none
    children: tuple[Node, ...]


def tree(columns: Columns) -> Node | None:
    """The cgroups from the root downwards, None where none was read."""
    used = derived.usage(columns)
    limits = derived.effective_limits(columns)
    below: defaultdict[int, list[Node]] = defaultdict(list)
    # Parents come before children, so from the end every node finds its children made.
    for i in reversed(range(len(columns.cgroups))):
        cgroup, limit = columns.cgroups[i], limits[i]
        children = sorted(below.pop(i, ()), key=lambda node: (-(node.usage or 0), node.name))
        below[cgroup.parent].append(
            Node(
                path=cgroup.path,
                name=cgroup.path.rpartition("/")[2] or "/",
                container="" if cgroup.container is None else cgroup.container.name,
                usage=used[i],
                limit=None if limit is None else limit[0],
                children=tuple(children),
            )
        )
    tops = below[-1]
    return tops[0] if tops else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that the status page shows."""

    version: str
    telemetry_path: str
    host: Host
    hierarchy: str
    memory_total: int | None  # bytes
    oom_kills: int | None  # of the host since boot
    cgroups: int
    processes: int
    namespaces: int
    uses: Sequence[Use]
    killed: Sequence[Killed]
    unattributed: int | None  # kills of which nothing tells the cgroup
    now: float  # when the pass was, seconds since the epoch
    members: Sequence[Member]
    host_inodes: Mapping[str, int]
    tree: Node | None
    capabilities: Sequence[tuple[Capability, bool]]


def status(columns: Columns, host: Host, *, version: str, telemetry_path: str) -> Status:
    """What the status page shows of a snapshot."""
    snapshot = columns.snapshot
    return Status(
        version=version,
        telemetry_path=telemetry_path,
        host=host,
        hierarchy=snapshot.hierarchy,
        memory_total=snapshot.meminfo.get(b"MemTotal"),
        oom_kills=snapshot.host_oom_kills,
        cgroups=len(snapshot.cgroups),
        processes=len(snapshot.processes) + snapshot.unread_processes,
        namespaces=len(snapshot.namespaces),
        uses=uses(columns),
        killed=killed(snapshot),
        unattributed=snapshot.oom.unattributed,
        now=snapshot.timestamp,
        members=members(snapshot),
        host_inodes=snapshot.host_namespaces,
        tree=tree(columns),
        capabilities=capability.told(snapshot),
    )


def title(container: Container) -> str:
    """What a person calls a container: its name, else its short id."""
    return container.name or container.label_id
