"""Logs that another process writes, followed by their files."""

import asyncio
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tapeline
from tapeline import errors

WRITER = """
import sys, tapeline
with tapeline.open(sys.argv[1], pinned=False) as bus:
    with bus.open_session("chat") as chat:
        for number in range(100):
            bus.durable(chat.token(f"{number}"))
    bus.ingest("end", kind=4711)
"""


def start(log: Path) -> "subprocess.Popen[bytes]":
    """Another process that writes a log."""
    with tapeline.open(log, pinned=False):
        pass
    return subprocess.Popen([sys.executable, "-c", WRITER, str(log)])


def test_a_follower_gets_what_another_process_writes(tmp_path: Path) -> None:
    writer = start(tmp_path / "log")
    texts, follower = [], tapeline.follow(tmp_path / "log")
    for event in follower:
        if event.kind == 4711:
            break
        if event.kind == tapeline.kinds.TOKEN:
            texts.append(event.text)
    assert texts == [f"{number}" for number in range(100)]
    assert writer.wait() == 0
    # A second one continues at the cursor of the first.
    with tapeline.open(tmp_path / "log", pinned=False) as bus:
        bus.ingest("later")
    assert next(tapeline.follow(tmp_path / "log", after=follower.cursor)).text == "later"


def test_a_follower_in_an_event_loop(tmp_path: Path) -> None:
    writer = start(tmp_path / "log")

    async def main() -> None:
        follower = tapeline.follow(tmp_path / "log", "chat", kinds="token")
        with pytest.raises(errors.BlockingError):
            next(follower)
        texts: list[str] = []
        while len(texts) < 100:
            try:
                # Gives up now and then: a read that is cancelled loses nothing.
                async with asyncio.timeout(0.01):
                    texts.append((await anext(follower)).text)
            except TimeoutError:
                pass
        assert texts == [f"{number}" for number in range(100)]

    asyncio.run(main())
    assert writer.wait() == 0


def test_a_follower_ends_with_the_log(tmp_path: Path) -> None:
    with tapeline.open(tmp_path / "log", pinned=False) as bus:
        bus.ingest("1")
    follower = tapeline.follow(tmp_path / "log", interval=0.0)
    assert next(follower).text == "1"
    shutil.rmtree(tmp_path / "log")
    faults = []
    while True:
        try:
            assert list(follower) == []
            break
        except errors.Error as error:
            faults.append(error)
    assert faults


def test_a_follower_is_refused_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(errors.OpenError):
        next(tapeline.follow(tmp_path / "nothing"))
    with tapeline.open(tmp_path / "log", pinned=False):
        pass
    with pytest.raises(errors.CursorError):
        next(tapeline.follow(tmp_path / "log", after="00"))
    for interval in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="interval"):
            tapeline.follow(tmp_path / "log", interval=interval)


def test_followers_have_a_thread_each(tmp_path: Path) -> None:
    """A follower that waits lets other threads run."""
    with tapeline.open(tmp_path / "log", pinned=False) as bus:
        bus.flush()
        found: list[str] = []
        follower = tapeline.follow(tmp_path / "log")
        reader = threading.Thread(target=lambda: found.append(next(follower).text))
        reader.start()
        bus.ingest("1")
        bus.flush()
        reader.join()
        assert found == ["1"]
