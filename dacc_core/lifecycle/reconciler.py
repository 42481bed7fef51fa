"""Pursues the sessions that this host coordinates: plan, record, do, record. One of the core's parts.

A :class:`SessionReconciler` is one session's. It is in one of four states: *idle*, *writing* (a transaction is under way), *acting*
(a step is) or *fencing* (older commands are being ended). Whatever happens, it comes back to :meth:`SessionReconciler.consider`, which
looks at the records and
decides anew; so a lost answer, a lost lease or a crash needs no path of its own. Neither does a defect of ours: what was under way is
given up and fenced, and the session goes on, at worst with that defect as the error of its goal (:meth:`SessionReconciler._recover`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import Cancelled, DaccError, StepFailed, Unavailable
from ..keystore.base import TxnResult
from ..names import clean_text, expand, fold
from ..registry.records import Running, Session, Status
from ..registry.transaction import TransactionBuilder
from ..values import Progress
from ..verbs import goals
from . import effects as fx
from . import finalize, orders, transitions
from . import policy as judge
from .plan import STORE_ONLY, Step, plan
from .transitions import StepOutcome

if TYPE_CHECKING:
    from .engine import Engine, Timer

log = logging.getLogger("dacc.session")
PROGRESS_SECONDS = 10.0
MAX_WAIT = 15.0
_DEFECT, _FENCE = "defect", "fence"  # counted among the kinds of steps


class SessionReconciler:
    """One session's way to its goal."""

    def __init__(self, core: Engine, token: str) -> None:
        self.core, self.token = core, token
        self._busy = ""
        self._ref = 0
        self._acting: Step | None = None
        self._without: tuple[str, ...] = ()
        self._cancelling = ""
        self._late_step = False
        self._cleared = -1
        self._tenure = (0.0, -1)
        self._attempts: Counter[str] = Counter()  # failed ones since the last success, by the kind of step
        self._epoch = 0  # answers to what was asked before a defect are not for what is under way now
        self._defect = ""
        self._goal = (0.0, -1)
        self._budget = judge.Budget()
        self._wake: Timer | None = None
        self._guard: Timer | None = None
        self._saved_at = 0.0
        self._saving = False
        self._late: fx.StepEnded | None = None

    # --- deciding ---

    def consider(self) -> None:
        """Look at the records and do what is next, if anything and if it is ours to do."""
        self._safe(self._consider)()

    def _safe(self, act: Callable[..., None]) -> Callable[..., None]:
        """``act``, after whose defect the session goes on; nothing is done once another defect has ended what it belonged to."""
        epoch = self._epoch

        def run(*args: Any) -> None:
            if epoch == self._epoch and (bug := self.core.guarded(act, *args)) is not None:
                self._recover(bug)

        return run

    def _recover(self, bug: Exception) -> None:
        """Nobody knows what is half done here: give up what is under way, have it fenced, and look at the records anew in a while."""
        if self._busy == "acting":
            self.core.emit(fx.CancelStep(self._ref))
        self.core.forget(self._ref)
        if self._guard is not None:
            self._guard.cancel()
        self._epoch += 1
        self._acting, self._saving, self._late, self._cleared = None, False, None, -1
        self._attempts[_DEFECT] += 1
        if self._attempts[_DEFECT] >= self.core.rules.attempts:
            self._defect = clean_text(f"a defect of dacd, see its log: {type(bug).__name__}: {bug}")
        self._later(_DEFECT)

    def _give_up(self, session: Session, status: Status) -> None:
        """The same defect again and again: the goal fails with it, so that who waits hears of it and a new goal begins anew.

        A teardown is given up as one that used its time: what is owed is kept, and else its bricks are put into quarantine.
        """
        ending = session.goal.filesystem == "absent" and not status.gave_up
        if ending and status.running is not None and self._cleared != status.generation:
            self._go_on(session, status)  # which fences first
            return
        why, self._defect = self._defect, ""
        if status.observed_revision >= session.goal_revision:  # nobody waits, and what was reached stays true
            self._go_on(session, status)
            return
        owned = self._own(session, status, raised=status.incarnation != self.core.incarnation)
        if ending:
            self._advance(session, msgspec.structs.replace(owned, running=None, gave_up=why))
            return
        error = StepFailed(step=session.goal.verb, token=self.token, why=why)
        self._write(session, transitions.fail(owned, session, error, "dacd"), self._idle)

    def _consider(self) -> None:
        session = self.core.view.session(self.token)
        if session is None or not self.core.may_act() or (session.claiming and session.goal.filesystem == "ready"):
            return
        status = self.core.view.status(self.token)
        if (session.created_at, session.goal_revision) != self._goal:
            self._notice(session)
        if self._busy == "acting":
            self._reconsider(session, status)
        elif not self._busy and self._wake is None and self._ours(session, status):
            (self._give_up if self._defect else self._go_on)(session, status)

    def _notice(self, session: Session) -> None:
        """A new goal, perhaps of another session under the same token: earlier attempts do not count against it."""
        if session.created_at != self._goal[0]:
            self._cleared = -1
        self._goal, self._defect = (session.created_at, session.goal_revision), ""
        self._attempts.clear()
        self._sleep_no_more()

    def _ours(self, session: Session, status: Status) -> bool:
        if status.coordinator and self.core.view.is_alive(status.coordinator, status.incarnation):
            return status.coordinator == self.core.host and status.incarnation == self.core.incarnation
        return self.core.pursuits.desired(session) == self.core.host

    def _go_on(self, session: Session, status: Status) -> None:
        adopted = status.coordinator == self.core.host and status.incarnation == self.core.incarnation
        if status.running is not None and self._cleared != status.generation:
            # Its effects may still be under way somewhere, and not by us: end them first.
            self._fence(session, self._own(session, status, raised=True), status.running)
            return
        if self._plan(session, status) is None and (status.observed_revision >= session.goal_revision or goals.failed(session, status)):
            return
        clean = msgspec.structs.replace(status, running=None)
        self._advance(session, clean if adopted else self._own(session, clean, raised=True))

    def _own(self, session: Session, status: Status, *, raised: bool) -> Status:
        return msgspec.structs.replace(
            status, coordinator=self.core.host, incarnation=self.core.incarnation, generation=status.generation + raised
        )

    def _plan(self, session: Session, status: Status) -> Step | None:
        view = self.core.view
        return plan(session, status, orders.rebooted(view, session, status), detached=orders.detached(view, session))

    def _advance(self, session: Session, status: Status) -> None:
        """Record facts that are known, together with the beginning of whatever they call for."""
        status = judge.within_budget(
            session, judge.asked(session, status), self._budget.spent(session, self.core.now.mono), self.core.rules
        )
        step = self._plan(session, status)
        if step is None:
            del self._attempts[_DEFECT]
            self._write(session, judge.reached(session, status), self._idle)
        elif step.kind in STORE_ONLY:
            self._end(session, status, step)
        else:
            self._begin(session, status, step)

    # --- beginning a step ---

    def _begin(self, session: Session, status: Status, step: Step) -> None:
        mover = status.mover or self.core.rules.mover_host or self.core.host
        hosts = orders.hosts_of(session, step, mover)
        boots = orders.boots_of(self.core.view, session)
        begun = transitions.begin(step, session, status, hosts=hosts, mover=mover, at=self.core.now.wall, boots=boots)
        begun = orders.with_buffers(self.core.view, session, begun, step)
        self._write(session, begun, lambda: self._act(step, session.lost))

    def _act(self, step: Step, without: tuple[str, ...]) -> None:
        """The beginning is recorded: now the effect, ``without`` the hosts that had been forgotten when it was planned."""
        session, status = self.core.view.session(self.token), self.core.view.status(self.token)
        if session is None or session.lost != without or not self.core.may_act():
            self._idle()
            return
        self._busy, self._acting, self._cancelling, self._late_step = "acting", step, "", False
        self._cleared, self._without = -1, without
        seconds = judge.seconds(session, step, self._budget.spent(session, self.core.now.mono), self.core.rules)
        order = fx.StepOrder(step, session, status, seconds, status.mover, orders.buffers_of(self.core.view, session, status, step))
        self._ref = self.core.ask(lambda ref: fx.RunStep(ref, order), self._safe(self._ended))
        self._saved_at = self.core.now.mono
        self.core.on_progress(self._ref, self._safe(self._progressed))
        self._guard = self._after(order.seconds + self.core.rules.cancel_grace, self._overran)
        log.info("step begins", extra={"session": self.token, "step": step.kind, "hosts": step.hosts})
        self._reconsider(session, status)  # the goal may have changed while the beginning was written

    def _progressed(self, progress: Progress) -> None:
        """Progress reaches the store now and then only, but at once what the next try must know."""
        news = progress.cleared != self.core.view.status(self.token).progress.cleared
        due = news or self.core.now.mono - self._saved_at >= PROGRESS_SECONDS
        if self._busy == "acting" and due and not self._saving and self.core.may_act() and self._holds():
            status = msgspec.structs.replace(self.core.view.status(self.token), progress=progress)
            commit = self._draft(status).commit()
            self._saved_at, self._saving = self.core.now.mono, True
            self.core.transact(commit, self._safe(lambda _: self._saved()))

    def _saved(self) -> None:
        self._saving = False
        late, self._late = self._late, None
        if late is not None:
            self._ended(late)

    # --- while it runs ---

    def _reconsider(self, session: Session, status: Status) -> None:
        """A step is under way: does the goal still want it?"""
        if self._cancelling or self._acting is None:
            return
        if session.lost != self._without:
            self.cancel(f"host {fold(session.lost)} was forgotten")
            return
        wanted, acting = self._plan(session, status), self._acting
        # An unmount or a restore that has become larger or smaller may end first; what it did is wanted or will be done again.
        lenient = acting.kind in ("unmount", "restore")
        if wanted is None or wanted.kind != acting.kind or not (lenient or wanted.hosts == acting.hosts):
            self.cancel(f"the goal is now {session.goal.verb}")

    def cancel(self, why: str) -> None:
        """Stop the running step; what it started is fenced before anything else is done."""
        if self._busy != "acting" or self._cancelling:
            return
        self._cancelling = why
        log.info("step is cancelled", extra={"session": self.token, "step": self._acting and self._acting.kind, "why": why})
        self.core.emit(fx.CancelStep(self._ref))
        if self._guard is not None:
            self._guard.cancel()
        self._guard = self._after(self.core.rules.cancel_grace, self._abandon)

    def _overran(self) -> None:
        self._late_step = True
        self.cancel("it passed its deadline")

    def _abandon(self) -> None:
        """The step does not end although it was told to: go on without it; its commands are fenced, its late outcome is ignored."""
        if self._busy == "acting":
            self.core.forget(self._ref)
            step = self._acting.kind if self._acting else "step"
            self._settle(StepOutcome(error=Unavailable(why=f"{step} did not end after it was told to stop")), sure=False)

    def _ended(self, event: fx.StepEnded) -> None:
        if self._saving:  # two writes of one status at once: one would be lost
            self._late = event
            return
        self._settle(event.outcome, sure=not isinstance(event.outcome.error, Cancelled) and not self._cancelling)

    # --- judging its outcome ---

    def _settle(self, outcome: StepOutcome, *, sure: bool) -> None:
        """The step has ended. ``sure``: it was not told to; its commands have ended too, unless the outcome says that this is not sure.

        Otherwise they are fenced before anything else is done.
        """
        step, self._acting = self._acting, None
        self.core.forget(self._ref)
        if self._guard is not None:
            self._guard.cancel()
        self._busy = ""
        session, status = self.core.view.session(self.token), self.core.view.status(self.token)
        if session is None or step is None or not self._holds():
            self._idle()
            return
        log.info("step ends", extra={"session": self.token, "step": step.kind, "error": str(outcome.error or "")})
        outcome = judge.resigned(step, outcome, self._attempts[step.kind] + 1, self.core.rules)
        known = transitions.finish(step, session, status, outcome, at=self.core.now.wall)
        if (sure or outcome.error is None) and not outcome.unsure:
            self._judge(session, known, step, outcome)
        else:
            self._unsure(session, status, known, step, outcome, failed=sure or self._late_step)

    def _unsure(self, session: Session, status: Status, known: Status, step: Step, outcome: StepOutcome, *, failed: bool) -> None:
        """Fence the step's hosts before anything else. One that was told to stop in time has not ``failed``."""
        if outcome.error is None:
            known = finalize.after_success(step, session, known)
            self._succeeded(step)
        elif failed:
            late = Unavailable(why=f"{step.kind} did not end within its deadline")
            known = self._failing(session, known, step, late if self._late_step else outcome.error)
        running = status.running or Running(step=step.kind)
        if self.core.stopping:
            self._write(session, msgspec.structs.replace(known, running=running), self._idle)
        else:
            self._fence(session, self._own(session, known, raised=True), running)

    def _judge(self, session: Session, known: Status, step: Step, outcome: StepOutcome) -> None:
        if outcome.error is None:
            self._succeeded(step)
            if self.core.stopping:
                self._write(session, known, self._idle)
            else:
                self._advance(session, finalize.after_success(step, session, known))
            return
        failing = self._failing(session, known, step, outcome.error)
        if failing.failure is not None and goals.failed(session, failing):
            log.error("goal failed", extra={"session": self.token, "step": step.kind, "why": str(outcome.error)})
            self._write(session, failing, self._idle)
        elif failing is known:
            self._write(session, known, lambda: self._later(step.kind))
        else:
            self._advance(session, failing)

    def _succeeded(self, step: Step) -> None:
        # Only of its own kind: what cleans up after a failed copy may succeed each time, and the copy would be tried for ever.
        del self._attempts[step.kind]

    def _failing(self, session: Session, known: Status, step: Step, error: DaccError) -> Status:
        self._attempts[step.kind] += 1
        return judge.failing(session, known, step, error, self._attempts[step.kind], self.core.rules)

    def _later(self, kind: str) -> None:
        """Try again after a while, longer each time that this kind of step failed."""
        self._busy = ""
        wait = min(self.core.rules.first_wait * 2 ** min(max(0, self._attempts[kind] - 1), 30), MAX_WAIT)
        self._sleep_no_more()
        self._wake = self._after(wait, self._awake)

    def _after(self, seconds: float, then: Callable[[], None]) -> Timer:
        return self.core.at(self.core.now.mono + seconds, self._safe(then))

    def _awake(self) -> None:
        self._wake = None
        self.consider()

    def _sleep_no_more(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    # --- fencing ---

    def _fence(self, session: Session, status: Status, running: Running) -> None:
        """Record the higher generation, then enforce it where the older one may be acting."""
        hosts = tuple(host for host in expand(running.hosts) if host not in session.lost)
        status = msgspec.structs.replace(status, running=running)
        self._write(session, status, lambda: self._fence_hosts(session.key, status.generation, hosts))

    def _fence_hosts(self, key: str, generation: int, hosts: tuple[str, ...]) -> None:
        self._busy = "fencing"
        if not hosts:
            self._fenced(fx.Fenced(0, {}), generation)
            return
        log.info("fencing", extra={"session": self.token, "generation": generation, "hosts": fold(hosts)})
        self.core.ask(lambda ref: fx.FenceHosts(ref, key, generation, hosts), self._safe(lambda event: self._fenced(event, generation)))

    def _fenced(self, event: fx.Fenced, generation: int) -> None:
        self._busy = ""
        current = self.core.view.session(self.token)
        if current is None or self.core.stopping or not self._holds():
            self._idle()
        elif event.failures:
            self._unfenced(current, event.failures)
        else:
            self._cleared = generation
            del self._attempts[_FENCE]
            self.consider()

    def _unfenced(self, session: Session, failures: dict[str, DaccError]) -> None:
        host, error = sorted(failures.items())[0]
        status = self.core.view.status(self.token)
        self._attempts[_FENCE] += 1
        why = StepFailed(step=f"fencing {host}", token=self.token, why=str(error))
        lost = set(failures) - set(session.brick_hosts)
        # A teardown waits for a storage host that it must fence as long as its budget lasts.
        patient = lost != set(failures) and judge.has_budget(session, self._budget.spent(session, self.core.now.mono), self.core.rules)
        if self._attempts[_FENCE] < self.core.rules.attempts or patient:
            self._later(_FENCE)
        elif lost == set(failures):
            # Compute nodes and movers that are gone hold nobody up; whatever ran there cannot reach the storage hosts' state.
            self._cleared = status.generation
            self.consider()
        elif session.goal.filesystem == "absent":
            self._cleared = status.generation
            self._advance(session, msgspec.structs.replace(status, running=None, gave_up=str(why)[:400]))
        else:
            self._write(session, transitions.fail(status, session, why, "fence"), self._idle)

    # --- ending the session ---

    def _end(self, session: Session, status: Status, step: Step) -> None:
        """Steps that are one transaction: release, quarantine, keep, refuse."""
        if step.kind == "refuse":
            last = next((event.error for event in reversed(status.events) if event.error), "")
            error = StepFailed(step=session.goal.verb, token=self.token, why=f"{step.reason}: {last}" if last else step.reason)
            self._write(session, transitions.fail(status, session, error, "plan"), self._idle)
            return
        log.info("session ends", extra={"session": self.token, "how": step.kind, "why": step.reason})
        self._release(session, status, step, self._revisions())

    def _release(self, session: Session, status: Status, step: Step, seen: tuple[int, int]) -> None:
        """The transaction that ends the session. Claims and other endings write the same hosts' bricks, so it may have to be made anew.

        What ``status`` has more than the store is known here only: dropped, the last step would be fenced and run again.
        """
        if self._revisions() != seen or not self.core.may_act():
            self._idle()
            return
        draft = finalize.ending(self.core.view, session, status, step, self.core.now.wall, self.core.rules)
        self._transact(
            draft.expect("alive", self.core.host),
            self._idle,
            lambda: self._release(session, status, step, seen),
        )

    def _revisions(self) -> tuple[int, int]:
        view = self.core.view
        return view.revision_of("sessions", self.token), view.revision_of("status", self.token)

    # --- writing ---

    def _draft(self, status: Status) -> TransactionBuilder:
        return TransactionBuilder(self.core.view).put(status, "status", self.token).expect("alive", self.core.host)

    def _write(self, session: Session, status: Status, then: Callable[[], None]) -> None:
        draft = self._draft(status)
        finalize.count_pre_run(self.core.view, draft, session, status, self.core.now.wall)
        self._tenure = session.created_at, status.generation
        self._transact(draft, lambda: then() if self._holds() else self._idle())

    def _holds(self) -> bool:
        """Whether this host acts for the session as it did when it last wrote so.

        A daemon that stood still may have lost its lease and have a new one by the time it hears how its step ended; what it knows then
        is of the past, and not to be written over what the one that took over did.
        """
        session, status = self.core.view.session(self.token), self.core.view.status(self.token)
        same = session is not None and (session.created_at, status.generation) == self._tenure
        return same and status.incarnation == self.core.incarnation and self.core.membership.sure

    def _transact(self, draft: TransactionBuilder, then: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
        """Write, ``then`` go on; when a record was changed meanwhile go on ``otherwise``, or look at everything anew."""
        self._busy = "writing"

        def written(result: TxnResult) -> None:
            if self._busy != "writing":
                return
            if result.ok:
                self._busy = ""
                then()
            else:
                self._after(0.005, otherwise or self._idle)

        self.core.transact(draft.commit(), self._safe(written))

    def _idle(self) -> None:
        self._busy = ""
        self.core.pursuits.changed({self.token})

    @property
    def copying(self) -> bool:
        """Whether a copy runs, which may take long."""
        return self._acting is not None and self._acting.kind in ("stage_in", "stage_out")

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy
