"""How many commands a call takes: on slow hosts each of them is what users wait for."""

from __future__ import annotations

import pytest
from dacc_core.testing.conformance.runners import Tap

from .conftest import Site


@pytest.mark.parametrize("kind", ["image", "plain"])
def test_a_call_takes_one_command_on_each_of_its_hosts(kind: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(kind)
    site.spread = True
    tap = site.runner = Tap(site.runner)
    site.fence = None

    def touched() -> list[str]:
        hosts, tap.touched[:] = sorted(tap.touched), []
        return hosts

    site.create()
    assert touched() == ["b1", "b2"]
    site.mount("c1", "c2").check()
    assert touched() == ["c1", "c2"]
    site.unmount("c1", "c2").check()
    assert touched() == ["c1", "c2"]
    site.delete()
    assert touched() == ["b1", "b2"]
