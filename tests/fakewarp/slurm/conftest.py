"""A compute node for each test, under both of the shells that stand behind /bin/sh on clusters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .node import Node, open_node


@pytest.fixture(params=["dash", "bash"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    with open_node(tmp_path, request.param) as found:
        yield found
