"""A recorder around streams of model clients, as of `openai` and `anthropic`: it keeps every chunk with its time, and
yields it unchanged.

    stream = client.chat.completions.create(model="gpt-5", messages=messages, stream=True)
    with record(bus, stream, "chat-42", model="gpt-5") as chunks:
        for chunk in chunks:
            ...

A chunk is stored as the JSON that it came as, without a kind, so that `tapeline show` and `tapeline latency` find its
text in it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, overload

from tapeline.bus import Bus
from tapeline.errors import Error

T = TypeVar("T")
Outcome = Literal["finished", "stopped", "failed"]

_log = logging.getLogger("tapeline")


class About(TypedDict, total=False):
    """What the session of a recording is about."""

    model: str | None
    user: str | None
    labels: dict[str, str] | None


@overload
def record(bus: Bus, stream: Iterator[T], name: str, **about: Unpack[About]) -> Recording[T]: ...
@overload
def record(bus: Bus, stream: AsyncIterator[T], name: str, **about: Unpack[About]) -> AsyncRecording[T]: ...
def record(
    bus: Bus, stream: Iterator[T] | AsyncIterator[T], name: str, **about: Unpack[About]
) -> Recording[T] | AsyncRecording[T]:
    """Records a stream into a session of this name, which it opens.

    The session is closed as finished at the end of the stream, as failed where the stream raises, and as stopped where
    the recording is closed before: use it in a `with` or `async with` block. Other attributes are those of the stream.
    """
    session = bus.open_session(name, content_type="application/json", **about)
    if isinstance(stream, AsyncIterator):
        return AsyncRecording(stream, session)
    return Recording(stream, session)


class _Keeper:
    """The session of a recording. A bus that takes no events is logged and counted, and the stream goes on."""

    def __init__(self, stream: Any, session: Any) -> None:
        self._stream = stream
        self._session = session
        self._is_open = True
        self.lost: int = 0
        """Chunks that the bus did not take."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _keep(self, chunk: Any) -> None:
        try:
            self._session.ingest(_json_of(chunk))
        except (Error, TypeError, ValueError) as error:
            self.lost += 1
            if self.lost == 1:
                _log.warning("a chunk was not recorded: %s", error)

    def _end(self, outcome: Outcome) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._session.close(outcome)
        except Error as error:
            _log.warning("the end of a recording was not recorded: %s", error)


class Recording(_Keeper, Generic[T]):
    """A stream that is recorded."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            chunk: T = next(self._stream)
        except StopIteration:
            self._end("finished")
            raise
        except BaseException:
            self._end("failed")
            raise
        self._keep(chunk)
        return chunk

    def close(self) -> None:
        """Closes the stream."""
        self._end("stopped")
        if (close := getattr(self._stream, "close", None)) is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, class_: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncRecording(_Keeper, Generic[T]):
    """A stream for event loops that is recorded."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            chunk: T = await anext(self._stream)
        except StopAsyncIteration:
            self._end("finished")
            raise
        except BaseException:
            self._end("failed")
            raise
        self._keep(chunk)
        return chunk

    async def close(self) -> None:
        """Closes the stream."""
        self._end("stopped")
        close = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _json_of(chunk: Any) -> Any:
    """A chunk as JSON: of a model of pydantic, with the fields that came, under the names that they came by."""
    dump = getattr(chunk, "model_dump_json", None)
    return dump(by_alias=True, exclude_unset=True) if dump is not None else chunk
