"""Backing image: what a crash leaves at each place, the next call mends or removes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dacc_core.sdk import Unavailable

from dacc_fake.faults import PARTIAL

if TYPE_CHECKING:
    from conftest import Site


def crash(site: Site, call: str, place: str) -> None:
    """Arm a crash of the next call at a place in it."""
    site.configure(faults=[{"call": call, "partial": place}])


@pytest.mark.parametrize("place", PARTIAL["create"])
def test_create_again_after_a_crash(image: Site, place: str) -> None:
    crash(image, "create", place)
    with pytest.raises(Unavailable):
        image.create()

    usable = image.create()

    assert usable >= image.capacity
    assert not image.mount("c1").failed
    image.unmount("c1")
    image.delete()


@pytest.mark.parametrize("place", PARTIAL["create"])
def test_delete_after_a_crash_in_create(image: Site, place: str) -> None:
    crash(image, "create", place)
    with pytest.raises(Unavailable):
        image.create()
    assert image.left()

    image.delete()


@pytest.mark.parametrize("place", PARTIAL["delete"])
def test_delete_again_after_a_crash(image: Site, place: str) -> None:
    image.create()
    crash(image, "delete", place)
    with pytest.raises(Unavailable):
        image.delete()
    assert image.left()

    image.delete()


@pytest.mark.parametrize("place", PARTIAL["mount"])
def test_mount_again_after_a_crash(image: Site, place: str) -> None:
    image.create()
    crash(image, "mount", place)
    fields: dict[str, Any] = {"private": True, "link": image.link, "owner": 1234, "group": 1234, "read_only": True}
    assert image.mount("c1", **fields).failed

    assert not image.mount("c1", **fields).failed

    assert image.on("c1", "stat", "-c", "%u %a", f"{image.link}/") == "1234 700"
    assert "ro" in image.on("c1", "findmnt", "-n", "-o", "OPTIONS", image.path).split(",")
    image.unmount("c1", link=image.link)
    image.delete()


@pytest.mark.parametrize("place", PARTIAL["mount"])
def test_unmount_after_a_crash_in_mount(image: Site, place: str) -> None:
    image.create()
    crash(image, "mount", place)
    assert image.mount("c1", private=True, link=image.link).failed

    assert not image.unmount("c1", link=image.link).failed

    image.delete()


@pytest.mark.parametrize("place", PARTIAL["unmount"])
def test_unmount_again_after_a_crash(image: Site, place: str) -> None:
    image.create()
    image.mount("c1", private=True, link=image.link)
    crash(image, "unmount", place)
    assert image.unmount("c1", link=image.link).failed

    assert not image.unmount("c1", link=image.link).failed

    image.delete()


def test_a_crash_hurts_only_the_host_of_its_fault(image: Site) -> None:
    image.create()
    image.configure(faults=[{"call": "mount", "host": "c2", "partial": "mounted"}])

    assert list(image.mount("c1", "c2").failed) == ["c2"]

    image.unmount("c1", "c2")
    image.delete()


CREATOR = """
import sys
from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import BrickRef, Context, Create, Deadline, Volume
from dacc_fake import FakeProvider, FakeSettings
base, namespaces = sys.argv[1:]
bricks = tuple(BrickRef(host=host, device=f"{base}/{host}") for host in ("b1", "b2"))
volume = Volume(name="vfake001", pool="default", provider="fake", capacity=16 << 20, bricks=bricks)
runner = LocalRunner(fence_dir=f"{base}/fence", namespace=f"{namespaces}/%h")
context = Context(hosts=runner, deadline=Deadline.after(30), token="7")
print("go", flush=True)
FakeProvider(FakeSettings(backing="image")).create(Create(context=context, volume=volume, owner=0, group=0))
"""


def children(pid: int) -> list[int]:
    """A process and all below it, as a service manager would kill them."""
    try:
        below = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return [pid]
    return [pid, *(found for child in below for found in children(child))]


@pytest.mark.parametrize("after", [0.05, 0.1, 0.15, 0.2])
def test_create_again_after_everything_was_killed_at_some_moment(image: Site, namespaces: Path, after: float) -> None:
    argv = [sys.executable, "-c", CREATOR, str(image.base), str(namespaces)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as creator:
        assert creator.stdout is not None
        creator.stdout.readline()
        time.sleep(after)
        for pid in children(creator.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    assert image.create() >= image.capacity

    image.delete()


def test_create_waits_for_a_killed_ones_children(image: Site) -> None:
    # Programs inherit the lock: a mkfs that outlives its parent must not write beside the next one.
    source = "import os, sys; from dacc_core.sdk.node.kit import locked_directory, run\n"
    source += "os.makedirs(sys.argv[1], exist_ok=True)\n"
    source += "with locked_directory(sys.argv[1]): print(os.getpid(), flush=True); run('sleep', '1.5')"
    argv = [sys.executable, "-c", source, str(image.base / "b1")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        time.sleep(0.2)
        holder.kill()
        started = time.monotonic()
        image.create()

    assert time.monotonic() - started > 0.8
    image.delete()
