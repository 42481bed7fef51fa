"""The rsync mover beside plain ``rsync -a`` of the same files, both as the same user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dacc_core.hosts import LocalRunner
from dacc_core.movers import CopyOrder, Root, RsyncMover
from dacc_core.sdk import CancelToken, Context, Deadline
from dacc_core.values import StageRequest

from .baselines import COPIES
from .rows import Row
from .timing import milliseconds, ratio

MIB = 1 << 20
SYSTEM_PYTHON = Path("/usr/bin/python3")
"""Every user can run it; the one that we run may lie in somebody's home."""


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for many small files and for one large one."""
    with tempfile.TemporaryDirectory(prefix="dacc-bench-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        many, large = (200, 8 * MIB) if quick else (2000, 256 * MIB)
        turns = 1 if quick else 7
        yield _row(f"{many} small files", place, _small(place / "small", many), turns)
        yield _row(f"one file of {large // MIB} MiB", place, _large(place / "large", large), turns)


def _small(tree: Path, number: int) -> Path:
    for one in range(number):
        file = tree / f"d{one % 20}" / f"file{one}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(4096))
    return tree


def _large(tree: Path, size: int) -> Path:
    tree.mkdir()
    with (tree / "file").open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    return tree


def _row(name: str, place: Path, tree: Path, turns: int) -> Row:
    ours, plain = [], []
    for turn in range(turns + 1):
        plain_seconds, our_seconds = _plain(tree, place / "plain"), _ours(tree, place)
        if turn:  # the first only warms the page cache
            plain.append(plain_seconds)
            ours.append(our_seconds)
    return Row(COPIES, name, milliseconds(ours), "ms", ratio(ours, plain), "rsync -a")


def _plain(tree: Path, target: Path) -> float:
    _make(target)
    begun = time.perf_counter()
    subprocess.run(["rsync", "-a", f"{tree}/", f"{target}/"], check=True, **_identity())
    seconds = time.perf_counter() - begun
    shutil.rmtree(target)
    return seconds


def _ours(tree: Path, place: Path) -> float:
    buffer = place / "volume" / "global"
    buffer.parent.mkdir()
    _make(buffer)
    user, cancel = _user(), CancelToken()
    python = str(SYSTEM_PYTHON) if SYSTEM_PYTHON.exists() else sys.executable
    runner = LocalRunner(fence_dir=place / "fences", python=python).fenced("bench", 1, cancel)
    order = CopyOrder(
        context=Context(hosts=runner, deadline=Deadline.after(600.0), cancel=cancel),
        host="dac1",
        uid=user.pw_uid,
        gid=user.pw_gid,
        direction="in",
        requests=(StageRequest(source=str(tree), destination="$DW_JOB_STRIPED/copy", kind="directory"),),
        roots={"DW_JOB_STRIPED": Root(str(buffer.parent), buffer.name, buffer.stat().st_uid)},
    )
    begun = time.perf_counter()
    RsyncMover().copy(order)
    seconds = time.perf_counter() - begun
    shutil.rmtree(buffer.parent)
    return seconds


def _user() -> pwd.struct_passwd:
    """Who owns the copies: ourselves, but nothing is ever staged for root."""
    return pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("nobody")


def _identity() -> dict[str, Any]:
    """How a program runs as that user."""
    user = _user()
    return {} if os.getuid() else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _make(directory: Path) -> None:
    directory.mkdir()
    os.chown(directory, _user().pw_uid, _user().pw_gid)
