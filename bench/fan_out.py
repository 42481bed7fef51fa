"""One command on many hosts: what the fan-out itself costs, and what it costs when all of the hosts are this machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from math import ceil
from statistics import median

from dacc_core.hosts import LocalRunner
from dacc_core.hosts.base import FAN_OUT as WIDTH
from dacc_core.hosts.base import fan_out
from dacc_core.sdk import Command

from .baselines import FAN_OUT
from .rows import Row

SECONDS = 0.05
COMMAND = Command(("sleep", str(SECONDS)))


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for 64 and for 512 hosts, beside the time that nobody could beat."""
    with tempfile.TemporaryDirectory(prefix="dacc-bench-") as directory:
        runner = LocalRunner(fence_dir=directory)
        for number in (64, 512):
            hosts = [f"c{one}" for one in range(number)]
            yield _row(f"{number} hosts that only wait", number, 1 if quick else 5, lambda hosts=hosts: fan_out(hosts, _wait))  # type: ignore[misc]
        for number in (64,) if quick else (64, 512):
            hosts = [f"c{one}" for one in range(number)]
            name = f"{number} hosts, as processes of this machine"
            yield _row(name, number, 1 if quick else 3, lambda hosts=hosts: runner.run(hosts, COMMAND))  # type: ignore[misc]


def _wait(_: str) -> None:
    time.sleep(SECONDS)


def _row(name: str, hosts: int, turns: int, work: Callable[[], object]) -> Row:
    times = []
    for _ in range(turns):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    ideal = ceil(hosts / WIDTH) * SECONDS
    return Row(FAN_OUT, name, median(times), "s", median(times) / ideal, f"{WIDTH} at a time")
