"""Has the tests of the MCP SDK use a store in a bus: `pytest -p suite_plugin`."""

import sys
from typing import Any

import anyio

import tapeline
from tapeline.mcp import BusEventStore

BUS = tapeline.open(pinned=False)


class SimpleEventStore(BusEventStore):
    """With the list that the tests look at."""

    def __init__(self) -> None:
        super().__init__(BUS, numbering="sequential")
        self._events: list[tuple[Any, ...]] = []
        self._stored = anyio.Condition()

    def row(self, stream_id: str, event_id: str, message: Any) -> tuple[Any, ...]:
        return (stream_id, event_id, message)

    async def store_event(self, stream_id: str, message: Any) -> str:
        event_id = await super().store_event(stream_id, message)
        self._events.append(self.row(stream_id, event_id, message))
        async with self._stored:
            self._stored.notify_all()
        return event_id

    async def wait_until_stored(self, count: int) -> None:
        async with self._stored:
            while len(self._events) < count:
                await self._stored.wait()


class SequencedEventStore(SimpleEventStore):
    """With rows as those tests expect them."""

    def row(self, stream_id: str, event_id: str, message: Any) -> tuple[Any, ...]:
        return (stream_id, message)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        module = sys.modules[item.function.__module__]
        for store in (SequencedEventStore, SimpleEventStore):
            if hasattr(module, store.__name__):
                setattr(module, store.__name__, store)
