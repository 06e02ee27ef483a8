"""What a log gives up, by settings and by calls; and what its shards say of themselves."""

import asyncio
from pathlib import Path

import pytest

import tapeline

PAYLOAD = bytes(100_000)
SEGMENT_BYTES = 2 << 20


def fill(bus: tapeline.Bus) -> None:
    for _ in range(60):
        bus.ingest(PAYLOAD, session="s")
        bus.flush()


def test_a_log_gives_up_its_oldest_segments_by_a_call(tmp_path: Path) -> None:
    with tapeline.open(tmp_path, pinned=False, segment_bytes=SEGMENT_BYTES) as bus:
        fill(bus)
        bus.save_cursor("slow", bus.poll(1).cursor or "")
        with pytest.raises(tapeline.errors.ConfigError):
            bus.trim()
        kept = bus.trim(keep_segments=2, keep_for_cursors=True)
        assert kept.segments_kept_for_cursors > 0
        planned = bus.plan_trim(keep_segments=2)
        assert planned.segments > 0 and planned.events > 0 and planned.bytes > 0
        trimmed = bus.trim(keep_segments=2)
        assert trimmed.segments >= planned.segments and trimmed.segments_left < kept.segments_left
        with pytest.raises(tapeline.errors.LockedError):
            tapeline.trim(tmp_path, keep_bytes=1)
        left = len(list(bus.replay("s")))
        assert 0 < left < 60
    assert tapeline.trim(tmp_path, keep_segments=1).segments > 0
    with tapeline.read(tmp_path) as log:
        assert len(list(log.replay("s"))) < left


def test_a_trim_is_awaited_in_a_loop(tmp_path: Path) -> None:
    async def main() -> None:
        async with tapeline.open_async(tmp_path, pinned=False) as bus:
            with pytest.raises(tapeline.errors.BlockingError, match="trim_async"):
                bus.trim(keep_bytes=1)
            planned = await bus.plan_trim_async(keep_bytes=1 << 40)
            trimmed = await bus.trim_async(keep_seconds=3600.0)
            assert (planned.segments, trimmed.segments) == (0, 0)

    asyncio.run(main())


def test_settings_limit_a_log(tmp_path: Path) -> None:
    limits = {"keep_segments": 1, "keep_for_cursors": False}
    with tapeline.open(tmp_path, pinned=False, driver="blocking", segment_bytes=SEGMENT_BYTES, **limits) as bus:  # type: ignore[arg-type]
        (shard,) = bus.shards()
        assert (shard.device, shard.poison, shard.cuts, shard.is_full) == ("blocking", None, [], False)
        assert bus.is_healthy()
        fill(bus)
        # Segments are removed when there is time for it, meanwhile the log goes on.
        for _ in range(5000):
            if next(iter(bus.replay("s"))).sequence > 0:
                break
            bus.ingest("more", session="s")
            bus.flush()
        else:
            pytest.fail("no segment was removed")
    assert not bus.is_healthy()
    with pytest.raises(ValueError, match="driver"):
        tapeline.open(tmp_path, driver="fast")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keep_bites"):
        tapeline.open(tmp_path, keep_bites=1)  # type: ignore[call-arg]


def test_payloads_have_the_limit_of_their_bus() -> None:
    with tapeline.open(payload_bytes_max=1000, pinned=False) as bus:
        bus.ingest(bytes(1000))
        with pytest.raises(tapeline.errors.TooLargeError):
            bus.ingest(bytes(1001))
        bus.session("s").close()
        with pytest.raises(tapeline.errors.SessionClosedError):
            bus.session("s").token("1")
        stats = bus.stats()
        assert stats.refusals["session-closed"] == stats.events_refused == 1
        assert sum(stats.drops.values()) == stats.events_dropped == 0
