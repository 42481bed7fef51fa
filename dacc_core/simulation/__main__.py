"""``python -m dacc_core.simulation --events N [--seed S]``: a long simulation, seed by seed; the first broken rule ends it."""

from __future__ import annotations

import logging
import secrets
import time

import click

from ..registry import transaction
from .cluster import Simulation
from .workload import Workload

EVENTS_A_SEED = 20_000
FAULTS = (0.0, 0.02, 0.05, 0.1)
MOST_CHANGES = (transaction.MOST_CHANGES, 2, 1)


def run_seed(seed: int, events: int) -> tuple[int, int]:
    """One simulation; how many events it had, and how many calls succeeded. Raises AssertionError naming seed and event."""
    sim = Simulation(seed, hosts=1 + seed % 4, faults=FAULTS[seed % len(FAULTS)], most_changes=MOST_CHANGES[seed % len(MOST_CHANGES)])
    load = Workload(sim, chaos=seed % 5 != 0)
    while sim.events < events:
        sim.step()
    load.finish()
    return sim.events, load.answers.get("Answer", 0)


@click.command()
@click.option("--events", default=1_000_000, help="How many events in all.")
@click.option("--seed", default=None, type=int, help="The first seed. [default: a random one, printed]")
def main(events: int, seed: int | None) -> None:
    """Simulate clusters with random faults and check the rules after each event."""
    logging.getLogger("dacc").setLevel(logging.CRITICAL)
    seed = secrets.randbelow(1_000_000_000) if seed is None else seed
    done, good, begun = 0, 0, time.monotonic()
    click.echo(f"first seed {seed}")
    while done < events:
        try:
            more, answers = run_seed(seed, min(EVENTS_A_SEED, events))
        except AssertionError as broken:
            raise click.ClickException(f"{broken}\nreplay: make simulate EVENTS={min(EVENTS_A_SEED, events)} SEED={seed}") from None
        done, good, seed = done + more, good + answers, seed + 1
    rate = done / (time.monotonic() - begun)
    click.echo(f"{done} events, {good} calls answered well, no rule broken ({rate:,.0f} events/s); next seed {seed}")


if __name__ == "__main__":
    main()
