"""The entry point of ``dacc``: its group of commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from ..config import load
from ..demo import demo
from ..errors import DaccError, ProviderLoadError
from ..plugins import add_commands, is_strict, list_providers, refuse_problems
from .backup import backup, restore
from .hosts import drain, forget, hosts, undrain
from .operator import discard, release, retry, show, stage_out, status
from .plan import plan
from .provider import provider
from .providers import providers
from .site import OperatorSite
from .why import why


class Cli(click.Group):
    """A group that ends as every dacc program does: an expected error is one line, any other keeps its traceback for DACC_DEBUG=1.

    Provider packages may add commands. They are imported only when a name is not one of ours, or for the help.
    """

    _extended = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, ours first."""
        if cmd_name not in self.commands:
            self._extend()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, those of provider packages included."""
        self._extend()
        return super().list_commands(ctx)

    def _extend(self) -> None:
        if self._extended:
            return
        self._extended = True
        try:
            disabled = load().plugins.disabled
        except DaccError as error:  # the code of a disabled package is never run, and which are is not known
            click.echo(f"dacc: without the commands of provider packages: {str(error).partition(chr(10))[0]}", err=True)
            return
        ours = dict(self.commands)
        failures = add_commands(self, disabled)
        self.commands.update(ours)
        if is_strict():
            refuse_problems(list_providers(disabled))
            if failures:
                raise ProviderLoadError.from_text("\n".join(failures))
        for failure in failures:
            click.echo(f"dacc: {failure}", err=True)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line and exit."""
        try:
            return super().main(*args, **kwargs)
        except DaccError as error:
            click.echo(f"dacc: {error}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:
            sys.exit(_unexpected(error))


def _unexpected(error: Exception) -> int:
    if os.environ.get("DACC_DEBUG") == "1":
        traceback.print_exception(error)
    else:
        text = " ".join(str(error).split())
        click.echo(f"dacc: internal error: {type(error).__name__}: {text} (DACC_DEBUG=1 shows where)", err=True)
    return DaccError.exit_code


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dacc")
@click.pass_context
def main(context: click.Context) -> None:
    """The Data Accelerator: burst buffers on NVMe storage nodes."""
    context.obj = OperatorSite()


OF_PROVIDERS = (provider, providers)
OF_OPERATORS = (demo, status, show, why, hosts, drain, undrain, forget, stage_out, discard, release, retry, backup, restore, plan)
for command in (*OF_PROVIDERS, *OF_OPERATORS):
    main.add_command(command)
