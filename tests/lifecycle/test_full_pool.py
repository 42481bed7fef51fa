"""Sessions that wait for bricks, and calls that end them at the moment when the bricks come; setups that wait for a former session."""

from __future__ import annotations

import pytest

from dacc_core.errors import Superseded
from dacc_core.registry.records import Request
from dacc_core.simulation.cluster import answered
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.sessions import tear_down

from .test_owed import Site


def claim(token: str, capacity: int) -> Claim:
    kind = "job" if token.isdigit() else "persistent"
    return Claim(token, kind, Request(owner=1, group=1, pool="default", capacity=capacity, striped=True), capacity)


@pytest.mark.parametrize("after", range(0, 1500, 60), ids="{} ms".format)
def test_a_destroy_that_comes_with_the_bricks_of_its_buffer_does_not_say_that_it_is_gone_while_it_is_there(after: int) -> None:
    """A session's name for fences changes with its bricks; which session a call is about does not."""
    site = Site()
    site.well(lambda context: answered(set_up(context, claim("5", 800))))
    made: list[object] = []
    ended: list[object] = []
    site.sim.nodes[0].call(lambda context: answered(set_up(context, claim("Q", 100))), "Q", made.append)
    site.sim.run(2.0)
    site.sim.nodes[1].call(lambda context: answered(tear_down(context, "5", hurry=True)), "5", lambda _: None)
    while site.records.session("5") is not None:
        site.sim.step()
    site.sim.run(after / 1000)
    site.sim.nodes[2].call(lambda context: answered(tear_down(context, "Q", hurry=False)), "Q", ended.append)
    site.sim.run(30.0)
    assert type(ended[0]).__name__ == "Answer"
    assert site.records.session("Q") is None


def test_a_setup_that_waits_for_its_former_session_ends_with_it_when_it_is_torn_down_too() -> None:
    """scancel ends the waiting program, not what dacd does for it; Slurm then tears the job down and forgets it."""
    site = Site()
    site.well(lambda context: answered(set_up(context, claim("7", 100))))
    node, first, waiting, second = site.sim.nodes[0], list[object](), list[object](), list[object]()
    node.call(lambda context: answered(tear_down(context, "7", hurry=True)), "7", first.append)
    assert node.engine is not None
    while (former := node.engine.view.session("7")) and former.goal.filesystem == "ready":
        site.sim.step()
    node.call(lambda context: answered(set_up(context, claim("7", 100))), "7", waiting.append)
    site.sim.run(0.01)
    assert not first
    node.call(lambda context: answered(tear_down(context, "7", hurry=True)), "7", second.append)
    site.sim.run(60.0)
    assert isinstance(waiting[0], Superseded)
    assert site.records.session("7") is None
