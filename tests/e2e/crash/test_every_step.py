"""The daemon that pursues a job's session is killed at the boundary of a step or within it, and started again."""

from __future__ import annotations

import pytest

from tests.support.waiting import until

from .harness import AFTER_RESTART, MIB, CrashSite, Job, Rsync

STEPS = ("create", "stage_in", "mount", "unmount", "stage_out", "delete")
PLACES = [f"step.{step}.{moment}" for step in STEPS for moment in ("before", "after")]
INSIDE = [f"stage_{way}.{place}" for way in ("in", "out") for place in ("mounted", "copied")] + ["mover-rsync"]

PARTLY = [
    ("create", "marked", "dac1", "create"),
    ("create", "formatted", "dac1", "create"),
    ("create", "renamed", "dac1", "create"),
    ("mount", "mounted", "dac1", "stage_in"),
    ("unmount", "unmounted", "dac1", "stage_out"),
    ("mount", "mounted", "c2", "mount"),
    ("mount", "populated", "c2", "mount"),
    ("unmount", "unlinked", "c2", "unmount"),
    ("unmount", "unmounted", "c2", "unmount"),
    ("delete", "removed", "dac1", "delete"),
]
"""A provider's call, the place in it where its work on a host ends, the host, and the step in which it is called."""

WITH_SWAP = [
    ("swap_on", "formatted", "c2", "mount"),
    ("swap_off", "disabled", "c2", "unmount"),
]


def survives(job: Job, *failpoints: str) -> None:
    """The job lives its whole life although its daemon is killed at each of these places, the next one only after the former."""
    crash = job.crash
    crash.arm("dac1", *failpoints)
    job.live()
    crash.await_deaths("dac1", len(failpoints))
    job.assert_results()
    crash.assert_nothing_left()


@pytest.mark.parametrize("place", PLACES + INSIDE)
def test_a_job_ends_well_although_the_daemon_is_killed_at_a_step(image_job: Job, place: str) -> None:
    survives(image_job, place)


@pytest.mark.parametrize(("call", "place", "host", "step"), PARTLY)
def test_a_job_ends_well_although_the_daemon_and_its_command_die_halfway(
    image_job: Job, call: str, place: str, host: str, step: str
) -> None:
    image_job.crash.fault(call=call, partial=place, host=host)
    survives(image_job, f"step.{step}.after")


@pytest.mark.parametrize(("call", "place", "host", "step"), WITH_SWAP)
def test_a_job_with_swap_ends_well_although_the_daemon_and_its_command_die_halfway(
    image_site: CrashSite, call: str, place: str, host: str, step: str
) -> None:
    job = Job(image_site, swap=True)
    image_site.fault(call=call, partial=place, host=host)
    try:
        survives(job, f"step.{step}.after")
    finally:
        image_site.fault()
        job.forget()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_mover_s_mount_that_a_death_left_goes_although_the_daemon_dies_again(image_job: Job, way: str, moment: str) -> None:
    survives(image_job, f"stage_{way}.copied", f"step.unmount_mover.{moment}")


@pytest.mark.parametrize(("call", "copies"), [("data_in", "bricks/dac1/*/*/global/input/file *"), ("data_out", "home.*/results/file *")])
def test_a_job_ends_well_although_the_daemon_is_killed_in_the_middle_of_a_file(directory_site: CrashSite, call: str, copies: str) -> None:
    crash, job = directory_site, Job(directory_site, size=2 * MIB)
    rsync = Rsync(crash, slow=True)
    job.until(call)
    crash.arm("dac1", "", PATH=rsync.path)
    waiting = job.begin(call)
    begun = until(lambda: [path for path in crash.site.directory.glob(copies) if path.stat().st_size], "a file is half there")
    crash.site.kill("dac1")
    assert begun[0].stat().st_size < job.size
    crash.site.launch("dac1")
    assert until(lambda: waiting.ended(0.1), "the call ends", AFTER_RESTART).rc == 0
    job.after(call)
    rsync.close()
    job.assert_results()
    job.forget()
    crash.assert_nothing_left()


@pytest.mark.parametrize(("call", "copies"), [("data_in", "bricks/dac1/*/*/global/input/file *"), ("data_out", "home.*/results/file *")])
def test_what_a_copy_has_finished_is_not_copied_again_after_a_kill(directory_job: Job, call: str, copies: str) -> None:
    job, crash = directory_job, directory_job.crash
    mark = crash.site.directory / f"paused.{job.token}"
    job.until(call)
    crash.arm("dac1", f"stage_{call.removeprefix('data_')}.copied:pause", DACC_FAILPOINT_FILE=str(mark))
    waiting = job.begin(call)
    until(lambda: mark.exists() and crash.records().status(job.token).progress.cleared, "all is copied, and written down what was cleared")
    before = identities(crash, copies)
    assert len(before) == job.files
    crash.site.kill("dac1")
    mark.unlink()
    crash.site.launch("dac1")
    assert until(lambda: waiting.ended(0.1), "the call ends", AFTER_RESTART).rc == 0
    assert identities(crash, copies) == before
    job.after(call)
    job.assert_results()
    crash.assert_nothing_left()


def identities(crash: CrashSite, pattern: str) -> dict[str, tuple[int, int]]:
    """A file that is copied again is another one, or a changed one."""
    return {path.name: (path.stat().st_ino, path.stat().st_ctime_ns) for path in crash.site.directory.glob(pattern)}


@pytest.mark.parametrize("place", ["step.mount.before", "stage_out.copied"])
def test_a_daemon_that_is_killed_again_and_again_at_one_place_brings_the_job_to_its_end(image_job: Job, place: str) -> None:
    survives(image_job, *[place] * 3)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_buffer_destroyed_in_a_hurry_leaves_its_job_although_the_daemon_is_killed(image_site: CrashSite, moment: str) -> None:
    crash, name = image_site, f"shared{moment}"
    buffer = Job(crash, token=name, staged=False)
    job = Job(crash, staged=False, persistent=name)
    crash.succeed(*buffer.creation())
    job.do("setup", "pre_run")
    crash.arm("dac1", f"step.evict.{moment}")
    crash.succeed(*buffer.arguments("teardown"), "--hurry")
    crash.await_deaths("dac1")
    job.do("post_run", "teardown")
    crash.assert_nothing_left()
