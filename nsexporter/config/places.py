"""Whether the settings path.* lead somewhere on this host."""

from __future__ import annotations

import os
from collections.abc import Mapping

from nsexporter.config import ROWS, Config
from nsexporter.config.errors import ConfigError, shown

# What has to be there, one of each at least. Not a part of load(): a file may be for another host.
_PLACES = {
    "path.procfs": (("1/mountinfo", "self/mountinfo"), "a mounted procfs"),
    "path.sysfs": (("",), "a directory"),
    "path.rootfs": (("",), "a directory"),
}


def check_places(config: Config, file: str | None, overrides: Mapping[str, object] = {}) -> None:
    """ConfigError where a path.* leads nowhere on this host; what is out of reach is no error."""
    for row in ROWS:
        if row.key in _PLACES:
            place = getattr(config.path, row.key.removeprefix("path."))
            wanted, accepted = _PLACES[row.key]
            if not any(_is_there(f"{place}/{name}") for name in wanted):
                where = row.flag if row.key in overrides else f"{file}: {row.key}"
                raise ConfigError(
                    f"{where}: {shown(place)} is not {accepted} (try {row.hint(flag=True)})"
                )


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return True
    return True
