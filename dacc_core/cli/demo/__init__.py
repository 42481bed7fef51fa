"""``dacc demo``: a job's whole way through a site that exists for some seconds on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from ...errors import DaccError
from ...testing.site import LocalSite
from .board import Board
from .story import Story


@click.command()
@click.option("--keep", is_flag=True, help="Keep the demo's directory, with the daemons' logs.")
def demo(keep: bool) -> None:
    """Run three jobs with burst buffers on this machine, through the calls that Slurm makes."""
    directory = Path(tempfile.mkdtemp(prefix="dacc-demo-"))
    directory.chmod(0o755)  # the job's user must get at its files
    site = LocalSite(directory, hosts=3, bricks=3)
    try:
        site.open()
        with Board() as board:
            Story(site, board).tell()
    except DaccError:
        click.echo(f"dacc demo: the daemons' logs are in {directory}", err=True)
        keep = True
        raise
    finally:
        site.close(keep=keep)
    click.echo("nothing is left behind" if not keep else f"kept: {directory}")
