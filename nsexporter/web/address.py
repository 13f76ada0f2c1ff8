"""Where to listen: TCP addresses, unix sockets, sockets passed by systemd."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

_BACKLOG = 512
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def parse_address(text: str) -> tuple[str, int] | str:
    """(host, port), host empty for all addresses; the path of a unix socket.

    >>> parse_address("[::1]:9"), parse_address("unix:/run/x.sock")
    (('::1', 9), '/run/x.sock')
    """
    if text.startswith("unix:/"):
        return text.removeprefix("unix:")
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if colon and port.isascii() and port.isdigit() and (bracketed or ":" not in host):
        return host[1:-1] if bracketed else host, int(port)
    raise ValueError(f"{text!r} is not an address")


def listen(address: str) -> list[socket.socket]:
    """Listening sockets for an address; several where a host's name has several addresses.

    OSError names the address.
    """
    place = parse_address(address)
    try:
        return [_unix(place)] if isinstance(place, str) else _tcp(*place)
    except OSError as error:
        # create_server() repeats the address behind the reason, as a tuple.
        reason = str(error.strerror).partition(" (while attempting")[0]
        raise OSError(error.errno, f"{address}: {reason}") from None


def passed() -> list[socket.socket]:
    """The listening sockets that the service manager passed (sd_listen_fds(3)), if to us."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    last = _FIRST_PASSED + (int(count) if count.isascii() and count.isdigit() else 0)
    listeners = [socket.socket(fileno=fd) for fd in range(_FIRST_PASSED, last)]
    for listener in listeners:
        listener.set_inheritable(False)
    return listeners


def shown(listener: socket.socket) -> str:
    """The address a socket listens on, as an address is written."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def _tcp(host: str, port: int) -> list[socket.socket]:
    if not host and socket.has_dualstack_ipv6():
        family = socket.AF_INET6
        return [
            socket.create_server(("", port), family=family, backlog=_BACKLOG, dualstack_ipv6=True)
        ]
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    found = socket.getaddrinfo(host or None, port, type=kind, flags=flags)
    with contextlib.ExitStack() as undo:
        listeners = []
        for family, place in {(one[0], one[4][:2]) for one in found}:
            listener = socket.create_server(place, family=family, backlog=_BACKLOG)
            undo.callback(listener.close)
            listeners.append(listener)
        undo.pop_all()
    return listeners


def _unix(path: str) -> socket.socket:
    """A unix socket at `path`; one that nobody listens on any more is replaced."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                with socket.socket(socket.AF_UNIX) as probe:
                    if probe.connect_ex(path) == errno.ECONNREFUSED:
                        os.unlink(path)
        listener.bind(path)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
