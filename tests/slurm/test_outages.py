"""A part of dacc is down while Slurm goes on."""

from __future__ import annotations

import signal
import time

from .cluster import Cluster
from .test_buffers import NAMES, create
from .test_restarts import SLOW_MOVER, under_way

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


def test_slurm_gets_right_answers_while_the_controllers_dacd_is_down(cluster: Cluster) -> None:
    """SlurmUser may open the store here, so fakewarp answers by itself; the brick hosts do the work."""
    name = next(NAMES)
    create(cluster, name).completes()
    cluster.site.stop("ctl")
    try:
        job = cluster.sbatch("games", STRIPED, body="touch $DW_JOB_STRIPED/x && echo ran")
        shown = job.until("COMPLETED", seconds=60)
        assert shown["JobState"] == "COMPLETED"
        assert job.output == "ran\n"
        cluster.restart_slurmctld()
        cluster.wait(lambda: cluster.buffers().get(name, {}).get("Size") == "32MiB", "the buffer is listed")
    finally:
        cluster.site.start("ctl")
    cluster.wait(lambda: set(cluster.sessions()) == {name}, "only the buffer is left")


def test_slurm_is_told_nothing_rather_than_something_wrong(cluster: Cluster) -> None:
    """SlurmUser may not open the store, so without a dacd there is no answer, and Slurm changes nothing."""
    name = next(NAMES)
    create(cluster, name).completes()
    store = cluster.site.directory / "state"
    mode = store.stat().st_mode
    cluster.site.stop("ctl")
    store.chmod(0o700)
    try:
        done = cluster.run("slurm", f"{cluster.programs}/fakewarp", "--function", "show_sessions")
        assert done.returncode != 0
        assert "{" not in done.stdout
        polled = cluster.log("slurmctld").count("--function pools")
        cluster.wait(lambda: cluster.log("slurmctld").count("--function pools") > polled, "Slurm asks again", 60)
        assert name in cluster.buffers()
    finally:
        store.chmod(mode)
        cluster.site.start("ctl")
    assert name in cluster.buffers()


def test_a_backup_controller_takes_over_between_setup_and_start(cluster: Cluster) -> None:
    source = cluster.home("games") / "source"
    source.write_text("input\n")
    staging = f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/input type=file"
    cluster.start_backup()
    try:
        with cluster.faulty(SLOW_MOVER):
            job = cluster.sbatch("games", STRIPED, staging, body="cat $DW_JOB_STRIPED/input")
            cluster.wait(lambda: under_way(cluster, job.id) == "stage_in", "its data is copied")
            cluster.stop("slurmctld")
            assert cluster.run("root", "scontrol", "takeover").returncode == 0
            cluster.wait(lambda: "Running as primary controller" in cluster.log("backup"), "the backup has taken over")
            job.wait_no_longer()
            job.until("COMPLETED", seconds=60)
            assert job.output == "input\n"
    finally:
        cluster.stop("backup")
        cluster.start_slurmctld()


def test_another_dacd_takes_over_between_setup_and_start(cluster: Cluster) -> None:
    source = cluster.home("games") / "source"
    source.write_text("input\n")
    staging = f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/input type=file"
    job = cluster.sbatch("games", STRIPED, staging, body="cat $DW_JOB_STRIPED/input", options=["--begin=now+2"])
    cluster.wait(lambda: cluster.calls("real_size", job.id) or job.id in cluster.sessions(), "its buffer is there")
    cluster.wait(lambda: cluster.sessions()[job.id]["met"], "its buffer is made")
    coordinator = cluster.site.ask("show", job.id)["status"]["coordinator"]
    cluster.site.kill(coordinator)
    try:
        assert job.until("COMPLETED", seconds=90)["JobState"] == "COMPLETED"
        assert job.output == "input\n"
        former = cluster.site.ask("status")["hosts"]
        assert [host["alive"] for host in former if host["name"] == coordinator] == [False]
    finally:
        cluster.site.start(coordinator)


def test_slurm_drops_nothing_while_the_keystore_is_away(cluster: Cluster) -> None:
    """All daemons stand still for 30 s, as they do on a store that does not answer."""
    name = next(NAMES)
    create(cluster, name).completes()
    running = cluster.sbatch("games", STRIPED, body="echo started; sleep 20; echo ended > $DW_JOB_STRIPED/x")
    running.until_said("started")
    for daemon in cluster.site.daemons.values():
        daemon.send_signal(signal.SIGSTOP)
    store = cluster.site.directory / "state"
    hidden = store.with_name("hidden")
    store.rename(hidden)
    try:
        time.sleep(30)
        assert name in cluster.buffers()
        assert running.id in cluster.buffers()
    finally:
        hidden.rename(store)
        for daemon in cluster.site.daemons.values():
            daemon.send_signal(signal.SIGCONT)
    running.completes()
    assert name in cluster.buffers()
    assert cluster.sbatch("games", STRIPED, body="echo after").completes() == "after\n"
