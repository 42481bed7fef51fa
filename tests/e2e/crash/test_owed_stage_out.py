"""Nothing is deleted that was not staged out, wherever in a teardown the daemon is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .harness import Job

STEPS = ("unmount", "stage_out", "delete")
PLACES = [f"step.{step}.{moment}" for step in STEPS for moment in ("before", "after")]
INSIDE = ["stage_out.mounted", "stage_out.copied", "write.after@4"]

# The teardown's writes: registration, unmounting, its end and copying, and the end of that, with which the session is kept.
UNPAYABLE = ["stage_out.mounted", "step.stage_out.after", "write.before@4", "write.after@4"]


@pytest.mark.parametrize("place", PLACES + INSIDE)
def test_a_teardown_pays_the_stage_out_that_is_owed_although_the_daemon_is_killed(image_job: Job, place: str) -> None:
    job = image_job
    job.until("post_run")
    job.crash.arm("dac1", place)
    job.do("teardown")
    job.crash.await_deaths("dac1")
    job.assert_results()
    job.crash.assert_nothing_left()


@pytest.mark.parametrize("place", UNPAYABLE)
def test_data_that_cannot_be_staged_out_is_kept_although_the_daemon_is_killed(directory_job: Job, place: str) -> None:
    job, crash = directory_job, directory_job.crash
    job.until("post_run")
    with closed(job):
        crash.arm("dac1", place)
        job.do("teardown")
        crash.await_deaths("dac1")
    kept = [entry.record for entry in crash.records().sessions.values()]
    assert [(session.kind, session.origin) for session in kept] == [("kept", job.token)]
    crash.site.await_daemon("dac1")
    crash.site.ask("stage-out", job.token)
    job.assert_results()
    crash.assert_nothing_left()


@contextmanager
def closed(job: Job) -> Iterator[None]:
    """The user's home takes nothing for a while."""
    job.home.chmod(0o500)
    try:
        yield
    finally:
        job.home.chmod(0o700)
