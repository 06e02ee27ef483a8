"""The recorder, around the real clients of a local server that streams as the model providers do, and the handler of
`logging`."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator

import anthropic
import fastapi
import openai
import pytest
import uvicorn
from starlette.responses import StreamingResponse

import tapeline
from tapeline.logging import BusHandler
from tapeline.recorder import record

WORDS = ["Tape", "line", " keeps", " it", "\n", "grün"]


def chat_chunk(delta: dict[str, object], reason: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "field_of_tomorrow": [1]}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


CHAT = [chat_chunk({"role": "assistant"}, None), *(chat_chunk({"content": word}, None) for word in WORDS)]
CHAT.append(chat_chunk({}, "stop"))

MESSAGE: list[dict[str, object]] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        for word in WORDS
    ),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_stop"},
]


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """A server that streams these."""
    app = fastapi.FastAPI()

    @app.post("/v1/chat/completions")
    async def chat(request: fastapi.Request) -> StreamingResponse:
        breaks_off = (await request.json())["model"] == "breaks"

        async def body() -> AsyncIterator[str]:
            for chunk in CHAT[: 3 if breaks_off else None]:
                yield f"data: {json.dumps(chunk)}\n\n"
            yield 'data: {"error":{"message":"overloaded"}}\n\n' if breaks_off else "data: [DONE]\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    @app.post("/v1/messages")
    async def messages() -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            for chunk in MESSAGE:
                yield f"event: {chunk['type']}\ndata: {json.dumps(chunk)}\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with provider() as url:
        yield url


def stored(bus: tapeline.Bus, session: str) -> list[object]:
    return [event.json() for event in bus.replay(session, kinds="unspecified")]


def outcome(bus: tapeline.Bus, session: str) -> str | None:
    summary = bus.summary(session)
    assert summary is not None
    return summary.outcome


def ask(client: openai.OpenAI, model: str = "m") -> openai.Stream[openai.types.chat.ChatCompletionChunk]:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "?"}], stream=True)


def test_chunks_of_openai_are_kept_as_they_came_and_yielded_unchanged(bus: tapeline.Bus, url: str) -> None:
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1")
    plain = list(ask(client))
    with record(bus, ask(client), "chat", model="m") as recorded:
        chunks = list(recorded)
        assert recorded.response.status_code == 200 and recorded.lost == 0
    assert chunks == plain
    assert stored(bus, "chat") == CHAT and outcome(bus, "chat") == "finished"
    times = [event.insertion_ts for event in bus.replay("chat")]
    assert times == sorted(times)
    client.close()


def test_chunks_of_an_async_client_are_kept(bus: tapeline.Bus, url: str) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as client:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "?"}], stream=True
            )
            async with record(bus, stream, "chat") as recorded:
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in recorded])
        assert text == "".join(WORDS)

    asyncio.run(asyncio.wait_for(main(), 30))
    assert stored(bus, "chat") == CHAT and outcome(bus, "chat") == "finished"


def test_chunks_of_anthropic_are_kept(bus: tapeline.Bus, url: str) -> None:
    client = anthropic.Anthropic(api_key="k", base_url=url)
    stream = client.messages.create(
        model="m", max_tokens=10, messages=[{"role": "user", "content": "?"}], stream=True
    )
    with record(bus, stream, "message", user="u-7") as recorded:
        kinds = [chunk.type for chunk in recorded]
    assert kinds == [chunk["type"] for chunk in MESSAGE]
    assert stored(bus, "message") == MESSAGE and outcome(bus, "message") == "finished"
    client.close()


def test_a_recording_ends_as_its_stream_does(bus: tapeline.Bus, url: str) -> None:
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1")
    with record(bus, ask(client), "stopped") as recorded:
        next(recorded)
    assert (stored(bus, "stopped"), outcome(bus, "stopped")) == (CHAT[:1], "stopped")
    with pytest.raises(openai.APIError), record(bus, ask(client, "breaks"), "failed") as recorded:
        list(recorded)
    assert (stored(bus, "failed"), outcome(bus, "failed")) == (CHAT[:3], "failed")
    client.close()


def test_a_bus_that_takes_nothing_does_not_break_the_stream(
    bus: tapeline.Bus, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = record(bus, iter([{"n": 1}, {"n": 2}, {"n": 3}]), "s")
    assert next(recorded) == {"n": 1}
    bus.close()
    assert list(recorded) == [{"n": 2}, {"n": 3}] and recorded.lost == 2
    assert [entry.message.partition(":")[0] for entry in caplog.records] == [
        "a chunk was not recorded",
        "the end of a recording was not recorded",
    ]


def test_log_records_are_events(bus: tapeline.Bus, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("test_recorder.records")
    logger.propagate = False
    handler = BusHandler(bus, session="logs", level=logging.INFO)
    logger.addHandler(handler)
    logger.debug("not this one")
    logger.warning("%s of %d", "one", 2, extra={"request": "r-7", "thing": {1}})
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed")
    one, two = stored(bus, "logs")
    assert isinstance(one, dict) and isinstance(two, dict)
    assert (one["level"], one["logger"], one["message"]) == ("WARNING", logger.name, "one of 2")
    assert one["extra"] == {"request": "r-7", "thing": "{1}"} and abs(one["time"] - two["time"]) < 60
    assert two["message"] == "it failed" and two["exception"].endswith("ValueError: broken")
    bus.close()
    logger.error("the bus is closed")
    assert "ClosedError" in capsys.readouterr().err
    logger.removeHandler(handler)
