"""The store of responses, in a server as vLLM's, with the real `openai` client."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.types.responses import ResponseStreamEvent

import tapeline
from tapeline.responses import ResponseStore

WORDS = 20
ALL = ["response.created", *["response.output_text.delta"] * WORDS, "response.completed"]


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[tuple[openai.OpenAI, subprocess.Popen[str]]]:
    """A server of the responses in a directory, and a client of it."""
    program = Path(__file__).parent / "responses_server.py"
    with subprocess.Popen([sys.executable, program, directory], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            with openai.OpenAI(api_key="k", base_url=url, max_retries=0, timeout=30) as client:
                yield client, server
        finally:
            server.kill()


def go(directory: Path, words: int) -> None:
    """Has the engine write so many words in all."""
    (directory / "go").write_text("x" * words)


def begin(client: openai.OpenAI, model: str = "m", events: int = 1) -> tuple[str, list[ResponseStreamEvent]]:
    """Begins a response in the background, and drops its stream after so many events."""
    with client.responses.create(model=model, input="a", background=True, stream=True) as stream:
        seen = [next(stream) for _ in range(events)]
    assert seen[0].type == "response.created"
    return seen[0].response.id, seen


def rest(client: openai.OpenAI, id: str, after: int) -> list[ResponseStreamEvent]:
    with client.responses.retrieve(id, stream=True, starting_after=after) as stream:
        return list(stream)


def test_a_dropped_stream_is_resumed_by_its_sequence_number(tmp_path: Path) -> None:
    go(tmp_path, 5)
    with serve(tmp_path) as (client, _):
        id, seen = begin(client, events=4)
        go(tmp_path, WORDS)
        resumed = rest(client, id, seen[-1].sequence_number)
        assert [event.type for event in seen + resumed] == ALL
        assert [event.sequence_number for event in seen + resumed] == list(range(WORDS + 2))
        assert [event.type for event in rest(client, id, 0)] == ALL[1:]
        assert client.responses.retrieve(id).status == "completed"
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_none")


@pytest.mark.parametrize("end", ["fails", "cancel"])
def test_the_end_of_a_failed_or_cancelled_run_ends_its_readers(tmp_path: Path, end: str) -> None:
    go(tmp_path, 2)
    with serve(tmp_path) as (client, _):
        id, _ = begin(client, model=end, events=3)
        with client.responses.retrieve(id, stream=True, starting_after=1) as stream:
            assert next(stream).sequence_number == 2
            if end == "cancel":
                assert client.responses.cancel(id).status == "cancelled"
            else:
                go(tmp_path, WORDS)
            assert list(stream) == []


def test_responses_survive_a_kill_and_those_under_way_end_as_failed(tmp_path: Path) -> None:
    go(tmp_path, WORDS)
    with serve(tmp_path) as (client, server):
        whole, seen = begin(client, events=WORDS + 2)
        go(tmp_path, 5)
        cut, seen_of_cut = begin(client, events=6)
        server.kill()
    with serve(tmp_path) as (client, _):
        assert [event.to_json() for event in rest(client, whole, 3)] == [event.to_json() for event in seen[4:]]
        assert client.responses.retrieve(whole).status == "completed"
        (failed,) = rest(client, cut, seen_of_cut[-1].sequence_number)
        assert failed.type == "response.failed" and failed.sequence_number == 6
        assert failed.response.error is not None and failed.response.error.code == "server_error"
        assert client.responses.retrieve(cut).status == "failed"


async def respond(store: ResponseStore, id: str) -> None:
    """A response whose stream is dropped at its first event and resumed."""
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": id, "status": "in_progress"}}
    with store.run(id) as run:
        run.append(created)
        async for event in store.events(id):
            assert event.json() == created
            break
        for number in range(1, WORDS + 1):
            run.append({"type": "response.output_text.delta", "sequence_number": number, "delta": "word "})
        done = {"id": id, "status": "completed", "text": "word " * WORDS}
        run.append({"type": "response.completed", "sequence_number": WORDS + 1, "response": done})
    numbers = [event.json()["sequence_number"] async for event in store.events(id, 0)]
    assert numbers == list(range(1, WORDS + 2))
    assert await store.retrieve(id) == done


def used() -> tuple[int, int]:
    """Bytes of Python's objects, and of the process's own memory."""
    gc.collect()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return tracemalloc.get_traced_memory()[0], int(line.split()[1]) << 10


def test_memory_stays_flat_over_many_responses(bus: tapeline.Bus) -> None:
    responses = int(os.environ.get("TAPELINE_TEST_RESPONSES", "1000"))

    async def main() -> tuple[tuple[int, int], tuple[int, int]]:
        store = ResponseStore(bus)
        found = []
        for half in range(2):
            for first in range(0, responses // 2, 50):
                await asyncio.gather(*(respond(store, f"{half}-{first + number}") for number in range(50)))
            found.append(used())
        return found[0], found[1]

    tracemalloc.start()
    try:
        half, whole = asyncio.run(main())
    finally:
        tracemalloc.stop()
    # A response of this size leaves more than 2 KiB in a store that keeps it.
    assert whole[0] - half[0] < responses // 2 * 128, (half, whole)
    assert whole[1] - half[1] < 16 << 20, (half, whole)
    stats = bus.stats()
    assert stats.memory_bytes <= stats.memory_budget
