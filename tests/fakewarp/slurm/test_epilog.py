"""The Epilog with real mounts: it takes the job's own paths away and nothing else, and never drains a node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.requirements import require

from .node import Node, text_of

OTHERS = ["1_job", "1_persistent_a", "123_job", "123_persistent_12_job", "112_job", "12_jobs", "12", "x/12_job", "012_job"]
BUSY = "given up after {1} tries: umount {0}: umount: {0}: target is busy."


def images() -> None:
    require(Path("/dev/loop-control").exists(), "loop devices")
    require(shutil.which("mkfs.ext4") is not None, "e2fsprogs")


# --- what it takes away ---


def test_the_jobs_volumes_are_unmounted_and_their_mount_points_removed(node: Node) -> None:
    node.mount("12_job", "12_persistent_a", "12_persistent_B-c.d_e")
    assert node.run("epilog", "12") == ""
    assert node.mounts() == []
    assert list(node.root.iterdir()) == []


def test_paths_of_other_jobs_stay(node: Node) -> None:
    node.mount("12_job", *OTHERS)
    assert node.run("epilog", "12") == ""
    assert node.mounts() == sorted(OTHERS)


def test_equal_names_elsewhere_stay(node: Node) -> None:
    node.mount("12_job")
    node.mount("12_job", root=node.base / "dac2")
    node.mount("12_job", root=node.base)
    assert node.run("epilog", "12") == ""
    assert node.mounts() == ["../12_job", "../dac2/12_job"]


@pytest.mark.parametrize("job", ["1", "12", "123"])
def test_a_job_whose_number_begins_like_anothers_takes_only_its_own(node: Node, job: str) -> None:
    node.mount(*(f"{one}_{kind}" for one in (1, 12, 123) for kind in ("job", "persistent_a")))
    assert node.run("epilog", job) == ""
    assert node.mounts() == sorted(f"{one}_{kind}" for one in {"1", "12", "123"} - {job} for kind in ("job", "persistent_a"))


def test_mounts_inside_of_the_volume_are_unmounted_first(node: Node) -> None:
    node.mount("12_job", "12_job/global/a", "12_job/global/a/b", "12_persistent_x", "12_persistent_x/y")
    assert node.run("epilog", "12") == ""
    assert node.mounts() == []


def test_what_is_mounted_twice_at_one_place_is_unmounted_twice(node: Node) -> None:
    node.mount("12_job", "12_job", "12_job")
    assert node.run("epilog", "12") == ""
    assert not (node.root / "12_job").exists()


@pytest.mark.parametrize(
    "name", ["a b", "tab\there", "line\nend", "back\\slash", "\\040", "*", "[!x]?", "%s$x`y`", "-f", "end ", "end\n", "ä"]
)
def test_any_name_inside_of_the_volume_is_understood(node: Node, name: str) -> None:
    node.mount("12_job", f"12_job/{name}", "a b")
    assert node.run("epilog", "12") == ""
    assert node.mounts() == ["a b"]


def test_a_name_that_is_not_utf8_is_understood(node: Node) -> None:
    node.mount("12_job")
    path = os.fsencode(node.root / "12_job") + b"/\xff\xfe"
    node.do("mkdir", path)
    node.do("mount", "-t", "tmpfs", "none", path)
    assert node.run("epilog", "12") == ""
    assert node.mounts() == []


@pytest.mark.parametrize("name", ["with blank", "quote's", "$(id)", "star*", 'a"b', "back\\slash"])
def test_the_mount_root_may_have_any_name(node: Node, name: str) -> None:
    root = node.base / name
    node.mount("12_job", "1_job", root=root)
    assert node.run("epilog", "12", root=str(root)) == ""
    assert node.mounts() == [f"../{name}/1_job"]


def test_a_mount_root_behind_a_link_is_found(node: Node) -> None:
    (node.base / "link").symlink_to(node.base)
    node.mount("12_job")
    assert node.run("epilog", "12", root=f"{node.base}/link/dac") == ""
    assert node.mounts() == []


@pytest.mark.parametrize("target", ["12_job/private/c1", "nowhere"])
def test_the_private_link_is_removed_when_it_dangles(node: Node, target: str) -> None:
    node.mount("12_job")
    node.do("mkdir", "-p", node.root / "12_job/private/c1")
    (node.root / "12_job_private").symlink_to(node.root / target)
    assert node.run("epilog", "12") == ""
    assert list(node.root.iterdir()) == []


def test_a_private_link_that_leads_somewhere_stays(node: Node) -> None:
    (node.root / "volume").mkdir()  # as when a volume is "mounted" as a link
    (node.root / "12_job_private").symlink_to("volume")
    assert node.run("epilog", "12") == ""
    assert (node.root / "12_job_private").is_symlink()


def test_private_links_of_other_jobs_stay(node: Node) -> None:
    for name in ("1_job_private", "123_job_private"):
        (node.root / name).symlink_to("nowhere")
    assert node.run("epilog", "12") == ""
    assert sorted(path.name for path in node.root.iterdir()) == ["123_job_private", "1_job_private"]


def test_files_below_a_mount_point_are_not_removed(node: Node) -> None:
    (node.root / "12_job").mkdir()
    (node.root / "12_job/file").write_text("x")
    node.mount("12_job")
    assert node.run("epilog", "12") == ""
    assert (node.root / "12_job/file").read_text() == "x"


def test_a_directory_that_is_no_mount_point_stays(node: Node) -> None:
    (node.root / "12_job").mkdir()
    assert node.run("epilog", "12") == ""
    assert (node.root / "12_job").is_dir()


NAMES = st.from_regex(r"(1|12|123|12x|)_?(job|persistent_a|job_private|jo|)(/a)?", fullmatch=True).filter(lambda name: name.strip("/"))
OWN = re.compile(r"12_(job|persistent_a|persistent_)(/a)?")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES.map(lambda name: name.strip("/")), max_size=5, unique=True).map(sorted))
def test_of_any_mounts_exactly_the_jobs_own_go(node: Node, names: list[str]) -> None:
    node.mount(*names)
    assert node.run("epilog", "12") == ""
    left = node.mounts()
    for name in reversed(left):
        node.do("umount", node.root / name)
    assert left == [
        name
        for name in names
        if not OWN.fullmatch(name) and not any(OWN.fullmatch(above) for above in names if name.startswith(f"{above}/"))
    ]


# --- whose mounts ---


WRAPPERS = [[], ["sh", "-c", '"$0"; :']]


def run_in_the_jobs_namespace(node: Node, wrapper: list[str]) -> str:
    """Run the Epilog for job 12 as slurmd does with job_container/tmpfs, perhaps through a script of the site's; what it said."""
    shutil.copy("/bin/bash", node.base / "slurmd")
    script = ["unshare", "--mount", "--propagation", "private", *wrapper, str(node.write("epilog"))]
    argv = node.enter([node.base / "slurmd", "-c", '"$@"; :', "slurmd", *script])
    done = subprocess.run(argv, env={"SLURM_JOB_ID": "12"}, capture_output=True, text=True)
    assert done.returncode == 0
    return done.stderr


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_in_the_mount_namespace_of_a_job_it_is_slurmds_mounts_that_go(node: Node, wrapper: list[str]) -> None:
    node.mount("12_job", "1_job")
    assert run_in_the_jobs_namespace(node, wrapper) == ""
    assert node.mounts() == ["1_job"]
    assert not (node.root / "12_job").exists()


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_in_the_mount_namespace_of_a_job_it_is_slurmds_mounts_that_may_be_busy(node: Node, wrapper: list[str]) -> None:
    # Removing the mount point in the job's namespace would take the busy mount away.
    node.changes |= {"TRIES=6": "TRIES=1"}
    node.mount("12_job")
    with node.using("12_job"):
        assert BUSY.format(node.root / "12_job", 1) in run_in_the_jobs_namespace(node, wrapper)
    assert node.mounts() == ["12_job"]


# --- swap ---


def test_swap_is_turned_off_before_its_volume_is_unmounted(node: Node) -> None:
    images()
    node.swap_on(node.mount_image("12_job") / "swap" / "c1")
    assert node.run("epilog", "12") == ""
    assert (node.swaps(), node.mounts()) == ([], [])


def test_a_swap_file_with_blanks_in_its_name_is_turned_off(node: Node) -> None:
    images()
    node.swap_on(node.mount_image("12_job") / "a b\tc" / "\\040")
    assert node.run("epilog", "12") == ""
    assert (node.swaps(), node.mounts()) == ([], [])


def test_swap_of_other_jobs_stays_on(node: Node) -> None:
    images()
    kept = [node.swap_on(node.mount_image(name) / "swap" / "c1") for name in ("1_job", "123_job")]
    assert node.run("epilog", "12") == ""
    assert sorted(node.swaps()) == sorted(kept)


def test_swap_that_cannot_be_turned_off_is_reported_and_its_volume_stays(node: Node) -> None:
    images()
    file = node.swap_on(node.mount_image("12_job") / "c1")
    node.do("mount", "--bind", "/dev/null", file)  # hides it from swapoff
    node.changes |= {"TRIES=6": "TRIES=1"}
    said = node.run("epilog", "12").splitlines()
    assert [line.partition(f" {node.root}/")[0] for line in said] == [
        f"dacc epilog: job 12: given up after 1 tries: {what}" for what in ("swapoff", "umount")
    ]
    assert (node.swaps(), node.mounts()) == ([file], ["12_job"])


# --- what stays busy ---


def test_a_busy_volume_stays_and_is_reported(node: Node) -> None:
    node.changes |= {"TRIES=6": "TRIES=2"}
    node.mount("12_job", "12_persistent_a")
    with node.using("12_job"):
        assert node.run("epilog", "12") == f"dacc epilog: job 12: {BUSY.format(node.root / '12_job', 2)}\n"
    assert node.mounts() == ["12_job"]


def test_a_volume_that_is_busy_for_a_moment_is_tried_again(node: Node) -> None:
    # What holds the volume ends after the first try has failed, and only then.
    node.changes |= {"TRIES=6": "TRIES=600", "    sleep 1\n": f"    : >{node.base}/failed; sleep 0.1\n"}
    hold = 'cd "$1" && echo && until [ -e "$2" ]; do sleep 0.01; done'
    node.mount("12_job")
    with node.running("sh", "-c", hold, "sh", node.root / "12_job", node.base / "failed"):
        assert node.run("epilog", "12") == ""
    assert (node.base / "failed").exists()
    assert node.mounts() == []


def test_the_volume_below_a_busy_mount_stays_too(node: Node) -> None:
    node.changes |= {"TRIES=6": "TRIES=1"}
    node.mount("12_job", "12_job/a")
    with node.using("12_job/a"):
        said = node.run("epilog", "12").splitlines()
    assert said == [f"dacc epilog: job 12: {BUSY.format(node.root / name, 1)}" for name in ("12_job/a", "12_job")]
    assert node.mounts() == ["12_job", "12_job/a"]


def test_a_report_is_one_line_whatever_the_paths_name(node: Node) -> None:
    node.changes |= {"TRIES=6": "TRIES=1"}
    name = "12_job/\x1b[31m\nred"
    node.mount("12_job", name)
    with node.using(name):
        said = node.run("epilog", "12")
    assert all(line.startswith("dacc epilog: job 12: given up after 1 tries: umount ") for line in said.splitlines())
    assert said.replace("\n", "").isprintable()


def test_what_hangs_is_left_behind_and_said(node: Node) -> None:
    umount = node.base / "bin/umount"
    umount.parent.mkdir()
    umount.write_text("#!/bin/sh\ntrap '' TERM\nsleep 50\nsleep 50\n")
    umount.chmod(0o755)
    node.changes |= {"PATH=/usr/sbin": f"PATH={umount.parent}:/usr/sbin", "SECONDS_AT_MOST=16": "SECONDS_AT_MOST=1", "-k 2": "-k 0.1"}
    node.mount("12_job")
    assert "dacc epilog: job 12: it was not done within 1 s" in node.run("epilog", "12")


@pytest.mark.parametrize("script", ["prolog", "epilog"])
def test_all_that_may_take_time_is_less_than_20_seconds(script: str) -> None:
    text = text_of(script, "/mnt/dac")
    (work,) = re.findall(r"^SECONDS_AT_MOST=(\d+)$", text, re.MULTILINE)
    (until_killed,) = re.findall(r"timeout -k (\d+) ", text)
    (to_say_so,) = re.findall(r"timeout (\d+) logger", text)
    assert int(work) + int(until_killed) + int(to_say_so) <= 20


# --- nothing to do ---


def test_a_second_run_says_and_does_nothing(node: Node) -> None:
    node.mount("12_job", "1_job")
    assert [node.run("epilog", "12") for _ in range(2)] == ["", ""]
    assert node.mounts() == ["1_job"]


def test_without_a_mount_root_nothing_is_said(node: Node) -> None:
    assert node.run("epilog", "12", root=f"{node.base}/none") == ""


@pytest.mark.parametrize(
    "job", [None, "", "1;reboot", "../1", "1 12", "12 ", "12\n", "-1", "*", "?2", "1_job", "0x12", "1２", "12.0", "work"]
)
@pytest.mark.parametrize("script", ["prolog", "epilog"])
def test_a_job_id_that_is_not_digits_does_nothing(node: Node, script: str, job: str | None) -> None:
    node.mount("1_job", "12_job", "_job")
    assert node.run(script, job) == ""
    assert node.mounts() == ["12_job", "1_job", "_job"]


# --- the log, and the shells ---


def with_tools(node: Node, *names: str) -> Path:
    """Let the scripts find these programs only."""
    tools = node.base / "tools"
    tools.mkdir()
    for name in names:
        (tools / name).symlink_to(shutil.which(name) or "/nonexistent")
    node.changes["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] = f"PATH={tools}"
    return tools


USED = ("cat", "grep", "printf", "readlink", "rm", "rmdir", "sed", "sleep", "swapoff", "timeout", "tr", "umount")


@pytest.mark.parametrize("script", ["prolog", "epilog"])
def test_reports_go_to_the_systems_log_too(node: Node, script: str) -> None:
    tools = with_tools(node, *USED)
    (tools / "logger").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{node.base}/log\n')
    (tools / "logger").chmod(0o755)
    node.changes |= {"TRIES=6": "TRIES=1"} if script == "epilog" else {}
    node.mount("12_job")
    with node.using("12_job"):
        said = node.run(script, "12" if script == "epilog" else "13")
    assert said != ""
    logged = (node.base / "log").read_text()
    assert logged.splitlines() == [f"-t dacc -p daemon.warning -- {line.removeprefix('dacc ')}" for line in said.splitlines()]


def test_without_logger_reports_go_to_standard_error(node: Node) -> None:
    with_tools(node, *USED)
    node.changes |= {"TRIES=6": "TRIES=1"}
    node.mount("12_job")
    with node.using("12_job"):
        assert node.run("epilog", "12").count("\n") == 1


def test_output_that_nobody_reads_is_no_failure(node: Node) -> None:
    node.changes |= {"TRIES=6": "TRIES=1"}
    script = node.write("epilog")
    node.mount("12_job")
    reading, writing = os.pipe()
    os.close(reading)
    with node.using("12_job"):
        done = subprocess.run(node.enter([script]), env={"SLURM_JOB_ID": "12"}, stdout=writing, stderr=writing)
    os.close(writing)
    assert done.returncode == 0


@pytest.mark.parametrize("script", ["prolog", "epilog"])
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_shells_read_the_scripts(tmp_path: Path, shell: str, script: str) -> None:
    require(shutil.which(shell) is not None, f"the shell {shell}")
    (tmp_path / "script").write_text(text_of(script, "/mnt/it's here"))
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["prolog", "epilog"])
def test_nothing_is_forced_and_no_tree_is_removed(script: str) -> None:
    code = [line.partition("  #")[0] for line in text_of(script, "/mnt/dac").splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in code if re.search(r"umount.* -|rm -\w*r|--recursive|--force|--lazy", line)] == []
    if script == "prolog":
        assert [line for line in code if re.search(r"umount|swapoff|\brm\b|rmdir|kill", line)] == []
