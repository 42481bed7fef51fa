"""``dacc providers``: what is installed and whether it works."""

from __future__ import annotations

import sys

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ..plugins import ProviderRow, list_providers


@click.group()
def providers() -> None:
    """The filesystem providers that are installed."""


@providers.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_command(as_json: bool) -> None:
    """List installed providers, those that cannot load included."""
    rows = list_providers()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif rows:
        _print_table(rows)
    else:
        click.echo("no provider is installed: install a package dacc-provider-<name>")


def _print_table(rows: list[ProviderRow]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "package", "version", "api", "state", "capabilities"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.name, row.package, row.version, row.api, row.state, ", ".join(row.capabilities))
    # A file or a pipe has no width, and a row must stay one line there.
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)
    for row in rows:
        if row.reason:
            click.echo(f"{row.name} ({row.package}) is {row.state}: {row.reason}")
