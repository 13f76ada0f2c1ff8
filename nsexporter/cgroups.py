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
class Procs:
    """The text of cgroup.procs, and the PIDs in it."""

    text: bytes | None
    pids: tuple[int, ...]


_NOBODY = Procs(None, ())


class Cgroups:
    """Makes them; what has not changed since the pass before is neither parsed nor made again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._procs = EachRow(self._parse, attrgetter("key"))
        self._made = EachRow(_cgroup, attrgetter("key"))

    def procs(self, found: Sequence[Found]) -> list[Procs]:
        """Who is in each."""
        return self._procs(found)

    def values(
        self,
        found: Sequence[Found],
        procs: Sequence[Procs],
        identities: Sequence[Identity],
        owners: Sequence[Container | None],
        pods: Sequence[tuple[str, str]],
        invocations: Sequence[str],
        histories: Sequence[History | None],
    ) -> Sequence[Cgroup]:
        """A value for each, with what is told of it."""
        return self._made(found, procs, identities, owners, pods, invocations, histories)

    def _parse(self, one: Found, before: Procs | None) -> Procs:
        text = one.files.get(PROCS)
        before = before or _NOBODY
        return before if before.text is text else Procs(text, self._pids(text))

    def _pids(self, text: bytes | None) -> tuple[int, ...]:
        try:
            return parse.pids(text) if text else ()
        except parse.ParseError:
            self._reader.errors["cgroups", "malformed"] += 1
            return ()


def _cgroup(
    found: Found,
    procs: Procs,
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
        pids=procs.pids,
        history=history,
    )
    return before if before == made else made
