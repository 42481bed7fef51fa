"""Looking at hosts and sweeping: what belongs to a check is found and taken away, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import BrickRef
from dacc_core.testing import Scratch
from dacc_core.testing.conformance.scratch import left_over
from tests.support.requirements import require


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    for name in ("brick", "mnt", "elsewhere"):
        (tmp_path / name).mkdir()
    runner = LocalRunner(fence_dir=tmp_path / "fence")
    return Scratch(runner, (BrickRef(host="h", device=str(tmp_path / "brick")),), ("h",), mount_root=str(tmp_path / "mnt"))


@pytest.fixture
def sleeper() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(sleeper: list[subprocess.Popen[bytes]], word: str) -> subprocess.Popen[bytes]:
    sleeper.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", word]))
    return sleeper[-1]


def sweep(scratch: Scratch) -> None:
    scratch.sweep(scratch.look())


def test_files_on_bricks_and_at_mount_points_are_swept(scratch: Scratch, tmp_path: Path) -> None:
    for name in ("brick/volume/global/file", "mnt/k1_job/global/file"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("left behind")
    sweep(scratch)
    assert not list((tmp_path / "brick").iterdir())
    assert not list((tmp_path / "mnt").iterdir())


def test_files_elsewhere_stay_even_if_a_link_leads_to_them(scratch: Scratch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "file").write_text("somebody's")
    (tmp_path / "mnt" / "link").symlink_to(tmp_path / "elsewhere")
    sweep(scratch)
    assert not list((tmp_path / "mnt").iterdir())
    assert (tmp_path / "elsewhere" / "file").read_text() == "somebody's"


def test_a_process_that_names_a_path_of_the_check_is_ended(
    scratch: Scratch, tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]
) -> None:
    process = start(sleeper, f"--data={tmp_path}/brick/volume")
    sweep(scratch)
    assert process.wait(10) == -9


@pytest.mark.parametrize("word", ["{0}/brick2", "{0}/elsewhere", "/other{0}/brick"])
def test_a_process_that_names_something_similar_lives_on(
    scratch: Scratch, tmp_path: Path, sleeper: list[subprocess.Popen[bytes]], word: str
) -> None:
    process = start(sleeper, word.format(tmp_path))
    sweep(scratch)
    assert process.poll() is None


def test_what_was_there_before_is_not_left_over(scratch: Scratch, tmp_path: Path) -> None:
    (tmp_path / "brick" / "before").touch()
    before = scratch.look()
    (tmp_path / "brick" / "after").touch()
    assert left_over(before, scratch.look()) == {"h": frozenset({("file", str(tmp_path / "brick" / "after"), "")})}


class Disk:
    """A loop device that stands for a brick."""

    def __init__(self, image: Path) -> None:
        with image.open("wb") as file:
            file.truncate(64 << 20)
        words = ["losetup", "--show", "-P", "-f", str(image)]
        self.device = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    def run(self, *words: str) -> None:
        """A command whose last word is the device."""
        subprocess.run([*words, self.device], check=True, capture_output=True)

    def signature(self) -> str:
        """What the system recognises on it."""
        return subprocess.run(["wipefs", "--parsable", self.device], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    require(os.geteuid() == 0, "root, to make loop devices")
    made = Disk(tmp_path / "image")
    yield made
    made.run("losetup", "-d")


def of_disk(scratch: Scratch, disk: Disk) -> Scratch:
    return Scratch(scratch.runner, (BrickRef(host="h", device=disk.device),), ("h",), mount_root=scratch.mount_root)


def test_a_filesystem_left_on_a_device_is_wiped(scratch: Scratch, disk: Disk) -> None:
    on = of_disk(scratch, disk)
    before = on.look()
    disk.run("mkfs.ext4", "-q")
    left = left_over(before, on.look())
    assert [kind for kind, _, _ in left["h"]] == ["signature"]
    assert left_over(before, on.sweep(left)) == {}
    assert not disk.signature()


def test_a_partition_table_is_never_touched(scratch: Scratch, disk: Disk) -> None:
    with Path(disk.device).open("r+b") as device:  # one Linux partition of 32 MiB
        device.write(bytes(446) + bytes.fromhex("00000000 83000000 00080000 00000100") + bytes(48) + b"\x55\xaa")
    on = of_disk(scratch, disk)
    assert on.look() == {"h": frozenset()}
    on.sweep({"h": frozenset({("signature", disk.device, "")})})
    assert ",dos" in disk.signature()


def test_a_process_that_names_a_device_lives_on(scratch: Scratch, disk: Disk, sleeper: list[subprocess.Popen[bytes]]) -> None:
    process = start(sleeper, disk.device)
    on = of_disk(scratch, disk)
    on.sweep(on.look())
    assert process.poll() is None
