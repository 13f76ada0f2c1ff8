"""The sockets that a server listens on."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Sequence

from nsexporter.web.address import shown


class Listeners:
    """Registered with a selector, each with itself as data, while connections are accepted."""

    def __init__(self, sockets: Sequence[socket.socket], selector: selectors.BaseSelector) -> None:
        self.addresses = tuple(map(shown, sockets))
        self._sockets = list(sockets)
        self._selector = selector
        self._accepting = False
        for one in sockets:
            one.setblocking(False)

    def accept(self) -> None:
        """Have the selector tell of connections."""
        if not self._accepting:
            self._accepting = True
            for one in self._sockets:
                self._selector.register(one, selectors.EVENT_READ, one)

    def pause(self) -> None:
        """Let new connections wait in line."""
        if self._accepting:
            self._accepting = False
            for one in self._sockets:
                self._selector.unregister(one)

    def close(self) -> None:
        """Listen no more, and remove the files of unix sockets."""
        for one in self._sockets:
            path = one.getsockname() if one.family == socket.AF_UNIX else None
            one.close()
            if path:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        self._sockets.clear()
