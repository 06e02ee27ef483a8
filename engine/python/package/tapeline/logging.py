"""A handler of `logging` that writes records into a bus, as JSON.

    logging.getLogger().addHandler(BusHandler(bus, session="logs"))

A record has the fields `time`, `level`, `logger`, `message` and, where there is an exception, `exception`; what `extra`
gave is in `extra`.
"""

from __future__ import annotations

import logging
from typing import Any

from tapeline.bus import Bus
from tapeline._select import SessionLike

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class BusHandler(logging.Handler):
    """Writes records into a session of a bus. It does not wait; an error goes to `handleError`, as of any handler."""

    def __init__(self, bus: Bus, session: SessionLike = "logs", kind: int | str = 0, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._session = bus.session(session)
        self._kind = kind

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._session.ingest(self._fields(record), self._kind)
        except Exception:
            self.handleError(record)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = (self.formatter or logging.Formatter()).formatException(record.exc_info)
        if extra := {name: value for name, value in vars(record).items() if name not in _STANDARD}:
            fields["extra"] = {name: value if _is_plain(value) else repr(value) for name, value in extra.items()}
        return fields


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))
