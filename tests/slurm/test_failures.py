"""What fails is told to the user in words, is tried again within bounds, and never spins."""

from __future__ import annotations

import re
import time

from .cluster import Cluster
from .test_buffers import NAMES

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


def readable(words: str) -> None:
    """One line for a person: no JSON, no traceback."""
    assert "Traceback" not in words
    assert "{" not in words
    assert len(words) < 1000


def test_a_failed_setup_holds_the_job_and_says_why(cluster: Cluster) -> None:
    with cluster.faulty({"call": "create", "times": 0, "error": "InvalidRequest", "text": "brick 7 has lost its nerve"}):
        job = cluster.sbatch("games", STRIPED)
        words = job.until_held()
        readable(words)
        assert "brick 7 has lost its nerve" in words
        assert job.show()["Reason"].startswith("burst_buffer/datawarp")
        cluster.wait(lambda: not cluster.sessions(), "its buffer is torn down")
    assert cluster.run("root", "scontrol", "release", job.id).returncode == 0
    job.completes()


def test_results_that_cannot_be_copied_are_said_and_kept(cluster: Cluster) -> None:
    home = cluster.home("games")
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/nothing destination={home}/nothing type=file"
    job = cluster.sbatch("games", STRIPED, stage_out, body="echo other > $DW_JOB_STRIPED/other")
    shown = job.until_gone()
    readable(shown["SystemComment"])
    assert "nothing does not exist" in shown["SystemComment"]
    (kept,) = cluster.sessions().values()
    assert kept["kind"] == "kept"
    assert cluster.run("games", f"{cluster.programs}/dacc", "stage-out", job.id).returncode != 0
    done = cluster.run("games", f"{cluster.programs}/dacc", "discard", "--yes", job.id)
    assert done.returncode == 0, done.stdout


def test_a_job_whose_start_fails_again_and_again_is_held(cluster: Cluster) -> None:
    with cluster.faulty({"call": "mount", "host": "c*", "times": 0, "error": "InvalidRequest", "text": "no route to the volume"}):
        job = cluster.sbatch("games", STRIPED)
        for tries in (1, 2, 3):
            cluster.wait(lambda tries=tries: len(cluster.calls("teardown", job.id)) == tries, f"start {tries} has failed")
            job.until("PENDING")
            job.wait_no_longer()
        words = job.until_held()
        readable(words)
        assert "no route to the volume" in words
        assert len(cluster.calls("pre_run", job.id)) == 3
    done = cluster.run("root", f"{cluster.programs}/dacc", "retry", job.id)
    assert done.returncode == 0, done.stdout
    cluster.run("root", "scontrol", "release", job.id)
    job.completes()


def test_a_teardown_that_fails_is_not_repeated_for_ever(cluster: Cluster) -> None:
    with cluster.faulty({"call": "delete", "times": 0, "error": "InvalidRequest", "text": "disk is on fire"}):
        job = cluster.sbatch("games", STRIPED)
        job.completes()
        time.sleep(3)
        assert len(cluster.calls("teardown", job.id)) < 3
        status = cluster.site.ask("status")
        (reason,) = [why for host in status["hosts"] for why in host["quarantined"].values()]
        assert "disk is on fire" in reason
    (host,) = [host["name"] for host in status["hosts"] if host["quarantined"]]
    device = next(iter(next(one for one in status["hosts"] if one["quarantined"])["quarantined"]))
    cluster.on(host, "find", device, "-mindepth", "1", "-delete")
    done = cluster.run("root", f"{cluster.programs}/dacc", "release", host)
    assert done.returncode == 0, done.stdout
    assert cluster.free() == 9


def test_a_buffer_that_cannot_be_made_holds_its_job(cluster: Cluster) -> None:
    name = next(NAMES)
    with cluster.faulty({"call": "create", "token": name, "times": 0, "error": "InvalidRequest", "text": "no more inodes"}):
        job = cluster.sbatch("games", f"#BB create_persistent name={name} capacity=32MiB access_mode=striped type=scratch")
        words = job.until_held()
        assert "no more inodes" in words
        assert name not in cluster.sessions()
        job.cancel()


def test_statuses_for_everyone_have_the_forms_that_slurm_users_know(cluster: Cluster) -> None:
    job = cluster.sbatch("games", STRIPED, body="echo started; sleep 60")
    job.until_said("started")
    headings = {
        (): r"\s*pool\s+units\s+quantity\s+free\s+gran",
        ("sessions",): r"\s*sess\s+state\s+token\s+creator\s+owner\s+created\s+expiration\s+nodes",
        ("instances",): r"\s*inst\s+state\s+sess\s+bytes\s+nodes\s+created\s+expiration\s+intact\s+label\s+public\s+confs",
        ("configurations",): r"",
    }
    for words, heading in headings.items():
        for command in ("dwstat", "bbstat"):
            done = cluster.run("www-data", "scontrol", "show", command, *words)
            assert done.returncode == 0, done.stdout
            assert re.match(heading, done.stdout), done.stdout
    assert job.id in cluster.scontrol("show", "dwstat", "sessions", user="www-data")
    job.cancel()


def test_an_ordinary_users_arguments_to_bbstat_change_nothing(cluster: Cluster) -> None:
    job = cluster.sbatch("games", STRIPED, body="echo started; sleep 60")
    job.until_said("started")
    for words in (["--function", "teardown", "--token", job.id], ["teardown", job.id], ["sessions", "--hurry", ";reboot"]):
        cluster.run("www-data", "scontrol", "show", "bbstat", *words)
    assert job.id in cluster.sessions()
    assert cluster.mounts(job.show()["BatchHost"]) != []
    job.cancel()
