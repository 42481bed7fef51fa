"""``dacc providers``: what is installed and whether it works."""

from __future__ import annotations

import sys

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ..config import load
from ..errors import DaccError
from ..plugins import ProviderRow, is_strict, list_providers, refuse_problems, show_provider
from .output import as_json


@click.group()
def providers() -> None:
    """The filesystem providers that are installed."""


@providers.command("list")
@as_json
def list_command(json_output: bool) -> None:
    """List installed providers, those that cannot load included."""
    rows = list_providers(_disabled())
    if json_output:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif rows:
        _print_table(rows)
    else:
        click.echo("no provider is installed: install a package dacc-provider-<name>")
    _end(rows)


@providers.command("show")
@click.argument("name")
@as_json
def show_command(name: str, json_output: bool) -> None:
    """Show one provider: who offers it, whether it works, what it can do, and its settings."""
    rows = show_provider(name, _disabled())
    if json_output:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    else:
        for row in rows:
            _print_row(row)
    _end(rows)


def _disabled() -> tuple[str, ...]:
    """The setting ``plugins.disabled``; nothing when the configuration cannot be read, which is said."""
    try:
        return load().plugins.disabled
    except DaccError as error:
        click.echo(f"dacc: plugins.disabled is not known: {str(error).partition(chr(10))[0]}", err=True)
        return ()


def _end(rows: list[ProviderRow]) -> None:
    """With ``DACC_STRICT_PLUGINS=1`` a problem is an error, once everything has been shown."""
    if is_strict():
        refuse_problems(rows)


def _print_table(rows: list[ProviderRow]) -> None:
    table = _table("name", "package", "version", "api", "state", "capabilities")
    for row in rows:
        table.add_row(row.name, row.package, row.version, row.api, row.state, ", ".join(row.capabilities))
    _console().print(table)
    for row in rows:
        who = f"entry point `{row.entry_point}` of {row.package} {row.version}"
        if row.reason:
            click.echo(f"{row.name} is {row.state}: {who}: {row.reason}")


def _print_row(row: ProviderRow) -> None:
    click.echo(f"{row.name}: {row.state}" + (f": {row.reason}" if row.reason else ""))
    facts = {
        "package": f"{row.package} {row.version}",
        "entry point": row.entry_point,
        "api": row.api,
        "capabilities": ", ".join(row.capabilities),
        "hooks": ", ".join(row.hooks),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"  {name + ':':<14}{value}")
    if row.settings:
        table = _table(f"providers.{row.name}", "type", "default", "meaning")
        for setting in row.settings:
            kind = f"{setting.type}, {setting.unit}" if setting.unit else setting.type
            table.add_row(setting.name, kind, setting.default or "required", setting.text)
        _console().print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _console() -> Console:
    # A file or a pipe has no width, and a row must stay one line there.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000)
