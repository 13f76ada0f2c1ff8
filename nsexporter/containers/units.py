"""Which run of a unit a cgroup is: systemd's links in /run/systemd/units (src/core/unit.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nsexporter.containers.state import Stamp, StateFiles
from nsexporter.model import Identity

_LINK = "invocation:"
_ID = re.compile(r"[0-9a-f]{32}")


class Units:
    """Reads /run/systemd/units, and /run/user/UID/systemd/units of users' own managers.

    A directory is read again when it changed: later passes cost one stat of each.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._read: dict[str, tuple[Stamp | None, dict[str, str]]] = {}

    def invocations(self, identities: Iterable[Identity]) -> list[str]:
        """The invocation id of each one's unit, as `systemctl show -P InvocationID` tells it.

        "" where it is in no unit, or that may not be known: a user's directory is its own.
        """
        units: dict[int | None, dict[str, str]] = {}
        result = []
        for identity in identities:
            unit = identity.user_unit or identity.unit
            if unit is None or identity.outer:
                result.append("")
                continue
            uid = identity.uid if identity.user_unit else None
            if uid not in units:
                units[uid] = self._directory("" if uid is None else f"/user/{uid}")
            result.append(units[uid].get(unit, ""))
        return result

    def _directory(self, manager: str) -> dict[str, str]:
        """Unit to invocation id, of the manager that has its state below /run so."""
        directory = f"/run{manager}/systemd/units"
        stamp = self._files.stamp(directory)
        if directory not in self._read or self._read[directory][0] != stamp:
            self._read[directory] = stamp, self._links(directory)
        return self._read[directory][1]

    def _links(self, directory: str) -> dict[str, str]:
        try:
            names = self._files.names(directory)
        except PermissionError:
            return {}
        links = {
            name.removeprefix(_LINK): self._files.link(f"{directory}/{name}")
            for name in names
            if name.startswith(_LINK)
        }
        return {unit: told for unit, told in links.items() if _ID.fullmatch(told)}
