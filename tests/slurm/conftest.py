"""A cluster for each worker, and what a test must leave behind: nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.requirements import require

from ..e2e.conftest import leftovers
from ..e2e.installation import usable_by_everyone
from . import configuration
from .cluster import Cluster

OpenCluster = Callable[..., AbstractContextManager[Cluster]]


def require_slurm() -> None:
    """Skip where Slurm cannot run; fail where everything must."""
    words = configuration.lacking()
    require(not words, words)


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """Where Slurm's user can run fakewarp."""
    require_slurm()
    with usable_by_everyone() as (found, problem):
        assert found is not None, problem
        yield found.bin


@contextmanager
def opened(programs: Path, **options: Any) -> Iterator[Cluster]:
    """A cluster that runs; afterwards nothing of it is left."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="dacc-slurm-")), programs, **options)
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()
    assert leftovers(str(cluster.directory)) == []


@pytest.fixture(scope="session")
def shared(programs: Path) -> Iterator[Cluster]:
    """The usual cluster, for all tests of a worker."""
    with opened(programs) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The usual cluster with nothing in it."""
    yield shared
    shared.clean()
    assert shared.free() == shared.hosts * shared.bricks
    for node in shared.site.compute_nodes:
        assert shared.mounts(node) == []
