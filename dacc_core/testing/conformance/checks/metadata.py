"""What a provider says of itself."""

from __future__ import annotations

import inspect

from ....config import Reader
from ....sdk import API_VERSION, Capabilities, SwapProvider
from ..kit import Kit
from ..outcomes import expect, given
from .group import CheckGroup

METHODS = ("check_host", "create", "delete", "mount", "unmount")
OPTIONAL = ("restore", "usage", "swap_on", "swap_off")


class MetadataChecks(CheckGroup):
    """What a provider says of itself, without any host."""

    title = "metadata"
    destructive = False

    def test_its_api_version_is_one_that_this_dacc_has(self, kit: Kit) -> None:
        """``api`` is a tuple of two numbers, of dacc's major version and no newer minor one."""
        api = type(kit.provider).api
        right = isinstance(api, tuple) and len(api) == 2 and all(type(part) is int for part in api)
        expect(right, f"api is {api!r}, not two numbers")
        expect(api[0] == API_VERSION[0] and api[1] <= API_VERSION[1], f"api {api} is not compatible with {API_VERSION}")

    def test_its_name_is_one_line_of_text(self, kit: Kit) -> None:
        """``name`` is what a site writes into its configuration: letters, digits, ``-`` and ``_``."""
        name = type(kit.provider).name
        expect(isinstance(name, str) and name.replace("-", "").replace("_", "").isalnum(), f"its name is {name!r}")

    def test_its_capabilities_stay_the_same(self, kit: Kit) -> None:
        """``capabilities`` are of the class ``Capabilities``, and the same for each object that is made with the same settings."""
        first, again, anew = kit.provider.capabilities, kit.provider.capabilities, kit.make().capabilities
        expect(isinstance(first, Capabilities), f"capabilities are {first!r}")
        expect(first == again == anew, f"capabilities are {first}, then {again}, with a new object {anew}")

    def test_what_it_declares_it_has_methods_for(self, kit: Kit) -> None:
        """A provider whose capabilities say ``swap`` has ``swap_on`` and ``swap_off``."""
        if kit.provider.capabilities.swap:
            expect(isinstance(kit.provider, SwapProvider), "capabilities say swap, and there are no methods swap_on and swap_off")

    def test_each_method_takes_one_request(self, kit: Kit) -> None:
        """Methods are called with one argument, the request."""
        for name in (*METHODS, *(one for one in OPTIONAL if hasattr(kit.provider, one))):
            try:
                inspect.signature(getattr(kit.provider, name)).bind(object())
            except TypeError as error:
                raise AssertionError(f"{name} cannot be called with a request: {error}") from error


class SettingsChecks(CheckGroup):
    """The section ``providers.<name>`` of the configuration."""

    title = "settings"
    destructive = False

    def test_the_configuration_can_hold_its_settings(self, kit: Kit) -> None:
        """``Settings`` is a dataclass of types that dacc can read from a file, and takes the settings that the checks are run with."""
        reader = Reader()
        try:
            reader.section(dict(kit.scratch.settings), type(kit.provider).Settings, ("providers", kit.provider.name))
        except (TypeError, NameError) as error:
            raise AssertionError(f"Settings cannot be read: {error}") from error
        expect(not reader.problems, "; ".join(f"{'.'.join(map(str, one.path))}: {one.text}" for one in reader.problems))

    def test_a_setting_that_does_not_exist_is_refused(self, kit: Kit) -> None:
        """A misspelt setting is a problem of the configuration, not ignored."""
        reader = Reader()
        with given("reading the settings"):
            odd = dict(kit.scratch.settings) | {"surely_not_a_setting": 1}
            reader.section(odd, type(kit.provider).Settings, ("providers", kit.provider.name))
        expect(reader.problems, "the setting surely_not_a_setting is accepted")

    def test_making_a_provider_leaves_its_settings_alone(self, kit: Kit) -> None:
        """Settings are read and not written: two providers may be made with the same object."""
        with given("reading the settings"):
            made = Reader().section(dict(kit.scratch.settings), type(kit.provider).Settings, ("providers", kit.provider.name))
            before = repr(made)
        type(kit.provider)(made)
        expect(repr(made) == before, f"they were {before} and are {made!r}")
