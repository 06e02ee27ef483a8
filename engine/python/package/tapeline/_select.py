"""The choice among events, as readers take it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tapeline._native import Session, SessionId

if TYPE_CHECKING:
    from tapeline._native import Selection

StrPath = str | os.PathLike[str]

Start = Literal["earliest", "latest"] | int
"""Where a reader starts: at the earliest event, after the latest, or at a time in nanoseconds since the Unix epoch."""

SessionLike = str | SessionId | Session
"""A session: its name, its identity, or its handle."""

Filter = str | Mapping[str, Any]
"""A filter: an expression of Tapeline's filter grammar, as JSON or as a dict."""

Kinds = int | str | Iterable[int | str]
"""A kind, or several."""

Sessions = SessionLike | Iterable[SessionLike]
"""A session, or several."""


def select(session: Sessions | None, kinds: Kinds | None, filter: Filter | None) -> Selection:
    """The choice, as the extension takes it."""
    sessions: list[SessionLike] | None = None
    if isinstance(session, (str, SessionId, Session)):
        sessions = [session]
    elif session is not None:
        sessions = list(session)
    if isinstance(kinds, (int, str)):
        kinds = [kinds]
    elif kinds is not None:
        kinds = list(kinds)
    if isinstance(filter, Mapping):
        filter = dict(filter)
    return {"sessions": sessions, "kinds": kinds, "filter": filter}
