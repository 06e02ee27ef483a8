"""A session as the answer to a request: server-sent events for Starlette and FastAPI, which a client resumes.

    @app.get("/chats/{name}")
    async def chat(name: str, request: Request) -> Response:
        return await stream_session(bus, name, request)

A browser's `EventSource` comes back with the header `Last-Event-ID`, and gets exactly the events after that one. Once
the session is closed and the client has all of it, the answer is 204, at which an `EventSource` stops.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tapeline._native import Event
from tapeline._select import Filter, Kinds, SessionLike
from tapeline.bus import Bus
from tapeline.errors import TokenError
from tapeline.sse import CONTENT_TYPE, HEADERS, Frame, frame_of, frames

_GONE = {"Gone", "Unknown"}


async def stream_session(
    bus: Bus,
    session: SessionLike,
    request: Request,
    *,
    kinds: Kinds | None = None,
    filter: Filter | None = None,
    durable: bool = True,
    frame: Callable[[Event], Frame] = frame_of,
    keep_alive: float = 15.0,
    retry: float = 1.0,
) -> Response:
    """The events of a session, from the beginning or after the request's `Last-Event-ID`, up to the session's close.

    A client sees only what no crash can take from it, unless `durable` is false. A token that is none, or is of another
    session, is answered with 400; one whose event the log does not hold with 410, and the earliest token.
    """
    after = request.headers.get("last-event-id") or None
    try:
        tail = await bus.tail(session, after=after, kinds=kinds, filter=filter, durable=durable)
    except TokenError as error:
        status = 410 if error.fault in _GONE else 400
        return JSONResponse({"error": str(error), "fault": error.fault, "earliest": error.earliest}, status)
    if tail.end == "closed":
        return Response(status_code=204)
    body = frames(tail, frame=frame, keep_alive=keep_alive, retry=retry)
    return StreamingResponse(body, headers=HEADERS, media_type=CONTENT_TYPE)
