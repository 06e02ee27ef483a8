"""Settings of a bus, limits of a log, and what a session is about: keyword arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, TypeVar


class Settings(TypedDict, total=False):
    """Settings of a bus, all of them optional."""

    shards: int
    """Shards, each a thread with its log. Default 1, which takes millions of events a second."""
    durability: Literal["durable", "page-cache", "memory"] | None
    """What an acknowledged event survives: a power cut, the end of the process, nothing. Default: `durable` with a
    directory, else `memory`."""
    backpressure: Literal["fail", "fail-and-report", "block", "drop-newest", "drop-oldest", "sample"]
    """What becomes of an event whose lane is full. Default `fail`: `BackpressureError`. With `fail-and-report` readers of
    its session get a gap as well. `block` waits, with the interpreter released: not for a thread that runs an event
    loop."""
    block_seconds: float
    """The longest wait of `block`. Default 1."""
    sample_rate: int
    """Of how many events `sample` keeps one while a lane is more than half full. Default 10."""
    lane_bytes: int | None
    """Bytes that a lane may grow to hold: a power of two. Default 16 MiB."""
    memory_bytes: int | None
    """Memory for blocks per shard, in bytes. Default 64 MiB in memory, 16 MiB with a directory."""
    memory_budget: int | None
    """Most bytes that lanes and blocks take together."""
    segment_bytes: int | None
    """Size of a segment file. Default 256 MiB."""
    payload_bytes_max: int | None
    """Most bytes of a payload, up to 64 MiB. Default: as many as a lane and the memory allow."""
    keep_seconds: float | None
    """The age beyond which the oldest segments are removed. Default: none."""
    keep_bytes: int | None
    """The size of the log beyond which the oldest segments are removed. Default: none."""
    keep_segments: int | None
    """The number of segments beyond which the oldest are removed. Default: none."""
    keep_for_cursors: bool
    """True if what a named cursor has not passed stays all the same. Default false."""
    pinned: bool
    """True if each shard's thread is pinned to a core. Default true."""
    cores: list[int] | None
    """The cores that shards may be pinned to. Default: all that the process may use."""
    driver: Literal["auto", "uring", "blocking"]
    """The way in which files are read and written. Default `auto`: io_uring where the kernel allows it."""


_DEFAULTS: dict[str, Any] = {
    "shards": 1,
    "durability": None,
    "backpressure": "fail",
    "block_seconds": 1.0,
    "sample_rate": 10,
    "lane_bytes": None,
    "memory_bytes": None,
    "memory_budget": None,
    "segment_bytes": None,
    "payload_bytes_max": None,
    "pinned": True,
    "cores": None,
    "driver": "auto",
}


class Retention(TypedDict, total=False):
    """The limits of a trim, one at least."""

    keep_seconds: float | None
    """The age beyond which segments are removed."""
    keep_bytes: int | None
    """The bytes that the log keeps."""
    keep_segments: int | None
    """The segments that the log keeps."""
    keep_for_cursors: bool
    """True if what a named cursor has not passed stays all the same."""


_LIMITS: dict[str, Any] = {
    "keep_seconds": None,
    "keep_bytes": None,
    "keep_segments": None,
    "keep_for_cursors": False,
}


class Metadata(TypedDict, total=False):
    """What a session is about."""

    model: str | None
    """The model."""
    user: str | None
    """The user."""
    content_type: str | None
    """The media type of the payloads."""
    tags: Iterable[str]
    """What its source can do, as `hardware.gpu=h100` (docs/CAPABILITIES.md)."""
    requires: str | None
    """What a consumer of its events needs, as `hardware.gpu.vram_gb >= 48`."""
    labels: Mapping[str, str] | None
    """Labels of the program's own."""


_METADATA: dict[str, Any] = {"model": None, "user": None, "content_type": None, "requires": None}

T = TypeVar("T", bound=Mapping[str, Any])


def _checked(call: str, given: T, known: Iterable[str]) -> T:
    known = list(known)
    if unknown := given.keys() - set(known):
        raise TypeError(f"{call} has no setting {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    return given


def whole_settings(given: Settings) -> dict[str, Any]:
    """Settings with the defaults of the others, as the extension takes them."""
    _checked("open", given, [*_DEFAULTS, *_LIMITS])
    chosen = {name: value for name, value in given.items() if name not in _LIMITS}
    limits = {name: value for name, value in given.items() if name in _LIMITS}
    return {**_DEFAULTS, **chosen, "retention": {**_LIMITS, **limits}}


def whole_retention(given: Retention) -> dict[str, Any]:
    """Limits with the defaults of the others, as the extension takes them."""
    return {**_LIMITS, **_checked("trim", given, _LIMITS)}


def whole_metadata(given: Metadata) -> dict[str, Any]:
    """What is known of a session, as the extension takes it."""
    _checked("a session", given, [*_METADATA, "tags", "labels"])
    tags = given.get("tags") or ()
    if isinstance(tags, str):
        raise TypeError("tags are several texts, not one; put it into a list")
    return {**_METADATA, **given, "tags": list(tags), "labels": dict(given.get("labels") or {})}
