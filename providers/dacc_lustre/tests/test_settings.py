"""The settings: what makes no sense is refused, and every one is documented."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from importlib.metadata import entry_points
from typing import Any

import pytest
from dacc_core.sdk import InvalidRequest, PlanProvider, RestoreProvider, SwapProvider, UsageProvider

from dacc_lustre import LustreProvider, LustreSettings, settings


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"nids": ("%h-opa",)}, "nids: '%h-opa' is no NID"),
        ({"nids": ("a b@tcp",)}, "is no NID"),
        ({"client_nids": ("%h@",)}, "client_nids"),
        ({"parameters": {"osc.*.max_dirty_mb": "1"}}, "must contain %f-"),
        ({"parameters": {"osc.%f-*.x y": "1"}}, "no blanks"),
        ({"mount_options": ("flock,suid",)}, "is no option"),
        ({"root_squash": "nobody"}, "write UID:GID"),
        ({"layout": ("64K mdt", "1G 2")}, "the last component must end at -1"),
        ({"layout": ("everything",)}, "is no component"),
        ({"nodemap": "default"}, "nodemap: 'default': write the name of a nodemap of yours"),
        ({"nodemap": "my-site"}, "letters, digits and _"),
        ({"sudo": True}, "sudo needs helper"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        LustreSettings(**wrong)


def test_every_setting_says_what_it_is() -> None:
    body = ast.parse(inspect.getsource(settings.LustreSettings)).body[0]
    assert isinstance(body, ast.ClassDef)
    said = [
        first.target.id
        for first, second in zip(body.body, body.body[1:], strict=False)
        if isinstance(first, ast.AnnAssign) and isinstance(first.target, ast.Name) and isinstance(second, ast.Expr)
    ]

    assert said == [field.name for field in dataclasses.fields(LustreSettings)]


def test_the_provider_is_found_by_its_name_and_has_all_optional_operations() -> None:
    (found,) = entry_points(group="dacc.providers", name="lustre")
    provider = LustreProvider(LustreSettings())

    assert found.load().dacc_register_provider() is LustreProvider
    for protocol in (SwapProvider, UsageProvider, RestoreProvider, PlanProvider):
        assert isinstance(provider, protocol)
