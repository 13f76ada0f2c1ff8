"""Whose a cgroup is, by its path alone.

What the layouts claim of a path is read from the root downwards, so that a container in a container
keeps both, and units below a container are not the host's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nsexporter.containers.layouts import END, LAYOUTS, RUNTIMES, Layout
from nsexporter.model import Identity, OuterContainer

# The rows by hint, so that most of them cost one search for a few bytes together.
_SCAN = tuple(
    (
        hint,
        tuple(
            (index, row.pattern.finditer) for index, row in enumerate(LAYOUTS) if row.hint == hint
        ),
    )
    for hint in dict.fromkeys(row.hint for row in LAYOUTS)
)

# The unit types that have a cgroup (systemd.resource-control(5)).
_UNIT = re.compile(rf"/([^/]+\.(service|scope|slice|socket|mount|swap)){END}")
_USER = re.compile(rf"/user(?:-(\d+)\.slice|@(\d+)\.service){END}")
_UNIT_KINDS = {"service": "service", "scope": "scope", "slice": "slice"}
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
# Projects of incus-user and of the snap's multi-user LXD. Other projects are written in the same
# way, but so may be a name that is plain LXC's: only this much tells.
_INCUS = re.compile(r"(user-\d+)_([A-Za-z][A-Za-z0-9-]*)")

_ROOT = Identity(kind="root")


def _unescape(name: str) -> str:
    r"""A name without systemd's escapes (systemd-escape(1)).

    >>> _unescape(r"my\x2dbox")
    'my-box'
    """
    if "\\" not in name:
        return name
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)


def _claim(row: Layout, match: re.Match[str]) -> dict[str, Any]:
    """The fields of `Identity` that one match sets, `container_id` and `runtime` among them."""
    claim: dict[str, Any] = {}
    if row.qos is not None:
        claim["qos"] = row.qos
    if row.runtime is not None:
        claim["runtime"] = row.runtime
    if row.into is not None:
        claim[row.into] = _mapping(row, match)
        if row.into == "nomad":
            claim["container_id"] = match["alloc"]
        return claim
    for name, value in match.groupdict().items():
        if value is None:
            continue
        if name == "id":
            claim["container_id"] = value
        elif name == "prefix":
            claim["runtime"] = RUNTIMES.get(value, value)
        elif name == "pod_uid":
            claim[name] = value.replace("_", "-")  # systemd's driver writes - as _
        elif name == "uid":
            claim[name] = int(value)
        elif name in ("machine", "helper_of"):
            claim[name] = _unescape(value)
        else:
            claim[name] = value
    if row.kind == "container" and "machine" in claim:
        claim["container_id"] = claim["machine"]
    if row.runtime == "lxc" and (incus := _INCUS.fullmatch(claim["container_id"])):
        claim["incus_project"], claim["instance"] = incus.groups()
    return claim


def _mapping(row: Layout, match: re.Match[str]) -> dict[str, str | int]:
    """A batch job's or an allocation's keys: the groups that took part, and the manager."""
    result: dict[str, str | int] = {
        name: int(value) if name == "uid" else value
        for name, value in match.groupdict().items()
        if value is not None
    }
    if row.manager is not None:
        result["manager"] = row.manager
    return result


def _units(path: str) -> dict[str, Any]:
    """`unit`, `user_unit` and `uid` of a path that lies on the host.

    A name that begins with an underscore was escaped (systemd's cg_escape(), for names that the
    kernel uses for its files): `_cpu.service` is the unit cpu.service.
    """
    result: dict[str, Any] = {}
    for match in _UNIT.finditer(path):
        if match[2] == "slice":
            continue
        name = match[1].removeprefix("_")
        if "unit" not in result:
            result["unit"] = name
        elif result["unit"].startswith("user@"):
            result["user_unit"] = name
            break
        else:
            break
    if "/user" in path and (user := _USER.search(path)):
        result["uid"] = int(user[1] or user[2])
    return result


def _kind_of_unit(path: str, units: Mapping[str, Any]) -> str:
    """The kind of a cgroup that no layout claims: its leaf's, else that of the unit around it."""
    leaf = path.rpartition("/")[2]
    unit: str | None = units.get("user_unit") or units.get("unit")
    if leaf.endswith(".slice") and (unit is None or unit.startswith("user@")):
        return "slice"
    if unit is None:
        return "other"
    return _UNIT_KINDS.get(unit.rpartition(".")[2], "unit")


def _matches(path: str) -> list[tuple[Layout, re.Match[str]]]:
    """What the layouts claim, from the root downwards; of those that end together, the first."""
    found: dict[int, tuple[int, re.Match[str]]] = {}
    for hint, rows in _SCAN:
        if hint in path:
            for index, finditer in rows:
                for match in finditer(path):
                    end = match.end()
                    if end not in found or index < found[end][0]:
                        found[end] = (index, match)
    return [(LAYOUTS[index], match) for _, (index, match) in sorted(found.items())]


def identify(path: str) -> Identity:
    """Whose the cgroup at `path` is, `path` being relative to its hierarchy's mount.

    The layouts are those that the runtimes' sources write; where two runtimes write the same,
    `runtime` is None. A cgroup below a container's is the container's child.

    >>> identify("/system.slice/ssh.service").unit
    'ssh.service'
    """
    path = path.rstrip("/")
    if not path:
        return _ROOT
    found = _matches(path)
    if not found:
        units = _units(path)
        return Identity(kind=_kind_of_unit(path, units), **units)

    result: dict[str, Any] = {}
    outer: list[OuterContainer] = []
    kind: str | None = None
    claimed = 0  # where the claim that holds ends
    host = len(path)  # up to where units are the host's
    for row, match in found:
        if row.kind is None:
            result.update(_claim(row, match))
            continue
        if kind == "container":
            outer.append(OuterContainer(result.get("runtime"), result["container_id"]))
        result.pop("container_id", None)
        result.pop("runtime", None)
        result.update(_claim(row, match))
        kind, claimed = row.kind, match.end()
        if kind == "container" and not outer:
            host = min(host, claimed)
    units = _units(path[:host])
    for name, value in units.items():
        result.setdefault(name, value)
    if kind == "container" and claimed < len(path):
        kind = "container-child"
    elif kind is None:
        kind = _kind_of_unit(path, units)
    elif kind == "pod" and claimed < len(path):
        leaf = _UNIT.match(path, path.rindex("/"))
        kind = "other" if leaf is None else _UNIT_KINDS.get(leaf[2], "unit")
    if outer:
        result["outer"] = tuple(outer)
    return Identity(kind=kind, **result)
