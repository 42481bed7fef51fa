"""One job in a quiet simulated cluster, whose provider a test may change."""

from __future__ import annotations

from collections.abc import Callable

from dacc_core.registry.records import Request, Session, Status
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.verbs import goals
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.sessions import submit_goal, tear_down


class Job:
    """One job on two nodes in a quiet cluster."""

    def __init__(self) -> None:
        self.sim = Simulation(1, faults=0.0)
        self.sim.run(1.0)
        request = Request(owner=1, group=1, pool="default", capacity=200, striped=True, digest="d")
        self.claim = Claim(token="1", kind="job", request=request, size=200)

    def call(self, verb: Callable[..., object]) -> object:
        answers: list[object] = []
        self.sim.nodes[0].call(verb, "1", answers.append)  # type: ignore[arg-type]
        end = self.sim.now.mono + 200.0
        while not answers and self.sim.now.mono < end:
            self.sim.step()
        return answers[0]

    def set_up(self) -> object:
        return self.call(lambda context: answered(set_up(context, self.claim)))

    def mount(self) -> object:
        return self.call(lambda context: answered(submit_goal(context, "1", goals.pre_run("c[1-2]"), goals.mounted_on("c[1-2]"))))

    def tear_down(self) -> object:
        return self.call(lambda context: answered(tear_down(context, "1", hurry=True)))

    @property
    def session(self) -> Session:
        self.sim.rules.revision()
        session = self.sim.rules.records().session("1")
        assert session is not None
        return session

    @property
    def status(self) -> Status:
        self.sim.rules.revision()
        return self.sim.rules.records().status("1")
