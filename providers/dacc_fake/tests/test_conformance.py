"""The provider keeps the contract of the SDK, with both backings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import BrickRef
from dacc_core.testing import ProviderConformance, Scratch

from .conftest import command

CAPACITY = 16 << 20
HOSTS = ("c1", "c2")


def bricks_below(directory: Path) -> tuple[BrickRef, ...]:
    """A directory on each of two hosts."""
    for name in ("b1", "b2"):
        (directory / name).mkdir()
    return tuple(BrickRef(host=name, device=str(directory / name)) for name in ("b1", "b2"))


@dataclass
class OneTree(Scratch):
    """Hosts that share this machine's file system, each with a directory in the place of its root."""

    root: str = ""

    def place(self, host: str, path: str) -> str:
        """Movers' paths are not below the root."""
        return path if path.startswith(self.mover_root) else f"{self.root}/{host}{path}"


class TestDirectory(ProviderConformance):
    """Backing ``directory``, as it is used without root."""

    provider = "fake"

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> OneTree:
        runner = LocalRunner(fence_dir=tmp_path / "fence")
        settings = {"backing": "directory", "root": f"{tmp_path}/hosts/%h"}
        mount_root, root = f"{tmp_path}/mnt", f"{tmp_path}/hosts"
        return OneTree(runner, bricks_below(tmp_path), HOSTS, mount_root, settings, capacity=CAPACITY, root=root)


@pytest.mark.long  # a minute; the other tests of images take less
class TestImage(ProviderConformance):
    """Backing ``image``: real mounts, in namespaces."""

    provider = "fake"

    @pytest.fixture
    def scratch(self, namespaces: Path, tmp_path: Path) -> Iterator[Scratch]:
        runner = LocalRunner(fence_dir=tmp_path / "fence", namespace=f"{namespaces}/%h")
        mount_root = f"{namespaces.parent}/mnt/check"
        scratch = Scratch(runner, bricks_below(tmp_path), HOSTS, mount_root, {"backing": "image"}, capacity=CAPACITY)
        yield scratch
        for host in HOSTS:  # other tests of this worker expect to find the hosts empty
            command("nsenter", f"--mount={namespaces}/{host}", "rm", "-df", scratch.mount_root, scratch.mover_root)
