"""Threads that share what a program may share, with the interpreter's lock or, on a free-threaded build, without it."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable

import pytest

import tapeline
from tapeline import errors

THREADS = 4
EVENTS = 500
EXPECTED = [str(number) for number in range(EVENTS)]


def together(*works: Callable[[int], None]) -> None:
    """Runs each work with each number in a thread of its own; raises what one of them raises."""
    failures: list[BaseException] = []

    def run(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work, number)) for number in range(THREADS) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


HAS_LOCK: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


@pytest.mark.skipif(HAS_LOCK, reason="the interpreter has its lock")
def test_the_package_leaves_a_free_threaded_interpreter_without_its_lock() -> None:
    program = "import sys, tapeline, tapeline.logging, tapeline.responses; assert not sys._is_gil_enabled()"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_threads_share_a_bus_and_a_session() -> None:
    with tapeline.open(pinned=False, backpressure="block") as bus:
        shared = bus.open_session("shared")

        def write(number: int) -> None:
            with bus.open_session(f"own-{number}", labels={"number": str(number)}) as own:
                for text in EXPECTED:
                    shared.token(f"{number} {text}")
                    own.token(text)
                bus.stats(), bus.prometheus(), bus.shards()

        def follow(number: int) -> None:
            assert [event.text for event in bus.tail(f"own-{number}", kinds="token")] == EXPECTED

        def follow_in_a_loop(number: int) -> None:
            async def main() -> None:
                assert [event.text async for event in bus.tail(f"own-{number}", kinds="token")] == EXPECTED

            asyncio.run(main())

        together(write, follow, follow_in_a_loop)
        assert len(list(bus.replay(shared, kinds="token"))) == THREADS * EVENTS


def test_threads_that_read_one_replay_get_each_event_once() -> None:
    with tapeline.open(pinned=False, backpressure="block") as bus:
        bus.ingest_batch(EXPECTED, session="s")
        replay = iter(bus.replay("s"))
        read: list[list[str]] = []
        together(lambda _: read.append([event.text for event in replay]))
        assert Counter(text for texts in read for text in texts) == Counter(EXPECTED)


def test_a_bus_closes_under_threads_that_ingest() -> None:
    bus = tapeline.open(pinned=False, backpressure="block")
    ingest = threading.Barrier(THREADS + 1)

    def until_it_is_closed(_: int) -> None:
        bus.ingest("before")
        ingest.wait()
        with pytest.raises((errors.ClosedError, errors.StoreError, errors.IngestError)):
            while True:
                bus.ingest("x")

    def close() -> None:
        ingest.wait()
        bus.close()

    closer = threading.Thread(target=close)
    closer.start()
    together(until_it_is_closed)
    closer.join()
    assert bus.closed
