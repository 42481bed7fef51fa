"""``dacc provider``: for those who write one."""

from __future__ import annotations

import click

from .provider_check import check_command
from .scaffolding import new_package


@click.group()
def provider() -> None:
    """Write and check a filesystem provider."""


@provider.command("new")
@click.argument("name")
@click.argument("directory", metavar="[DIR]", default="")
def new_command(name: str, directory: str) -> None:
    """Make a package for the provider NAME in DIR, by default ./dacc-provider-NAME.

    It can be installed and tested as it is: its volumes are directories. Put your filesystem in their place.
    """
    place, written = new_package(name, directory)
    click.echo(f"{place}:")
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"next: pip install -e '{place}[test]', dacc providers show {name}, pytest {place}")


provider.add_command(check_command)
