"""The list shows everything that is installed; a broken package is a row with its reason."""

from __future__ import annotations

from dacc_core.plugins import ProviderRow, list_providers

from .conftest import Install, provider


def rows(package: str = "dacc-provider-toy") -> list[ProviderRow]:
    return [row for row in list_providers() if row.package == package]


def test_a_working_provider_is_ok_with_its_capabilities(install: Install) -> None:
    install(provider())
    assert rows() == [ProviderRow("toy", "dacc-provider-toy", "1.2", "1.0", "ok", "", ("capacity_enforced", "real_mounts"))]


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
