"""The list shows everything that is installed; a broken package is a row with its reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dacc_core.errors import ProviderLoadError
from dacc_core.plugins import ProviderRow, list_providers, refuse_problems, show_provider

from .conftest import Install, provider


def rows(package: str = "dacc-provider-toy") -> list[ProviderRow]:
    return [row for row in list_providers() if row.package == package]


def test_a_working_provider_is_ok_with_its_capabilities(install: Install) -> None:
    module = install(provider())
    (row,) = rows()
    assert (row.name, row.package, row.version, row.entry_point) == ("toy", "dacc-provider-toy", "1.2", f"toy = {module}")
    assert (row.api, row.state, row.reason) == ("1.0", "ok", "")
    assert (row.capabilities, row.hooks) == (("capacity_enforced",), ("dacc_register_provider",))


def test_a_row_has_the_settings_with_types_and_defaults(install: Install) -> None:
    more = '    limit: int\n    """How :class:`~x.Large` it gets."""\n    stripes: int = 4'
    install(provider().replace("    stripes: int = 4", more))
    assert [(one.name, one.type, one.default, one.text) for one in rows()[0].settings] == [
        ("limit", "number", "", "How Large it gets."),
        ("stripes", "number", "4", ""),
        ("mode", "text", "fast", ""),
    ]


def test_optional_operations_are_capabilities(install: Install) -> None:
    install(provider(extra="def usage(self, request): ..."))
    assert "usage" in rows()[0].capabilities


def test_a_broken_one_hides_no_other(install: Install) -> None:
    install("raise RuntimeError('boom')", package="dacc-provider-bad", entry="bad")
    install(provider())
    assert rows()[0].state == "ok"
    assert (rows("dacc-provider-bad")[0].state, "boom" in rows("dacc-provider-bad")[0].reason) == ("broken", True)


def test_one_for_another_api_is_incompatible(install: Install) -> None:
    install(provider(api=(2, 1)))
    assert (rows()[0].state, rows()[0].api) == ("incompatible", "2.1")


def test_two_of_one_name_are_both_shadowed(install: Install) -> None:
    install(provider())
    install(provider(), package="dacc-toy-ng")
    assert rows()[0].state == "shadowed"
    assert "dacc-toy-ng" in rows()[0].reason
    assert rows("dacc-toy-ng")[0].state == "shadowed"


def test_an_older_copy_of_the_same_package_on_the_path_counts_once(install: Install) -> None:
    install(provider(), version="1.1")
    install(provider(), version="1.3")
    assert [row.state for row in rows()] == ["ok"]


def test_an_incomplete_one_says_why(install: Install) -> None:
    install(provider(extra="incomplete = 'only a sketch'"))
    assert (rows()[0].state, rows()[0].reason) == ("incomplete", "only a sketch")


def test_one_whose_settings_must_be_given_is_ok(install: Install) -> None:
    install(provider().replace("stripes: int = 4", "stripes: int"))
    assert (rows()[0].state, rows()[0].capabilities) == ("ok", ())


def test_settings_that_cannot_be_described_make_a_row_broken(install: Install) -> None:
    install(provider().replace("stripes: int = 4", "stripes: 'Nonesuch' = 4"))
    assert (rows()[0].state, "Nonesuch" in rows()[0].reason) == ("broken", True)


@pytest.mark.parametrize("name", ["toy", "dacc-provider-toy", "DACC_Provider.Toy"])
def test_a_disabled_one_is_not_imported_and_says_so(install: Install, name: str) -> None:
    module = install("raise RuntimeError('boom')")
    (row,) = (row for row in list_providers([name]) if row.package == "dacc-provider-toy")
    assert (row.state, row.reason.partition(";")[0]) == ("disabled", "the setting plugins.disabled names it")
    assert module not in sys.modules


def test_disabling_one_of_two_packages_leaves_the_other_usable(install: Install) -> None:
    install(provider())
    install(provider(), package="dacc-toy-ng")
    states = {row.package: row.state for row in list_providers(["dacc-toy-ng"]) if row.name == "toy"}
    assert states == {"dacc-provider-toy": "ok", "dacc-toy-ng": "disabled"}


def test_one_provider_is_shown_without_importing_others(install: Install) -> None:
    install(provider())
    other = install(provider("other"), package="dacc-provider-other", entry="other")
    assert [row.name for row in show_provider("toy")] == ["toy"]
    assert other not in sys.modules


@pytest.mark.parametrize("metadata", ["nonsense\n[[", "[dacc.providers]\nnonsense", "\0", "[dacc.providers]\ntoy = not a module"])
def test_metadata_that_is_nonsense_hides_no_other_package(install: Install, tmp_path: Path, metadata: str) -> None:
    install(provider(), package="dacc-provider-bad", entry="bad")
    (points,) = tmp_path.glob("dacc-provider-bad/*/entry_points.txt")
    points.write_text(metadata)
    install(provider())
    assert [row.state for row in rows()] == ["ok" if "toy" not in metadata else "shadowed"]


def test_a_package_without_a_name_hides_no_other(install: Install, tmp_path: Path) -> None:
    install(provider(), package="dacc-provider-bad", entry="bad")
    (described,) = tmp_path.glob("dacc-provider-bad/*/METADATA")
    described.write_text("")
    install(provider())
    assert [row.state for row in rows()] == ["ok"]


def test_problems_are_refused_together_each_with_entry_point_package_version_cause_and_fix(install: Install) -> None:
    install("raise RuntimeError('boom')", package="dacc-provider-bad", entry="bad")
    install(provider(api=(2, 0)))
    with pytest.raises(ProviderLoadError) as refused:
        refuse_problems(list_providers())
    bad, toy = str(refused.value).splitlines()
    assert bad.startswith("provider bad cannot load: entry point `bad = ")
    assert "of dacc-provider-bad 1.2: RuntimeError: boom; reinstall or upgrade dacc-provider-bad" in bad
    assert "it is written for API 2.0 and this dacc has 1.1; upgrade dacc" in toy


def test_what_is_incomplete_or_disabled_is_no_problem(install: Install) -> None:
    install(provider(extra="incomplete = 'only a sketch'"))
    install("raise RuntimeError('boom')", package="dacc-provider-bad", entry="bad")
    refuse_problems(list_providers(["bad"]))
