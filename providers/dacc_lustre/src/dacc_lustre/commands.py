"""``dacc lustre``: prepare storage hosts, check hosts, and write the node helper to a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.metadata import version

import click
from dacc_core.sdk import InvalidRequest, NotFound, Unavailable, current_site

from . import fitness, remote
from .reports import DiskReport, PreparedDisks
from .settings import LustreSettings

PREPARE_SECONDS = 600.0


@click.group()
def lustre() -> None:
    """Storage hosts of the provider lustre."""


@lustre.command()
@click.argument("host")
@click.option("--yes", is_flag=True, help="Do it. Without, only say what would be done.")
@click.option("--wipe", multiple=True, metavar="DEVICE", help="Partition DEVICE although it has data, which is lost. May be repeated.")
def prepare(host: str, yes: bool, wipe: tuple[str, ...]) -> None:
    """Partition the bricks of HOST once: a slice for MDTs and one for OSTs, and on the first brick the MGT.

    A disk in use is refused, and one with data unless --wipe names it. What is prepared already is left alone.
    """
    settings, devices = _settings(), _devices(host)
    if unknown := [one for one in wipe if one not in devices]:
        raise InvalidRequest(why=f"--wipe {unknown[0]}: the configuration has no such brick of {host}: it has {', '.join(devices)}")
    has_mgt = not settings.mgs_device and settings.mgs_host in ("", host)
    job = {
        "disks": list(devices),
        "mgt_on": devices[0] if has_mgt else "",
        "backend": settings.backend,
        "mdt_slice": settings.mdt_slice,
        "mgt_slice": settings.mgt_slice,
        "wipe": list(wipe),
        "yes": yes,
    }
    context = current_site().context(PREPARE_SECONDS)
    answers = remote.ask(context, settings, "prepare", [host], PreparedDisks, job, seconds=PREPARE_SECONDS)
    _print_prepared(host, answers.results()[host].disks, yes)


def _print_prepared(host: str, disks: Sequence[DiskReport], yes: bool) -> None:
    for report in disks:
        if not report.refused:
            click.echo(f"{host}:{report.disk}: {report.state}")
        if not (yes or report.refused):
            for command in report.commands:
                click.echo(f"  {shlex.join(command)}")
    refused = [report.refused for report in disks if report.refused]
    if refused:
        raise Unavailable(why=f"host {host}: " + "; ".join(refused) + "; nothing was changed")
    if not yes and any(report.commands for report in disks):
        click.echo("nothing was changed: call it with --yes to do this")


@lustre.command()
@click.argument("hosts", nargs=-1)
def check(hosts: tuple[str, ...]) -> None:
    """Check HOSTS (default: all with bricks): modules, versions, LNet, ko2iblnd's tuning, partitions, MGT; say what to mend.

    With the setting `nodemap` the MGSs among them are asked about the NIDs of all of them, so name compute nodes too.
    """
    settings, site = _settings(), current_site()
    bricks = site.bricks("lustre")
    wanted = {host: bricks.get(host, ()) for host in (hosts or tuple(bricks))}
    findings = fitness.look(site.context(2 * settings.probe_seconds + 10.0), settings, wanted)
    for one in findings:
        click.echo(f"{one.host}: {one.level}: {one.text}")
    bad = dict.fromkeys(one.host for one in findings if one.level == "error")
    if bad:
        raise Unavailable(why=f"{len(bad)} of {len(wanted)} hosts are not fit to serve: {', '.join(bad)}")
    click.echo(f"{len(wanted)} hosts are fit to serve")


@lustre.command()
def helper() -> None:
    """Print the node helper, to be installed on every host where the setting `helper` names it.

    Its one argument is a verb; as an ssh forced command it takes the verb from what was asked for. The request is read from standard input.
    """
    click.echo(remote.installable(version("dacc-provider-lustre")), nl=False)


@lustre.command()
@click.argument("user")
def sudoers(user: str) -> None:
    """Print lines for sudoers that let USER run the installed helper: one for each verb, no wildcards."""
    place = _settings().helper
    if not place:
        raise InvalidRequest(why="the setting providers.lustre.helper is empty: install the helper and name its path there")
    if not user.replace("-", "").replace("_", "").isalnum():
        raise InvalidRequest(why=f"user {user!r}: write a user's name")
    for verb in remote.PROGRAM.verbs:
        click.echo(f"{user} ALL=(root) NOPASSWD: {place} {verb}")


def _settings() -> LustreSettings:
    provider = current_site().provider("lustre")
    found: LustreSettings = provider.settings  # type: ignore[attr-defined]
    return found


def _devices(host: str) -> tuple[str, ...]:
    found = current_site().bricks("lustre").get(host, ())
    if not found:
        raise NotFound(why=f"host {host} has no bricks in a pool of the provider lustre: add them to the configuration first")
    return found
