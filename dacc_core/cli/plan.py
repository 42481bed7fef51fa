"""``dacc plan``: what building a volume would do, as text, JSON, a shell script or an Ansible playbook. Nothing is done."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import click
import yaml

from ..config import Config
from ..errors import NoSpace, NoSuchPool, Unsupported
from ..names import expand
from ..sdk import PlanCreate, PlannedStep, PlanProvider
from ..sizes import format_size, parse_size
from ..values import BrickRef, Volume
from .site import OperatorSite

EXAMPLE_NAME = "planonly"
"""The volume's name in a plan: a real one is never used again, so it is made with the volume."""

SECONDS = 120.0
Steps = Sequence[PlannedStep]


@click.command()
@click.option("--pool", default="", help="The pool; default: the one of requests that name none.")
@click.option("--capacity", required=True, help="How much the volume is to hold, such as 10TiB.")
@click.option("--format", "form", type=click.Choice(["text", "json", "shell", "ansible"]), default="text", show_default=True)
@click.option("--offline", is_flag=True, help="Ask no host; assume that all bricks are prepared and empty.")
@click.pass_obj
def plan(site: OperatorSite, pool: str, capacity: str, form: str, offline: bool) -> None:
    """Show what building a volume would do, without doing it.

    It takes the first bricks of the pool as the configuration lists them; a session gets those that are free. With --offline devices may
    be shown by names that no program knows.
    """
    volume = example_volume(site.config, pool or site.config.default_pool, parse_size(capacity))
    provider = site.provider(volume.provider)
    if not isinstance(provider, PlanProvider):
        raise Unsupported(why=f"provider {volume.provider} does not say what it would do: it has no plans")
    steps = list(provider.plan(PlanCreate(context=site.context(SECONDS), volume=volume, look=not offline)))
    click.echo(FORMATS[form](volume, steps), nl=False)


def example_volume(config: Config, pool: str, capacity: int) -> Volume:
    """The volume that a request for so many bytes would have. Raises NoSuchPool, NoSpace."""
    if pool not in config.pools:
        raise NoSuchPool(pool=pool, hint=f"the configuration has {', '.join(config.pools) or 'none'}")
    setting = config.pools[pool]
    hosts = dict.fromkeys(host for pattern in config.bricks for host in expand(pattern))
    bricks = [BrickRef(host=host, device=brick.device) for host in hosts for brick in config.bricks_of(host) if brick.pool == pool]
    needed = -(-capacity // setting.granularity)
    if needed > len(bricks):
        raise NoSpace(why=f"pool {pool} has {len(bricks)} bricks in the configuration and {needed} are needed: ask for less")
    chosen = tuple(bricks[:needed])
    return Volume(name=EXAMPLE_NAME, pool=pool, provider=setting.provider, capacity=needed * setting.granularity, bricks=chosen)


def phases(steps: Steps) -> Iterable[tuple[str, list[PlannedStep]]]:
    """The phases in order, each with its steps."""
    return ((name, list(parallel)) for name, parallel in groupby(steps, lambda step: step.phase))


def as_text(volume: Volume, steps: Steps) -> str:
    """For people."""
    lines = [f"volume {volume.name}: {format_size(volume.capacity)} on {len(volume.bricks)} bricks of {len(volume.hosts)} hosts"]
    for number, (name, parallel) in enumerate(phases(steps), 1):
        undo = f"; undone by: {parallel[0].undo}" if parallel[0].undo else ""
        where = f"{len(parallel)} hosts at once" if len(parallel) > 1 else "1 host"
        lines.append(f"\n{number}. {name} ({where}, at most {parallel[0].seconds:g} s{undo})")
        lines += [f"  {step.host}: {shlex.join(command)}" for step in parallel for command in step.commands]
    return "\n".join(lines) + "\n"


def as_json(volume: Volume, steps: Steps) -> str:
    """For programs."""
    head = {"name": volume.name, "capacity": volume.capacity, "bricks": [str(brick) for brick in volume.bricks]}
    return json.dumps({"volume": head, "steps": [asdict(step) for step in steps]}, indent=2) + "\n"


def as_shell(volume: Volume, steps: Steps) -> str:
    """A script that runs each command through ssh, one after the other; it stops at the first that fails."""
    lines = ["#!/bin/sh", f"# {volume.name} on {len(volume.bricks)} bricks, made by dacc plan", "set -eu"]
    for name, parallel in phases(steps):
        lines.append(f"\n# {name}")
        lines += [shlex.join(["ssh", "-n", step.host, "--", shlex.join(command)]) for step in parallel for command in step.commands]
    return "\n".join(lines) + "\n"


def as_ansible(volume: Volume, steps: Steps) -> str:
    """A playbook: a play for each host in each phase, in the order of the phases."""
    plays = [play for name, parallel in phases(steps) for play in _plays(name, parallel)]
    return "---\n" + yaml.safe_dump(plays, sort_keys=False, width=200)


def _plays(name: str, steps: Steps) -> Iterable[Mapping[str, Any]]:
    for step in steps:
        tasks = [{"name": shlex.join(command[:2]), "ansible.builtin.command": {"argv": list(command)}} for command in step.commands]
        yield {"name": f"{name} on {step.host}", "hosts": step.host, "become": True, "gather_facts": False, "tasks": tasks}


FORMATS: Mapping[str, Callable[[Volume, Steps], str]] = {"text": as_text, "json": as_json, "shell": as_shell, "ansible": as_ansible}
