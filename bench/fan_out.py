"""One command on many hosts: what the fan-out itself costs, and what it costs when all of the hosts are this machine."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from math import ceil
from statistics import median

from dacc_core.hosts import LocalRunner
from dacc_core.hosts.base import on_each
from dacc_core.hosts.engine import FAN_OUT as WIDTH
from dacc_core.sdk import Command

from .baselines import FAN_OUT
from .rows import Row

SECONDS = 0.05
COMMAND = Command(("sleep", str(SECONDS)))


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for 64 and for 512 hosts, beside the time that nobody could beat."""
    with tempfile.TemporaryDirectory(prefix="dacc-bench-") as directory:
        runner = LocalRunner(fence_dir=directory)
        for number in (64, 512, 2400):
            hosts = [f"c{one}" for one in range(number)]
            yield _row(f"{number} hosts that only wait", number, 1 if quick else 5, lambda hosts=hosts: _fan_out(hosts))  # type: ignore[misc]
        yield _row("256 calls at once, of 64 hosts that only wait", 64, 1 if quick else 3, _many_calls)
        for number in (64,) if quick else (64, 512):
            hosts = [f"c{one}" for one in range(number)]
            name = f"{number} hosts, as processes of this machine"
            yield _row(name, number, 1 if quick else 3, lambda hosts=hosts: runner.run(hosts, COMMAND))  # type: ignore[misc]


def _fan_out(hosts: list[str]) -> None:
    on_each(hosts, lambda _: asyncio.sleep(SECONDS), lambda _, error: None)


def _many_calls() -> None:
    hosts = [f"c{one}" for one in range(64)]
    callers = [threading.Thread(target=_fan_out, args=(hosts,)) for _ in range(256)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def _row(name: str, hosts: int, turns: int, work: Callable[[], object]) -> Row:
    times = []
    for _ in range(turns):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    ideal = ceil(hosts / WIDTH) * SECONDS
    return Row(FAN_OUT, name, median(times), "s", median(times) / ideal, f"{WIDTH} at a time")
