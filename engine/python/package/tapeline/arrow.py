"""Events as columns, for any library of Arrow data: pyarrow, polars, pandas, DuckDB."""

from __future__ import annotations

from tapeline import _native
from tapeline._loop import refuse_in_loop
from tapeline._native import Gap


class ArrowEvents:
    """The events of a replay as a stream of Arrow record batches, which can be read once.

        table = pyarrow.table(bus.replay("chat-42").to_arrow())

    Columns: `shard` (uint16), `sequence` (uint64), `insertion_ts` (timestamp in nanoseconds, UTC), `session` (16 bytes),
    `kind` (uint16), `payload` (binary). Not in an event loop: there, `await asyncio.to_thread(pyarrow.table, events)`.
    """

    def __init__(self, native: _native.ArrowEvents) -> None:
        self._native = native

    @property
    def gaps(self) -> list[Gap]:
        """With `skip_gaps`, what was missing in what was read."""
        return self._native.gaps()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The stream as the Arrow PyCapsule interface has it. The columns are what they are, whatever is requested."""
        refuse_in_loop("reading events as columns", "a thread, as `await asyncio.to_thread(pyarrow.table, events)`")
        return self._native.stream()
