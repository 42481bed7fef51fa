"""The barrier that a destroy raises before it looks who is attached: whatever clocks say, no job has a buffer that is being destroyed."""

from __future__ import annotations

from typing import Any

import pytest

from dacc_core.errors import BufferInUse, NoSuchBuffer
from dacc_core.keystore.base import Batch
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.registry import keys
from dacc_core.registry.records import Attachment, Request, Session, Status
from dacc_core.registry.transaction import Commit, TransactionBuilder
from dacc_core.verbs.claims import LONGEST_PAUSE, Claim, set_up
from dacc_core.verbs.operations import Sleep, Wait
from dacc_core.verbs.sessions import VerbContext, tear_down
from tests.support.stores import add_session, put, store_of, view_of

HOUR = 3600.0
NOW = 1_700_000_000.0
MOST = 1000


class Verb:
    """A verb under way, whose daemon's view follows the store. ``paused``: for how many seconds it has waited."""

    def __init__(self, store: MemoryKeystore, verb: Any, clock: float = NOW) -> None:
        self.store, self.view, self.paused = store, view_of(store), 0.0
        self._watch = store.watch(keys.PREFIX, self.view.revision)
        self._verb = verb(VerbContext(self.view, lambda: clock + self.paused))
        self.operation: Any = next(self._verb)
        self.done = False

    def step(self) -> None:
        """Do what it asks for."""
        reply: Any = None
        match self.operation:
            case Commit(compares, ops):
                reply = self.store.txn(compares, ops)
            case Sleep(seconds):
                self.paused += seconds
        batch: Batch | None = self._watch.next(0)
        if batch is not None:
            self.view.apply(batch)
        if isinstance(self.operation, Wait):
            reply = self.operation.ready()
            if reply is None:
                return
        try:
            self.operation = self._verb.send(reply)
        except StopIteration:
            self.done = True

    def run(self) -> Verb:
        """To its end."""
        for _ in range(MOST):
            if self.done:
                return self
            self.step()
        raise AssertionError(f"it does not end: {self.operation}")


@pytest.fixture
def store() -> MemoryKeystore:
    """A persistent buffer that nobody uses, and bricks for jobs."""
    found = store_of("s1", "s2")
    add_session(found, "work", "s1:/b0", kind="persistent")
    return found


def buffer(store: MemoryKeystore) -> Session:
    return view_of(store).sessions["work"].record


def left_barrier(store: MemoryKeystore, at: float) -> None:
    """One whose destroy died."""
    view = view_of(store)
    session = Session(**{**{name: getattr(buffer(store), name) for name in Session.__struct_fields__}, "ending": at})
    commit = TransactionBuilder(view).put(session, "sessions", "work").commit()
    assert store.txn(commit.compares, commit.ops).ok


def using(context: VerbContext) -> Any:
    request = Request(owner=1000, group=1000, persistent=("work",), digest="d")
    return set_up(context, Claim(token="7", kind="job", request=request, size=0))


def destroying(context: VerbContext) -> Any:
    return tear_down(context, "work", hurry=False)


def evicting(context: VerbContext) -> Any:
    return tear_down(context, "work", hurry=True)


def attached(store: MemoryKeystore) -> bool:
    return "work/7" in view_of(store).attachments


@pytest.mark.parametrize("at", [NOW - HOUR, NOW, NOW + HOUR], ids=["behind", "right", "ahead"])
def test_a_barrier_that_a_crash_left_is_removed_after_a_minute_whatever_the_clock_of_its_destroy_said(
    store: MemoryKeystore, at: float
) -> None:
    left_barrier(store, at)
    setup = Verb(store, using)
    while not attached(store):
        setup.step()
    assert 60 <= setup.paused < 70
    assert buffer(store).ending == 0.0


@pytest.mark.parametrize("clock", [NOW - HOUR, NOW, NOW + HOUR], ids=["behind", "right", "ahead"])
def test_a_job_waits_while_a_buffer_is_being_destroyed_whatever_its_daemons_clock_says(store: MemoryKeystore, clock: float) -> None:
    destroy = Verb(store, destroying)
    destroy.step()
    assert buffer(store).ending
    setup = Verb(store, using, clock)
    for _ in range(20):
        setup.step()
    assert not attached(store)
    destroy.step()
    assert buffer(store).goal.filesystem == "absent"
    with pytest.raises(NoSuchBuffer):
        setup.run()


def test_a_job_attaches_at_its_next_look_when_a_destroy_withdraws_its_barrier(store: MemoryKeystore) -> None:
    left_barrier(store, NOW)
    setup = Verb(store, using)
    for _ in range(20):
        setup.step()
    left_barrier(store, 0.0)
    waited = setup.paused
    while not attached(store):
        setup.step()
    assert setup.paused - waited <= 1.25 * LONGEST_PAUSE


def test_each_barrier_is_waited_for_anew(store: MemoryKeystore) -> None:
    setup = None
    for number in range(5):
        left_barrier(store, NOW + number)
        setup = setup or Verb(store, using)
        until = setup.paused + 40
        while setup.paused < until:
            setup.step()
    assert not attached(store)


def test_a_destroy_whose_barrier_was_taken_for_one_that_a_crash_left_looks_again_who_is_attached(store: MemoryKeystore) -> None:
    """It stood still between its look and its decision, for longer than a barrier is respected."""
    destroy = Verb(store, destroying)
    destroy.step()
    setup = Verb(store, using)
    while not attached(store):
        setup.step()
    with pytest.raises(BufferInUse):
        destroy.run()
    assert (buffer(store).goal.filesystem, buffer(store).ending) == ("ready", 0.0)
    assert attached(store)


def test_a_destroy_in_a_hurry_evicts_also_who_attached_while_it_stood_still(store: MemoryKeystore) -> None:
    touched = Status(filesystem="ready", observed_revision=1, touched="c1", mounts="c1")
    add_session(store, "6", request=Request(owner=1000, group=1000, persistent=("work",)), status=touched)
    put(store, Attachment(persistent="work", token="6"), "attachments", "work", "6")
    destroy = Verb(store, evicting)
    destroy.step()
    destroy.step()
    assert view_of(store).attachments == {}
    setup = Verb(store, using)
    while not attached(store):
        setup.step()
    put(store, touched, "status", "7")
    while buffer(store).goal.filesystem == "ready":
        destroy.step()
    assert {one.token: one.hosts for one in buffer(store).goal.evict} == {"6": "c1", "7": "c1"}
    assert view_of(store).attachments == {}


def test_a_destroy_that_stood_still_detaches_nobody_from_the_next_buffer_of_the_name(store: MemoryKeystore) -> None:
    put(store, Attachment(persistent="work", token="6"), "attachments", "work", "6")
    destroy = Verb(store, evicting)
    destroy.step()
    put(store, Session(token="work", id=2, kind="persistent", created_at=2.0, request=Request(owner=1, group=1)), "sessions", "work")
    put(store, Attachment(persistent="work", token="9"), "attachments", "work", "9")
    destroy.run()
    assert set(view_of(store).attachments) == {"work/6", "work/9"}
    assert buffer(store).goal.filesystem == "ready"


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_job_waits_for_a_buffer_that_is_to_come_as_long_as_is_set_although_the_clock_is_set(step: float) -> None:
    store = store_of("s1")
    clock = [NOW]

    def verb(context: VerbContext) -> Any:
        return using(VerbContext(context.view, lambda: clock[0], buffer_wait=30.0))

    setup = Verb(store, verb)
    setup.step()
    clock[0] += step
    with pytest.raises(NoSuchBuffer):
        setup.run()
    assert 30 <= setup.paused < 32
