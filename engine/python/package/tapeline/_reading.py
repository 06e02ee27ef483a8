"""Events that one task reads at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import ClassVar

from tapeline._native import Event


class Turn:
    """Lets one task read at a time: a second one would get a part of the events, and is refused."""

    __slots__ = ("_what", "is_taken")

    def __init__(self, what: str) -> None:
        self._what = what
        self.is_taken = False

    def __enter__(self) -> None:
        if self.is_taken:
            raise RuntimeError(f"{self._what} has one reader; another task waits for its events")
        self.is_taken = True

    def __exit__(self, *_: object) -> None:
        self.is_taken = False


class OneReader(ABC):
    """An asynchronous iterator of one task."""

    _what: ClassVar[str]
    """The iterator, as the refusal of a second task calls it."""

    def __init__(self) -> None:
        self._turn = Turn(self._what)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        with self._turn:
            return await self._next()

    @abstractmethod
    async def _next(self) -> Event:
        """The next event."""
