"""``make slurm-demo``: a Slurm cluster with burst buffers on this machine, to play with, until ``make slurm-demo-down``.

One process keeps the cluster; it is told to end by a signal. If it was killed, ``down`` finds what it left by the directory's name.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ..e2e.installation import usable_by_everyone
from . import configuration
from .cluster import USERS, Cluster

DIRECTORY = Path(os.environ.get("DACC_SLURM_DEMO", "/tmp/dacc-slurm-demo"))
UP_SECONDS = 120.0

RUN = """\
#!/bin/sh
# Run a command on the demo's controller, as the user whose name comes first: {directory}/run games sbatch job.sh
user=$1; shift
cd "{directory}/home/$user" || exit 1
exec nsenter {namespaces} --wd="$PWD" -- setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- env {environment} "$@"
"""

JOB = """\
#!/bin/bash
#SBATCH --nodes=2
#SBATCH --output=job.%j.out
#DW jobdw capacity=64MiB access_mode=striped,private type=scratch
#DW stage_in source={home}/input destination=$DW_JOB_STRIPED/input type=directory
#DW stage_out source=$DW_JOB_STRIPED/results destination={home}/results type=directory
mkdir $DW_JOB_STRIPED/results
srun --label df -h --output=source,size,target $DW_JOB_STRIPED
srun sh -c 'wc -c $DW_JOB_STRIPED/input/* > $DW_JOB_STRIPED/results/from-$SLURMD_NODENAME'
"""

WELCOME = """
A Slurm cluster with burst buffers runs: 1 controller, 3 storage hosts with 3 bricks each, 3 compute nodes.

  {run} games sbatch job.sh                  submit the example job (a file: {home}/job.sh)
  {run} games squeue                         what runs
  {run} games scontrol show burst            Slurm's view of the buffers
  {run} games scontrol show dwstat sessions  dacc's view of them
  {run} games dacc status                    the same, for operators

  cat {home}/results/*   shows what the job has staged out.

Any file in {home} is the user's; www-data is the second user. The logs are in {directory}/log and {directory}/dacc.
Stop it and remove every trace:  make slurm-demo-down
"""


def up() -> int:
    """Start the keeper and wait until the cluster runs."""
    words = configuration.lacking()
    if words:
        return _complain(f"needs {words}")
    if DIRECTORY.exists():
        return _complain(f"{DIRECTORY} exists: the demo runs already, or was killed: make slurm-demo-down")
    DIRECTORY.mkdir(mode=0o755)
    with tempfile.TemporaryFile() as log:
        keeper = subprocess.Popen([sys.executable, "-m", __spec__.name, "keep"], stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + UP_SECONDS
        while not (DIRECTORY / "run").exists():
            if keeper.poll() is not None or time.monotonic() > end:
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                down()
                return _complain(said[-1] if said else "the cluster does not start")
            time.sleep(0.1)
    print(WELCOME.format(run=DIRECTORY / "run", home=DIRECTORY / "home" / USERS[0], directory=DIRECTORY))
    return 0


def keep() -> int:
    """Hold the cluster until told to end."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    tempfile.tempdir = str(DIRECTORY)  # what is made there goes with it, however we end
    (DIRECTORY / "keeper.pid").write_text(str(os.getpid()))
    with usable_by_everyone() as (found, problem):
        if found is None:
            return _complain(f"needs {problem}")
        cluster = Cluster(DIRECTORY, found.bin)
        try:
            cluster.open()
            _furnish(cluster)
            stopped.wait()
        finally:
            cluster.close()
    return 0


def _furnish(cluster: Cluster) -> None:
    """What a visitor needs: homes, a job script with something to stage in, and the way in."""
    for user in USERS:
        home = cluster.home(user)
        (home / "input").mkdir()
        for number in range(3):
            (home / "input" / f"file{number}").write_bytes(os.urandom(100_000))
        (home / "job.sh").write_text(JOB.format(home=home))
        for path in (home, *home.rglob("*")):
            os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    words = cluster.site.on("ctl", [])
    environment = cluster.environment | {"PATH": f"{cluster.programs}:{cluster.environment['PATH']}"}
    way = DIRECTORY / "run.new"
    way.write_text(
        RUN.format(
            directory=DIRECTORY,
            namespaces=" ".join(word for word in words if word.startswith(("--mount", "--net", "--uts"))),
            environment=" ".join(f"{name}={value}" for name, value in environment.items()),
        )
    )
    way.chmod(0o755)
    way.rename(DIRECTORY / "run")


def down() -> int:
    """End the keeper, which removes everything; whatever is left of a killed one is removed here."""
    with contextlib.suppress(OSError, ValueError):
        keeper = int((DIRECTORY / "keeper.pid").read_text())
        os.kill(keeper, signal.SIGTERM)
        end = time.monotonic() + 60
        while _runs(keeper) and time.monotonic() < end:
            time.sleep(0.1)
    if DIRECTORY.exists():
        _sweep()
    print("nothing is left of the demo")
    return 0


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _sweep() -> None:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if f"{DIRECTORY}/".encode() in words and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if f"{DIRECTORY}/" in line]
    for place in reversed(places):
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)
    for line in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout.splitlines():
        if f"{DIRECTORY}/" in line:
            subprocess.run(["losetup", "-d", line.partition(":")[0]], check=False)
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def _complain(why: str) -> int:
    print(f"slurm-demo: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit({"up": up, "keep": keep, "down": down}[sys.argv[1]]())
