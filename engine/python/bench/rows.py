"""Measures the Python package: a row of docs/BENCHMARKS.md each. `scripts/bench-python` runs it with a release wheel.

    python rows.py [--seconds 1.0] [--no-redis]

Rates are medians of rounds. What is compared is measured in the same run, by turns.
"""

import argparse
import asyncio
import contextlib
import gc
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import redis

import tapeline

TOKEN = " token"
PAYLOAD = bytes(64)
ROUNDS = 7


def row(figure: str, measured: str) -> None:
    print(f"| {figure} | {measured} |", flush=True)


def ns_of(call: Callable[[], object], calls: int) -> float:
    """Nanoseconds of one of so many calls."""
    began = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - began) / calls


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A server without persistence, on a socket of its own."""
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/redis"
        arguments = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", directory]
        server = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                time.sleep(0.01)
            yield socket
        finally:
            server.terminate()
            server.wait()


def tokens(directory: Path, with_redis: bool) -> None:
    """A token event, and the same by XADD: pipelined by 100, and each awaited."""
    with contextlib.ExitStack() as stack:
        bus = stack.enter_context(tapeline.open(directory / "tokens", pinned=False))
        chat = bus.open_session("chat")
        ours, pipelined, awaited = [], [], []
        client = redis.Redis(unix_socket_path=stack.enter_context(redis_server())) if with_redis else None
        loop = asyncio.new_event_loop()
        for _ in range(ROUNDS):
            ours.append(ns_of(lambda: chat.token(TOKEN), 20_000))
            bus.flush()
            if client is None:
                continue

            def pipeline() -> None:
                with client.pipeline(transaction=False) as commands:
                    for _ in range(100):
                        commands.xadd("chat", {"token": TOKEN}, maxlen=100_000)
                    commands.execute()

            pipelined.append(ns_of(pipeline, 50) / 100)
            awaited.append(loop.run_until_complete(xadd(client.connection_pool.connection_kwargs["path"])))
        loop.close()
        token = statistics.median(ours)
        row("a token event", f"{token:.0f} ns")
        if client is not None:
            one, other = statistics.median(pipelined), statistics.median(awaited)
            row("redis-py, XADD pipelined by 100, to a token event", f"{one / token:.0f}x: {one / 1000:.1f} us")
            row("redis-py, XADD awaited, to a token event", f"{other / token:.0f}x: {other / 1000:.1f} us")


async def xadd(socket: str) -> float:
    from redis.asyncio import Redis

    async with Redis(unix_socket_path=socket) as client:
        await client.xadd("chat", {"token": TOKEN}, maxlen=100_000)
        began = time.perf_counter_ns()
        for _ in range(500):
            await client.xadd("chat", {"token": TOKEN}, maxlen=100_000)
        return (time.perf_counter_ns() - began) / 500


def replays(directory: Path) -> None:
    """Replay of stored events, by the processor's time of the thread that replays, which alone works then: other
    programs of the machine do not count."""
    events = 2_000_000
    with tapeline.open(directory / "replays", pinned=False, backpressure="block") as bus:
        for _ in range(events // 10_000):
            bus.ingest_batch([PAYLOAD] * 10_000, session="s")
    log = tapeline.read(directory / "replays")
    views, columns = [], []
    for _ in range(ROUNDS):
        began, count = time.thread_time(), 0
        for event in log.replay():
            event.payload
            count += 1
        views.append(count / (time.thread_time() - began))
        began = time.thread_time()
        count = pyarrow.table(log.replay().to_arrow()).num_rows
        columns.append(count / (time.thread_time() - began))
        assert count == events
    row("replay, a memoryview of each event's payload, of its processor's time", f"{statistics.median(views) / 1e6:.1f} M events/s")
    row("replay into Arrow columns, of its processor's time", f"{statistics.median(columns) / 1e6:.1f} M events/s")


def tail(directory: Path, seconds: float) -> None:
    """From before `token` is called in a thread, to `async for` in a loop, at 1000 events a second."""
    waits: list[int] = []
    with tapeline.open(directory / "tail", pinned=False) as bus:

        def write() -> None:
            with bus.open_session("chat") as chat:
                for _ in range(int(1000 * seconds)):
                    chat.token(str(time.perf_counter_ns()))
                    time.sleep(0.001)

        async def read() -> None:
            writer = threading.Thread(target=write)
            stream = await bus.tail("chat", kinds="token")
            writer.start()
            async for event in stream:
                waits.append(time.perf_counter_ns() - int(event.text))
            writer.join()

        asyncio.run(read())
    waits.sort()
    p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    row("emit in a thread to `async for`, 1000 events/s", f"p50 {p50 / 1000:.0f} us, p99 {p99 / 1000:.0f} us")


def loop_time(directory: Path) -> None:
    """The longest that the loop was in one step of a program that uses every call: of its processor's time, so that
    other programs of the machine do not count. With and without the interpreter's garbage collector, which looks at
    objects of the whole program."""
    longest = longest_without = collected = collection_began = 0
    run = asyncio.events.Handle._run

    def collection(phase: str, _: dict[str, int]) -> None:
        nonlocal collected, collection_began
        if phase == "start":
            collection_began = time.thread_time_ns()
        else:
            collected += time.thread_time_ns() - collection_began

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest, longest_without
        before, began = collected, time.thread_time_ns()
        run(handle)
        took = time.thread_time_ns() - began
        longest, longest_without = max(longest, took), max(longest_without, took - (collected - before))

    async def main() -> None:
        async with tapeline.open_async(directory / "loop", pinned=False) as bus:
            for number in range(200):
                with bus.open_session(f"s{number}") as chat:
                    for _ in range(50):
                        ticket = chat.token(TOKEN)
                    await asyncio.sleep(0)
            await bus.flush_async()
            await bus.durable_async(ticket)
            readers = [read(bus, f"s{number}") for number in range(200)]
            assert sum(await asyncio.gather(*readers)) == 200 * 52
            page = await bus.poll_async(1000)
            await bus.save_cursor_async("name", page.cursor or "")
            await bus.cursors_async()
            await bus.sessions_async()
            await bus.summary_async("s0")
            bus.stats(), bus.prometheus()
            async for _ in bus.replay():
                pass

    async def read(bus: tapeline.Bus, name: str) -> int:
        return len([event async for event in bus.tail(name)])

    asyncio.events.Handle._run = timed  # type: ignore[method-assign]
    gc.callbacks.append(collection)
    try:
        asyncio.run(main())
    finally:
        gc.callbacks.remove(collection)
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
    row("longest step of an event loop, of its processor's time", f"{longest / 1e6:.2f} ms")
    row("the same without garbage collection", f"{longest_without / 1e6:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--no-redis", action="store_true")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="tapeline-python-", dir="."))
    try:
        tokens(directory, not arguments.no_redis)
        replays(directory)
        tail(directory, arguments.seconds)
        loop_time(directory)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
