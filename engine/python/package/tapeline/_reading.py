"""Events that one task reads at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import ClassVar

from tapeline._native import Event


class OneReader(ABC):
    """An asynchronous iterator that refuses a second task while one waits: each would get a part of the events."""

    _what: ClassVar[str]
    """The iterator, as the refusal calls it."""

    _is_read = False

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._is_read:
            raise RuntimeError(f"{self._what} has one reader; another task waits for its events")
        self._is_read = True
        try:
            return await self._next()
        finally:
            self._is_read = False

    @abstractmethod
    async def _next(self) -> Event:
        """The next event."""
