"""Latencies of a log, as histograms."""

import asyncio
from array import array

import pytest

import tapeline
from tapeline import errors


def test_histograms_have_the_times_between_events(bus: tapeline.Bus) -> None:
    names = [f"s{number}" for number in range(3)]
    sessions = [bus.open_session(name) for name in names]
    for number in range(20):
        for session in sessions[: 2 if number == 0 else 3]:
            session.token(f"{number}")
            session.tool_call({"number": number})
    bus.ingest("of no session", kind="token")
    bus.ingest("the only event", session="single", kind="token")
    found = bus.replay().latency()
    assert (found.sessions, found.tokens, found.gaps) == (4, 20 + 20 + 19 + 1, [])
    between: list[int] = []
    first: list[int] = []
    per_token: list[int] = []
    lengths: list[int] = []
    for name in names:
        events = [event.insertion_ts for event in bus.replay(name)]
        tokens = [event.insertion_ts for event in bus.replay(name, kinds="token")]
        first.append(tokens[0] - events[0])
        between.extend(after - before for before, after in zip(tokens, tokens[1:]))
        per_token.append((tokens[-1] - tokens[0]) // (len(tokens) - 1))
        lengths.append(events[-1] - events[0])
    for histogram, values in (
        (found.time_to_first_token, first),
        (found.inter_token, between),
        (found.time_per_output_token, per_token),
        (found.session_length, lengths),
    ):
        edges, counts = array("Q", histogram.edges), array("Q", histogram.counts)
        assert histogram.edges.format == histogram.counts.format == "Q"
        assert len(edges) == len(counts) + 1 and list(edges) == sorted(edges)
        assert sum(counts) == histogram.count == len(values)
        expected = [sum(low <= value < high for value in values) for low, high in zip(edges, edges[1:])]
        assert list(counts) == expected
        # Buckets keep three digits.
        assert edges[0] <= min(values) and max(values) < edges[-1] <= max(values) * 1.002 + 2
        assert histogram.quantile(1.0) == histogram.max and histogram.mean == pytest.approx(
            sum(values) / len(values), rel=0.002
        )


def test_what_holds_no_token_has_empty_histograms(bus: tapeline.Bus) -> None:
    bus.ingest("x", session="s")
    found = bus.replay().latency()
    assert (found.sessions, found.tokens, found.inter_token.count) == (1, 0, 0)
    assert (len(found.inter_token.edges), len(found.inter_token.counts)) == (0, 0)
    assert found.inter_token.quantile(0.5) == 0
    with pytest.raises(ValueError):
        found.inter_token.quantile(1.5)


def test_a_replay_that_was_read_or_is_in_a_loop_is_refused(bus: tapeline.Bus) -> None:
    bus.ingest("x", session="s")
    replay = bus.replay()
    next(iter(replay))
    with pytest.raises(RuntimeError, match="were read"):
        replay.latency()

    async def main() -> None:
        with pytest.raises(errors.BlockingError):
            bus.replay().latency()

    asyncio.run(main())
