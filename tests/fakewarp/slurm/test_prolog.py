"""The Prolog with real mounts and processes: it reports what ended jobs left, and touches nothing."""

from __future__ import annotations

import pytest

from .node import Node


def reports(node: Node, job: str) -> list[str]:
    """The mounts that a job's Prolog reports, in its order, with their owners."""
    found = []
    for line in node.run("prolog", job).splitlines():
        path, rest = line.removeprefix(f"dacc prolog: job {job}: {node.root}/").split(" is mounted, and no slurmstepd of job ")
        owner = rest.partition(" ")[0]
        assert rest == f"{owner} runs here: if that job has ended, see `dacc show {owner}`"
        found.append(f"{path} {owner}")
    return found


def test_a_mount_of_a_job_that_runs_no_more_is_reported(node: Node) -> None:
    node.mount("1_job", "123_persistent_a")
    assert reports(node, "12") == ["123_persistent_a 123", "1_job 1"]


def test_the_jobs_own_mounts_are_not_reported(node: Node) -> None:
    node.mount("12_job", "12_persistent_a", "12_job/x")
    assert reports(node, "12") == []


@pytest.mark.parametrize("step", ["1.batch", "1.extern", "1.0", "1.interactive", "1+0.0"])
def test_mounts_of_a_job_with_a_slurmstepd_are_not_reported(node: Node, step: str) -> None:
    node.mount("1_job", "11_job")
    with node.running("60", name="slurmstepd", argv0=f"slurmstepd: [{step}]"):
        assert reports(node, "12") == ["11_job 11"]


def test_another_process_does_not_stand_for_its_job(node: Node) -> None:
    node.mount("1_job")
    with node.running("60", name="other", argv0="slurmstepd: [1.batch]"):
        assert reports(node, "12") == ["1_job 1"]


def test_a_slurmstepd_that_has_no_step_yet_stands_for_no_job(node: Node) -> None:
    node.mount("1_job")
    with node.running("60", name="slurmstepd", argv0="slurmstepd"):
        assert reports(node, "12") == ["1_job 1"]


def test_mounts_that_are_not_dacs_are_not_reported(node: Node) -> None:
    node.mount("job", "1_jobs", "x_job", "1", "_job", "1_job_private", "x/1_job", "-1_job")
    node.mount("1_job", root=node.base / "elsewhere")
    assert reports(node, "12") == []


def test_what_is_mounted_in_a_volume_is_reported_as_the_kernel_shows_it(node: Node) -> None:
    node.mount("1_job", "1_job/a b\nc")
    assert reports(node, "12") == ["1_job/a\\040b\\012c 1", "1_job 1"]


def test_a_mount_root_with_a_blank_is_understood(node: Node) -> None:
    node.mount("1_job", root=node.base / "my dac")
    assert "my\\040dac/1_job is mounted" in node.run("prolog", "12", root=f"{node.base}/my dac")


def test_nothing_is_unmounted_or_removed(node: Node) -> None:
    node.mount("1_job", "12_job", "12_persistent_a")
    (node.root / "1_job_private").symlink_to("nowhere")
    node.run("prolog", "12")
    assert node.mounts() == ["12_job", "12_persistent_a", "1_job"]
    assert (node.root / "1_job_private").is_symlink()


def test_without_a_mount_root_nothing_is_said(node: Node) -> None:
    assert node.run("prolog", "12", root=f"{node.base}/none") == ""


def test_without_mounts_nothing_is_said(node: Node) -> None:
    assert node.run("prolog", "12") == ""
