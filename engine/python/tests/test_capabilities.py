"""What a session's source can do, and what a consumer of its events needs."""

from pathlib import Path

import pytest

import tapeline


def test_sessions_are_listed_by_what_their_source_can_do(bus: tapeline.Bus, tmp_path: Path) -> None:
    bus.open_session("large", tags=["hardware.gpu.vram_gb=80", "software.model:llama-70b"])
    bus.open_session("small", model="llama-7b", tags=("hardware.gpu.vram_gb=24",))
    (large,) = bus.sessions("hardware.gpu.vram_gb >= 48")
    assert (large.name, large.tags) == ("large", ["hardware.gpu.vram_gb=80", "software.model:llama-70b"])
    # The model counts as a tag.
    assert [session.name for session in bus.sessions(where="software.model=llama-7b")] == ["small"]
    assert len(bus.sessions()) == 2
    bus.flush()
    with tapeline.read(tmp_path / "log") as log:
        assert [session.name for session in log.sessions("hardware.gpu.vram_gb <= 24")] == ["small"]


def test_a_consumer_gets_the_events_that_it_can_process(bus: tapeline.Bus) -> None:
    bus.open_session("chat-1", requires="hardware.gpu.vram_gb >= 48").token("large")
    bus.open_session("chat-2", requires="software.ocr", labels={"tenant": "t-1"}).token("scan")
    bus.session("chat-3").token("any")
    found = bus.replay(kinds="token", filter={"$suits": ["hardware.gpu.vram_gb=80"]})
    assert [event.text for event in found] == ["large", "any"]
    summary = bus.summary("chat-2")
    assert summary is not None and summary.labels == {"tenant": "t-1", "requires": "software.ocr"}
    assert [event.text for event in bus.replay(kinds="token", filter={"$source": "software.ocr"})] == []


def test_a_session_is_opened_again_by_its_handle(bus: tapeline.Bus) -> None:
    with bus.open_session("chat") as chat:
        chat.token("1")
    with pytest.raises(tapeline.errors.SessionClosedError):
        chat.token("refused")
    with bus.reopen_session(chat, model="llama") as again:
        assert again.id == chat.id
        again.token("2")
    assert [event.text for event in bus.replay(chat, kinds="token")] == ["1", "2"]
    summary = bus.summary("chat")
    assert summary is not None and (summary.name, summary.model, summary.state) == ("chat", "llama", "closed")


def test_texts_that_are_no_capabilities_are_refused(bus: tapeline.Bus) -> None:
    assert tapeline.meets(["software.model=llama-7b"], "software.model=llama-7b")
    assert not tapeline.meets([], "software.model")
    for requirement in ("", "hardware.cpu > 8", "hardware.cores >= eight"):
        with pytest.raises(ValueError, match="requirement"):
            tapeline.meets(["gpu"], requirement)
        with pytest.raises(ValueError, match="requirement"):
            bus.open_session("s", requires=requirement)
        with pytest.raises(ValueError, match="requirement"):
            bus.sessions(requirement)
    predicate = 'and [equals "software.model", "llama-7b", metadata_equals "zone", "eu"]'
    assert tapeline.holds(["software.model=llama-7b"], predicate, {"zone": "eu"})
    assert not tapeline.holds(["software.model=llama-7b"], predicate)
    document = '{"nodes": [{"kind": "metadata_exists", "key": "zone"}], "root_idx": 0}'
    assert tapeline.holds([], document, metadata={"zone": "us"})
    for predicate in ("", "equals", "{}"):
        with pytest.raises(ValueError, match="predicate"):
            tapeline.holds([], predicate)
    with pytest.raises(ValueError, match="tag"):
        bus.open_session("s", tags=[""])
    with pytest.raises(TypeError, match="tags"):
        bus.open_session("s", tags="gpu")
    with pytest.raises(TypeError, match="requirement"):
        bus.open_session("s", requirement="gpu")  # type: ignore[call-arg]
    assert bus.sessions() == []
