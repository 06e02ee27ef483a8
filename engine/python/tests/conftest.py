"""A bus in a directory of its own, for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tapeline


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[tapeline.Bus]:
    """A durable bus."""
    opened = tapeline.open(tmp_path / "log", pinned=False)
    yield opened
    opened._close()
