"""Streams of an MCP server that clients resume: an event store of the MCP SDK (`mcp` 2.x) in a bus.

    manager = ResumableSessionManager(server, bus, retry_interval=1000)
    app = Starlette(routes=[Mount("/mcp", app=manager.handle_request)], lifespan=lambda app: manager.run())

The SDK names a stream by the id of its request, and each client counts these from the same number: a store that two
clients share would replay messages of one to the other. `ResumableSessionManager` gives each session of the server a
store of its own.
"""

from __future__ import annotations

import itertools
import json
import re
import uuid
from typing import Any, Literal

from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import JSONRPCMessage, jsonrpc_message_adapter

from tapeline.bus import Bus

_ID = re.compile("(?P<store>[0-9a-f]{32})-(?P<time>[0-9a-f]{1,16})-[0-9]+")

KIND = "agent_message"
"""The kind of the events."""


class BusEventStore(EventStore):
    """The streams of one session of an MCP server, as one session of a bus.

    Storing does not wait; replaying reads the log on a thread. An id of another store is not known here.
    """

    def __init__(
        self, bus: Bus, name: str | None = None, *, numbering: Literal["unique", "sequential"] = "unique"
    ) -> None:
        """Stores in the bus's session of this name; by default, in one that no other store has.

        Ids are unique over all stores, or, for tests that expect it, numbers from 1.
        """
        self.name: str = name or f"mcp/{uuid.uuid4().hex}"
        self._bus = bus
        self._session = bus.session(self.name)
        self._numbers = itertools.count(1)
        self._last_number = 0
        self._store = "" if numbering == "sequential" else f"{self._session.id}"

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        """Stores a message, or without one the event that primes a stream; returns its id."""
        number = next(self._numbers)
        self._last_number = number
        text = "null" if message is None else message.model_dump_json(by_alias=True, exclude_unset=True)
        ticket = self._session.ingest(f'{{"n":{number},"stream":{json.dumps(stream_id)},"message":{text}}}', KIND)
        return self._id(number, ticket.insertion_ts)

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        """Sends the later messages of an event's stream, and returns the stream; `None` for an id that is not known."""
        if (since := self._time_of(last_event_id)) is None:
            return None
        stream: StreamId | None = None
        last: str | None = None
        while True:
            last_number = self._last_number
            is_new = last is None
            async for event in self._bus.replay(self._session, since=since, kinds=KIND):
                if not is_new:
                    is_new = event.id == last
                    continue
                since, last = event.insertion_ts, event.id
                message = event.json()
                event_id = self._id(message["n"], event.insertion_ts)
                if stream is None:
                    if event_id == last_event_id:
                        stream = message["stream"]
                elif message["stream"] == stream and message["message"] is not None:
                    sent = jsonrpc_message_adapter.validate_python(message["message"])
                    await send_callback(EventMessage(sent, event_id))
            # The SDK sends what is stored after this returns, but not what was stored meanwhile.
            if last_number == self._last_number:
                return stream

    def _id(self, number: int, insertion_ts: int) -> EventId:
        return f"{self._store}-{insertion_ts:x}-{number}" if self._store else f"{number}"

    def _time_of(self, event_id: EventId) -> int | None:
        """The time of an event, so far as its id has it."""
        if not self._store:
            return 0
        taken_apart = _ID.fullmatch(event_id)
        return int(taken_apart["time"], 16) if taken_apart and taken_apart["store"] == self._store else None


class ResumableSessionManager(StreamableHTTPSessionManager):
    """The SDK's manager, which takes a store for each session of the server from a bus."""

    def __init__(self, app: Server[Any] | MCPServer[Any], bus: Bus, **options: Any) -> None:
        """`options` are those of `StreamableHTTPSessionManager`, without `event_store` and `stateless`."""
        self._bus = bus
        super().__init__(app._lowlevel_server if isinstance(app, MCPServer) else app, **options)

    @property
    def event_store(self) -> EventStore:
        """A store that no session has yet. The SDK asks once for each session."""
        return BusEventStore(self._bus)

    @event_store.setter
    def event_store(self, _: EventStore | None) -> None:
        """The SDK's constructor sets it."""
