"""Cgroups as values: what was found of each, parsed, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nsexporter.containers import mapping
from nsexporter.kernel import parse
from nsexporter.kernel.cgroupfs import Found
from nsexporter.kernel.files import Reader
from nsexporter.kernel.interface_files import PROCS
from nsexporter.model import Cgroup, Container, History, Identity


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What was parsed of a cgroup as it was found."""

    found: Found
    stat_keys: tuple[bytes, ...]
    stat: tuple[bytes, ...]
    pids: tuple[int, ...]


class Cgroups:
    """Makes them; what has not changed since the pass before is neither parsed nor made again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._parsed: dict[int, _Parsed] = {}
        self._made: dict[int, tuple[tuple[object, ...], Cgroup]] = {}
        self._stat_keys: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}

    def parse(self, found: Sequence[Found]) -> list[tuple[int, ...]]:
        """Parse memory.stat and cgroup.procs; the processes of each."""
        self._parsed = {one.key: self._parse(one) for one in found}
        return [self._parsed[one.key].pids for one in found]

    def values(
        self,
        found: Sequence[Found],
        identities: Sequence[Identity],
        owners: Sequence[Container | None],
        invocations: Sequence[str],
        histories: Sequence[History | None],
    ) -> Iterator[Cgroup]:
        """A value for each of those parsed last, with what is told of it."""
        pods = mapping.pods(identities, owners)
        before, self._made = self._made, {}
        for one, identity, owner, invocation, history in zip(
            found, identities, owners, invocations, histories, strict=True
        ):
            pod = pods.get(mapping.pod_of(identity) or "", ("", ""))
            made_of = (one, identity, owner, pod, invocation, history)
            kept = before.get(one.key)
            if kept is None or kept[0] != made_of:
                kept = made_of, self._made_of(*made_of)
            self._made[one.key] = kept
            yield kept[1]

    def _made_of(
        self,
        found: Found,
        identity: Identity,
        owner: Container | None,
        pod: tuple[str, str],
        invocation: str,
        history: History | None,
    ) -> Cgroup:
        parsed = self._parsed[found.key]
        return Cgroup(
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

    def _parse(self, one: Found) -> _Parsed:
        before = self._parsed.get(one.key)
        if before is not None and before.found is one:
            return before
        stat = one.files.get("memory.stat")
        if before is not None and before.found.files.get("memory.stat") is stat:
            keys, values = before.stat_keys, before.stat
        else:
            keys, values = self._stat(stat)
        return _Parsed(one, keys, values, self._pids(one.files.get(PROCS)))

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
        except parse.ParseError:
            self._reader.errors["memory", "malformed"] += 1
            return (), ()
        shared = tuple(keys)
        return self._stat_keys.setdefault(shared, shared), tuple(values)
