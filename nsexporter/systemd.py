"""sd_notify(3): what the service manager wants to be told."""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)


class Notify:
    """The manager's socket, connected before anything confines us; says nothing without one."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        address = os.environ.get("NOTIFY_SOCKET", "")
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                self._socket.connect(address.replace("@", "\0", 1))
            except OSError as error:
                log.warning("the service manager cannot be told anything: %s", error)
                self._socket.close()
                self._socket = None

    @property
    def watchdog(self) -> float | None:
        """Seconds after which the manager ends a service that is not `alive`; None: never."""
        usec = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return int(usec) / 1e6 if usec.isascii() and usec.isdigit() and int(usec) and ours else None

    def ready(self, status: str) -> None:
        """It serves, or serves again."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """It reads its configuration."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """It works."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """It ends."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self._socket is not None:
            try:
                self._socket.send(text.encode())
            except OSError as error:
                log.debug("the service manager was not told: %s", error)
