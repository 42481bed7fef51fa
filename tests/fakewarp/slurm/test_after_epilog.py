"""What dacc does on a node whose Epilog has already taken everything away: its own unmount finds nothing to do and is content."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dacc_core.hosts.local import LocalRunner
from dacc_core.plugins import load_provider
from dacc_core.sdk import BrickRef, Context, Create, Deadline, Delete, Mount, Swap, Unmount, Volume
from tests.support.requirements import require

from .node import MIB, Node


@dataclass
class Job:
    """Job 12 with a private volume, mounted on the node by the provider ``fake``."""

    node: Node
    provider: Any
    volume: Volume
    context: Context
    state: Any

    def request(self, kind: Any, **more: Any) -> Any:
        return kind(context=self.context, volume=self.volume, state=self.state, hosts=("c1",), path=f"{self.node.root}/12_job", **more)

    @property
    def link(self) -> str:
        return f"{self.node.root}/12_job_private"

    def mount(self) -> None:
        private: dict[str, Any] = {"private": True, "link": self.link, "owner": os.geteuid(), "group": os.getegid()}
        assert self.provider.mount(self.request(Mount, **private)).failed == {}

    def unmount(self) -> None:
        assert self.provider.unmount(self.request(Unmount, link=self.link)).failed == {}


@pytest.fixture
def job(node: Node) -> Iterator[Job]:
    require(Path("/dev/loop-control").exists(), "loop devices")
    require(shutil.which("mkfs.ext4") is not None, "e2fsprogs")
    brick = BrickRef(host="b1", device=str(node.base / "b0"))
    volume = Volume(name="a0010000", pool="default", provider="fake", capacity=16 * MIB, bricks=(brick,))
    node.do("umount", "/proc")  # the runner enters the mounts of the node only, and then needs a /proc that has its processes
    runner = LocalRunner(fence_dir=node.base / "fence", namespace=f"/proc/{node.pid}/ns/mnt")
    context = Context(hosts=runner, deadline=Deadline.after(60.0))
    provider = load_provider("fake", {"backing": "image"})
    node.do("mount", "-t", "tmpfs", "none", node.root)
    state = provider.create(Create(context=context, volume=volume, owner=os.geteuid(), group=os.getegid())).state
    job = Job(node, provider, volume, context, state)
    job.mount()
    yield job
    provider.delete(Delete(context=context, volume=volume, state=state))


def test_the_epilog_finds_all_that_the_provider_has_mounted(job: Job) -> None:
    assert job.node.run("epilog", "12") == ""
    assert job.node.do("ls", "-A", job.node.root) == ""


def test_unmounting_afterwards_succeeds(job: Job) -> None:
    job.node.run("epilog", "12")
    job.unmount()
    job.unmount()


def test_turning_swap_off_afterwards_succeeds(job: Job) -> None:
    assert job.provider.swap_on(job.request(Swap, size=MIB)).failed == {}
    assert job.node.run("epilog", "12") == ""
    assert job.node.swaps() == []
    assert job.provider.swap_off(job.request(Swap, size=MIB)).failed == {}
    job.unmount()


def test_the_epilog_after_unmounting_says_nothing(job: Job) -> None:
    job.unmount()
    assert job.node.run("epilog", "12") == ""


def test_a_requeued_job_can_be_mounted_again(job: Job) -> None:
    job.node.run("epilog", "12")
    job.mount()
    assert "12_job" in job.node.mounts()
    job.unmount()
