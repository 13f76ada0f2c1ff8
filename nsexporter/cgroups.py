"""Cgroups as values: what was found of each, parsed, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from nsexporter.changed import EachRow
from nsexporter.kernel import parse
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.files import Reader
from nsexporter.kernel.interface_files import PROCS
from nsexporter.model import Cgroup, Container, History, Identity


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was parsed of a cgroup, and its texts."""

    stat_text: bytes | None
    stat_keys: tuple[bytes, ...]
    stat: tuple[bytes, ...]
    procs: bytes | None
    pids: tuple[int, ...]


_NOTHING = Parsed(None, (), (), None, ())


class Cgroups:
    """Makes them; what has not changed since the pass before is neither parsed nor made again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._parsed = EachRow(self._parse, attrgetter("key"))
        self._made = EachRow(_cgroup, attrgetter("key"))
        self._stat_keys: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        self._keys: tuple[bytes, ...] = ()

    def parse(self, found: Sequence[Found]) -> list[Parsed]:
        """memory.stat and cgroup.procs of each."""
        return self._parsed(found)

    def values(
        self,
        found: Sequence[Found],
        parsed: Sequence[Parsed],
        identities: Sequence[Identity],
        owners: Sequence[Container | None],
        pods: Sequence[tuple[str, str]],
        invocations: Sequence[str],
        histories: Sequence[History | None],
    ) -> Sequence[Cgroup]:
        """A value for each, with what is told of it."""
        return self._made(found, parsed, identities, owners, pods, invocations, histories)

    def _parse(self, one: Found, before: Parsed | None) -> Parsed:
        stat, procs = one.files.get("memory.stat"), one.files.get(PROCS)
        before = before or _NOTHING
        same = before.stat_text is stat
        keys, values = (before.stat_keys, before.stat) if same else self._stat(stat)
        pids = before.pids if before.procs is procs else self._pids(procs)
        return Parsed(stat, keys, values, procs, pids)

    def _pids(self, text: bytes | None) -> tuple[int, ...]:
        try:
            return parse.pids(text) if text else ()
        except parse.ParseError:
            self._reader.errors["cgroups", "malformed"] += 1
            return ()

    def _stat(self, text: bytes | None) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Keys and values; cgroups that have the same keys share one object of them."""
        if text is None:
            return (), ()
        try:
            keys, values = parse.flat_columns(text)
            shared = tuple(keys)
            if shared != self._keys:  # seldom; a hash of them costs more
                if len({*keys}) < len(keys):
                    raise parse.ParseError(f"{text[:80]!r} has a key twice")
                self._keys = self._stat_keys.setdefault(shared, shared)
        except parse.ParseError:
            self._reader.errors["memory", "malformed"] += 1
            return (), ()
        return self._keys, tuple(values)


def _cgroup(
    found: Found,
    parsed: Parsed,
    identity: Identity,
    owner: Container | None,
    pod: tuple[str, str],
    invocation: str,
    history: History | None,
    before: Cgroup | None,
) -> Cgroup:
    made = Cgroup(
        path=found.path,
        parent=found.parent,
        identity=identity,
        container=owner,
        pod_name=pod[0],
        pod_namespace=pod[1],
        invocation=invocation,
        files=found.files,
        stat_keys=parsed.stat_keys,
        stat=parsed.stat,
        pids=parsed.pids,
        history=history,
    )
    return before if before == made else made
