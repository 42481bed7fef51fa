"""Sites whose daemons are killed. One site serves many cases: its daemons are replaced for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dacc_fake.checks import has_loop_devices

from tests.support.requirements import require

from .harness import CrashSite, Job

Build = Callable[..., CrashSite]


@pytest.fixture(scope="module")
def build() -> Iterator[Build]:
    """Sites as a test wishes them; when they are closed, nothing of them may be left."""
    sites: list[CrashSite] = []

    def make(**wishes: Any) -> CrashSite:
        crash = CrashSite(**wishes)
        sites.append(crash)
        return crash.open()

    yield make
    problems: list[Exception] = []
    for crash in sites:
        try:
            crash.close()
        except Exception as problem:  # the others are closed all the same
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture(scope="module")
def images() -> None:
    """The machine can mount images."""
    require(os.geteuid() == 0, "root, to mount images")
    require(has_loop_devices(), "loop devices")


@pytest.fixture(scope="module")
def image_site(images: None, build: Build) -> CrashSite:
    """One brick host, a controller and two nodes, with real mounts."""
    return build(hosts=1, bricks=3, backing="image")


@pytest.fixture(scope="module")
def directory_site(build: Build) -> CrashSite:
    """The same with directories for volumes, which needs no root."""
    return build(hosts=1, backing="directory")


@pytest.fixture(scope="module")
def pair_site(build: Build) -> CrashSite:
    """Two brick hosts, either of which takes over within seconds; a busy machine may take one or two of them to renew a lease."""
    return build(hosts=2, backing="auto", extra={"lease_ttl": 4.0})


@pytest.fixture
def image_job(image_site: CrashSite) -> Iterator[Job]:
    """A job at the site with real mounts."""
    yield from _job(image_site)


@pytest.fixture
def directory_job(directory_site: CrashSite) -> Iterator[Job]:
    """A job at the site with directories."""
    yield from _job(directory_site)


@pytest.fixture
def pair_job(pair_site: CrashSite) -> Iterator[Job]:
    """A job at the site with two brick hosts."""
    yield from _job(pair_site)


def _job(crash: CrashSite) -> Iterator[Job]:
    job = Job(crash)
    yield job
    job.forget()
    crash.fault()
    crash.left_dead.clear()
