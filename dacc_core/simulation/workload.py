"""What Slurm does to a simulated cluster: jobs that go their way, go wrong, repeat calls and are cancelled; and chaos beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from ..errors import DaccError, NoSuchSession
from ..names import expand, fold
from ..registry.records import Goal, Request, Session, Status
from ..registry.view import View
from ..values import StageRequest
from ..verbs import goals
from ..verbs.claims import Claim, set_up
from ..verbs.frontend import Answer
from ..verbs.operations import Verb
from ..verbs.sessions import VerbContext, submit_goal, tear_down
from ..verbs.subject import Subject
from .cluster import Simulation, answered
from .daemon import SimulatedDaemon
from .operators import Operators

MIN_FINISH_SECONDS = 330.0
"""Longer than any call, step or command takes that was begun before."""
MAX_FINISH_SECONDS = 900.0
REST_SECONDS = 20.0
COMPUTE = [f"c{n}" for n in range(1, 6)]
MakeVerb = Callable[[VerbContext], Verb[Answer]]


class Job:
    """One job's calls in Slurm's order, with everything that Slurm may do differently."""

    def __init__(self, load: Workload, token: str, request: Request, size: int) -> None:
        self.load, self.sim, self.token, self.request, self.size = load, load.sim, token, request, size
        self.finished = False

    def start(self) -> None:
        """The first call."""
        self._call(self._setup, self._after_setup)

    def _setup(self, context: VerbContext) -> Verb[Answer]:
        claim = Claim(token=self.token, kind="job", request=self.request, size=self.size)
        return answered(set_up(context, claim))

    def _wish(self, goal: Goal, enough: goals.Satisfied) -> MakeVerb:
        return lambda context: answered(submit_goal(context, self.token, goal, enough))

    def _after_setup(self, ok: bool) -> None:
        if ok:
            self._call(self._wish(goals.DATA_IN, goals.staged_in), self._after_data_in)
        else:
            self._teardown(hurry=self.sim.random.random() < 0.5)

    def _after_data_in(self, ok: bool) -> None:
        if ok:
            self._pre_run()
        else:
            self._teardown(hurry=False)

    def _pre_run(self) -> None:
        hosts = fold(self.sim.random.sample(COMPUTE, self.sim.random.randint(1, 3)))

        def done(ok: bool) -> None:
            if ok:
                self._check_mounts(hosts)
            if ok and self.sim.random.random() < 0.2:
                self._pre_run()  # the allocation was revoked: the same job on other nodes
            elif ok:
                self.sim.later(self.sim.random.uniform(0, 20), self._post_run)
            else:
                self._teardown(hurry=True)

        self._call(self._wish(goals.pre_run(hosts), goals.mounted_on(hosts)), done)

    def _check_mounts(self, hosts: str) -> None:
        """Success of pre_run means mounts, unless something newer is already under way."""
        session = self.load.session(self.token)
        if session is None or session.goal.hosts != hosts or session.volume is None:
            return
        volume = self.sim.world.volumes.get(session.volume.name)
        if session.request.stage_in and volume is not None and not volume.staged_in:
            self.sim.violations.append(f"pre_run of {self.token} succeeded without its stage-in")
        for host in expand(hosts):
            if self.sim.world.mounts.get((host, f"/mnt/dac/{self.token}_job")) != session.volume.name and host not in self.load.rebooted:
                self.sim.violations.append(f"pre_run of {self.token} succeeded without its mount on {host}")

    def _post_run(self) -> None:
        self._call(
            self._wish(goals.POST_RUN, goals.unmounted),
            lambda _: self._call(self._wish(goals.DATA_OUT, goals.staged_out), lambda _: self._teardown(hurry=False), goals.staged_out),
            goals.unmounted,
        )

    def _teardown(self, *, hurry: bool) -> None:
        def done(ok: bool) -> None:
            if ok:
                self.finished = True
            else:
                self.sim.later(2.0, lambda: self._teardown(hurry=hurry))

        self._call(lambda context: _tolerant(tear_down(context, self.token, hurry=hurry)), done, lambda *_: False)

    def _call(self, verb: MakeVerb, then: Callable[[bool], None], served: goals.Satisfied | None = None) -> None:
        """One call, to any daemon; perhaps twice at once, perhaps cut short by a cancelled job.

        ``served``: what is true of a session that a call ends, when the call succeeds and the session is still there.
        """
        random, told = self.sim.random, False
        before, about = self.load.session(self.token), Subject()
        if served is not None:
            verb = partial(_about, verb, about)

        def reply(answer: Answer | Exception | None) -> None:
            nonlocal told
            if told:
                return
            if answer is None:  # the daemon died: the client repeats with another
                self.sim.later(random.uniform(0.2, 2.0), lambda: self._send(verb, reply))
                return
            told = True
            if isinstance(answer, Exception) and not isinstance(answer, DaccError):
                self.sim.violations.append(f"verb raised {answer!r}")
            self.load.answers[type(answer).__name__] = self.load.answers.get(type(answer).__name__, 0) + 1
            if isinstance(answer, Answer) and served is not None:
                self._check_served(before, served)
            then(isinstance(answer, Answer))

        self._send(verb, reply)
        if random.random() < 0.1:
            self._send(verb, lambda _: None)
        if random.random() < 0.05:
            self.sim.later(random.uniform(0, 3), self._cancelled)

    def _check_served(self, before: Session | None, served: goals.Satisfied) -> None:
        """No success for a session that exists, if nobody did anything for it."""
        session = self.load.session(self.token)
        if before is None or session is None or (session.key, session.goal_revision) != (before.key, before.goal_revision):
            return
        if session.goal.filesystem == "ready" and not served(session, self.load.status(self.token)):
            self.sim.violations.append(f"a call for {self.token} succeeded, and {session} was not served")

    def _cancelled(self) -> None:
        hurry = self.sim.random.random() < 0.7
        self._send(lambda context: answered(tear_down(context, self.token, hurry=hurry)), lambda _: None)

    def _send(self, verb: MakeVerb, reply: Callable[[Answer | Exception | None], None]) -> None:
        self.sim.random.choice(self.sim.nodes).call(verb, self.token, reply)


def _about(verb: MakeVerb, told: Subject, context: VerbContext) -> Verb[Answer]:
    """The verb of a client that names, when it asks again, the session that it was told of."""
    return verb(replace(context, subject=Subject(told.key, tell=lambda key: setattr(told, "key", told.key or key))))


def _tolerant(verb: Verb[None]) -> Verb[Answer]:
    """As Slurm takes a teardown: a session that does not exist is torn down."""
    with contextlib.suppress(NoSuchSession):
        yield from verb
    return Answer()


class Workload:
    """Jobs, operators and chaos for a simulation."""

    def __init__(self, sim: Simulation, *, jobs: int = 1_000_000, chaos: bool = True) -> None:
        self.sim, self.jobs_left, self.chaos = sim, jobs, chaos
        self.jobs: list[Job] = []
        self.answers: dict[str, int] = {}
        self.rebooted: set[str] = set()
        self._number = 0
        sim.later(0.5, self._persistent)
        sim.later(1.0, self._submit)
        if chaos:
            sim.later(3.0, self._harm)
            self.operators = Operators(sim, lambda: self.chaos)

    def session(self, token: str) -> Session | None:
        """The session as the store has it."""
        self.sim.rules.revision()
        return self.sim.rules.records().session(token)

    def status(self, token: str) -> Status:
        """What the store knows of it."""
        self.sim.rules.revision()
        return self.sim.rules.records().status(token)

    def _persistent(self) -> None:
        claim = Claim("shared", kind="persistent", request=Request(owner=1, group=1, pool="default", capacity=100), size=100)
        self.sim.random.choice(self.sim.nodes).call(lambda context: answered(set_up(context, claim)), "shared", lambda _: None)
        self.sim.later(self.sim.random.uniform(50, 150), self._destroy)

    def _destroy(self) -> None:
        hurry = self.sim.random.random() < 0.3
        verb = lambda context: answered(tear_down(context, "shared", hurry=hurry))  # noqa: E731
        self.sim.random.choice(self.sim.nodes).call(verb, "shared", lambda _: None)
        if self.chaos:
            self.sim.later(self.sim.random.uniform(5, 30), self._persistent)

    def _submit(self) -> None:
        if self.jobs_left <= 0:
            return
        random, self.jobs_left = self.sim.random, self.jobs_left - 1
        self._number += 1
        token = str(random.randint(1, self._number)) if random.random() < 0.1 else str(self._number)
        stage = (StageRequest(source="/a", destination="$DW_JOB_STRIPED/a"),)
        size = random.choice([0, 50, 100, 250, 400])
        persistent = ("shared",) if random.random() < 0.3 else ()
        buffers = bool(size or persistent)
        request = Request(
            owner=1,
            group=1,
            pool="default",
            capacity=size,
            striped=True,
            stage_in=stage if buffers and random.random() < 0.6 else (),
            stage_out=stage if buffers and random.random() < 0.6 else (),
            persistent=persistent,
            digest=str(self._number),
        )
        job = Job(self, token, request, size)
        self.jobs.append(job)
        job.start()
        self.sim.later(random.uniform(0.5, 6), self._submit)

    def _harm(self) -> None:
        if not self.chaos:
            return
        node = self.sim.random.choice(self.sim.nodes)
        self.sim.random.choice([self._crash, self._crash, self._crash, self._cut, self._still, self._down, self._node_down])(node)
        self.sim.later(self.sim.random.expovariate(1 / 5), self._harm)

    def _crash(self, node: SimulatedDaemon) -> None:
        if node.engine is not None:
            node.crash()
            self.sim.later(self.sim.random.choice([0.05, 1.0, 12.0, 40.0]), lambda: node.start() if node.engine is None else None)

    def _cut(self, node: SimulatedDaemon) -> None:
        node.cut_until = self.sim.now.mono + self.sim.random.choice([0.5, 4.0, 7.0, 25.0])

    def _still(self, node: SimulatedDaemon) -> None:
        node.still_until = self.sim.now.mono + self.sim.random.choice([0.5, 4.0, 11.0, 25.0])

    def _down(self, node: SimulatedDaemon) -> None:
        self._fail_host(node.host)

    def _node_down(self, _: SimulatedDaemon) -> None:
        self._fail_host(self.sim.random.choice(COMPUTE))

    def _fail_host(self, host: str) -> None:
        world = self.sim.world
        world.down.add(host)
        self.rebooted.add(host)

        def up() -> None:
            self.sim.boot(host)

        self.sim.later(self.sim.random.choice([1.0, 10.0, 60.0]), up)

    def finish(self) -> None:
        """Faults stop; what is under way gets its time; then nothing may be left hanging, and nothing more may be done."""
        self.chaos, self.jobs_left = False, 0
        self.sim.calm()
        end = self.sim.now.mono + MAX_FINISH_SECONDS
        self.sim.run(MIN_FINISH_SECONDS)
        while self.sim.now.mono < end and any(self._hanging()):
            self.sim.run(20.0)
        self.sim.violations.extend([*self._hanging(), *self._orphans(self.sim.rules.records()), *self._silent(), *self._unrest()])
        if self.sim.violations:
            raise AssertionError(f"seed {self.sim.seed}, at the end: " + "; ".join(self.sim.violations))

    def _hanging(self) -> Iterator[str]:
        """Sessions that are not what they should be."""
        self.sim.rules.revision()
        view = self.sim.rules.records()
        for token, entry in view.sessions.items():
            status = view.status(token)
            met, failed = goals.met(entry.record, status), goals.failed(entry.record, status)
            if not (met or failed):
                yield f"session {token} hangs: goal {entry.record.goal}, status {status}"
            dark = self.sim.world.dark(entry.record)
            if status.filesystem == "ready" and dark and met and not failed:
                yield f"the filesystem of {token} is not served again by {dark}"

    def _silent(self) -> Iterator[str]:
        """Effects without an answer, and daemons that learn nothing more."""
        for node in self.sim.nodes:
            yield from (f"{node.host} was never answered: {effect}" for effect in node.runtime.unanswered())
            if node.executor is not None and node.executor.silence > REST_SECONDS / 2:
                yield f"{node.host} follows the store no more"

    def _unrest(self) -> Iterator[str]:
        """Steps that are run although nothing is left to do."""
        before = self.sim.steps.total()
        self.sim.run(REST_SECONDS)
        if not any(self._hanging()) and self.sim.steps.total() > before:
            yield f"{self.sim.steps.total() - before} steps were run when nothing was left to do"

    def _orphans(self, view: View) -> Iterator[str]:
        """Filesystems that no session owns, on bricks that are offered as free: a command that outlived its session made them."""
        owned = {entry.record.volume.name for entry in view.sessions.values() if entry.record.volume}
        shut = {f"{host}:{device}" for host, entry in view.allocations.items() for device in entry.record.quarantined}
        for name, volume in self.sim.world.volumes.items():
            loose = [brick for brick in volume.bricks if brick not in shut]
            if name not in owned and loose:
                yield f"filesystem {name} is left on {loose[0]}"
