"""Server-sent events of a session, for any framework: `frames` makes them of a tail. `tapeline.starlette` answers
requests with them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from tapeline import kinds
from tapeline._native import Event, Gap
from tapeline.errors import GapError
from tapeline.tail import Tail

CONTENT_TYPE = "text/event-stream"

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""Headers that keep proxies from holding frames back."""

_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event, without its id."""

    data: str
    event: str | None = None

    def encode(self, id: str | None = None) -> bytes:
        """Its bytes. Line ends of all kinds become line feeds at the client."""
        lines = [] if id is None else [f"id: {id}"]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        lines.extend(f"data: {line}" for line in _LINE_END.split(self.data))
        return ("\n".join(lines) + "\n\n").encode()


def is_close(event: Event) -> bool:
    """Whether an event is the one that closes its session."""
    if event.kind != kinds.SESSION:
        return False
    try:
        change: Any = event.json()
    except ValueError:
        return False
    return isinstance(change, dict) and change.get("type") == "session.close"


def frame_of(event: Event) -> Frame:
    """The frame of an event: its payload as text. The events of the session's life are named `session` and `end`.

    Bytes that are no UTF-8 become replacement characters.
    """
    text = bytes(event).decode(errors="replace")
    if event.kind == kinds.SESSION:
        return Frame(text, "end" if is_close(event) else "session")
    return Frame(text)


def _gap_frame(gap: Gap) -> bytes:
    # A client that breaks off here resumes after the gap.
    return Frame(gap.message, "gap").encode(gap.token)


async def frames(
    tail: Tail,
    *,
    frame: Callable[[Event], Frame] = frame_of,
    keep_alive: float = 15.0,
    retry: float = 1.0,
) -> AsyncIterator[bytes]:
    """The frames of a tail of one session, each with the token of its event as `id`.

    The first one tells the client to wait `retry` seconds before it connects again. A comment is sent after each
    `keep_alive` seconds without an event. Missing events are a frame named `gap`, and the stream goes on.
    """
    yield f"retry: {round(retry * 1000)}\n\n".encode()
    waiting: asyncio.Task[Event] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(tail))
            done, _ = await asyncio.wait([waiting], timeout=keep_alive)
            if not done:
                yield b": keep-alive\n\n"
                continue
            finished, waiting = waiting, None
            try:
                event = finished.result()
            except StopAsyncIteration:
                return
            except GapError as error:
                yield _gap_frame(error.gap)
                continue
            yield frame(event).encode(event.token)
    finally:
        if waiting is not None:
            waiting.cancel()
