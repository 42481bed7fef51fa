"""``dacc`` itself: one catch point, and the list of providers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from dacc_core.cli import providers
from dacc_core.cli.main import Cli, main
from dacc_core.errors import BufferInUse
from dacc_core.plugins import ProviderRow
from dacc_core.plugins.inventory import Setting

STRIPES = Setting("stripes", "number", "4", "", "Over how many bricks.")
ROW = ProviderRow("toy", "dacc-provider-toy", "1.2", "toy = dacc_toy", "1.0", "ok", capabilities=("swap",), settings=(STRIPES,))
BROKEN = ProviderRow("bad", "dacc-provider-bad", "0.1", "bad = dacc_bad", "", "broken", "ImportError: [boom]; reinstall it")


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

        def add(cli: click.Group, disabled: object) -> list[str]:
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

    def test_they_are_left_out_when_it_is_not_known_which_are_disabled(
        self, added: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("DACC_CONFIG", str(tmp_path / "nonesuch.yaml"))
        result = self.run("--help")
        assert (result.exit_code, added) == (0, [])
        assert result.stderr.startswith("dacc: without the commands of provider packages: ")

    def test_they_cannot_replace_ours(self, added: list[str]) -> None:
        cli = Cli()
        cli.add_command(click.Command("ours", help="the right one"))
        assert "the right one" in CliRunner().invoke(cli, ["--help"]).stdout


def listed(monkeypatch: pytest.MonkeyPatch, rows: list[ProviderRow], *options: str, rc: int = 0) -> str:
    monkeypatch.setattr(providers, "list_providers", lambda disabled: rows)
    result = CliRunner().invoke(main, ["providers", "list", *options])
    assert result.exit_code == rc, result.output
    return result.stdout


def shown(monkeypatch: pytest.MonkeyPatch, rows: list[ProviderRow], *options: str) -> str:
    monkeypatch.setattr(providers, "show_provider", lambda name, disabled: rows)
    result = CliRunner().invoke(main, ["providers", "show", rows[0].name, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_providers_are_listed_one_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listed(monkeypatch, [ROW, BROKEN]).splitlines()
    assert lines[0].split() == ["name", "package", "version", "api", "state", "capabilities"]
    assert lines[1].split() == ["toy", "dacc-provider-toy", "1.2", "1.0", "ok", "swap"]


def test_the_reason_of_a_broken_provider_is_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "bad is broken: entry point `bad = dacc_bad` of dacc-provider-bad 0.1: ImportError: [boom]; reinstall it\n"
    assert line in listed(monkeypatch, [ROW, BROKEN])


@pytest.mark.parametrize("print_them", [listed, shown])
def test_json_has_a_stable_form(monkeypatch: pytest.MonkeyPatch, print_them: Callable[..., str]) -> None:
    assert json.loads(print_them(monkeypatch, [ROW], "--json")) == [
        {
            "name": "toy",
            "package": "dacc-provider-toy",
            "version": "1.2",
            "entry_point": "toy = dacc_toy",
            "api": "1.0",
            "state": "ok",
            "reason": "",
            "capabilities": ["swap"],
            "hooks": [],
            "settings": [{"name": "stripes", "type": "number", "default": "4", "unit": "", "text": "Over how many bricks."}],
        }
    ]


def test_no_provider_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no provider is installed" in listed(monkeypatch, [])


def test_a_provider_is_shown_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, [ROW]).splitlines()
    assert lines[0] == "toy: ok"
    assert "  package:      dacc-provider-toy 1.2" in lines
    assert lines[-2].split() == ["providers.toy", "type", "default", "meaning"]
    assert lines[-1].split(maxsplit=3) == ["stripes", "number", "4", "Over how many bricks."]


def test_a_setting_that_must_be_given_is_shown_as_required(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(ROW, settings=(replace(STRIPES, default="", unit="bytes"),))
    assert shown(monkeypatch, [row]).splitlines()[-1].split()[:4] == ["stripes", "number,", "bytes", "required"]


def test_a_provider_that_is_not_installed_is_an_error_that_names_its_package() -> None:
    result = CliRunner().invoke(main, ["providers", "show", "nonesuch"])
    assert (result.exit_code, "install the package dacc-provider-nonesuch" in result.stderr) == (25, True)


class TestStrict:
    """With ``DACC_STRICT_PLUGINS=1``."""

    @pytest.fixture(autouse=True)
    def strict(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DACC_STRICT_PLUGINS", "1")

    def test_the_list_is_shown_and_a_problem_in_it_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "broken" in listed(monkeypatch, [ROW, BROKEN], rc=81)

    def test_a_list_without_problems_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listed(monkeypatch, [ROW, replace(BROKEN, state="disabled")])

    def test_commands_that_cannot_be_added_are_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dacc_core.cli.main.add_commands", lambda cli, disabled: ["provider bad could not add its commands: boom"])
        result = CliRunner().invoke(Cli(), ["--help"])
        assert (result.exit_code, result.stderr) == (81, "dacc: provider bad could not add its commands: boom\n")


def test_a_configuration_that_cannot_be_read_hides_no_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DACC_CONFIG", str(tmp_path / "nonesuch.yaml"))
    result = CliRunner().invoke(main, ["providers", "list"])
    assert result.exit_code == 0
    assert "fake" in result.stdout
    assert result.stderr.startswith("dacc: plugins.disabled is not known: ")
