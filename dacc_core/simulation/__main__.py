"""``python -m dacc_core.simulation --events N [--seed S]``: a long simulation, seed by seed; the first broken rule ends it."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import click

from ..registry import transaction
from .cluster import Simulation
from .workload import Workload

EVENTS_A_SEED = 20_000
FAULTS = (0.0, 0.02, 0.05, 0.1)
MOST_CHANGES = (transaction.MOST_CHANGES, 2, 1)


@dataclass
class RunReport:
    """What happened: events, crashes of daemons, steps by kind, and how calls ended (``Answer``, or the error's class).

    ``late``: the events after the load had stopped. ``broken``: a rule.
    """

    events: int = 0
    late: int = 0
    crashes: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    broken: str = ""

    def add(self, other: RunReport) -> None:
        """Count another simulation."""
        self.events += other.events
        self.late += other.late
        self.crashes += other.crashes
        self.steps += other.steps
        self.calls += other.calls
        self.broken = self.broken or other.broken


def run_seed(seed: int, events: int) -> RunReport:
    """One simulation. Raises AssertionError naming seed and event when a rule is broken."""
    sim = Simulation(seed, hosts=1 + seed % 4, faults=FAULTS[seed % len(FAULTS)], most_changes=MOST_CHANGES[seed % len(MOST_CHANGES)])
    load = Workload(sim, chaos=seed % 5 != 0)
    while sim.events < events:
        sim.step()
    loaded = sim.events
    load.finish()
    return RunReport(sim.events, sim.events - loaded, sim.crashes, sim.steps, Counter(load.answers))


def _run_seed(events: int, seed: int) -> tuple[int, RunReport]:
    """In a process of its own: no exception may depend on being pickled."""
    logging.getLogger("dacc").setLevel(logging.CRITICAL)
    try:
        return seed, run_seed(seed, events)
    except AssertionError as error:
        return seed, RunReport(broken=str(error))


def run_seeds(seed: int, events: int, jobs: int) -> Iterator[tuple[int, RunReport]]:
    """Simulation after simulation, on so many processors at once, in the order of their seeds."""
    work = partial(_run_seed, min(EVENTS_A_SEED, events))
    if jobs == 1:
        yield from map(work, itertools.count(seed))
    with multiprocessing.Pool(jobs) as pool:
        # As many at a time as there are workers: a pool would take an endless iterator in at once.
        for first in itertools.count(seed, jobs):
            yield from pool.map(work, range(first, first + jobs), chunksize=1)


@click.command()
@click.option("--events", default=1_000_000, help="How many events in all.")
@click.option("--seed", default=None, type=int, help="The first seed. [default: a random one, printed]")
@click.option("--jobs", default=os.cpu_count() or 1, show_default="one for each processor", help="How many simulations run at once.")
def main(events: int, seed: int | None, jobs: int) -> None:
    """Simulate clusters with random faults and check the rules after each event."""
    seed = secrets.randbelow(1_000_000_000) if seed is None else seed
    total, begun = RunReport(), time.monotonic()
    click.echo(f"first seed {seed}")
    for last, tally in run_seeds(seed, events, jobs):
        total.add(tally)
        if total.broken:
            raise click.ClickException(f"{total.broken}\nreplay: make simulate EVENTS={min(EVENTS_A_SEED, events)} SEED={last}")
        if total.events >= events:
            break
    _report(total, time.monotonic() - begun, last + 1)


def _report(total: RunReport, seconds: float, following: int) -> None:
    calls = total.calls.total()
    share = 100 * total.late / max(1, total.events)
    click.echo(f"{total.events} events ({share:.0f} % after the load had stopped), {calls} calls, {total.crashes} crashes")
    click.echo(f"no rule broken; next seed {following}")
    click.echo("calls ended: " + ", ".join(f"{number} {name}" for name, number in total.calls.most_common()))
    click.echo("steps: " + ", ".join(f"{number} {kind}" for kind, number in total.steps.most_common()))
    rates = ((total.events, "events"), (calls, "calls"), (total.crashes, "crashes"))
    click.echo("an hour: " + ", ".join(f"{number / seconds * 3600:,.0f} {name}" for number, name in rates))


if __name__ == "__main__":
    main()
