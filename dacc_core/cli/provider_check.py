"""``dacc provider check``: the conformance checks against a provider that is installed, on the site's own hosts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ..config import Config, load
from ..errors import Busy, InvalidRequest, KeystoreMissing, Unsupported
from ..keystore.open import open_store
from ..names import expand, fold
from ..plugins import load_provider, probe_provider
from ..registry import keys
from ..registry.records import Allocations
from ..sdk import BrickRef

if TYPE_CHECKING:
    from ..testing.conformance.scratch import Scratch
    from ..testing.conformance.session import CheckSession


@click.command("check")
@click.argument("name")
@click.option("--hosts", default="", help="Brick hosts of the configuration, such as dac[1-2]. Without --destructive, by default all.")
@click.option("--mount-on", default="", help="Hosts to mount on, at least two. Default: the brick hosts.")
@click.option("--destructive", is_flag=True, help="Make all checks. The bricks of --hosts (free and drained) lose their data.")
@click.option("--repeat", default=10, show_default=True, type=click.IntRange(1), help="How often calls are made that must be repeatable.")
@click.option("--sweep", is_flag=True, help="With --destructive: take away by force what is left on these hosts, before and after.")
@click.option("--junit", default="", metavar="FILE", help="Write the results to FILE in JUnit's format, too.")
def check_command(name: str, hosts: str, mount_on: str, destructive: bool, repeat: int, sweep: bool, junit: str) -> None:
    """Check that the provider NAME keeps the contract of the SDK.

    Prints a line for each check. Ends with 0 when all that were made went well, with 1 when one did not or something was left behind.
    """
    probe_provider(name)
    config = load()
    load_provider(name, config=config)
    scratch = _scratch(config, name, hosts, mount_on, destructive)
    session = _session()(name, scratch, click.echo, destructive, sweep, repeat, junit)
    well = session.run()
    _report_omissions(session)
    sys.exit(0 if well else 1)


def _session() -> type[CheckSession]:
    try:
        from ..testing.conformance.session import CheckSession  # late: it needs pytest, which operators may not have
    except ModuleNotFoundError as error:
        raise Unsupported(why=f"checks need {error.name}, which is not installed: pip install 'dacc[testing]'") from error
    return CheckSession


def _report_omissions(session: CheckSession) -> None:
    click.echo(", ".join(f"{number} {state}" for state, number in sorted(session.count.items())))
    if not session.destructive:
        click.echo("made were only checks that change nothing; with --destructive --hosts all are made, and what is on the bricks is lost")
    if not session.scratch.bricks:
        click.echo("no host was checked: the configuration has no brick in a pool of this provider")


def _scratch(config: Config, name: str, hosts: str, mount_on: str, destructive: bool) -> Scratch:
    from ..hosts.factory import runner_for
    from ..testing.conformance.scratch import Scratch

    if destructive and not hosts:
        raise InvalidRequest(why="--destructive ruins what is on the bricks: name their hosts with --hosts")
    names = expand(hosts) if hosts else tuple(dict.fromkeys(host for pattern in config.bricks for host in expand(pattern)))
    bricks_of = {host: _bricks(config, name, host) for host in names}
    without = [host for host, bricks in bricks_of.items() if not bricks]
    if hosts and without:
        raise InvalidRequest(why=f"{fold(without)} has no brick in a pool of provider {name}: see bricks and pools in the configuration")
    bricks = tuple(brick for more in bricks_of.values() for brick in more)
    if destructive:
        _refuse_what_is_in_use(config, bricks)
    sizes = [brick.capacity for host in names for brick in config.bricks_of(host) if config.pools[brick.pool].provider == name]
    return Scratch(
        runner_for(config),
        bricks,
        expand(mount_on) if mount_on else tuple(dict.fromkeys(brick.host for brick in bricks)),
        mount_root=f"{config.mount_root}/dacc-check",
        settings=config.providers.get(name, {}),
        capacity=min(sizes, default=0),
    )


def _bricks(config: Config, name: str, host: str) -> list[BrickRef]:
    own = (brick for brick in config.bricks_of(host) if config.pools[brick.pool].provider == name)
    return [BrickRef(host=host, device=brick.device) for brick in own]


def _refuse_what_is_in_use(config: Config, bricks: tuple[BrickRef, ...]) -> None:
    """Raises Busy for a brick that has, or may at any moment get, a session."""
    allocations = _allocations(config)
    for brick in bricks:
        held = allocations.get(brick.host)
        if held is None:
            continue
        if brick.device in held.taken:
            raise Busy(why=f"brick {brick} belongs to volume {held.taken[brick.device]}: check other hosts, or wait until it is free")
        if brick.device in held.quarantined:
            raise Busy(why=f"brick {brick} is in quarantine ({held.quarantined[brick.device]}): see dacc hosts, then dacc release")
        if not held.draining:
            raise Busy(why=f"host {brick.host} takes new sessions, which could get its bricks meanwhile: dacc drain {brick.host} first")


def _allocations(config: Config) -> dict[str, Allocations]:
    try:
        store = open_store(config)
    except KeystoreMissing:
        return {}  # there has never been a daemon, so no brick has been given to anybody
    try:
        items = store.range(keys.key("allocations", "")).items
    finally:
        store.close()
    records = {keys.split(item.key)[1]: keys.decode(item.key, item.value) for item in items}
    return {host: record for host, record in records.items() if isinstance(record, Allocations)}
