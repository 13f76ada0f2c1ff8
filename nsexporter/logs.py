"""Log lines as logfmt or JSON, on standard error."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime

_WAITING = 1000  # lines that nobody has read yet
_LAST_LINES = 0.2  # seconds that they have at exit


def configure(level: str, form: str, handler: logging.Handler | None = None) -> None:
    """Send every record of `level` and above to `handler`, in `form` logfmt or json."""
    handler = handler or logging.StreamHandler()
    handler.setFormatter(_Formatter(form == "json"))
    logging.root.setLevel(level.upper())
    logging.root.handlers = [handler]


class Lines(logging.Handler):
    """Lines on standard error, by a thread: who does not read them holds up nobody else.

    Further ones than _WAITING are dropped, and so are those that cannot be written.
    """

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self.dropped = 0
        self._fd = fd
        self._condition = threading.Condition()
        self._waiting: deque[bytes] = deque()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written soon, or drop it."""
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:  # a bug of who logs
            return self.handleError(record)
        with self._condition:
            if len(self._waiting) < _WAITING:
                self._waiting.append(line)
                self._condition.notify_all()
            else:
                self.dropped += 1
        return None

    def flush(self) -> None:
        """Wait until all is written, but not for long: logging.shutdown() calls it at exit."""
        with self._condition:
            self._condition.wait_for(lambda: not self._waiting, _LAST_LINES)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                self.dropped += 1
            with self._condition:
                self._waiting.popleft()
                self._condition.notify_all()


class _Formatter(logging.Formatter):
    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        fields.update(getattr(record, "fields", {}))
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps(fields, default=str)
        return " ".join(f"{name}={_logfmt(value)}" for name, value in fields.items())


def _logfmt(value: object) -> str:
    """A value as logfmt has it: quoted where it needs to be.

    >>> _logfmt("a b"), _logfmt(3), _logfmt("x=1")
    ('"a b"', '3', '"x=1"')
    """
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' ="\\')
    return text if plain else json.dumps(text)
