"""``dacc`` itself: one catch point, and the list of providers."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner, Result

from dacc_core.cli import providers
from dacc_core.cli.main import Cli, main
from dacc_core.errors import BufferInUse
from dacc_core.plugins import ProviderRow

ROW = ProviderRow("toy", "dacc-provider-toy", "1.2", "1.0", "ok", "", ("swap",))
BROKEN = ProviderRow("bad", "dacc-provider-bad", "0.1", "", "broken", "ImportError: [boom]; reinstall it", ())


def run_raising(error: Exception) -> Result:
    @click.group(cls=Cli)
    def cli() -> None: ...

    @cli.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(cli, ["fail"])


def test_an_expected_error_is_one_line_and_its_exit_code() -> None:
    result = run_raising(BufferInUse(name="climate", job="7"))
    assert result.exit_code == 41
    assert result.stderr == "dacc: persistent buffer climate is used by job 7: wait for the job to end, or cancel it\n"


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DACC_DEBUG", raising=False)
    result = run_raising(RuntimeError("two\nlines"))
    assert (result.exit_code, result.stderr) == (1, "dacc: internal error: RuntimeError: two lines (DACC_DEBUG=1 shows where)\n")


def test_an_unexpected_error_keeps_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACC_DEBUG", "1")
    assert "Traceback" in run_raising(RuntimeError("boom")).stderr


def test_a_wrong_option_exits_with_2() -> None:
    assert CliRunner().invoke(main, ["--nonesuch"]).exit_code == 2


class TestCommandsOfProviderPackages:
    @pytest.fixture
    def added(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        calls: list[str] = []

        def add(cli: click.Group) -> list[str]:
            calls.append("added")
            cli.add_command(click.Command("toy-tool", callback=lambda: click.echo("toy")))
            cli.add_command(click.Command("ours", callback=lambda: click.echo("theirs")))
            return ["provider bad could not add its commands: boom"]

        monkeypatch.setattr("dacc_core.cli.main.add_commands", add)
        return calls

    def run(self, *words: str) -> Result:
        cli = Cli()
        cli.add_command(click.Command("ours", callback=lambda: click.echo("ours")))
        return CliRunner().invoke(cli, words)

    def test_they_can_be_called(self, added: list[str]) -> None:
        assert self.run("toy-tool").stdout == "toy\n"

    def test_they_are_in_the_help(self, added: list[str]) -> None:
        assert "toy-tool" in self.run("--help").stdout

    def test_a_package_that_fails_is_told(self, added: list[str]) -> None:
        assert self.run("toy-tool").stderr == "dacc: provider bad could not add its commands: boom\n"

    def test_our_own_commands_import_no_provider(self, added: list[str]) -> None:
        assert self.run("ours").stdout == "ours\n"
        assert added == []

    def test_they_cannot_replace_ours(self, added: list[str]) -> None:
        cli = Cli()
        cli.add_command(click.Command("ours", help="the right one"))
        assert "the right one" in CliRunner().invoke(cli, ["--help"]).stdout


def listed(monkeypatch: pytest.MonkeyPatch, rows: list[ProviderRow], *options: str) -> str:
    monkeypatch.setattr(providers, "list_providers", lambda: rows)
    result = CliRunner().invoke(main, ["providers", "list", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_providers_are_listed_one_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listed(monkeypatch, [ROW, BROKEN]).splitlines()
    assert lines[0].split() == ["name", "package", "version", "api", "state", "capabilities"]
    assert lines[1].split() == ["toy", "dacc-provider-toy", "1.2", "1.0", "ok", "swap"]


def test_the_reason_of_a_broken_provider_is_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "bad (dacc-provider-bad) is broken: ImportError: [boom]; reinstall it\n" in listed(monkeypatch, [ROW, BROKEN])


def test_json_has_a_stable_form(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(listed(monkeypatch, [ROW], "--json")) == [
        {
            "name": "toy",
            "package": "dacc-provider-toy",
            "version": "1.2",
            "api": "1.0",
            "state": "ok",
            "reason": "",
            "capabilities": ["swap"],
        }
    ]


def test_no_provider_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no provider is installed" in listed(monkeypatch, [])
