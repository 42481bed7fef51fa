"""``commands.md``, from the click commands of ``dacc``, ``dacd`` and ``fakewarp``."""

from __future__ import annotations

import inspect

import click

from dacc_core.cli.main import main as dacc
from dacc_core.daemon.main import main as dacd
from fakewarp.slurm.command import install_slurm

from . import markdown as md

INTRO = """
    Two programs are for people. `dacc` is for operators, users and provider authors: all but `demo`, `plan`, `provider`,
    `providers`, `backup` and `restore` ask a running dacd over its [socket](socket-protocol.md). `dacd` is the daemon. What Slurm calls,
    `fakewarp` and `dwstat`, is on [a page of its own](functions.md); `fakewarp install-slurm`, which people call, is here. All exit with
    the [codes of errors](errors.md).

    Who may do what: root, the setting `slurm_user` and the user who runs dacd may do everything. Anyone may call `status` and `hosts`;
    `show`, `why`, `stage-out` and `discard` are for the owner of a session, too. Others see the class of an error instead of its text.
"""
AGREEMENT = """
    A provider package may [add commands](hooks.md#hooks) to `dacc`; `dacc --help` lists them too. They never replace one of these.
"""


def page() -> str:
    """The page."""
    ours = [f"## `dacc`\n\n{md.doc(dacc.callback)}", _options(dacc), AGREEMENT]
    ours += [_command(f"dacc {name}", command) for name, command in _own(dacc)]
    others = [_command("dacd", dacd, "##"), _command("fakewarp install-slurm", install_slurm, "##")]
    return md.page("Commands", "the click commands of dacc_core/cli, dacc_core/daemon and fakewarp/slurm", INTRO, *ours, *others)


def _own(group: click.Group) -> list[tuple[str, click.Command]]:
    """The commands of dacc itself, with those of its groups; what packages added to this process is theirs."""
    found: list[tuple[str, click.Command]] = []
    for name, command in sorted(group.commands.items()):
        module = inspect.getmodule(command.callback)
        if module is None or not module.__name__.startswith("dacc_core."):
            continue
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", one) for below, one in _own(command)]
        else:
            found.append((name, command))
    return found


def _command(path: str, command: click.Command, level: str = "###") -> str:
    arguments = [_argument(one) for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join([path, "[OPTIONS]" if _rows(command) else "", *arguments]).replace("  ", " ").strip()
    return f"{level} `{path}`\n\n    {usage}\n\n{md.doc(command.callback)}\n\n{_options(command)}".strip()


def _argument(one: click.Argument) -> str:
    name = (one.name or "").upper()
    return one.metavar or (name if one.required else f"[{name}]")


def _options(command: click.Command) -> str:
    rows = _rows(command)
    return md.table(("option", "meaning"), rows) if rows else ""


def _rows(command: click.Command) -> list[tuple[str, str]]:
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [(f"`{', '.join(option.opts)}{_value(option)}`", option.help or "") for option in options]


def _value(option: click.Option) -> str:
    return "" if option.is_flag or option.count else f" {option.metavar or option.type.name.upper()}"
