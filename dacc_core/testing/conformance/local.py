"""Scratch resources on this machine: for providers whose bricks may be directories."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...hosts.local import LocalRunner
from ...sdk import BrickRef
from ..namespaces import Namespaces
from .scratch import Scratch

STORES = ("b1", "b2")
CLIENTS = ("c1", "c2")


@contextmanager
def local_scratch(directory: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Scratch]:
    """Two brick hosts with a directory of ``directory`` each for a brick, and hosts to mount on.

    As root every host is a mount namespace of its own, so that two hosts can mount at one path; without, there is one host to mount on.
    """
    for name in STORES:
        (directory / name).mkdir()
    bricks = tuple(BrickRef(host=name, device=str(directory / name)) for name in STORES)
    if os.geteuid():
        runner = LocalRunner(fence_dir=directory / "fence")
        yield Scratch(runner, bricks, CLIENTS[:1], mount_root=str(directory / "mnt"), settings=settings or {})
        return
    # Ordinary users own the data: they must be able to enter, and pytest's own directory is closed to them.
    with _namespaces(Path(tempfile.mkdtemp(prefix="dacc-check-"))) as hosts:
        runner = LocalRunner(fence_dir=directory / "fence", namespace=f"{hosts.directory}/%h")
        # A name of its own: the hosts share this machine's table of processes with those of other runs.
        yield Scratch(runner, bricks, CLIENTS, mount_root=f"/mnt/{hosts.directory.name}", settings=settings or {})


@contextmanager
def _namespaces(place: Path) -> Iterator[Namespaces]:
    hosts = Namespaces(place, (*STORES, *CLIENTS))
    try:
        hosts.open()
        yield hosts
    finally:
        hosts.close()
        shutil.rmtree(place, ignore_errors=True)
