"""The settings' table, from which the reference page is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from dacc_core.config import describe

ROWS = {row.path: row for row in describe()}


def test_every_setting_has_a_text_that_ends_with_a_full_stop() -> None:
    assert [path for path, row in ROWS.items() if not row.text.endswith((".", ";"))] == []


def test_a_setting_has_its_unit_and_default() -> None:
    row = ROWS["deadlines.create"]
    assert (row.type, row.default, row.unit) == ("number", "`600`", "seconds")


def test_the_settings_of_named_things_have_a_placeholder() -> None:
    assert ROWS["pools.<name>.granularity"].type == "size"
    assert ROWS["bricks.<hosts>[].device"].type == "path"


def test_a_setting_that_must_be_given_has_no_default() -> None:
    assert ROWS["pools.<name>.provider"].default == ""


def test_a_default_that_depends_on_other_things_is_told_in_words() -> None:
    assert ROWS["keystore.path"].default == "`<state_dir>/store.db`"


def test_a_choice_lists_what_is_allowed() -> None:
    assert ROWS["log.format"].type == "`kv` or `json`"


def test_a_providers_settings_are_described_alike() -> None:
    @dataclass
    class Settings:
        stripes: Annotated[int, msgspec.Meta(description="How many.")] = 4
        limit: int | None = field(default=None, metadata={"doc": "How large.", "unit": "bytes"})

    first, second = describe(Settings, "providers.x.")
    assert (first.path, first.default, first.text) == ("providers.x.stripes", "`4`", "How many.")
    assert (second.type, second.unit, second.text) == ("number or nothing", "bytes", "How large.")
