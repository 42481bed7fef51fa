"""The configuration of a small Slurm, as an administrator would write it, with the Slurm-side files that fakewarp installs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from dacc_core.demo.site import CONTROLLER, LocalSite

BACKUP = "dac1"
"""The host that takes over when the controller is down; its slurmctld talks to its own dacd."""

SLURM_CONF = """\
ClusterName=dacc
SlurmctldHost={controller}({address})
SlurmctldHost={backup}({backup_address})
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldDebug=debug
SlurmdDebug=verbose
DebugFlags=BurstBuffer
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=1
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
{nodes}
PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=INFINITE OverSubscribe=NO
"""

CGROUP_CONF = "CgroupMountpoint=/sys/fs/cgroup\nIgnoreSystemd=yes\n"
"""No systemd runs here that slurmd could ask for a scope of its own."""


def write(directory: Path, site: LocalSite, programs: Path) -> Path:
    """Write everything into ``directory/etc``; the path of slurm.conf. ``programs`` has the fakewarp that Slurm is to call."""
    etc = directory / "etc"
    etc.mkdir(parents=True)
    _install(programs, etc, site)
    nodes = [f"NodeName={node} NodeAddr={site.machines.address(node)} CPUs=4 State=UNKNOWN" for node in site.compute_nodes]
    conf = etc / "slurm.conf"
    text = SLURM_CONF.format(
        controller=CONTROLLER,
        address=site.machines.address(CONTROLLER),
        backup=BACKUP,
        backup_address=site.machines.address(BACKUP),
        directory=directory,
        nodes="\n".join(nodes),
    )
    conf.write_text(text + (etc / "slurm.conf.fragment").read_text())
    (etc / "cgroup.conf").write_text(CGROUP_CONF)
    for path in etc.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o444)
    return conf


def _install(programs: Path, etc: Path, site: LocalSite) -> None:
    argv = [f"{programs}/fakewarp", "install-slurm", "--write", str(etc)]
    done = subprocess.run(argv, env=site.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise OSError(done.stdout.strip())


def lacking() -> str:
    """What this machine lacks for a Slurm of its own, in words; nothing when it has all."""
    if os.geteuid() != 0:
        return "root, for namespaces and other users"
    programs = ("/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/sbin/munged", "/usr/sbin/sshd", "/usr/sbin/ip")
    missing = [program for program in programs if not Path(program).exists()]
    if missing:
        return f"{', '.join(missing)}: install slurm-wlm, munge, openssh-server and iproute2"
    return "" if Path("/dev/loop-control").exists() else "loop devices"
