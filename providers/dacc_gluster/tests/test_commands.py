"""How many commands a call takes: each is an ssh login and an interpreter's start, and a step at which a daemon may crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from dacc_core.sdk import Volume
from dacc_core.testing.conformance.runners import Tap

from .conftest import Site


def commands(site: Site, call: Callable[..., Any], volume: Volume) -> Counter[str]:
    """How many commands a call runs on each host."""
    tap = Tap(site.context(volume).hosts)
    call(volume, runner=tap)
    return Counter(tap.touched)


def test_a_call_takes_few_commands_however_many_bricks_a_host_has(site: Site) -> None:
    earlier, volume = site.volume(), site.volume()
    site.create(earlier)  # now the hosts are in one pool
    site.delete(earlier)

    assert commands(site, site.create, volume) == {"dac1": 2, "dac2": 1}
    assert commands(site, site.mount, volume) == {"c1": 1, "c2": 1}
    assert commands(site, site.unmount, volume) == {"c1": 1, "c2": 1}
    assert commands(site, site.delete, volume) == {"dac1": 3, "dac2": 2}
