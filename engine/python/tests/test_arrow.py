"""Events as Arrow columns, read by pyarrow."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

import tapeline
from tapeline import errors


def test_columns_have_what_events_have(bus: tapeline.Bus) -> None:
    # More than one batch.
    bus.ingest_batch((f"{number}" for number in range(100_000)), session="s", kind="token")
    bus.ingest(b"", kind=4711)
    table = pyarrow.table(bus.replay().to_arrow())
    assert table.schema.names == ["shard", "sequence", "insertion_ts", "session", "kind", "payload"]
    assert table.schema.field("insertion_ts").type == pyarrow.timestamp("ns", "UTC")
    table.validate(full=True)
    events = list(bus.replay())
    assert table.num_rows == len(events) == 100_001 and table["payload"].num_chunks > 1
    # Python has no time of nanoseconds that these could be.
    columns = table.drop_columns("insertion_ts").to_pydict()
    assert columns["payload"] == [bytes(event) for event in events]
    assert columns["sequence"] == [event.sequence for event in events]
    assert columns["kind"] == [event.kind for event in events]
    assert columns["session"] == [bytes.fromhex(str(event.session)) for event in events]
    times = table["insertion_ts"].cast(pyarrow.int64()).to_pylist()
    assert times == [event.insertion_ts for event in events] and set(columns["shard"]) == {0}


@pytest.mark.parametrize("shards", [1, 3])
def test_columns_have_the_events_that_were_chosen(tmp_path: Path, shards: int) -> None:
    def check(replay: Callable[[], tapeline.Replay]) -> int:
        events, table = list(replay()), pyarrow.table(replay().to_arrow())
        table.validate(full=True)
        assert table["payload"].to_pylist() == [bytes(event) for event in events]
        assert table["shard"].to_pylist() == [event.shard for event in events]
        assert table["sequence"].to_pylist() == [event.sequence for event in events]
        assert table["insertion_ts"].cast(pyarrow.int64()).to_pylist() == [event.insertion_ts for event in events]
        return len(events)

    # Segments that earlier runs sealed, the files of this one, and what lies in memory.
    for run in range(3):
        with tapeline.open(tmp_path, shards=shards, pinned=False) as bus:
            for number in range(70):
                with bus.open_session(f"s{number % 7}") as chat:
                    chat.token(f"{run} {number}")
                    chat.tool_call({"number": number})
            middle = bus.ingest("middle").insertion_ts
            bus.ingest_batch([b"x" * number for number in range(500)])
            assert check(bus.replay) == (run + 1) * (4 * 70 + 501)
            assert check(lambda: bus.replay("s3")) == (run + 1) * 40
            assert check(lambda: bus.replay(["s1", "s2"], kinds="token")) == (run + 1) * 20
            assert check(lambda: bus.replay(filter={"path": "number", "value": 7})) == run + 1
            assert check(lambda: bus.replay(since=middle)) == 501
            assert check(lambda: bus.replay(until=middle)) == (run + 1) * 280 + run * 501
    with tapeline.read(tmp_path) as log:
        assert check(log.replay) == 3 * (4 * 70 + 501)


def test_a_selection_of_none_is_an_empty_table(bus: tapeline.Bus) -> None:
    bus.ingest("x")
    table = pyarrow.table(bus.replay("another").to_arrow())
    assert (table.num_rows, table.num_columns) == (0, 6)


def test_columns_outlive_the_bus_and_its_log(tmp_path: Path) -> None:
    with tapeline.open(tmp_path / "log", pinned=False) as bus:
        bus.ingest_batch([b"x" * 1000] * 100)
        reader = pyarrow.RecordBatchReader.from_stream(bus.replay().to_arrow())
    (batch,) = list(reader)
    column = batch.column("payload")
    del batch, reader
    assert column.to_pylist() == [b"x" * 1000] * 100


def test_a_replay_is_read_once(bus: tapeline.Bus) -> None:
    bus.ingest("x")
    replay = bus.replay()
    events = replay.to_arrow()
    # A stream that no library takes is let go with its capsule.
    events.__arrow_c_stream__()
    for again in (events.__arrow_c_stream__, replay.to_arrow):
        with pytest.raises(RuntimeError, match="were read"):
            again()
    assert list(replay) == []
    begun = bus.replay()
    bus.ingest("y")
    next(iter(begun))
    with pytest.raises(RuntimeError, match="were read"):
        begun.to_arrow()


def test_gaps_fail_or_are_kept(tmp_path: Path) -> None:
    with tapeline.open(pinned=False, backpressure="drop-newest", lane_bytes=64 << 10, memory_bytes=64 << 20) as bus:
        with pytest.raises(errors.DroppedError):
            while True:
                bus.ingest(b"x" * 30_000)
        bus.flush()
        bus.ingest("after")
        with pytest.raises(OSError, match="gap|dropped|missing"):
            pyarrow.table(bus.replay().to_arrow())
        events = bus.replay().to_arrow(skip_gaps=True)
        assert pyarrow.table(events)["payload"].to_pylist()[-1] == b"after"
        assert [gap.reason for gap in events.gaps] == ["Overflow"]


def test_columns_are_not_read_in_an_event_loop(bus: tapeline.Bus) -> None:
    bus.ingest("x")

    async def main() -> None:
        with pytest.raises(errors.BlockingError):
            bus.replay().to_arrow()
        events = await asyncio.to_thread(bus.replay().to_arrow)
        with pytest.raises(errors.BlockingError):
            pyarrow.table(events)
        assert (await asyncio.to_thread(pyarrow.table, events)).num_rows == 1

    asyncio.run(main())
