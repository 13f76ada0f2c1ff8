"""Notifications of memory pressure on v1 (memory.rst, "11. Memory Pressure"), counted."""

from __future__ import annotations

import logging
import select
from collections.abc import Mapping

from nsexporter.kernel.eventfd import ControlEvents

log = logging.getLogger(__name__)

LEVELS = ("low", "medium", "critical")
Counts = list[int]
"""Notifications of at least each level, in the order of LEVELS."""


class PressureLevels:
    """Listens to memory.pressure_level of at most `most` cgroups, by key.

    A listener hears of its own level and those above. It listens to the cgroup alone ("local",
    since Linux 4.13): to reclaim that the cgroup's own limit forces, on the root to the host's.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[ControlEvents, ...]] = {}
        self._place: dict[int, tuple[int, int]] = {}  # eventfd to key and level
        self.granted = True  # False once the kernel, or the file's mode, refused

    def look(self, wanted: Mapping[int, int], counts: dict[int, Counts]) -> None:
        """Add what came since the last look to `counts`; from now on listen to `wanted`.

        `wanted` maps the key of each cgroup to its directory's descriptor, the foremost first.
        `counts` has a key for those that are listened to, from the first moment.
        """
        for key in self._listeners.keys() - wanted.keys():
            self._forget(key)  # the removal of a cgroup is a notification too, which is none
        for fd, _ in self._poll.poll(0, max(1, len(self._place))):
            key, level = self._place[fd]
            counts[key][level] += self._listeners[key][level].read()
        for key, directory in wanted.items():
            if len(self._listeners) >= self._most or not self.granted:
                break
            if key not in self._listeners:
                self._listen(key, directory)
                if key in self._listeners:
                    counts.setdefault(key, [0] * len(LEVELS))

    def _listen(self, key: int, directory: int) -> None:
        listeners: list[ControlEvents] = []
        try:
            for level in LEVELS:
                listeners.append(
                    ControlEvents(directory, "memory.pressure_level", f"{level},local")
                )
        except FileNotFoundError:
            return  # the cgroup went since the pass read it
        except OSError as error:
            log.warning("memory.pressure_level cannot be listened to: %s", error)
            self.granted = False
            return
        finally:
            if len(listeners) < len(LEVELS):
                for listener in listeners:
                    listener.close()
        self._listeners[key] = tuple(listeners)
        for level_index, listener in enumerate(listeners):
            self._place[listener.fileno()] = key, level_index
            self._poll.register(listener, select.EPOLLIN)

    def _forget(self, key: int) -> None:
        for listener in self._listeners.pop(key):
            del self._place[listener.fileno()]
            listener.close()  # which takes it out of the epoll set too

    def close(self) -> None:
        """End every notification."""
        for key in list(self._listeners):
            self._forget(key)
        self._poll.close()
