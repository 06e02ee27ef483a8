"""The event store for the MCP SDK, with the SDK's own tests and against the mixing of clients."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCNotification
from starlette.applications import Starlette
from starlette.routing import Mount

import tapeline
from tapeline.mcp import BusEventStore, ResumableSessionManager

HERE = Path(__file__).parent
SDK = Path(sys.prefix) / "mcp"


@pytest.mark.skipif(not (SDK / "tests").is_dir(), reason="scripts/test-python downloads the tests of the SDK")
def test_the_tests_of_the_sdk_pass_with_a_store_in_a_bus() -> None:
    suite = ["tests/interaction/transports/test_hosting_resume.py", "tests/shared/test_streamable_http.py"]
    options = ["-p", "suite_plugin", "-p", "anyio", "-p", "no:cacheprovider", "-q", "-o", "addopts=", "-o", "log_cli=0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *suite],
        cwd=SDK,
        env={**os.environ, "PYTHONPATH": str(HERE / "mcp_suite")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "81 passed" in done.stdout


def note(number: int) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params={"number": number})


async def replayed(store: BusEventStore, after: str) -> tuple[str | None, list[tuple[object, str | None]]]:
    """The stream of an event, and the numbers and ids of the notes after it."""
    sent: list[EventMessage] = []

    async def send(message: EventMessage) -> None:
        sent.append(message)

    stream = await store.replay_events_after(after, send)
    return stream, [(json.loads(one.message.model_dump_json())["params"]["number"], one.event_id) for one in sent]


def test_a_stream_is_replayed_alone_and_without_what_primed_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with tapeline.open_async(tmp_path / "log", pinned=False) as bus:
            store, other = BusEventStore(bus, "mcp/a"), BusEventStore(bus)
            ids: dict[str, list[str]] = {"1": [], "2": []}
            for number in range(10):
                stream = "1" if number % 2 else "2"
                ids[stream].append(await store.store_event(stream, None if number in (0, 4) else note(number)))
                # The stream of another client has the same name.
                foreign = await other.store_event(stream, note(100 + number))
            assert await replayed(store, ids["1"][1]) == ("1", [(5, ids["1"][2]), (7, ids["1"][3]), (9, ids["1"][4])])
            assert await replayed(store, ids["2"][0]) == ("2", [(2, ids["2"][1]), (6, ids["2"][3]), (8, ids["2"][4])])
            assert await replayed(store, ids["1"][-1]) == ("1", [])
            for unknown in (foreign, "", "x", ids["1"][0][:-1] + "99", ids["1"][0].replace("-", "-f", 1), "-" * 40):
                assert await replayed(store, unknown) == (None, [])
        # The store of a later process knows the ids.
        async with tapeline.open_async(tmp_path / "log", pinned=False) as bus:
            store = BusEventStore(bus, "mcp/a")
            assert await replayed(store, ids["1"][3]) == ("1", [(9, ids["1"][4])])
            later = await store.store_event("1", note(11))
            assert await replayed(store, ids["1"][3]) == ("1", [(9, ids["1"][4]), (11, later)])

    asyncio.run(asyncio.wait_for(main(), 30))


def test_what_is_stored_while_a_stream_is_replayed_is_replayed_as_well(bus: tapeline.Bus) -> None:
    async def main() -> None:
        store = BusEventStore(bus)
        first = await store.store_event("1", None)
        await store.store_event("1", note(0))
        sent: list[str | None] = []

        async def send(message: EventMessage) -> None:
            sent.append(message.event_id)
            if len(sent) < 5:
                await store.store_event("1", note(len(sent)))

        assert await store.replay_events_after(first, send) == "1"
        assert len(sent) == 5 and len(set(sent)) == 5

    asyncio.run(asyncio.wait_for(main(), 30))


@contextlib.asynccontextmanager
async def serve(bus: tapeline.Bus) -> AsyncIterator[httpx.AsyncClient]:
    """An MCP server whose tool says who calls it, and a client of it."""
    server = MCPServer("who")

    @server.tool()
    async def who(name: str, ctx: Context) -> str:
        await ctx.report_progress(1, 2, f"to {name}")
        return f"for {name}"

    manager = ResumableSessionManager(server, bus)
    app = Starlette(routes=[Mount("/mcp", app=manager.handle_request)])
    async with manager.run():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1/mcp") as client:
            yield client


def test_clients_that_count_their_requests_alike_get_their_own_messages(bus: tapeline.Bus) -> None:
    def call(number: int, method: str, params: object) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}

    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    accept = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}

    async def main() -> None:
        async with serve(bus) as client:
            first_ids = []
            for name in ("ann", "bob"):
                opened = await client.post("/", headers=accept, json=call(1, "initialize", hello))
                headers = {**accept, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
                params = {"name": "who", "arguments": {"name": name}, "_meta": {"progressToken": 1}}
                answer = await client.post("/", headers=headers, json=call(2, "tools/call", params))
                ids = [line[4:] for line in answer.text.splitlines() if line.startswith("id: ")]
                assert f"for {name}" in answer.text and len(ids) >= 2
                first_ids.append(ids[0])
            stores = {summary.id: summary for summary in await bus.sessions_async()}
            assert len(stores) == 2
            for id, name, other in zip(first_ids, ("ann", "bob"), ("bob", "ann"), strict=True):
                texts = [event.text async for event in bus.replay(tapeline.SessionId.parse(id.partition("-")[0]))]
                assert any(name in text for text in texts) and not any(other in text for text in texts)

    asyncio.run(asyncio.wait_for(main(), 30))
