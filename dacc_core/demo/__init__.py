"""``dacc demo``: a job's whole way through a site that exists for some seconds on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from ..errors import DaccError
from .board import Board
from .site import LocalSite
from .story import Story


@click.command()
@click.option("--keep", is_flag=True, help="Keep the demo's directory, with the daemons' logs.")
def demo(keep: bool) -> None:
    """Run three jobs with burst buffers on this machine, through the calls that Slurm makes."""
    directory = Path(tempfile.mkdtemp(prefix="dacc-demo-", dir=_place()))
    directory.chmod(0o755)  # the job's user must get at its files
    site = LocalSite(directory, hosts=3, bricks=3)
    try:
        site.open()
        with Board() as board:
            Story(site, board).run()
    except DaccError:
        click.echo(f"dacc demo: the daemons' logs are in {directory}", err=True)
        keep = True
        raise
    finally:
        site.close(keep=keep)
    click.echo("nothing is left behind" if not keep else f"kept: {directory}")


def _place() -> str | None:
    """Where the demo lives, if not where temporary files usually do: root's may lie in a directory that is closed to the job's user."""
    usual = Path(tempfile.gettempdir()).resolve()
    closed = os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in (usual, *usual.parents))
    return "/tmp" if closed else None  # noqa: S108 - mkdtemp makes a directory of its own there
