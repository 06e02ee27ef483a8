"""A store of streamed responses for servers of the OpenAI Responses API: each response is a session of a bus.

    async with store.run(response_id) as run:          # the server's task that makes the response
        async for event in engine:
            run.append(event)

    store.frames(response_id, starting_after)           # GET /v1/responses/{id}?stream=true&starting_after=N
    await store.retrieve(response_id)                   # GET /v1/responses/{id}
    await store.recover()                               # once, when the server starts

A reader gets the events after a sequence number, then live ones, and ends with the run, however that ends: completed,
failed, cancelled, or cut off by the end of the process. The store keeps nothing in memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Literal, Self

from tapeline import kinds
from tapeline._native import Event, Session
from tapeline.bus import Bus
from tapeline.sse import Frame

KINDS = {
    "response.output_text.delta": "token",
    "response.reasoning_text.delta": "token",
    "response.reasoning_summary_text.delta": "token",
    "response.function_call_arguments.delta": "tool_call",
    "response.function_call_arguments.done": "tool_call",
    "response.refusal.delta": "guardrail",
    "response.refusal.done": "guardrail",
}
"""Kinds of events, by their type; others have none."""

_FAILURE = {"code": "server_error", "message": "the server ended before the response was complete"}


class ResponseStore:
    """Responses in a bus."""

    def __init__(self, bus: Bus, prefix: str = "resp/") -> None:
        """Keeps each response in the session of its id after the prefix."""
        self._bus = bus
        self._prefix = prefix

    def run(self, response_id: str, *, model: str | None = None) -> Run:
        """The writer of a new response, for a `with` or `async with` block."""
        return Run(self._bus.open_session(self._prefix + response_id, model=model, content_type="application/json"))

    async def events(self, response_id: str, starting_after: int | None = None) -> AsyncIterator[Event]:
        """The events of a response after a sequence number, then live ones, to the end of the run.

        A response that has no event yet is waited for: ask `retrieve` first whether there is one. An event is handed
        out once no crash can take it, so that a client never knows more than the log.
        """
        passes = starting_after is None
        async for event in self._bus.tail(self._prefix + response_id, durable=True):
            if _is_of_session(event):
                continue
            if not passes:
                number = event.json().get("sequence_number")
                passes = number is not None and starting_after is not None and number > starting_after
            if passes:
                yield event

    async def frames(self, response_id: str, starting_after: int | None = None) -> AsyncIterator[bytes]:
        """The same as server-sent events."""
        async for event in self.events(response_id, starting_after):
            yield Frame(event.text, event.json()["type"]).encode()

    async def retrieve(self, response_id: str) -> dict[str, Any] | None:
        """The response as the last event that has it shows it; `None`: there is none with this id."""
        found: dict[str, Any] | None = None
        with_response = {"$exists": {"path": "response.id"}}
        async for event in self._bus.replay(self._prefix + response_id, filter=with_response):
            found = event.json()["response"]
        return found

    async def recover(self) -> list[str]:
        """Ends the responses that the end of an earlier process cut off, as failed; returns their ids."""
        ended = []
        for summary in await self._bus.sessions_async():
            if summary.state == "cut-off" and summary.name is not None and summary.name.startswith(self._prefix):
                ended.append(summary.name.removeprefix(self._prefix))
                await self._fail(ended[-1])
        await self._bus.flush_async()
        return ended

    async def _fail(self, response_id: str) -> None:
        last = -1
        async for event in self._bus.replay(self._prefix + response_id):
            if not _is_of_session(event):
                last = event.json().get("sequence_number", last)
        response = await self.retrieve(response_id) or {"id": response_id, "object": "response"}
        failed = {**response, "status": "failed", "error": _FAILURE}
        run = Run(self._bus.session(self._prefix + response_id))
        run.append({"type": "response.failed", "sequence_number": last + 1, "response": failed})
        run.close("failed")


class Run:
    """The writer of one response. It does not wait."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ending: Literal["finished", "failed", "stopped"] = "finished"

    def append(self, event: Any) -> None:
        """Appends an event: a model of pydantic, a dict, or JSON."""
        dump = getattr(event, "model_dump_json", None)
        text = dump(by_alias=True, exclude_unset=True) if dump is not None else event
        kind = json.loads(text)["type"] if isinstance(text, (str, bytes)) else text["type"]
        if kind in ("response.failed", "response.incomplete"):
            self._ending = "failed"
        elif kind == "response.cancelled":
            self._ending = "stopped"
        self._session.ingest(text, KINDS.get(kind, 0))

    def close(self, outcome: Literal["finished", "failed", "stopped"] | None = None) -> None:
        """Ends the response, and with it its readers."""
        self._session.close(outcome or self._ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, class_: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if class_ is None:
            self.close()
        else:
            self.close("stopped" if issubclass(class_, asyncio.CancelledError) else "failed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(class_, value, trace)


def _is_of_session(event: Event) -> bool:
    """Whether it is one of the session's own, that opens or closes it."""
    return event.kind == kinds.SESSION
