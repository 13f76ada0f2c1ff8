"""A last, marked guess at cgroups whose path and whose runtime's state tell nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from nsexporter.containers.mountinfo import identify_mountinfo
from nsexporter.model import Identity

_SILENT = frozenset({"other", "scope", "service", "unit"})
_HELPERS = frozenset({"conmon"})  # of the host's, though in the container's cgroup
_MOST = 64  # processes of one container that are asked
_MOUNTED = (" /etc/hostname ", " /run/.containerenv ")  # by every runtime that a guess can name

Tell = Callable[[int], tuple[str, str, int]]
"""A process to its name (comm), its mountinfo, both empty where it is gone, and its UID."""


class Guesses:
    """Which container the processes of a cgroup are in, by what is mounted for them."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._known: dict[str, tuple[int, Identity | None]] = {}

    def fill(
        self,
        paths: Sequence[str],
        identities: list[Identity],
        pids: Sequence[Sequence[int]],
    ) -> None:
        """Put a guess where an identity tells of no container but the processes do.

        `identities` may go on beyond `paths`. A cgroup is asked once for as long as its first
        process stays.
        """
        known, self._known = self._known, {}
        guesses = {}
        for i, (path, identity, some) in enumerate(zip(paths, identities, pids, strict=False)):
            if not some or identity.kind not in _SILENT or identity.container_id is not None:
                continue
            asked = known.get(path)
            if asked is None or asked[0] != some[0]:
                asked = some[0], self._ask(some)
            self._known[path] = asked
            if asked[1] is not None:
                guesses[i] = asked[1]
        if not guesses:
            return
        own = {one.container_id for one in identities}
        for i, guess in guesses.items():
            identities[i] = replace(
                identities[i],
                kind="container-child" if guess.container_id in own else "container",
                container_id=guess.container_id,
                runtime=guess.runtime,
                uid=identities[i].uid or guess.uid,
                guess=guess.guess,
            )
            own.add(guess.container_id)

    def _ask(self, pids: Sequence[int]) -> Identity | None:
        """The container that all of the processes are in, None where they are in none or many."""
        found: Identity | None = None
        users = []
        for pid in pids[: _MOST + 1]:
            name, mountinfo, uid = self._tell(pid)
            users.append(uid)
            if name in _HELPERS:
                continue
            if not any(place in mountinfo for place in _MOUNTED):
                return None
            guess = identify_mountinfo(mountinfo)
            if guess is None or guess.container_id is None or guess.kind != "container":
                return None
            if found is not None and found.container_id != guess.container_id:
                return None
            found = guess
        if found is None or len(pids) > _MOST:
            return None
        # The user's own UID: conmon's, and that of root in a rootless container.
        return replace(found, uid=min(users) or None)
