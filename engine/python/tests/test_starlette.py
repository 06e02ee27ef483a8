"""A session over HTTP: FastAPI on uvicorn, and httpx clients whose connections break."""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator

import fastapi
import httpx
import pytest
import uvicorn
from starlette.responses import Response

import tapeline
from tapeline.sse import Frame, frame_of
from tapeline.sse import frames as sse_frames
from tapeline.starlette import stream_session


@contextlib.asynccontextmanager
async def serve(bus: tapeline.Bus, **options: float) -> AsyncIterator[httpx.AsyncClient]:
    """A server of the bus's sessions, and a client of it."""
    app = fastapi.FastAPI()

    @app.get("/chats/{name}")
    async def chat(name: str, request: fastapi.Request) -> Response:
        return await stream_session(bus, name, request, **options)  # type: ignore[arg-type]

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=0))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client
    server.should_exit = True
    await serving


async def frames(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The frames of an answer, as an EventSource takes them apart."""
    frame: dict[str, str] = {}
    async for line in response.aiter_lines():
        field, _, value = line.partition(":")
        if not line:
            yield frame
            frame = {}
        elif field == "data" and "data" in frame:
            frame["data"] += "\n" + value.removeprefix(" ")
        else:
            frame[field] = value.removeprefix(" ")


def test_a_client_that_drops_and_resumes_gets_the_identical_suffix(bus: tapeline.Bus) -> None:
    tokens = [f"token {number}\n" for number in range(300)]
    drops = random.Random(7)

    async def write() -> None:
        with bus.open_session("chat") as chat:
            for token in tokens:
                chat.token(token)
                if drops.random() < 0.1:
                    await asyncio.sleep(0.001)

    async def read(client: httpx.AsyncClient, most: int) -> tuple[list[dict[str, str]], int]:
        """All of a session, over connections that break after up to so many frames."""
        seen: list[dict[str, str]] = []
        connections = 0
        while True:
            headers = {"Last-Event-ID": seen[-1]["id"]} if seen else {}
            connections += 1
            async with client.stream("GET", "/chats/chat", headers=headers) as response:
                if response.status_code == 204:
                    return seen, connections
                assert response.status_code == 200
                assert response.headers["content-type"].startswith("text/event-stream")
                left = drops.randrange(1, most)
                async for frame in frames(response):
                    if "id" in frame:
                        seen.append(frame)
                        left -= 1
                    if left == 0:
                        break

    async def main() -> None:
        async with serve(bus) as client:
            writing = asyncio.create_task(write())
            (whole, once), (parts, many) = await asyncio.gather(read(client, 10**6), read(client, 20))
            await writing
        assert whole == parts and many > 10 and once >= 2
        assert [frame.get("event") for frame in whole] == ["session", *[None] * len(tokens), "end"]
        assert [frame["data"] for frame in whole[1:-1]] == tokens
        assert [frame["id"] for frame in whole] == [event.token async for event in bus.replay("chat")]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_tokens_that_cannot_be_resumed_are_refused(bus: tapeline.Bus) -> None:
    bus.session("a").token("1")
    bus.session("b").token("2")
    with tapeline.open(pinned=False) as other:
        other.session("a").token("elsewhere")
        (foreign_log,) = other.replay("a")
    (of_a,), (of_b,) = bus.replay("a"), bus.replay("b")

    async def main() -> None:
        async with serve(bus) as client:
            for token, status, fault in (
                (of_b.token, 400, "Foreign"),
                ("nonsense", 400, "Damaged"),
                (foreign_log.token, 410, "Unknown"),
            ):
                response = await client.get("/chats/a", headers={"Last-Event-ID": token})
                assert (response.status_code, response.json()["fault"]) == (status, fault)
                assert response.json()["earliest"] == (of_a.token if status == 410 else None)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_silent_stream_is_kept_alive_between_frames(bus: tapeline.Bus) -> None:
    async def main() -> None:
        async with serve(bus, keep_alive=0.01) as client, client.stream("GET", "/chats/chat") as response:
            lines = response.aiter_lines()
            assert [await anext(lines), await anext(lines)] == ["retry: 1000", ""]
            assert [await anext(lines), await anext(lines)] == [": keep-alive", ""]
            bus.session("chat").token("1")
            bus.close_session("chat")
            rest = [line async for line in lines if line and not line.startswith((":", "id"))]
            assert rest == ["data: 1", "event: end", 'data: {"type":"session.close","outcome":"finished"}']

    asyncio.run(asyncio.wait_for(main(), 30))


def test_trimmed_events_are_a_gap_that_a_client_resumes_after() -> None:
    async def fill(bus: tapeline.Bus) -> None:
        """More than the bus's memory holds."""
        for _ in range(20):
            bus.ingest_batch([b"x" * 100_000] * 5, session="chat")
            await bus.flush_async()

    async def main() -> None:
        with_little_memory = tapeline.open_async(memory_bytes=4 << 20, pinned=False)
        async with with_little_memory as bus, serve(bus, durable=False) as client:
            tail = await bus.tail("chat")
            bus.session("chat").token("first")
            first = await anext(tail)
            await fill(bus)
            bus.close_session("chat")
            _, gap, *rest = [frame.decode() async for frame in sse_frames(tail)]
            assert re.fullmatch(r"id: \S{32}\nevent: gap\ndata: shard 0: sequences .*\n\n", gap)
            headers = {"Last-Event-ID": gap[4:36]}
            async with client.stream("GET", "/chats/chat", headers=headers) as response:
                resumed = [frame["id"] async for frame in frames(response) if "id" in frame]
            assert resumed == [frame[4:36] for frame in rest]
            # The client that broke off before that is told where it may begin.
            answer = await client.get("/chats/chat", headers={"Last-Event-ID": first.token})
            assert (answer.status_code, answer.json()["fault"]) == (410, "Gone")
            assert answer.json()["earliest"] == rest[0][4:36]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_line_ends_and_broken_text_stay_within_their_frame() -> None:
    for data in ("a\nb", "a\r\nb", "a\rb"):
        assert Frame(data).encode("T") == b"id: T\ndata: a\ndata: b\n\n"
    assert Frame("", "end").encode() == b"event: end\ndata: \n\n"
    with tapeline.open(pinned=False) as bus:
        bus.ingest(b"\xff ok", session="s")
        (event,) = bus.replay("s")
        assert frame_of(event) == Frame("\ufffd ok")
        bus.ingest(b"no json", session="t", kind="session")
        (event,) = bus.replay("t")
        assert frame_of(event) == Frame("no json", "session")
