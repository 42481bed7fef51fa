"""The skeleton says what it is and never reports success."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, cast

import pytest
from dacc_core.sdk import Unsupported

from dacc_lustre import LustreProvider, LustreSettings

REQUEST = cast(Any, None)


def test_the_entry_point_lustre_registers_the_provider() -> None:
    (point,) = entry_points(group="dacc.providers", name="lustre")
    assert point.load().dacc_register_provider() is LustreProvider


@pytest.mark.parametrize("operation", ["check_host", "create", "delete", "mount", "unmount"])
def test_every_operation_is_refused(operation: str) -> None:
    with pytest.raises(Unsupported, match="not usable yet"):
        getattr(LustreProvider(LustreSettings()), operation)(REQUEST)
