"""Machines that are cut off from the network while they work, and come back."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pytest

from dacc_core.keystore.base import Batch
from dacc_core.registry import keys
from dacc_core.registry.records import Status
from dacc_core.registry.view import View
from dacc_core.simulation.invariants import broken_rules
from tests.support.waiting import until

from ..e2e.crash.harness import CALLS, Called, Job, contents
from .network import TTL, NetworkSite

pytestmark = pytest.mark.long

END_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """A call amid which its coordinator is cut off: what then hangs on a host, and how the call ends.

    ``well``; with an ``error`` that names the host, because a storage host that works on a volume can be fenced only when it is back;
    or ``late``, well when it is back.
    """

    call: str
    effect: str
    ends: str
    staged: bool = False

    def __str__(self) -> str:
        return self.call


CASES = [
    Case("setup", "image-create", "error"),
    Case("data_in", "rsync", "error", staged=True),
    Case("pre_run", "image-mount", "well"),
    Case("post_run", "image-unmount", "well"),
    Case("data_out", "rsync", "error", staged=True),
    Case("teardown", "image-delete", "late"),
]


def live(job: Job, calls: Sequence[str]) -> None:
    """These calls of a job's life."""
    for call in calls:
        job.do(call)
        if call == "pre_run" and job.staged:
            job.compute()


class Outage:
    """A job whose coordinator is cut off amid one of its calls, and comes back after that."""

    def __init__(self, network: NetworkSite, case: Case) -> None:
        self.network, self.case = network, case
        self.job = Job(network, staged=case.staged, files=1)
        self.since = network.records().revision
        self.halted = self.ended = -1.0

    def play(self) -> None:
        """The whole of it; every wait has an end."""
        live(self.job, CALLS[: CALLS.index(self.case.call)])
        self._begin()
        self.host = self.before.coordinator
        with self.network.cut(self.host):
            self.cut_at = time.monotonic()
            self._watch()
            done = self._end() if self.case.ends != "late" else None
        self.done = done or self._end()
        if self.done.rc != 0:
            self.job.do(self.case.call)
        live(self.job, CALLS[CALLS.index(self.case.call) + 1 :])

    def _begin(self) -> None:
        """The call, up to the effect that hangs."""
        held = self.network.effects.held
        former = len(held(self.case.effect))
        with self.network.effects.hanging(self.case.effect):
            self.waiting = self.job.begin(self.case.call)
            until(lambda: len(held(self.case.effect)) > former, "it hangs", END_SECONDS)
            self.before = self.status
        self.held = held(self.case.effect)[former:]

    def _watch(self) -> None:
        """See its steps stop, what it began on itself end, and another host take the session over; when each was."""
        network, host = self.network, self.host
        halts = len(network.logged(host, "steps stop"))
        until(lambda: len(network.logged(host, "steps stop")) > halts, "it stops its steps", END_SECONDS)
        self.halted, self.halted_at = time.monotonic() - self.cut_at, network.logged(host, "steps stop")[halts]
        until(lambda: not any(effect.running for effect in self.held if effect.host == host), "what it began there ends", END_SECONDS)
        self.ended = time.monotonic() - self.cut_at
        until(lambda: self.status.coordinator not in ("", host), "another host takes over", END_SECONDS)

    def _end(self) -> Called:
        return until(lambda: self.waiting.ended(0.1), "the call ends", END_SECONDS)  # type: ignore[no-any-return]

    @property
    def status(self) -> Status:
        return self.network.records().status(self.job.token)

    @property
    def statuses(self) -> list[tuple[int, Any]]:
        """The session's, as written one after the other, each with its revision."""
        key = keys.key("status", self.job.token)
        items = [change.item for change in self.network.changes(self.since) if change.key == key and change.item is not None]
        return [(item.mod_revision, keys.decode(key, item.value)) for item in items]


@pytest.fixture(scope="module", params=CASES, ids=str)
def outage(request: pytest.FixtureRequest, network: NetworkSite) -> Outage:
    """It takes seconds, so each is played once and looked at from all sides."""
    played = Outage(network, request.param)
    played.play()
    return played


# --- the host that was cut off ---


def test_it_stops_its_steps_when_it_could_not_renew_its_lease_for_half_its_ttl(outage: Outage) -> None:
    assert 0 < outage.halted <= TTL / 2 + 1.0  # what a busy machine may need to notice


def test_it_stops_its_steps_before_another_takes_over(outage: Outage) -> None:
    fencing = f"fencing session={outage.job.token} generation={outage.before.generation + 1} "
    (taken,) = (at for host in outage.network.site.brick_hosts for at in outage.network.logged(host, fencing))
    assert outage.halted_at < taken


def test_what_it_had_begun_on_itself_ends_with_its_steps(outage: Outage) -> None:
    assert outage.ended <= TTL / 2 + 3.0  # it is told to end, and killed if it does not


def test_it_writes_nothing_after_its_lease_has_ended(outage: Outage) -> None:
    key, incarnation = keys.key("alive", outage.host), outage.before.incarnation
    ended = min(change.revision for change in outage.network.changes(outage.since) if change.key == key and change.item is None)
    assert [revision for revision, status in outage.statuses if status.incarnation == incarnation and revision > ended] == []


def test_it_comes_back_as_a_new_incarnation(outage: Outage) -> None:
    now = outage.network.records().alive[outage.host].record.incarnation
    assert now != outage.before.incarnation


# --- the session ---


def test_another_host_takes_over_with_the_next_generation(outage: Outage) -> None:
    after = next(status for _, status in outage.statuses if status.generation > outage.before.generation)
    assert after.generation == outage.before.generation + 1
    assert after.coordinator != outage.host


def test_coordinators_follow_each_other_with_rising_generations(outage: Outage) -> None:
    statuses = [status for _, status in outage.statuses]
    assert [status.generation for status in statuses] == sorted(status.generation for status in statuses)
    writers = [incarnation for incarnation, _ in groupby(status.incarnation for status in statuses)]
    assert len(writers) == len(set(writers)) > 1


def test_the_call_ends_well_or_names_the_host_that_must_come_back(outage: Outage) -> None:
    if outage.case.ends == "error":
        assert outage.done.rc != 0
        assert f"fencing {outage.host} of session {outage.job.token} failed: host {outage.host} cannot be reached" in outage.done.output
        assert "\n" not in outage.done.output
    else:
        assert (outage.done.rc, outage.done.output) == (0, "")


def test_the_data_is_what_it_was(outage: Outage) -> None:
    if outage.job.staged:
        assert contents(outage.job.home / "input")
    outage.job.assert_results()


# --- the hosts ---


def test_what_hung_never_went_on(outage: Outage) -> None:
    held = {effect.pid for effect in outage.held}
    assert held
    assert not any(effect.running for effect in outage.held)
    assert [effect for effect in outage.network.effects.log if effect.what == "done" and effect.pid in held] == []


def test_no_effect_of_an_older_generation_follows_one_of_a_newer(outage: Outage) -> None:
    log = outage.network.effects.log
    assert max(effect.generation for effect in log) > 1
    assert outage.network.effects.out_of_order() == []


# --- the whole ---


def test_nothing_is_left_when_the_job_is_gone(outage: Outage) -> None:
    outage.network.assert_nothing_left()


def test_the_rules_held_at_every_revision(network: NetworkSite) -> None:
    view = View()
    for revision, changes in groupby(network.changes(0), lambda change: change.revision):
        view.apply(Batch(tuple(changes), revision))
        assert list(broken_rules(view)) == [], revision


def test_daemons_log_lines_of_their_own_only(network: NetworkSite) -> None:
    lines = [line for host in network.site.daemons for line in network.site.log(host).splitlines()]
    assert [line for line in lines if " logger=dacc." not in line] == []


# --- other machines ---


def test_while_the_controller_is_cut_off_slurm_gets_an_error_and_no_empty_list(network: NetworkSite) -> None:
    job = Job(network, staged=False)
    live(job, CALLS[:2])
    shown = [network.call(show) for show in ("show_sessions", "show_instances", "show_configurations", "pools")]
    with network.cut("ctl"):
        until(lambda: "has not been heard from" in network.call("pools").output, "it is said")
        for show in ("show_sessions", "show_instances", "show_configurations", "pools"):
            answer = network.call(show)
            assert answer.rc != 0
            assert "has not been heard from" in answer.output
            assert "{" not in answer.output
    again = [network.call(show) for show in ("show_sessions", "show_instances", "show_configurations", "pools")]
    assert [json.loads(answer.output) for answer in again] == [json.loads(answer.output) for answer in shown]
    live(job, CALLS[2:])
    network.assert_nothing_left()


def test_jobs_run_while_the_leader_of_etcd_is_cut_off(network: NetworkSite) -> None:
    leader = network.leader
    with network.cut(leader):
        live(Job(network, staged=False), CALLS)
    network.await_member(leader)
    network.assert_nothing_left()


def test_after_all_that_a_job_runs_as_ever(network: NetworkSite) -> None:
    job = Job(network, files=1)
    live(job, CALLS)
    job.assert_results()
    network.assert_nothing_left()
