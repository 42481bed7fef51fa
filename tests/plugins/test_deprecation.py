"""An old name works, and who uses it is told once what replaces it and when it goes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from dacc_core.plugins import list_providers, load_provider, new_manager, registration
from dacc_core.sdk import hookspec, hookspecs
from dacc_core.sdk.deprecation import Deprecation, OldName

from .conftest import Install, provider

HOOK = Deprecation("dacc_volume_changed", "dacc_session_changed", "0.3")
PARAMETER = Deprecation("dacc_session_changed", "event", "0.3", parameter="session")
OBSERVER = "\nseen = []\n@hookimpl\ndef {hook}({parameter}): seen.append({parameter})\n"


@pytest.fixture(autouse=True)
def nobody_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_told", set())


def deprecate(monkeypatch: pytest.MonkeyPatch, *names: Deprecation) -> None:
    @hookspec
    def dacc_session_changed(event: Mapping[str, Any], session: Mapping[str, Any]) -> None: ...

    monkeypatch.setattr(hookspecs, "DEPRECATED", names)
    if PARAMETER in names:
        monkeypatch.setattr(hookspecs, "dacc_session_changed", dacc_session_changed)


def warned() -> list[str]:
    """What loading it twice and listing it warns of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        load_provider("toy")
        load_provider("toy")
        list_providers()
    assert {one.category for one in told} <= {DeprecationWarning}
    return [str(one.message) for one in told]


def test_a_renamed_hook_is_told_once_with_package_new_name_and_release(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    deprecate(monkeypatch, HOOK)
    install(provider() + OBSERVER.format(hook="dacc_volume_changed", parameter="event"))
    assert warned() == [
        "provider toy of dacc-provider-toy 1.2: hook dacc_volume_changed is deprecated: use dacc_session_changed; "
        "the old name goes in dacc 0.3"
    ]


def test_a_renamed_parameter_is_told_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    deprecate(monkeypatch, PARAMETER)
    install(provider() + OBSERVER.format(hook="dacc_session_changed", parameter="session"))
    assert warned() == [
        "provider toy of dacc-provider-toy 1.2: parameter session of the hook dacc_session_changed is deprecated: use event; "
        "the old name goes in dacc 0.3"
    ]


@pytest.mark.parametrize(("hook", "parameter"), [("dacc_volume_changed", "event"), ("dacc_session_changed", "session")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_uses_an_old_name_is_called(install: Install, monkeypatch: pytest.MonkeyPatch, hook: str, parameter: str) -> None:
    deprecate(monkeypatch, HOOK, PARAMETER)
    install(provider() + OBSERVER.format(hook=hook, parameter=parameter))
    manager = new_manager()
    load_provider("toy", manager=manager)
    values = registration.with_old_names("dacc_session_changed", {"event": "news"})
    manager.hook.dacc_session_changed(**values)
    (plugin,) = manager.get_plugins()
    assert plugin.seen == ["news"]


def test_the_list_shows_what_will_go(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    deprecate(monkeypatch, HOOK)
    install(provider() + OBSERVER.format(hook="dacc_volume_changed", parameter="event"))
    with pytest.warns(DeprecationWarning, match="dacc_volume_changed"):
        (row,) = (row for row in list_providers() if row.name == "toy")
    assert (row.state, row.deprecated) == ("ok", (str(HOOK),))


def test_a_package_that_uses_the_new_names_is_told_nothing(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    deprecate(monkeypatch, HOOK, PARAMETER)
    install(provider() + OBSERVER.format(hook="dacc_session_changed", parameter="event"))
    assert warned() == []


def test_a_field_by_its_old_name_has_the_value_and_is_told_once() -> None:
    @dataclass(frozen=True, slots=True)
    class Ask:
        host: str
        brick_host = OldName("host", gone_in="0.3")

    with pytest.warns(DeprecationWarning, match="brick_host") as told:
        assert (Ask("dac1").brick_host, Ask("dac2").brick_host) == ("dac1", "dac2")
    assert [str(one.message) for one in told] == ["Ask.brick_host is deprecated: use host; the old name goes in dacc 0.3"]
    assert told[0].filename == __file__


def test_every_old_name_of_this_version_has_a_new_one() -> None:
    new = [one for one in hookspecs.DEPRECATED if not one.parameter and not hasattr(hookspecs, one.new)]
    assert new == []
