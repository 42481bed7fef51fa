"""A provider is loaded by name; one that cannot be used is an error that names the culprit and the remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dacc_core.config import parse_text
from dacc_core.errors import BadConfig, InvalidRequest, NoSuchProvider, ProviderLoadError
from dacc_core.plugins import load_provider, new_manager
from dacc_core.sdk import API_VERSION

from .conftest import Install, provider


def refusal(name: str = "toy") -> str:
    with pytest.raises(ProviderLoadError) as caught:
        load_provider(name, {})
    return str(caught.value)


def test_a_provider_is_made_with_its_settings(install: Install) -> None:
    install(provider())
    assert load_provider("toy", {"stripes": 8}).settings.stripes == 8  # type: ignore[attr-defined]


def test_its_settings_have_defaults(install: Install) -> None:
    install(provider())
    assert load_provider("toy").settings.mode == "fast"  # type: ignore[attr-defined]


def test_other_providers_are_not_imported(install: Install) -> None:
    install(provider())
    other = install("raise RuntimeError('boom')", package="dacc-provider-other", entry="other")
    load_provider("toy")
    assert other not in sys.modules


def test_one_that_is_not_installed_names_the_package_to_install() -> None:
    with pytest.raises(NoSuchProvider, match="install the package dacc-provider-nonesuch"):
        load_provider("nonesuch")


def test_an_import_error_names_entry_point_package_version_cause_and_fix(install: Install) -> None:
    module = install("import no_such_library")
    assert refusal() == (
        f"provider toy cannot load: entry point `toy = {module}` of dacc-provider-toy 1.2: "
        "ModuleNotFoundError: No module named 'no_such_library'; "
        "install what provides the module no_such_library in the environment of dacc, or reinstall dacc-provider-toy"
    )


def test_metadata_without_its_code_says_to_reinstall(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    module = install(provider())
    monkeypatch.setitem(sys.modules, module, None)
    assert refusal().endswith("; reinstall dacc-provider-toy")


@pytest.mark.parametrize("source", ["raise RuntimeError('boom')", "raise SystemExit('boom')", "boom"])
def test_anything_raised_by_the_import_is_told_in_one_line(install: Install, source: str) -> None:
    install(source)
    assert "boom" in refusal()
    assert "\n" not in refusal()


def test_a_name_offered_by_two_packages_names_both(install: Install) -> None:
    install(provider())
    install(provider(), package="dacc-lustre-toy", version="0.9")
    text = refusal()
    assert "dacc-lustre-toy 0.9" in text
    assert "dacc-provider-toy 1.2" in text
    assert text.endswith("uninstall all but one, or name them in plugins.disabled: dacc-lustre-toy, dacc-provider-toy")


@pytest.mark.parametrize(("api", "fix"), [((2, 0), "upgrade dacc"), ((1, 99), "upgrade dacc"), ((0, 9), "upgrade the provider")])
def test_another_api_version_is_refused_with_what_to_upgrade(install: Install, api: tuple[int, int], fix: str) -> None:
    install(provider(api=api))
    assert f"it is written for API {api[0]}.{api[1]} and this dacc has {API_VERSION[0]}.{API_VERSION[1]}; {fix}" in refusal()


@pytest.mark.parametrize(("api", "loads"), [((1, 0), True), ((1, 2), True), ((1, 3), True), ((1, 4), False), ((2, 2), False)])
def test_the_major_must_be_the_same_and_the_minor_not_greater(
    install: Install, monkeypatch: pytest.MonkeyPatch, api: tuple[int, int], loads: bool
) -> None:
    monkeypatch.setattr("dacc_core.plugins.loading.API_VERSION", (1, 3))
    install(provider(api=api))
    if loads:
        assert load_provider("toy").name == "toy"
    else:
        assert "and this dacc has 1.3" in refusal()


@pytest.mark.parametrize("api", ["'1.0'", "(1,)", "None", "(1, '0')"])
def test_an_api_version_that_is_no_pair_of_numbers_is_refused(install: Install, api: str) -> None:
    install(provider(extra=f"api = {api}"))
    assert "no usable `api`" in refusal()


def test_a_misspelt_hook_is_named(install: Install) -> None:
    install(provider() + "\n@hookimpl\ndef dacc_session_chnged(event): ...\n")
    assert "dacc_session_chnged" in refusal()


def test_a_hook_with_a_wrong_argument_is_named(install: Install) -> None:
    install(provider() + "\n@hookimpl\ndef dacc_session_changed(evnt): ...\n")
    assert "evnt" in refusal()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "does not implement the hook dacc_register_provider"),
        ("from dacc_core.sdk import hookimpl\n@hookimpl\ndef dacc_register_provider(): return 5", "returned 5, which is no class"),
        ("from dacc_core.sdk import hookimpl\n@hookimpl\ndef dacc_register_provider(): 1 / 0", "raised ZeroDivisionError"),
        (
            "from dacc_core.sdk import hookimpl\n@hookimpl\ndef dacc_register_provider():\n  class A: api = (1, 0)\n  return A",
            "is named None",
        ),
    ],
)
def test_a_package_that_registers_no_provider_is_refused(install: Install, source: str, words: str) -> None:
    install(source)
    assert words in refusal()


def test_a_class_with_another_name_than_its_entry_point_is_refused(install: Install) -> None:
    install(provider(name="tyo"))
    assert "its class Toy is named 'tyo', not 'toy'" in refusal()


def test_missing_methods_are_named(install: Install) -> None:
    install(provider().replace("def unmount", "def umount").replace("def delete", "def remove"))
    assert "its class Toy lacks delete, unmount" in refusal()


def test_methods_inherited_from_the_protocol_count_as_missing(install: Install) -> None:
    source = provider().replace("class Toy:", "class Toy(Provider):").replace("import Capabilities", "import Provider, Capabilities")
    install(source.replace("def mount", "def mont"))
    assert "its class Toy lacks mount" in refusal()


def test_settings_that_are_no_dataclass_are_refused(install: Install) -> None:
    install(provider(extra="Settings = dict"))
    assert "has no dataclass `Settings`" in refusal()


def test_a_capability_without_its_methods_is_refused(install: Install) -> None:
    install(provider(capabilities="swap=True"))
    assert "no methods swap_on and swap_off" in refusal()


def test_a_constructor_that_raises_is_told(install: Install) -> None:
    install(provider().replace("self.settings = settings", "raise OSError('no device')"))
    assert "making it raised OSError: no device" in refusal()


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("self.settings = settings", "raise SystemExit('boom')", "making it"),
        ("return Capabilities()", "raise SystemExit('boom')", "its property capabilities"),
        ("    return Toy", "    raise SystemExit('boom')", "its hook dacc_register_provider"),
        ('    mode: str = "fast"', '    mode: str = "fast"\n    def __post_init__(self): raise SystemExit("boom")', "reading its settings"),
    ],
)
def test_a_package_cannot_end_the_program(install: Install, old: str, new: str, where: str) -> None:
    install(provider().replace(old, new))
    assert f"{where} raised SystemExit: boom; report it to the package's authors" in refusal()


def test_capabilities_of_another_kind_are_refused(install: Install) -> None:
    install(provider().replace("return Capabilities()", "return {'swap': True}"))
    assert "its capabilities are {'swap': True}, which is no Capabilities" in refusal()


def test_an_entry_point_that_is_no_module_is_refused(install: Install, tmp_path: Path) -> None:
    install(provider())
    (points,) = tmp_path.glob("*/*/entry_points.txt")
    points.write_text("[dacc.providers]\ntoy = not a module\n")
    assert "'not a module' is neither a module nor module:object" in refusal()


def test_a_disabled_one_is_refused_without_being_imported(install: Install) -> None:
    module = install(provider())
    config = parse_text("plugins: {disabled: [toy]}", "dacc.yaml", {})
    with pytest.raises(ProviderLoadError, match=r"of dacc-provider-toy 1\.2: the setting plugins\.disabled names it; take it out of there"):
        load_provider("toy", config=config)
    assert module not in sys.modules


def test_disabling_the_other_package_makes_a_shadowed_one_usable(install: Install) -> None:
    install(provider())
    install("raise RuntimeError('boom')", package="dacc-toy-ng")
    assert load_provider("toy", config=parse_text("plugins: {disabled: [dacc-toy-ng]}", "dacc.yaml", {})).name == "toy"


def test_what_a_package_prints_while_it_loads_does_not_mix_with_answers(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("print('imported')\n" + provider().replace("    return Toy", "    print('asked')\n    return Toy"))
    load_provider("toy")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "imported\nasked\n")


def test_a_constructors_own_error_keeps_its_class(install: Install) -> None:
    source = provider().replace("self.settings = settings", "raise InvalidRequest(why='stripes must be even')")
    install(source.replace("import Capabilities", "import InvalidRequest, Capabilities"))
    with pytest.raises(InvalidRequest, match=r"^stripes must be even$"):
        load_provider("toy")


def test_an_incomplete_provider_refuses_to_load(install: Install) -> None:
    install(provider(extra="incomplete = 'only a sketch'"))
    assert refusal().endswith("it is incomplete: only a sketch; name another provider in the pool's configuration")


class TestSettings:
    def test_the_types_of_the_sdk_have_units_and_bounds(self, install: Install) -> None:
        fields = "stripe: Size = 65536\n    wait: Seconds = 1.5\n    tries: Count = 3\n    program: AbsolutePath = '/bin/true'"
        types = "import AbsolutePath, Capabilities, Count, Seconds, Size"
        install(provider().replace("stripes: int = 4", fields).replace("import Capabilities", types))
        settings = load_provider("toy", {"stripe": "1MiB", "wait": 2}).settings  # type: ignore[attr-defined]
        assert (settings.stripe, settings.wait) == (1 << 20, 2.0)
        with pytest.raises(BadConfig) as caught:
            load_provider("toy", {"stripe": "1.5MiB", "wait": 0, "tries": 0, "program": "true"})
        assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
            f"providers.toy.{name}" for name in ("stripe", "wait", "tries", "program")
        ]

    def test_every_problem_is_reported_at_once(self, install: Install) -> None:
        install(provider())
        with pytest.raises(BadConfig) as caught:
            load_provider("toy", {"stripes": "many", "mdoe": "slow"})
        assert str(caught.value).splitlines() == [
            "providers.toy.mdoe: unknown key: did you mean mode?",
            "providers.toy.stripes: must be a whole number, not 'many'",
        ]

    def test_they_come_from_the_configuration_with_their_place(self, install: Install) -> None:
        install(provider())
        config = parse_text("providers:\n  toy:\n    stripes: many\n", "dacc.yaml", {})
        with pytest.raises(BadConfig, match=r"^dacc\.yaml:3:14: providers\.toy\.stripes: must be a whole number"):
            load_provider("toy", config=config)

    def test_a_check_of_the_providers_own_is_a_problem_like_others(self, install: Install) -> None:
        check = '    def __post_init__(self):\n        raise ValueError("stripes and mode exclude each other")\n'
        install(provider().replace('    mode: str = "fast"\n', '    mode: str = "fast"\n' + check))
        with pytest.raises(BadConfig, match=r"^providers\.toy: stripes and mode exclude each other$"):
            load_provider("toy")

    def test_a_type_that_cannot_be_read_is_the_providers_fault(self, install: Install) -> None:
        install(provider().replace("stripes: int = 4", "stripes: complex = 4"))
        with pytest.raises(ProviderLoadError, match="its Settings cannot be read"):
            load_provider("toy", {"stripes": 1})

    def test_an_unknown_type_name_is_the_providers_fault(self, install: Install) -> None:
        install(provider().replace("stripes: int = 4", "stripes: 'Nonesuch' = 4"))
        with pytest.raises(ProviderLoadError, match="its Settings cannot be read"):
            load_provider("toy", {})


def test_the_packages_observers_are_registered_with_the_manager(install: Install) -> None:
    install(provider() + "\nseen = []\n@hookimpl\ndef dacc_session_changed(event): seen.append(event)\n")
    manager = new_manager()
    load_provider("toy", manager=manager)
    load_provider("toy", manager=manager)
    manager.hook.dacc_session_changed(event={"token": "7"})
    (plugin,) = manager.get_plugins()
    assert plugin.seen == [{"token": "7"}]
