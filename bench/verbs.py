"""Each verb as Slurm pays for it: a process of its own, through the resident daemon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .baselines import ONE_CALL
from .rows import Row
from .site import LIFECYCLE, Client, running_site
from .timing import BARE_NAME, milliseconds, ratio

POLLED = ("pools", "show_instances", "show_sessions", "show_configurations")
UNDER_LOCK = ("job_process", "paths")
"""Slurm's scheduler stands still meanwhile, so the slowest call counts."""


def measure(*, quick: bool) -> Iterator[Row]:
    """A row for each verb, and one for a whole lifecycle."""
    times: dict[str, list[float]] = defaultdict(list)
    bare: dict[str, list[float]] = defaultdict(list)
    with running_site() as site:
        client = Client(site)
        client.lifecycle("1")  # what is compiled or opened at the first call only
        for turn in range(2, 4 if quick else 42):
            for function in (*POLLED, *LIFECYCLE):
                bare[function].append(client.bare())
                times[function].append(client.call(function, "" if function in POLLED else str(turn)))
    for function in (*POLLED, *LIFECYCLE):
        yield _row(function, times[function], bare[function])
        if function in UNDER_LOCK:
            slowest, slowest_bare = max(times[function]), max(bare[function])
            yield Row(ONE_CALL, f"{function}, slowest", slowest * 1000, "ms", slowest / slowest_bare, f"slowest {BARE_NAME}")
    yield _row("whole lifecycle", _sums(times), _sums(bare))


def _row(name: str, times: list[float], bare: list[float]) -> Row:
    return Row(ONE_CALL, name, milliseconds(times), "ms", ratio(times, bare), BARE_NAME)


def _sums(times: dict[str, list[float]]) -> list[float]:
    return [sum(turn) for turn in zip(*(times[function] for function in LIFECYCLE), strict=True)]
