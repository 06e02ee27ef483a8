"""Ingest, and reading back in plain threads."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import tapeline
from tapeline import errors, kinds


def test_what_a_session_was_given_is_replayed(bus: tapeline.Bus) -> None:
    with bus.open_session("chat-42", model="llama-7b", user="u-7", labels={"region": "eu"}) as chat:
        chat.token("Hel")
        chat.token(b"lo")
        chat.tool_call({"tool": {"name": "search", "word": "grün"}})
        last = chat.ingest(bytearray(b"\xff\x00"), kind=4711)
    bus.durable(last)
    assert bus.is_durable(last)
    opened, hel, lo, call, raw, closed = bus.replay("chat-42")
    assert (opened.kind, closed.kind) == (kinds.SESSION, kinds.SESSION)
    assert (hel.text, bytes(lo), call.json()["tool"]["word"], bytes(raw)) == ("Hel", b"lo", "grün", b"\xff\x00")
    assert (hel.kind, call.kind, raw.kind) == (kinds.TOKEN, kinds.TOOL_CALL, 4711)
    assert hel.session == tapeline.SessionId("chat-42") == chat.id
    assert {event.session_name for event in (opened, hel, closed)} == {"chat-42"}
    bus.ingest("1", session="never opened")
    assert [event.session_name for event in bus.replay("never opened")] == [None]
    assert hel.insertion_ts < lo.insertion_ts and hel.sequence + 1 == lo.sequence
    summary = bus.summary("chat-42")
    assert summary is not None
    assert (summary.state, summary.outcome, summary.model, summary.user) == ("closed", "finished", "llama-7b", "u-7")
    assert (summary.labels, summary.events) == ({"region": "eu"}, 4)
    assert bus.summary("nothing") is None


def test_json_is_stored_compact_and_text_as_it_is(bus: tapeline.Bus) -> None:
    bus.ingest({"a": [1, None, "ü"]})
    bus.ingest('{"a": 1}')
    bus.ingest([1, 2])
    assert [event.text for event in bus.replay()] == ['{"a":[1,null,"ü"]}', '{"a": 1}', "[1,2]"]


@pytest.mark.parametrize("data", [1, None, 1.5, object(), ("a",)])
def test_a_payload_of_another_type_is_refused(bus: tapeline.Bus, data: object) -> None:
    with pytest.raises(TypeError, match="a payload is bytes, str, dict or list"):
        bus.ingest(data)  # type: ignore[arg-type]
    assert bus.stats().events_ingested == 0


def test_values_that_json_lacks_are_refused(bus: tapeline.Bus) -> None:
    with pytest.raises(ValueError):
        bus.ingest({"a": float("nan")})
    with pytest.raises(TypeError):
        bus.ingest({"a": object()})
    with pytest.raises(UnicodeEncodeError):
        bus.ingest("\ud800")


def test_a_payload_keeps_its_memory_alive(bus: tapeline.Bus) -> None:
    bus.ingest(b"x" * 1000, session="s")
    payloads = [event.payload for event in bus.replay("s")]
    gc.collect()
    bus.close()
    (view,) = payloads
    assert view.readonly and view.nbytes == 1000 and bytes(view[:3]) == b"xxx"
    with pytest.raises(TypeError):
        view[0] = 1


def test_batches_are_ingested_in_order_and_say_what_was_taken(bus: tapeline.Bus) -> None:
    assert bus.ingest_batch((f"{number}" for number in range(100)), session="s", kind="token") == 100
    assert [event.text for event in bus.replay("s")] == [f"{number}" for number in range(100)]
    with pytest.raises(errors.TooLargeError) as caught:
        bus.ingest_batch([b"fits", b"x" * (65 << 20), b"comes after"])
    assert (caught.value.taken, caught.value.bytes, caught.value.code) == (1, 65 << 20, "TooLarge")


@pytest.mark.parametrize("batch", ["text", b"bytes", {"a": 1}])
def test_one_payload_is_no_batch(bus: tapeline.Bus, batch: object) -> None:
    with pytest.raises(TypeError, match="a batch is several payloads"):
        bus.ingest_batch(batch)  # type: ignore[arg-type]
    assert bus.stats().events_ingested == 0


def test_errors_have_the_facts_of_the_bus(bus: tapeline.Bus, tmp_path: Path) -> None:
    bus.session("s").close()
    with pytest.raises(errors.SessionClosedError) as closed:
        bus.session("s").token("late")
    assert closed.value.session == tapeline.SessionId("s")
    with pytest.raises(errors.IngestError) as reserved:
        bus.ingest(b"", kind=65535)
    assert reserved.value.code == "ReservedKind"
    with pytest.raises(errors.LockedError) as locked:
        tapeline.open(tmp_path / "log", pinned=False)
    assert locked.value.is_retryable and locked.value.path.endswith("log")
    with pytest.raises(errors.OpenError) as none:
        tapeline.read(tmp_path / "nothing")
    assert none.value.code == "Io" and "/nothing/" in none.value.path
    with pytest.raises(errors.FilterError) as malformed:
        bus.replay(filter={"$nonsense": 1}).__iter__()
    assert isinstance(malformed.value, ValueError)
    with pytest.raises(errors.CursorError) as cursor:
        bus.poll(cursor="00")
    assert cursor.value.fault == "Damaged" and bus.poll(cursor=cursor.value.earliest).events
    with pytest.raises(errors.CursorError):
        bus.save_cursor("../name", cursor.value.earliest)
    with pytest.raises(errors.ConfigError, match="shards"):
        tapeline.open(shards=0)
    with pytest.raises(TypeError, match="open has no setting shard;"):
        tapeline.open(shard=1)  # type: ignore[call-arg]
    for settings in ({"backpressure": "wait"}, {"durability": "some"}, {"backpressure": "block", "block_seconds": -1.0}):
        with pytest.raises(ValueError):
            tapeline.open(**settings)


def test_arguments_that_cannot_be_are_refused_by_name(bus: tapeline.Bus) -> None:
    for call, name, error in (
        (lambda: list(bus.replay(since=2**64)), "since", ValueError),
        (lambda: bus.poll(kinds=[1, 70_000]), "kinds", ValueError),
        (lambda: bus.poll(kinds="no kind"), "kinds", ValueError),
        (lambda: bus.poll(session=[1]), "sessions", TypeError),  # type: ignore[list-item]
        (lambda: bus.poll(-1), "limit", ValueError),
        (lambda: bus.tail(after=7), "after", TypeError),  # type: ignore[arg-type]
        (lambda: tapeline.open(shards=70_000), "shards", ValueError),
        (lambda: tapeline.open(lane_bytes="1"), "lane_bytes", TypeError),  # type: ignore[arg-type]
        (lambda: bus.ingest("x", kind=-1), "kind", ValueError),
        (lambda: bus.ingest("x", kind=70_000), "kind", ValueError),
        (lambda: bus.poll(start=-1), "start", ValueError),
        (lambda: bus.tail(start=2**64), "start", ValueError),
    ):
        with pytest.raises(error, match=f"^{name}: "):
            call()


def test_a_session_that_its_block_has_closed_stays_as_it_is(bus: tapeline.Bus) -> None:
    with bus.open_session("s") as session:
        session.token("1")
        session.close("stopped")
    with pytest.raises(ZeroDivisionError), bus.open_session("t"):
        raise ZeroDivisionError
    summaries = [bus.summary(name) for name in ("s", "t")]
    assert [summary and summary.outcome for summary in summaries] == ["stopped", "failed"]


def test_a_closed_bus_refuses_and_its_directory_is_free(bus: tapeline.Bus, tmp_path: Path) -> None:
    chat = bus.session("s")
    chat.token("kept")
    tail = bus.tail()
    bus.close()
    bus.close()
    assert bus.closed
    for call in (lambda: bus.ingest("late"), lambda: chat.token("late"), bus.flush, bus.stats, bus.poll):
        with pytest.raises(errors.ClosedError):
            call()
    assert [event.text for event in tail] == ["kept"] and tail.end == "shutdown"
    with tapeline.open(tmp_path / "log", pinned=False) as again:
        assert [event.text for event in again.replay()] == ["kept"]


def test_pages_continue_from_cursors_that_the_log_keeps(bus: tapeline.Bus) -> None:
    bus.ingest_batch([f"{number}" for number in range(5)])
    page = bus.poll(2)
    assert [event.text for event in page.events] == ["0", "1"] and page.has_more and page.gaps == []
    assert page.cursor is not None
    bus.save_cursor("indexer", page.cursor)
    assert bus.load_cursor("indexer") == page.cursor
    (named,) = bus.cursors()
    assert (named.name, named.lag_events) == ("indexer", 3)
    rest = bus.poll(cursor=bus.load_cursor("indexer"))
    assert [event.text for event in rest.events] == ["2", "3", "4"]
    assert bus.remove_cursor("indexer") and not bus.remove_cursor("indexer")
    assert bus.poll(start="latest").events == []


def test_a_batch_goes_with_the_cursor_of_what_it_was_made_of(bus: tapeline.Bus) -> None:
    bus.ingest_batch(["1", "2"], session="questions")
    questions = bus.tail("questions")
    next(questions), next(questions)
    page = bus.poll(session="questions")
    assert page.cursor is not None
    bus.ingest_with_cursor(["one", "two"], "answerer", page.cursor, session="answers", kind="token")
    assert bus.load_cursor("answerer") == page.cursor
    assert [(event.text, event.kind) for event in bus.replay("answers")] == [("one", 1), ("two", 1)]
    for name, cursor in (("../answerer", page.cursor), ("answerer", "no cursor")):
        with pytest.raises(errors.CursorError):
            bus.ingest_with_cursor(["three"], name, cursor, session="answers")
    with pytest.raises(TypeError):
        bus.ingest_with_cursor("three", "answerer", page.cursor)
    # What cannot go into the batch leaves nothing of it.
    with pytest.raises(errors.TooLargeError):
        bus.ingest_with_cursor(["three", b"x" * (65 << 20)], "answerer", page.cursor, session="answers")
    assert [event.text for event in bus.replay("answers")] == ["one", "two"]


def test_a_ticket_leads_to_its_event(bus: tapeline.Bus) -> None:
    tickets = [bus.ingest(f"{number}") for number in range(3)]
    bus.readable(tickets[-1])
    assert [bus.event_id(ticket) for ticket in tickets] == [event.id for event in bus.replay()]


def test_sessions_that_a_crash_cut_off_are_listed(bus: tapeline.Bus, tmp_path: Path) -> None:
    bus.open_session("open")
    bus.open_session("closed").close()
    assert bus.unfinished() == []
    bus.close()
    with tapeline.open(tmp_path / "log", pinned=False) as again:
        assert [summary.name for summary in again.unfinished()] == ["open"]


def test_readers_choose_by_session_kind_filter_and_time(bus: tapeline.Bus) -> None:
    for number in range(10):
        bus.ingest({"n": number}, session=f"s{number % 2}", kind="token" if number < 5 else "drift")
    texts = [event.json()["n"] for event in bus.replay("s1")]
    assert texts == [1, 3, 5, 7, 9]
    assert [event.json()["n"] for event in bus.replay(["s0", tapeline.SessionId("s1")], kinds=8)] == [5, 6, 7, 8, 9]
    wanted = {"$and": [{"$gte": {"path": "n", "value": 4}}, {"$session": "s0"}]}
    assert [event.json()["n"] for event in bus.replay(filter=wanted)] == [4, 6, 8]
    assert [event.json()["n"] for event in bus.replay(filter=json.dumps(wanted), kinds=["token"])] == [4]
    third = list(bus.replay())[3]
    assert [event.json()["n"] for event in bus.replay(since=third.insertion_ts, until=third.insertion_ts + 1)] == [3]
    assert [event.json()["n"] for event in bus.poll(kinds="drift", session="s0").events] == [6, 8]


def test_a_tail_ends_with_its_session_and_resumes_after_any_token(bus: tapeline.Bus) -> None:
    with bus.open_session("chat") as chat:
        for number in range(5):
            chat.token(f"{number}")
    events = list(bus.tail("chat"))
    assert [event.kind for event in events] == [kinds.SESSION, *[kinds.TOKEN] * 5, kinds.SESSION]
    for at, event in enumerate(events):
        assert list(bus.tail("chat", after=event.token)) == events[at + 1 :]
    assert [event.text for event in bus.tail("chat", kinds="token", after=events[1].token)] == ["1", "2", "3", "4"]
    tail = bus.tail("chat")
    assert next(tail) == events[0]
    assert list(tail) == events[1:] and tail.end == "closed"


def test_tokens_that_cannot_be_resumed_say_why(bus: tapeline.Bus) -> None:
    bus.session("a").token("1")
    bus.session("b").token("2")
    (a,), (b,) = bus.replay("a"), bus.replay("b")
    for session, token, fault in (("a", b.token, "Foreign"), ("a", a.token[:-1], "Damaged"), ("a", "x" * 32, "Damaged")):
        with pytest.raises(errors.TokenError) as caught:
            bus.tail(session, after=token)
        assert caught.value.fault == fault
    for chosen in (None, ["a", "b"]):
        with pytest.raises(ValueError, match="a token continues one session"):
            bus.tail(chosen, after=a.token)


def test_a_tail_of_all_continues_from_its_cursor(bus: tapeline.Bus) -> None:
    bus.ingest_batch(["0", "1", "2"])
    tail = bus.tail()
    assert next(tail).text == "0"
    later = bus.tail(after=tail.cursor)
    assert (next(later).text, next(later).text) == ("1", "2")
    live = bus.tail(start="latest")
    bus.ingest("3")
    assert next(live).text == "3" == next(later).text


def test_a_thread_that_waits_lets_others_run(bus: tapeline.Bus) -> None:
    found: list[str] = []
    tail = bus.tail("s")
    reader = threading.Thread(target=lambda: found.extend(event.text for event in tail if event.kind == kinds.TOKEN))
    reader.start()
    for number in range(100):
        bus.session("s").token(f"{number}")
    with pytest.raises(RuntimeError, match="one reader"):
        # It ends only with the session, so the reader has it or waits for it.
        while True:
            next(tail)
    bus.close_session("s", "stopped")
    reader.join()
    assert len(found) <= 100


def test_a_replay_at_a_pace_takes_as_long_as_the_recording(bus: tapeline.Bus) -> None:
    first = bus.ingest("0", session="s").insertion_ts
    time.sleep(0.2)
    pace = bus.ingest("1", session="s").insertion_ts - first
    began = time.monotonic_ns()
    assert [event.text for event in bus.replay("s", speed=2)] == ["0", "1"]
    assert time.monotonic_ns() - began >= pace // 2
    began = time.monotonic_ns()
    assert [event.text for event in bus.replay("s", speed=0.001, idle_max=0.001)] == ["0", "1"]
    assert time.monotonic_ns() - began < 1000 * pace
    for speed in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError):
            bus.replay("s", speed=speed)


def test_a_full_lane_fails_waits_or_drops_as_it_was_asked_to() -> None:
    small = {"lane_bytes": 64 << 10, "pinned": False}
    with tapeline.open(backpressure="block", block_seconds=60, **small) as bus:  # type: ignore[arg-type]
        for _ in range(2000):
            bus.ingest(b"x" * 1000)
        assert bus.stats().events_ingested == 2000 and bus.stats().events_dropped == 0
    with tapeline.open(backpressure="drop-newest", memory_bytes=64 << 20, **small) as bus:  # type: ignore[arg-type]
        dropped = 0
        while dropped == 0:
            try:
                bus.ingest(b"x" * 30_000)
            except errors.DroppedError as error:
                dropped += 1
                assert error.code == "Dropped"
        bus.flush()
        bus.ingest("after")
        for speed in (None, 1e9):
            gaps: list[tapeline.Gap] = []
            texts: list[str] = []
            events = iter(bus.replay(speed=speed))
            while True:
                try:
                    texts.extend(event.text for event in events)
                    break
                except errors.GapError as error:
                    gaps.append(error.gap)
            (full,) = [gap for gap in gaps if gap.reason == "Overflow"]
            assert (full.drop_reason, full.events) == ("drop-newest", 1)
            # The same iterator goes on after the gap.
            assert texts[-1] == "after"


def test_events_that_a_full_lane_refused_are_reported_to_readers_of_their_session() -> None:
    with tapeline.open(
        backpressure="fail-and-report", memory_bytes=64 << 20, lane_bytes=64 << 10, pinned=False
    ) as bus:
        chat = bus.session("chat")
        with pytest.raises(errors.BackpressureError):
            while True:
                chat.token(b"x" * 30_000)
        bus.flush()
        bus.session("other").token("other")
        chat.token("after")
        with pytest.raises(errors.GapError) as missing:
            list(bus.replay("chat"))
        gap = missing.value.gap
        assert (gap.reason, gap.drop_reason, gap.events) == ("Overflow", "refused", 1)
        assert gap.sessions == [(tapeline.SessionId("chat"), 1)]
        assert [event.text for event in bus.replay("other")] == ["other"]


def test_a_log_is_read_without_a_bus_while_it_is_written(bus: tapeline.Bus, tmp_path: Path) -> None:
    with bus.open_session("chat") as chat:
        chat.token("Hel")
    bus.flush()
    with tapeline.read(tmp_path / "log") as log:
        assert [event.text for event in log.replay("chat", kinds="token")] == ["Hel"]
        (summary,) = log.sessions()
        assert (summary.name, summary.state) == ("chat", "closed")
        assert (log.log_id, log.damage, log.cursors()) == (bus.log_id, [], [])


def test_a_forked_child_is_refused_and_the_parent_goes_on(bus: tapeline.Bus) -> None:
    chat, tail = bus.session("s"), bus.tail()
    replay, waits = iter(bus.replay()), bus.tail(start="latest")
    reader = threading.Thread(target=lambda: next(waits))
    reader.start()
    # Until that thread has the tail's lock.
    with pytest.raises(RuntimeError, match="one reader"):
        while True:
            waits.cursor  # noqa: B018
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (lambda: bus.ingest("x"), lambda: chat.token("x"), bus.flush, bus.close, lambda: next(tail),
                     lambda: next(replay), lambda: next(waits)):
            try:
                call()
            except errors.ForkedError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    chat.token("goes on")
    assert next(tail).text == "goes on"
    reader.join()


def test_a_child_that_ends_leaves_the_bus_to_its_parent(tmp_path: Path) -> None:
    program = f"""
import os, sys, tapeline
bus = tapeline.open({str(tmp_path / "log")!r}, pinned=False)
if (child := os.fork()) == 0:
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
bus.ingest("goes on")
print([event.text for event in bus.replay()])
"""
    # Python 3.12 and later warn of any fork beside threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['goes on']\n", "")


def test_other_interpreters_of_a_process_are_refused() -> None:
    program = """
import tapeline
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
failed = None
try:
    failed = interpreters.run_string(other, "import tapeline")
except interpreters.RunFailedError as error:
    failed = error
interpreters.destroy(other)
print(failed)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert "main interpreter" in done.stdout or "does not support loading in subinterpreters" in done.stdout


def test_a_bus_that_is_left_open_is_durable_when_the_process_ends(tmp_path: Path) -> None:
    program = f"""
import ctypes, tapeline
bus = tapeline.open({str(tmp_path / "log")!r}, pinned=False)
# The interpreter never frees it.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(bus))
bus.ingest_batch([b"x" * 1000] * 10_000)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(list(tapeline.read(tmp_path / "log").replay())) == 10_000


def test_an_interrupt_ends_a_wait(tmp_path: Path) -> None:
    program = f"""
import os, signal, threading, tapeline
with tapeline.open({str(tmp_path / "log")!r}, pinned=False) as bus:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        next(bus.tail())
    except KeyboardInterrupt:
        bus.ingest("goes on")
        print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "interrupted\n"


def test_identities_of_sessions_compare_hash_and_parse() -> None:
    one, other = tapeline.SessionId("one"), tapeline.SessionId("other")
    assert one == tapeline.SessionId.parse(str(one)) and one != other and len({one, other, tapeline.SessionId("one")}) == 2
    assert (one < other) == (str(one) < str(other))
    for digits in ("", "1", "g" * 32, "+" + "0" * 31, "0" * 33):
        with pytest.raises(ValueError):
            tapeline.SessionId.parse(digits)


def test_kinds_have_the_names_of_the_bus() -> None:
    named = {name: getattr(kinds, name) for name in kinds.__all__ if name.isupper()}
    assert {number: kinds.name(number) for number in named.values()} == {n: name.lower() for name, n in named.items()}
    assert kinds.number("tool_call") == kinds.TOOL_CALL and kinds.name(4711) is None
    with pytest.raises(ValueError):
        kinds.number("tokens")


def test_statistics_count_what_became_of_every_event(bus: tapeline.Bus) -> None:
    bus.ingest_batch(["1", "2", "3"])
    bus.flush()
    stats = bus.stats()
    assert (stats.events_ingested, stats.events_durable, stats.events_dropped) == (3, 3, 0)
    assert stats.memory_bytes <= stats.memory_budget
    assert "tapeline_" in bus.prometheus()
