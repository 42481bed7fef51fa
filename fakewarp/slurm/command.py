"""The command line of ``fakewarp install-slurm``. Unlike Slurm's calls it is for people: errors go to standard error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dacc_core.config import SYSTEM_FILE
from dacc_core.errors import DaccError

from .files import File, make_files
from .site import read_site
from .write import write_files

PROGRAM = "fakewarp install-slurm"
USUAL_DIRECTORY = "/etc/slurm"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--print", "show", is_flag=True, help="Print every file below its name.")
@click.option("--write", "directory", metavar="DIR", help="Write them into DIR: best the directory of slurm.conf.")
@click.option("--config", "path", help=f"The site's configuration file. [default: $DACC_CONFIG, else {SYSTEM_FILE}]")
@click.option("--mount-root", default="", help="Where volumes are mounted on compute nodes. [default: the setting `mount_root`]")
@click.option("--force", is_flag=True, help="With --write: replace files that differ.")
def install_slurm(show: bool, directory: str | None, path: str | None, mount_root: str, force: bool) -> None:
    """Make the files that Slurm and systemd need: configuration, Prolog, Epilog, units.

    Each says in its comments what it is for and why it is as it is. Nothing is put in force: what to do with a file is said after it
    was written.
    """
    if show == bool(directory) or directory == "":
        raise click.UsageError("say either --print or --write DIR")
    target = os.path.abspath(directory or USUAL_DIRECTORY)  # noqa: PTH100 - a link stays as it is named
    site = read_site(path, mount_root, target)
    files = make_files(site)
    if show:
        click.echo("\n".join(f"==> {file.name} <==\n{file.text}" for file in files), nl=False)
    else:
        _report(files, write_files(Path(target), files, force=force), target)
    for note in site.notes:
        click.echo(f"{PROGRAM}: {note}", err=True)


def _report(files: list[File], written: set[str], directory: str) -> None:
    for file in files:
        click.echo(f"{directory}/{file.name}: {'written' if file.name in written else 'is so already'}")
        click.echo(f"    {file.then}")


def main(args: list[str]) -> int:
    """Run the command line; its exit code. What is wrong with it, or with the configuration, is said in one line each."""
    try:
        return int(install_slurm.main(args, prog_name=PROGRAM, standalone_mode=False) or 0)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except DaccError as error:
        return _complain(str(error), error.exit_code)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written cannot fail then
        enough = isinstance(error, BrokenPipeError)  # whoever read the output has closed it
        return 1 if enough else _complain(f"cannot write the output: {error.strerror}", 1)


def _complain(text: str, code: int) -> int:
    for line in text.splitlines():
        click.echo(f"{PROGRAM}: {line}", err=True)
    return code
