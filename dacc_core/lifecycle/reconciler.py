"""Brings one session to its goal: plan, record, act, record. One of the engine's parts.

A :class:`SessionReconciler` is in one of the states of :mod:`.states`::

    Idle          -> Committing    plan(): the beginning of a step, the reached goal, the end of the session; or a higher generation,
                                   if something may still run that another coordinator began
    Committing    -> RunningStep   the beginning is recorded: run the step
                  -> Fencing       the higher generation is recorded: enforce it
                  -> Backoff       a failure is recorded, or another transaction got in the way
                  -> Idle          there is nothing more to do, or no answer came in time
    RunningStep   -> Committing    its outcome and what is next, in one transaction; a higher generation, if commands may still run
    Fencing       -> Idle          nothing older runs any more: plan()
                  -> Backoff       a host could not be fenced, or no answer came in time
    Backoff       -> Idle          the time has passed, or there is a new goal

Whatever happens, the session comes back to :meth:`SessionReconciler.consider`, which looks at the records and decides anew; so a lost
answer, a lost lease or a crash needs no path of its own. Neither does a defect of ours: what was under way is given up and fenced, and the
session goes on, at worst with that defect as the error of its goal.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, assert_never

import msgspec

from ..errors import Cancelled, DaccError, StepFailed, Unavailable
from ..keystore.base import TxnResult
from ..names import clean_text, expand, fold
from ..registry.records import Running, Session, Status
from ..registry.transaction import TransactionBuilder
from ..values import Progress
from ..verbs import goals
from . import effects as fx
from . import finalize, policy, transitions
from .plan import STORE_ONLY, Step, Surroundings, look_around, plan
from .reactor import Reactor, Timer
from .states import (
    Act,
    Backoff,
    Committing,
    Considered,
    Enforce,
    Fencing,
    Idle,
    Next,
    Release,
    Rest,
    Retry,
    RunningStep,
    State,
    Tenure,
    awaited_by,
    deadline_of,
)
from .transitions import StepOutcome

log = logging.getLogger("dacc.session")
PROGRESS_SECONDS = 10.0
CONFLICT_SECONDS = 0.005
"""After a transaction that met another one of the same record."""
_DEFECT, _FENCE = "defect", "fence"  # counted among the kinds of steps


class Lease(Protocol):
    """This daemon's proof that it is alive, on which all that it does for sessions depends."""

    host: str
    incarnation: str

    @property
    def sure(self) -> bool:
        """Whether this incarnation certainly still holds it."""
        ...

    def may_act(self) -> bool:
        """Whether this daemon may change anything of sessions now."""
        ...


class SessionReconciler:
    """One session's way to its goal. ``on_rest`` is called with its token when nothing is under way any more."""

    def __init__(self, token: str, reactor: Reactor, lease: Lease, on_rest: Callable[[str], None]) -> None:
        self.token = token
        self._reactor, self._lease, self._on_rest = reactor, lease, on_rest
        self._state: State = Idle()
        self._timer: Timer | None = None
        self._attempts: Counter[str] = Counter()  # failed ones since the last success, by the kind of step
        self._goal = (0.0, -1)  # of which session and goal these attempts are
        self._cleared = -1  # the generation below which nothing runs any more
        self._defect = ""
        self._teardown = ("", 0.0)  # since when this host has been at it: a record could hold only another host's clock

    @property
    def state(self) -> State:
        """What is under way."""
        return self._state

    @property
    def deadline(self) -> float:
        """When (monotonic) this does something even if nothing happens."""
        deadline = deadline_of(self._state)
        return float("inf") if deadline is None else deadline

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return isinstance(self._state, Idle | Backoff)

    @property
    def copying(self) -> bool:
        """Whether a copy runs, which may take long."""
        return isinstance(self._state, RunningStep) and self._state.step.kind in ("stage_in", "stage_out")

    def close(self) -> None:
        """The session is gone: do nothing more."""
        self._enter(Idle())

    # --- states ---

    def _enter(self, state: State) -> None:
        for ref in awaited_by(self._state) - awaited_by(state):
            self._reactor.forget(ref)
        self._state = state
        if self._timer is not None:
            self._timer.cancel()
        deadline = deadline_of(state)
        self._timer = None if deadline is None else self._reactor.at(deadline, self._safely(self._expired))

    def _expired(self) -> None:
        """The state's deadline passed: abandon what it waits for, and recover."""
        state = self._state
        match state:
            case Idle():
                pass
            case Backoff():
                self._enter(Idle())
                self._release(state.again) if state.again else self._rest()
            case Committing():
                log.warning("transaction without an answer", extra={"session": self.token})
                self._rest()  # it may have been done, or be done yet: what follows compares revisions
            case RunningStep():
                self._step_expired(state)
            case Fencing():
                why = f"no answer within {self._reactor.rules.fence_deadline(len(state.hosts)):g} s"
                self._fence_ended(state, dict.fromkeys(state.hosts, Unavailable(why=why)))
            case _:
                assert_never(state)

    def _rest(self, considered: Considered | None = None) -> None:
        self._enter(Idle(considered))
        self._on_rest(self.token)

    def _back_off(self, kind: str) -> None:
        """Try again after a while, longer each time that this kind of step failed."""
        self._enter(Backoff(self._reactor.now.mono + policy.wait(self._attempts[kind], self._reactor.rules)))

    # --- defects ---

    def _safely(self, act: Callable[..., None]) -> Callable[..., None]:
        """``act``, after whose defect the session goes on."""

        def run(*args: Any) -> None:
            if (bug := self._reactor.guarded(act, *args)) is not None:
                self._recover(bug)

        return run

    def _recover(self, bug: Exception) -> None:
        """Nobody knows what is half done here: give up what is under way, have it fenced, and look at the records anew in a while."""
        if isinstance(self._state, RunningStep):
            self._reactor.emit(fx.CancelStep(self._state.ref))
        self._cleared = -1
        self._attempts[_DEFECT] += 1
        if self._attempts[_DEFECT] >= self._reactor.rules.attempts:
            self._defect = clean_text(f"a defect of dacd, see its log: {type(bug).__name__}: {bug}")
        self._back_off(_DEFECT)

    def _give_up(self, session: Session, status: Status) -> None:
        """The same defect again and again: the goal fails with it, so that its caller gets an answer and a new goal begins anew.

        A teardown is given up as one that used its time: what is owed is kept, and else its bricks are put into quarantine.
        """
        ending = session.goal.filesystem == "absent" and not status.gave_up
        if ending and self._may_run_elsewhere(status):
            self._pursue(session, status)  # which fences first
            return
        why, self._defect = self._defect, ""
        if status.observed_revision >= session.goal_revision:  # nobody waits, and what was reached stays true
            self._pursue(session, status)
        elif ending:
            self._advance(session, transitions.give_up(status, why))
        else:
            error = StepFailed(step=session.goal.verb, token=self.token, why=why)
            self._write(session, transitions.fail(session, self._own(status), error, "dacd"), Rest())

    # --- deciding ---

    def consider(self) -> None:
        """Look at the records and do what is next, if anything and if it is ours to do."""
        self._safely(self._consider)()

    def _consider(self) -> None:
        view, lease = self._reactor.view, self._lease
        session, status = view.session(self.token), view.status(self.token)
        if session is None or not lease.may_act() or policy.is_waiting_for_bricks(session):
            return
        self._note_goal(session)
        state = self._state
        match state:
            case Idle():
                if policy.coordinates(view, session, status, lease.host, lease.incarnation):
                    (self._give_up if self._defect else self._pursue)(session, status)
            case RunningStep():
                self._reconsider(state, session, status)
            case Backoff() | Committing() | Fencing():
                pass  # their ends lead here
            case _:
                assert_never(state)

    def _note_goal(self, session: Session) -> None:
        """A new goal, perhaps of another session under the same token: earlier attempts do not count against it."""
        if (session.created_at, session.goal_revision) == self._goal:
            return
        if session.created_at != self._goal[0]:
            self._cleared = -1
        self._goal, self._defect = (session.created_at, session.goal_revision), ""
        self._attempts.clear()
        if isinstance(self._state, Backoff):
            self._enter(Idle())

    def _pursue(self, session: Session, status: Status) -> None:
        if status.running is None:
            self._advance(session, status)
        elif self._may_run_elsewhere(status):
            self._fence(session, self._raise_generation(status), status.running)
        else:
            self._advance(session, msgspec.structs.replace(status, running=None))

    def _may_run_elsewhere(self, status: Status) -> bool:
        """Whether effects of a step may still be under way somewhere, and not by us: they must be ended first."""
        return status.running is not None and self._cleared != status.generation

    def _advance(self, session: Session, status: Status) -> None:
        """Record what was observed, together with the beginning of whatever it calls for."""
        status = transitions.expect_staging(session, status)
        status = policy.within_budget(session, status, self._spent(session), self._reactor.rules)
        around, considered = self._look_around(session, status)
        if self._state == Idle(considered):
            return  # nothing changed since there was nothing to do
        step = plan(session, status, around)
        if step is None:
            self._reach(session, status, considered)
        elif step.kind in STORE_ONLY:
            self._end(session, self._own(status), step)
        else:
            begun = transitions.begin(step, self._own(status), at=self._reactor.now.wall)
            self._write(session, begun, Act(step, session, considered.of_a_step))

    def _reach(self, session: Session, status: Status, considered: Considered) -> None:
        del self._attempts[_DEFECT]
        reached = transitions.reach(session, status)
        if reached == self._reactor.view.status(self.token):
            self._enter(Idle(considered))
        else:
            self._write(session, self._own(reached), Rest(considered))

    def _look_around(self, session: Session, status: Status) -> tuple[Surroundings, Considered]:
        reactor = self._reactor
        around = look_around(reactor.view, session, status, rules=reactor.rules, host=self._lease.host, spent=self._spent(session))
        return around, Considered(*self._revisions(), around.rebooted, around.detached)

    def _revisions(self) -> tuple[int, int]:
        view = self._reactor.view
        return view.revision_of("sessions", self.token), view.revision_of("status", self.token)

    def _spent(self, session: Session) -> float:
        """The seconds since this was first asked of the session while it was to end: how long this host has been at its teardown."""
        now = self._reactor.now.mono
        if session.goal.filesystem != "absent":
            return 0.0
        if session.key != self._teardown[0]:
            self._teardown = session.key, now
        return now - self._teardown[1]

    # --- a step ---

    def _act(self, act: Act, tenure: Tenure) -> None:
        """The beginning is recorded: now the effect."""
        view, now = self._reactor.view, self._reactor.now.mono
        session, status = view.session(self.token), view.status(self.token)
        if session is None or session.lost != act.session.lost or not self._lease.may_act():
            self._rest()
            return
        order = fx.StepOrder(act.step, act.session, status)
        ref = self._reactor.ask(lambda ref: fx.RunStep(ref, order), self._safely(self._step_ended))
        self._reactor.on_progress(ref, self._safely(self._progressed))
        deadline = now + act.step.seconds + self._reactor.rules.cancel_grace
        running = RunningStep(act.step, ref, tenure, deadline, act.considered, act.session.lost, saved_at=now)
        self._cleared = -1
        self._enter(running)
        log.info("step begins", extra={"session": self.token, "step": act.step.kind, "hosts": act.step.hosts})
        self._reconsider(running, session, status)  # the goal may have changed while the beginning was written

    def _reconsider(self, state: RunningStep, session: Session, status: Status) -> None:
        """A step is under way: does the goal still call for it?"""
        if state.cancelled:
            return
        if session.lost != state.lost:
            self.cancel(f"host {fold(session.lost)} was forgotten")
            return
        around, considered = self._look_around(session, status)
        if considered.of_a_step == state.considered:
            return
        self._state = replace(state, considered=considered.of_a_step)
        if not policy.still_desired(state.step, plan(session, status, around)):
            self.cancel(f"the goal is now {session.goal.verb}")

    def cancel(self, why: str) -> None:
        """Stop the running step; what it started is fenced before anything else is done."""
        state = self._state
        if isinstance(state, RunningStep) and not state.cancelled:
            log.info("step is cancelled", extra={"session": self.token, "step": state.step.kind, "why": why})
            self._reactor.emit(fx.CancelStep(state.ref))
            self._enter(replace(state, cancelled=why, deadline=self._reactor.now.mono + self._reactor.rules.cancel_grace))

    def _step_expired(self, state: RunningStep) -> None:
        if state.ended is not None:
            self._settle(state, state.ended, abandoned=True)
        elif not state.cancelled:
            self._state = replace(state, overran=True)
            self.cancel("it passed its deadline")
        else:
            # It does not end although it was cancelled: go on without it; its commands are fenced, its late outcome is ignored.
            error = Unavailable(why=f"{state.step.kind} did not end after it was cancelled")
            self._settle(state, StepOutcome(error=error), abandoned=True)

    def _progressed(self, progress: Progress) -> None:
        """Progress reaches the store now and then only, but at once what the next try must know."""
        state, now, recorded = self._state, self._reactor.now.mono, self._reactor.view.status(self.token)
        if not isinstance(state, RunningStep) or state.saving or state.ended is not None:
            return
        due = progress.cleared != recorded.progress.cleared or now - state.saved_at >= PROGRESS_SECONDS
        if due and self._lease.may_act() and self._holds(state.tenure):
            commit = self._draft(msgspec.structs.replace(recorded, progress=progress)).commit()
            saving = self._reactor.transact(commit, self._safely(self._saved))
            self._state = replace(state, saving=saving, saved_at=now)

    def _saved(self, _: TxnResult) -> None:
        if isinstance(self._state, RunningStep):
            self._state = replace(self._state, saving=0)
            if self._state.ended is not None:
                self._settle(self._state, self._state.ended)

    def _step_ended(self, event: fx.StepEnded) -> None:
        state = self._state
        if not isinstance(state, RunningStep):
            return
        if state.saving:
            self._enter(replace(state, ended=event.outcome, deadline=self._reactor.now.mono + self._reactor.rules.commit_seconds))
        else:
            self._settle(state, event.outcome)

    # --- its outcome ---

    def _settle(self, state: RunningStep, outcome: StepOutcome, *, abandoned: bool = False) -> None:
        """The step has ended. If not by itself, or if its outcome is not sure, its hosts are fenced before anything else is done."""
        self._enter(Idle())
        step, session, status = state.step, self._reactor.view.session(self.token), self._reactor.view.status(self.token)
        if session is None or not self._holds(state.tenure):
            self._rest()
            return
        log.info("step ends", extra={"session": self.token, "step": step.kind, "error": str(outcome.error or "")})
        outcome = policy.resigned(step, outcome, self._attempts[step.kind] + 1, self._reactor.rules)
        finished = transitions.finish(step, status, outcome, at=self._reactor.now.wall)
        if outcome.error is None:
            finished = transitions.clear_old_failure(session, finished)
            del self._attempts[step.kind]  # only of its own kind: what cleans up after a failed copy may succeed each time
        stopped = abandoned or bool(state.cancelled) or isinstance(outcome.error, Cancelled)
        if outcome.unsure or (stopped and outcome.error is not None):
            # A step that was cancelled in time has not failed.
            self._settle_unsure(state, session, finished, outcome.error if state.overran or not stopped else None)
        elif outcome.error is not None:
            self._settle_failure(session, finished, step, outcome.error)
        elif self._reactor.stopping:
            self._write(session, finished, Rest())
        else:
            self._advance(session, finished)

    def _settle_unsure(self, state: RunningStep, session: Session, finished: Status, error: DaccError | None) -> None:
        """A command may still run: record a higher generation and enforce it."""
        if error is not None:
            error = Unavailable(why=f"{state.step.kind} did not end within its deadline") if state.overran else error
            finished = policy.conclude(self._judge(session, finished, state.step, error), session, finished, state.step, error)
        running = self._reactor.view.status(self.token).running or Running(step=state.step.kind)
        if self._reactor.stopping:
            self._write(session, msgspec.structs.replace(finished, running=running), Rest())
        else:
            self._fence(session, self._raise_generation(finished), running)

    def _settle_failure(self, session: Session, finished: Status, step: Step, error: DaccError) -> None:
        verdict = self._judge(session, finished, step, error)
        concluded = policy.conclude(verdict, session, finished, step, error)
        match verdict:
            case "retry":
                self._write(session, concluded, Retry(step.kind))
            case "fail":
                log.error("goal failed", extra={"session": self.token, "step": step.kind, "why": str(error)})
                self._write(session, concluded, Rest())
            case "give up" | "stop paying":
                self._advance(session, concluded)
            case _:
                assert_never(verdict)

    def _judge(self, session: Session, status: Status, step: Step, error: DaccError) -> policy.Verdict:
        self._attempts[step.kind] += 1
        return policy.judge(session, status, step, error, self._attempts[step.kind], self._reactor.rules)

    # --- fencing ---

    def _fence(self, session: Session, status: Status, running: Running) -> None:
        """Record the higher generation, then enforce it where the older one may be acting."""
        hosts = tuple(host for host in expand(running.hosts) if host not in session.lost)
        self._write(session, msgspec.structs.replace(status, running=running), Enforce(session.key, hosts))

    def _enforce(self, enforce: Enforce, tenure: Tenure) -> None:
        key, hosts, generation = enforce.key, enforce.hosts, tenure.generation
        deadline = self._reactor.now.mono + self._reactor.rules.fence_deadline(len(hosts))
        if not hosts:
            self._fence_ended(Fencing(0, tenure, hosts, deadline), {})
            return
        log.info("fencing", extra={"session": self.token, "generation": generation, "hosts": fold(hosts)})
        ref = self._reactor.ask(lambda ref: fx.FenceHosts(ref, key, generation, hosts), self._safely(self._fenced))
        self._enter(Fencing(ref, tenure, hosts, deadline))

    def _fenced(self, event: fx.Fenced) -> None:
        if isinstance(self._state, Fencing):
            self._fence_ended(self._state, event.failures)

    def _fence_ended(self, fencing: Fencing, failures: Mapping[str, DaccError]) -> None:
        self._enter(Idle())
        session = self._reactor.view.session(self.token)
        if session is None or self._reactor.stopping or not self._holds(fencing.tenure):
            self._rest()
        elif failures:
            self._unfenced(session, fencing.tenure.generation, failures)
        else:
            self._go_on_from(fencing.tenure.generation)

    def _go_on_from(self, generation: int) -> None:
        """Nothing older than this generation is waited for any more."""
        self._cleared = generation
        del self._attempts[_FENCE]
        self.consider()

    def _unfenced(self, session: Session, generation: int, failures: Mapping[str, DaccError]) -> None:
        self._attempts[_FENCE] += 1
        host, cause = sorted(failures.items())[0]
        status, error = self._reactor.view.status(self.token), StepFailed(step=f"fencing {host}", token=self.token, why=str(cause))
        verdict = policy.judge_fence(session, failures, self._attempts[_FENCE], self._spent(session), self._reactor.rules)
        match verdict:
            case "retry":
                self._back_off(_FENCE)
            case "go on":
                self._go_on_from(generation)
            case "give up":
                self._cleared = generation
                self._advance(session, transitions.give_up(status, str(error)))
            case "fail" if goals.failed(session, status):
                self._back_off(_FENCE)
            case "fail":  # what may still run must be ended all the same, before anything else is done
                self._write(session, transitions.fail(session, status, error, "fence"), Retry(_FENCE))
            case _:
                assert_never(verdict)

    # --- ending the session ---

    def _end(self, session: Session, status: Status, step: Step) -> None:
        """Steps that are one transaction: release, quarantine, keep, refuse."""
        if step.kind == "refuse":
            last = next((event.error for event in reversed(status.events) if event.error), "")
            error = StepFailed(step=session.goal.verb, token=self.token, why=f"{step.reason}: {last}" if last else step.reason)
            self._write(session, transitions.fail(session, status, error, "plan"), Rest())
            return
        log.info("session ends", extra={"session": self.token, "how": step.kind, "why": step.reason})
        self._release(Release(session, status, step, self._revisions()))

    def _release(self, release: Release) -> None:
        """The transaction that ends the session. Claims and other endings write the same hosts' bricks, so it may have to be made anew.

        What ``release.status`` has more than the store is observed here only: dropped, the last step would be fenced and run again.
        """
        if self._revisions() != release.revisions or not self._lease.may_act():
            self._rest()
            return
        session, status = release.session, release.status
        draft = finalize.ending(self._reactor.view, session, status, release.step, self._reactor.now.wall, self._reactor.rules)
        self._commit(draft.expect("alive", self._lease.host), release, Tenure(session.created_at, status.generation))

    # --- writing ---

    def _own(self, status: Status) -> Status:
        """The status as ours; of another coordinator's with a higher generation."""
        ours = (status.coordinator, status.incarnation) == (self._lease.host, self._lease.incarnation)
        return status if ours else self._raise_generation(status)

    def _raise_generation(self, status: Status) -> Status:
        return transitions.adopt(status, self._lease.host, self._lease.incarnation)

    def _holds(self, tenure: Tenure) -> bool:
        """Whether this host acts for the session as it did when it last wrote so.

        A daemon that stood still may have lost its lease and have a new one by the time it learns how its step ended; what it knows then
        is of the past, and not to be written over what the one that took over did.
        """
        session, status = self._reactor.view.session(self.token), self._reactor.view.status(self.token)
        same = session is not None and Tenure(session.created_at, status.generation) == tenure
        return same and status.incarnation == self._lease.incarnation and self._lease.sure

    def _draft(self, status: Status) -> TransactionBuilder:
        return TransactionBuilder(self._reactor.view).put(status, "status", self.token).expect("alive", self._lease.host)

    def _write(self, session: Session, status: Status, then: Next) -> None:
        draft = self._draft(status)
        finalize.count_pre_run(self._reactor.view, draft, session, status, self._reactor.now.wall)
        self._commit(draft, then, Tenure(session.created_at, status.generation))

    def _commit(self, draft: TransactionBuilder, then: Next, tenure: Tenure) -> None:
        ref = self._reactor.transact(draft.commit(), self._safely(self._committed))
        self._enter(Committing(ref, then, tenure, self._reactor.now.mono + self._reactor.rules.commit_seconds))

    def _committed(self, result: TxnResult) -> None:
        state = self._state
        if not isinstance(state, Committing):
            return
        self._enter(Idle())
        if not result.ok:  # a record was changed meanwhile
            again = state.then if isinstance(state.then, Release) else None
            self._enter(Backoff(self._reactor.now.mono + CONFLICT_SECONDS, again))
        elif isinstance(state.then, Release) or not self._holds(state.tenure):
            self._rest()
        else:
            self._follow(state.then, state.tenure)

    def _follow(self, then: Act | Enforce | Retry | Rest, tenure: Tenure) -> None:
        match then:
            case Act():
                self._act(then, tenure)
            case Enforce():
                self._enforce(then, tenure)
            case Retry():
                self._back_off(then.kind)
            case Rest():
                self._rest(then.considered and replace(then.considered, status=self._revisions()[1]))
            case _:
                assert_never(then)
