"""A stand-in for vLLM's server of the Responses API: its three routes, over a store in a bus, with an engine that writes
a word whenever the file `go` grows.

    python responses_server.py DIRECTORY
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi
import uvicorn
from starlette.responses import JSONResponse, Response, StreamingResponse

import tapeline
from tapeline.responses import ResponseStore

DIRECTORY = Path(sys.argv[1])
WORDS = 20
runs: dict[str, asyncio.Task[None]] = {}


def response(id: str, status: str) -> dict[str, Any]:
    fields = {"id": id, "object": "response", "created_at": 1, "model": "m", "status": status, "output": []}
    return {**fields, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "background": True}


async def generate(store: ResponseStore, id: str, model: str) -> None:
    with store.run(id, model=model) as run:
        run.append({"type": "response.created", "sequence_number": 0, "response": response(id, "in_progress")})
        for number in range(1, WORDS + 1):
            while (DIRECTORY / "go").stat().st_size < number:
                await asyncio.sleep(0.002)
            if model == "fails" and number == 3:
                raise RuntimeError("the engine broke")
            delta = {"type": "response.output_text.delta", "sequence_number": number, "delta": f"word {number}\n"}
            run.append({**delta, "item_id": "i", "output_index": 0, "content_index": 0, "logprobs": []})
        done = {"type": "response.completed", "sequence_number": WORDS + 1, "response": response(id, "completed")}
        run.append(done)


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    async with tapeline.open_async(DIRECTORY / "log", pinned=False) as bus:
        app.state.store = ResponseStore(bus)
        await app.state.store.recover()
        yield


app = fastapi.FastAPI(lifespan=lifespan)


def stream(id: str, starting_after: int | None) -> Response:
    return StreamingResponse(app.state.store.frames(id, starting_after), media_type="text/event-stream")


@app.post("/v1/responses")
async def create(request: fastapi.Request) -> Response:
    body = await request.json()
    id = f"resp_{len(runs)}_{body['input']}"
    runs[id] = asyncio.create_task(generate(app.state.store, id, body["model"]))
    return stream(id, None)


@app.get("/v1/responses/{id}")
async def retrieve(id: str, stream: bool = False, starting_after: int | None = None) -> Response:
    found = await app.state.store.retrieve(id)
    if found is None:
        return JSONResponse({"error": {"message": "no such response"}}, 404)
    return globals()["stream"](id, starting_after) if stream else JSONResponse(found)


@app.post("/v1/responses/{id}/cancel")
async def cancel(id: str) -> Response:
    runs[id].cancel()
    await asyncio.wait([runs[id]])
    return JSONResponse({**await app.state.store.retrieve(id), "status": "cancelled"})


if __name__ == "__main__":
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))

    async def main() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.001)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await serving

    asyncio.run(main())
