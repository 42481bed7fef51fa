"""Front ends by name, and the commands that provider packages add."""

from __future__ import annotations

import click
import pytest

from dacc_core.errors import BadConfig
from dacc_core.plugins import add_commands, load_frontend

from .conftest import Install, provider

COMMAND = """
import click
@hookimpl
def dacc_add_commands(cli):
    cli.add_command(click.Command("toy-tool"))
"""


def test_a_front_end_is_loaded_by_name(install: Install) -> None:
    install("VERBS = {'setup': 1}", group="dacc.frontends", entry="toy", package="dacc-frontend-toy")
    assert load_frontend("toy").VERBS == {"setup": 1}


def test_one_that_is_not_installed_is_a_problem_of_the_configuration(install: Install) -> None:
    install("", group="dacc.frontends", entry="toy", package="dacc-frontend-toy")
    with pytest.raises(BadConfig, match=r"^frontends: front end 'tyo' is not installed: installed are .*toy"):
        load_frontend("tyo")


def test_one_that_cannot_load_names_its_package_and_the_remedy(install: Install) -> None:
    install("import no_such_library", group="dacc.frontends", entry="toy", package="dacc-frontend-toy")
    with pytest.raises(BadConfig, match=r"front end toy cannot load: .* of dacc-frontend-toy 1\.2: .*; install what provides"):
        load_frontend("toy")


def test_two_of_one_name_are_an_error_that_names_both(install: Install) -> None:
    install("", group="dacc.frontends", entry="toy", package="front-a")
    install("", group="dacc.frontends", entry="toy", package="front-b")
    with pytest.raises(BadConfig, match=r"front-a 1\.2.*front-b 1\.2"):
        load_frontend("toy")


def test_a_package_adds_commands(install: Install) -> None:
    install(provider() + COMMAND)
    cli = click.Group()
    assert add_commands(cli) == []
    assert "toy-tool" in cli.commands


def test_a_package_that_fails_to_add_commands_costs_the_others_nothing(install: Install) -> None:
    bad = install(provider("bad") + "@hookimpl\ndef dacc_add_commands(cli): 1 / 0\n", package="dacc-provider-bad", entry="bad")
    install(provider() + COMMAND)
    cli = click.Group()
    why = "its hook raised ZeroDivisionError: division by zero; report it to the package's authors"
    assert add_commands(cli) == [f"provider bad cannot add its commands: entry point `bad = {bad}` of dacc-provider-bad 1.2: {why}"]
    assert "toy-tool" in cli.commands


def test_a_package_that_ends_the_program_while_it_adds_commands_does_not(install: Install) -> None:
    install(provider() + "@hookimpl\ndef dacc_add_commands(cli): raise SystemExit(3)\n")
    (failure,) = add_commands(click.Group())
    assert "its hook raised SystemExit: 3" in failure


def test_a_disabled_package_adds_nothing(install: Install) -> None:
    install(provider() + COMMAND)
    cli = click.Group()
    assert add_commands(cli, ["toy", "lustre"]) == []
    assert cli.commands == {}


def test_a_package_that_cannot_load_is_passed_over(install: Install) -> None:
    install("raise RuntimeError('boom')")
    assert add_commands(click.Group()) == []
