"""Clusters of stand-ins."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.requirements import require

from .cluster import LustreCluster, lacking

OpenCluster = Callable[..., LustreCluster]


@pytest.fixture(scope="session", autouse=True)
def needed() -> None:
    what = lacking("zfs-fuse")
    require(not what, what)


@pytest.fixture(scope="module")
def open_cluster() -> Iterator[OpenCluster]:
    """Open clusters that are closed at the end of a module; nothing of them may then be left."""
    with ExitStack() as stack:

        def open_(**options: Any) -> LustreCluster:
            directory = Path(tempfile.mkdtemp(prefix="dacc-lustre-"))
            directory.chmod(0o755)
            return stack.enter_context(LustreCluster(directory, **options))

        yield open_
