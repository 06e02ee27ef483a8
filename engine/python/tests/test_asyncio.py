"""Event loops: asyncio's and uvloop's, which no call may block."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import blockbuster
import pytest
import uvloop

import tapeline
from tapeline import errors, kinds

Main = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a program in an event loop of one of these makes; a call that blocks it is an error."""
    make = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def run_in_loop(main: Main) -> None:
        with blockbuster.blockbuster_ctx(), asyncio.Runner(loop_factory=make) as runner:
            runner.run(asyncio.wait_for(main(), 60))

    return run_in_loop


def test_a_tail_follows_what_any_thread_ingests(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    def write() -> None:
        with bus.open_session("chat") as chat:
            for number in range(1000):
                chat.token(f"{number}")

    async def main() -> None:
        writer = threading.Thread(target=write)
        tail = await bus.tail("chat")
        writer.start()
        texts = [event.text async for event in tail if event.kind == kinds.TOKEN]
        assert texts == [f"{number}" for number in range(1000)] and tail.end == "closed"
        writer.join()

    run(main)


def test_a_cancelled_read_of_a_replay_loses_no_event(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    bus.ingest("0", session="s")
    time.sleep(0.05)
    bus.ingest_batch(["1", "2"], session="s")

    async def main() -> None:
        for speed in (None, 1.0):
            replay = bus.replay("s", speed=speed)
            texts = [(await anext(replay)).text]
            while len(texts) < 3:
                with contextlib.suppress(TimeoutError):
                    # Gives up where the event is not due yet.
                    async with asyncio.timeout(0):
                        texts.append((await anext(replay)).text)
            assert texts == ["0", "1", "2"]
            with pytest.raises(StopAsyncIteration):
                await anext(replay)

    run(main)


def test_tails_and_replays_have_one_reader(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    bus.ingest_batch(["0", "1", "2"])

    async def main() -> None:
        for reader in (bus.tail(), bus.replay()):
            first, *others = await asyncio.gather(*[anext(reader) for _ in range(3)], return_exceptions=True)
            assert isinstance(first, tapeline.Event) and first.text == "0"
            assert all(isinstance(other, RuntimeError) and "one reader" in str(other) for other in others)
            assert (await anext(reader)).text == "1"

    run(main)


def test_twins_do_as_the_calls_that_wait(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    async def main() -> None:
        ticket = bus.ingest("1", session="s")
        await bus.readable_async(ticket)
        (event,) = [event async for event in bus.replay("s")]
        assert await bus.event_id_async(ticket) == event.id
        assert await bus.unfinished_async() == []
        page = await bus.poll_async()
        await bus.ingest_with_cursor_async(["2"], "name", page.cursor or "", session="s")
        assert await bus.load_cursor_async("name") == page.cursor
        for call in (lambda: bus.readable(ticket), lambda: bus.event_id(ticket), bus.unfinished):
            with pytest.raises(errors.BlockingError):
                call()

    run(main)


def test_many_tails_wait_on_one_descriptor(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    async def read(name: str) -> list[str]:
        return [event.text async for event in bus.tail(name, kinds="token")]

    async def main() -> None:
        readers = [asyncio.create_task(read(f"s{number}")) for number in range(100)]
        await asyncio.sleep(0)
        for number in range(100):
            bus.session(f"s{number}").token(f"{number}")
            bus.close_session(f"s{number}")
            if number % 10 == 0:
                await asyncio.sleep(0)
        assert await asyncio.gather(*readers) == [[f"{number}"] for number in range(100)]

    run(main)


def test_a_tail_that_is_left_loses_nothing(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    async def main() -> None:
        bus.ingest_batch([f"{number}" for number in range(10)])
        tail = bus.tail()
        async for event in tail:
            if event.text == "3":
                break
        # A task that is cancelled while it waits loses nothing either.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                async for event in bus.tail(start="latest"):
                    pass
        rest = [event.text for event in [await anext(tail) for _ in range(6)]]
        assert rest == [f"{number}" for number in range(4, 10)]
        again = bus.tail(after=tail.cursor)
        bus.ingest("live")
        assert (await anext(again)).text == "live"

    run(main)


def test_a_cancelled_wait_leaves_the_next_event(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    async def main() -> None:
        tail = await bus.tail()
        for number in range(50):
            waiting = asyncio.ensure_future(anext(tail))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            bus.ingest(f"{number}")
            assert (await anext(tail)).text == f"{number}"

    run(main)


def test_a_tail_that_catches_up_lets_other_tasks_run(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    bus.ingest_batch([f"{number}" for number in range(1000)], session="s")
    bus.close_session("s")

    async def main() -> None:
        turns: list[int] = []
        handed_out = 0

        async def others() -> None:
            while True:
                turns.append(handed_out)
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        async for _ in bus.tail("s"):
            handed_out += 1
        other.cancel()
        assert handed_out == 1001
        assert max(after - before for before, after in zip(turns, turns[1:] + [handed_out], strict=True)) <= 32

    run(main)


def test_a_tail_has_one_reader(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    async def main() -> None:
        tail = await bus.tail()
        first = asyncio.ensure_future(anext(tail))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one reader"):
            await anext(tail)
        bus.ingest("1")
        assert (await first).text == "1"

    run(main)


def test_a_token_that_cannot_be_resumed_is_told_before_the_first_event(
    run: Callable[[Main], None], bus: tapeline.Bus
) -> None:
    async def main() -> None:
        bus.session("s").token("1")
        with pytest.raises(errors.TokenError) as caught:
            await bus.tail("s", after="x" * 32)
        assert caught.value.fault == "Damaged"

    run(main)


def test_waits_for_the_disk_are_awaited(run: Callable[[Main], None], tmp_path: Path) -> None:
    async def main() -> None:
        async with tapeline.open_async(tmp_path / "log", pinned=False) as bus:
            ticket = bus.session("s").token("1")
            await bus.durable_async(ticket)
            assert bus.is_durable(ticket)
            bus.durable(ticket)
            await asyncio.gather(*(bus.durable_async(bus.ingest(f"{number}")) for number in range(20)))
            bus.ingest("last")
            await bus.flush_async()
            assert bus.stats().events_durable == 22
            page = await bus.poll_async(5)
            assert len(page.events) == 5 and page.cursor is not None
            await bus.save_cursor_async("c", page.cursor)
            assert await bus.load_cursor_async("c") == page.cursor
            assert [cursor.name for cursor in await bus.cursors_async()] == ["c"]
            assert await bus.remove_cursor_async("c")
            assert bus.session("s").id in [summary.id for summary in await bus.sessions_async()]
            assert await bus.summary_async("s") is not None
            assert [event.text async for event in bus.replay("s")] == ["1"]
        log = await tapeline.read_async(tmp_path / "log")
        assert len([event async for event in log.replay()]) == 22
        assert sum(summary.events for summary in await log.sessions_async()) == 22

    run(main)


def test_calls_that_wait_are_refused_in_a_loop(run: Callable[[Main], None], bus: tapeline.Bus, tmp_path: Path) -> None:
    async def main() -> None:
        ticket = bus.ingest("1")
        refused: list[Callable[[], object]] = [
            bus.flush,
            bus.poll,
            bus.close,
            bus.sessions,
            bus.cursors,
            lambda: bus.summary("s"),
            lambda: bus.save_cursor("c", "00"),
            lambda: bus.load_cursor("c"),
            lambda: bus.remove_cursor("c"),
            lambda: list(bus.replay()),
            lambda: next(bus.tail()),
            lambda: tapeline.open(tmp_path / "other"),
            lambda: tapeline.read(tmp_path / "log"),
        ]
        for call in refused:
            with pytest.raises(errors.BlockingError, match="use `"):
                call()
        await bus.durable_async(ticket)
        assert not bus.closed

    run(main)


def test_a_replay_at_a_pace_leaves_the_loop_to_others(run: Callable[[Main], None], bus: tapeline.Bus) -> None:
    first = bus.ingest("0", session="s").insertion_ts
    time.sleep(0.2)
    pace = (bus.ingest("1", session="s").insertion_ts - first) / 1e9

    async def main() -> None:
        loop, turns = asyncio.get_running_loop(), 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        began = loop.time()
        assert [event.text async for event in bus.replay("s", speed=2)] == ["0", "1"]
        # A timer of the loop may be early by its clock's resolution.
        assert loop.time() - began >= pace / 2 - 0.01 and turns > 1
        other.cancel()

    run(main)


def test_gaps_are_raised_in_their_place_and_reading_goes_on(run: Callable[[Main], None]) -> None:
    with tapeline.open(memory_bytes=4 << 20, pinned=False) as bus:
        tail = bus.tail()
        for _ in range(10):
            bus.ingest_batch([b"x" * 100_000] * 10)
            bus.flush()

        async def main() -> None:
            events, gaps = 0, 0
            while events + gaps < 100:
                try:
                    await anext(tail)
                    events += 1
                except errors.GapError as error:
                    assert error.gap.reason == "Trimmed" and error.code == "Trimmed"
                    gaps += error.gap.events
            assert gaps > 0 and events > 0

        run(main)


def test_two_loops_in_two_threads_each_have_their_bell(bus: tapeline.Bus) -> None:
    async def read() -> list[str]:
        return [event.text async for event in bus.tail("s", kinds="token")]

    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(read()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        bus.session("s").token(f"{number}")
    bus.close_session("s")
    for thread in threads:
        thread.join()
    assert found == [[f"{number}" for number in range(200)]] * 4
