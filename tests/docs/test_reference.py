"""The reference is as the code is: what is made from it is up to date, and nothing that users meet is missing."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest

from dacc_core import failpoints, sdk
from dacc_core.cli.main import main as dacc
from dacc_core.config import Config, describe
from dacc_core.daemon import protocol
from dacc_core.daemon.main import main as dacd
from dacc_core.daemon.telemetry.definitions import METRICS
from dacc_core.errors import all_errors
from dacc_core.lifecycle import transitions
from dacc_core.lifecycle.plan import STORE_ONLY, StepKind
from dacc_core.registry.keys import KINDS
from dacc_core.registry.records import Filesystem, Staging
from dacc_core.sdk import hookspecs
from fakewarp.arguments import _SHORT
from fakewarp.directives.rules import COMMANDS
from fakewarp.dwstat.tables import TABLES
from fakewarp.functions import FUNCTIONS
from fakewarp.thin import FILE_OPTIONS

from .pages import DOCS, ROOT

FAILPOINT = re.compile(r'failpoint\((f?)"([^"]+)"\)')
VARIABLE = re.compile(r"\b(?:DACC|XDG|ETCDCTL)_[A-Z_]+[A-Z]\b")


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text("utf-8")


def sources() -> Iterator[tuple[Path, str]]:
    for folder in ("dacc_core", "fakewarp", *(str(path.relative_to(ROOT)) for path in ROOT.glob("providers/*/src"))):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path, path.read_text("utf-8")


def missing(names: Iterable[str], page: str) -> list[str]:
    """The names that do not stand in a page as code."""
    text = reference(page)
    return [name for name in names if not re.search(rf"`[^`\n]*(?<![\w.-]){re.escape(name)}(?![\w-])[^`\n]*`", text)]


def test_the_pages_that_are_made_from_the_code_are_up_to_date() -> None:
    run = subprocess.run([sys.executable, ROOT / "scripts" / "make-reference", "--check"], capture_output=True, text=True)
    assert run.stdout + run.stderr == ""
    assert run.returncode == 0


def test_every_setting_is_documented() -> None:
    assert missing([row.path for row in describe()], "settings") == []


def test_every_error_is_documented() -> None:
    assert missing([name for name, cls in all_errors().items() if cls.__module__ == "dacc_core.errors"], "errors") == []


@pytest.mark.parametrize("program", [dacc, dacd], ids=["dacc", "dacd"])
def test_every_command_and_option_is_documented(program: click.Command) -> None:
    assert missing(words_of(program), "commands") == []


def words_of(command: click.Command) -> Iterator[str]:
    """The options of a command, and the names and options of those below it that are dacc's own."""
    yield from (name for one in command.params if isinstance(one, click.Option) for name in one.opts)
    for name, below in command.commands.items() if isinstance(command, click.Group) else ():
        if getattr(below.callback, "__module__", "").startswith("dacc_core."):
            yield name
            yield from words_of(below)


def test_every_key_and_field_of_the_store_is_documented() -> None:
    page = reference("keys")
    assert [kind for kind in KINDS if f"\n## {kind}\n" not in page] == []
    fields = {field.name for cls in KINDS.values() for field in msgspec.structs.fields(cls)}
    assert missing(sorted(fields), "keys") == []


def test_every_metric_and_label_is_documented() -> None:
    assert missing([metric.name for metric in METRICS], "metrics") == []
    assert missing(sorted({label for metric in METRICS for label in metric.labels}), "metrics") == []


def test_every_hook_is_documented() -> None:
    page = reference("hooks")
    assert [name for name in vars(hookspecs) if name.startswith("dacc_") and f"\n### `{name}`\n" not in page] == []


def test_everything_that_the_sdk_exports_is_documented() -> None:
    assert missing(sdk.__all__, "hooks") == []


def test_every_directive_and_option_is_documented() -> None:
    page = reference("directives")
    parts = {name: page.partition(f"\n### `{command.prefix} {name}`\n")[2].partition("\n#")[0] for name, command in COMMANDS.items()}
    assert [name for name, part in parts.items() if not part] == []
    undocumented = [
        f"{name} {option.name}"
        for name, command in COMMANDS.items()
        for option in command.options
        if f"| `{option.name}=` |" not in parts[name]
    ]
    assert undocumented == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_with_who_may_call_it_and_its_time(name: str) -> None:
    function, page = FUNCTIONS[name], reference("functions")
    assert f"| [`{name}`](#{name}) | {function.open_to} | {function.seconds(Config()):g} s |" in page
    assert f"\n### `{name}`\n" in page


def test_no_function_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `(\w+)`$", reference("functions"), re.MULTILINE)) == set(FUNCTIONS)


def test_every_short_option_and_table_is_documented() -> None:
    assert missing([*_SHORT], "functions") == []
    assert f"dwstat [{'|'.join(TABLES)}|help]" in reference("functions")


def test_every_environment_variable_is_documented() -> None:
    used = {name for _, text in sources() for name in VARIABLE.findall(text)} | {"DACC_REQUIRE_ALL"}
    assert used
    assert missing(sorted(used), "environment") == []
    rows = re.findall(r"^\| ([^|]+) \|", reference("environment"), re.MULTILINE)
    assert {name for row in rows for name in re.findall("`([A-Z_]+)`", row)} == used


def test_every_failpoint_is_documented_and_exists() -> None:
    code = {match[2] for _, text in sources() for match in FAILPOINT.finditer(text)}
    named = set()
    for name in code:
        steps = {"{order.step.kind}": ["<step>"], "_{direction}": ["_in", "_out"]}
        for hole, fillings in steps.items():
            if hole in name:
                named |= {name.replace(hole, filling) for filling in fillings}
                break
        else:
            named.add(name)
    table = "".join(line.split("|")[1] for line in reference("failpoints").splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([^`]+)`", table)) == named


def test_the_actions_of_failpoints_are_documented() -> None:
    (actions,) = re.findall(r"\[:([a-z|]+)\]", failpoints.__doc__ or "")
    assert f"[:{actions}]" in reference("failpoints")
    assert missing(actions.split("|"), "failpoints") == []


def test_the_steps_with_failpoints_are_those_on_hosts() -> None:
    assert missing(sorted(set(get_args(StepKind)) - STORE_ONLY), "failpoints") == []


def test_the_protocols_numbers_are_documented() -> None:
    page = reference("socket-protocol")
    assert f"version {protocol.VERSION}." in page
    assert f"{protocol.MAX_LINE >> 20} MiB, {protocol.MAX_STRANGER_LINE >> 20} MiB for callers" in page
    assert missing(sorted(set(FILE_OPTIONS.values())), "socket-protocol") == []


def test_steps_facts_and_states_are_explained() -> None:
    page = (DOCS / "concepts" / "sessions.md").read_text("utf-8")
    states = re.findall(r'return "(\w+)"', inspect.getsource(transitions.state_name))
    words = [*get_args(StepKind), *get_args(Filesystem), *get_args(Staging), *states]
    assert [word for word in words if f"`{word}`" not in page] == []
