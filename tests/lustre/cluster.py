"""Storage hosts and clients without Lustre: namespaces with sshd, bricks that are loop devices, and stand-ins for Lustre's programs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from dacc_core.hosts.remote import SshAccess
from dacc_core.hosts.ssh import SshRunner

from .installation import install, make_brick, remove_loop
from .machines import PATH, Machine, Switch
from .standins.wire import Record, nids

_BOOT = """import sys
sys.path.insert(0, {root!r})
from standins.boot import main
main({root!r}, sys.argv[1])
"""
_SSHD = """
HostKey {root}/ssh/host
AuthorizedKeysFile {root}/ssh/identity.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
# The cluster's directory may lie where everyone may write.
StrictModes no
PidFile /run/sshd.pid
MaxStartups 500
MaxSessions 200
LogLevel ERROR
SetEnv PATH={path}
"""
# A daemon of the host's own, with its own list of the pools to import when it starts: that outlives the host, as a disk does.
_START_ZFS = """
mkdir -p /run/zfs /run/lock "$0"
mount --bind "$0" /var/lib/zfs
zfs-fuse --no-kstat-mount --pidfile /run/zfs/pid
"""


def lacking(*more: str) -> str:
    """What this machine lacks for a cluster, and ``more`` programs, in words; nothing if it lacks nothing."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return "root and loop devices, for hosts with networks, mounts and bricks of their own"
    packages = {
        "sshd": "openssh-server",
        "parted": "parted",
        "mkfs.ext4": "e2fsprogs",
        "ip": "iproute2",
        "setpriv": "util-linux",
        "awk": "mawk",
        **{name: name for name in more},
    }
    missing = [f"{name} (Debian: {package})" for name, package in packages.items() if shutil.which(name, path=PATH) is None]
    return ", ".join(missing) if missing else "" if Path("/usr/bin/python3").exists() else "/usr/bin/python3"


@dataclass
class LustreCluster:
    """Hosts with so many bricks each, and clients. Every host has the NIDs ``<address>@<net>``, and ``<host>-opa`` as a name.

    A brick is a loop device on a sparse file, by the same name in ``/dev`` of its own host only, and as
    ``/dev/disk/by-id/nvme-<host>-<number>``. Disks outlive a host's end; mounts and processes do not.
    """

    directory: Path
    storage: Mapping[str, int]
    clients: Sequence[str] = ()
    brick_size: int = 256 << 20
    nets: Sequence[str] = ("o2ib1",)
    zfs: bool = False
    bricks: dict[str, list[str]] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    _cut: set[str] = field(default_factory=set)
    _runners: list[SshRunner] = field(default_factory=list)

    def __enter__(self) -> LustreCluster:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- hosts ---

    @property
    def hosts(self) -> list[str]:
        """All hosts, storage first."""
        return [*self.storage, *self.clients]

    def nid(self, host: str) -> str:
        """A host's first NID."""
        return nids({"address": self.machines[host].address, "nets": list(self.nets)})[0]

    def run(self, host: str, argv: Sequence[str], *, timeout: float = 60.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on a host, without ssh."""
        return subprocess.run(self.machines[host].enter(argv), capture_output=True, text=True, timeout=timeout, input=stdin)

    def spawn(self, host: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command on a host, and leave it running; it ends with the process that stands for it here."""
        return subprocess.Popen(self.machines[host].enter(["setpriv", "--pdeathsig", "KILL", *argv]), stdin=subprocess.DEVNULL)

    def check(self, host: str, *argv: str) -> str:
        """Run a command on a host that must succeed; what it wrote."""
        done = self.run(host, argv)
        assert done.returncode == 0, f"{' '.join(argv)} on {host}: exit status {done.returncode}: {done.stderr}"
        return done.stdout

    def runner(self) -> SshRunner:
        """dacc's own runner over ssh, from the switch's network. It is closed with the cluster."""
        addresses = {host: machine.address for host, machine in self.machines.items()}
        ssh = self.directory / "ssh"
        access = SshAccess(addresses=addresses, identity=f"{ssh}/identity", known_hosts=f"{ssh}/known_hosts", connect_timeout=10)
        runner = self.switch.runner(access, fence_dir="/run/dacc/fence", python="/usr/bin/python3")
        self._runners.append(runner)
        return runner

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        self.switch.plug(self.machines[host], False)
        self._cut.add(host)

    def mend(self, host: str) -> None:
        """Put it back."""
        if host in self._cut:
            self._cut.remove(host)
            self.switch.plug(self.machines[host], True)

    def recover(self) -> None:
        """Every host is up and has its cable, and no stand-in is spoilt."""
        self.unknob()
        for host in self.hosts:
            if not self.machines[host].pid:
                self.boot(host)
            self.mend(host)

    def kill(self, host: str) -> None:
        """End a host: its processes die, its mounts are gone, its disks stay."""
        (self.wire / "hosts" / f"{host}.json").unlink(missing_ok=True)
        self._cut.discard(host)
        self.machines[host].kill()
        self.switch.remove(self.machines[host])

    def boot(self, *hosts: str) -> None:
        """Start hosts, with Lustre's modules loaded."""
        for host in hosts:
            (self.wire / "modules" / f"{host}.json").write_text('{"loaded": ["lnet", "lustre"]}')
            self._record(host, 0)
            self.machines[host].start(self.switch, self.directory)
        for host in hosts:
            self._record(host, self.machines[host].find())
        self.switch.connect([self.machines[host] for host in hosts])
        for host in hosts:
            self.machines[host].await_sshd()
            if self.zfs and host in self.storage:
                self.check(host, "sh", "-ec", _START_ZFS, str(self.directory / "zfs" / host))

    def unload(self, host: str) -> None:
        """Unload Lustre's modules, LNet's too."""
        self._write(f"modules/{host}.json", '{"loaded": []}')

    # --- stand-ins ---

    @property
    def wire(self) -> Path:
        """What the stand-ins share."""
        return self.directory / "wire"

    def knob(
        self,
        host: str,
        command: str,
        *,
        rc: int | None = None,
        seconds: float = 0.0,
        stdout: str = "",
        stderr: str = "",
        match: str = "",
        times: int = -1,
    ) -> None:
        """Spoil a command of a host whose arguments have ``match`` in them, so many times (-1: for ever).

        It first waits ``seconds``; with ``rc`` it then ends with that status and these words, else it goes on.
        """
        knob = {"rc": rc, "seconds": seconds, "stdout": stdout, "stderr": stderr, "match": match, "times": times}
        self._write(f"knobs/{host}.{command}.json", json.dumps(knob))

    def hang(self, host: str, command: str, *, match: str = "", times: int = -1) -> None:
        """Let a command of a host hang."""
        self.knob(host, command, seconds=86400, match=match, times=times)

    def unknob(self) -> None:
        """Take all knobs away."""
        for file in (self.wire / "knobs").iterdir():
            file.unlink(missing_ok=True)

    def commands(self, host: str) -> list[list[str]]:
        """The calls of stand-ins on a host, in order."""
        file = self.wire / "calls" / host
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def kill_in(self, host: str, command: str, match: str = "") -> threading.Thread:
        """Kill a host in the midst of its next such command. The thread ends when it is dead."""
        since = len(self.commands(host))
        self.hang(host, command, match=match)

        def kill() -> None:
            end = time.monotonic() + 60
            while not any(argv[0] == command and match in " ".join(argv) for argv in self.commands(host)[since:]):
                assert time.monotonic() < end, f"{command} {match} was not called on {host}"
                time.sleep(0.01)
            self.kill(host)

        killer = threading.Thread(target=kill)
        killer.start()
        return killer

    def forget_commands(self) -> None:
        """Begin the logs anew."""
        for file in (self.wire / "calls").iterdir():
            file.unlink()

    def mgs(self, host: str) -> Record:
        """What the MGS on a host keeps: ``logs`` by filesystem, and ``params``."""
        record = json.loads((self.wire / "targets" / f"{host}.MGS.json").read_text())
        found: Record = json.loads((self.wire / "mgs" / f"{record['uuid']}.json").read_text())
        return found

    def labels(self, host: str) -> dict[str, str]:
        """Labels of the filesystems on a host's partitions, by their device."""
        found = {}
        for brick in self.bricks[host]:
            for part in sorted(Path("/dev").glob(f"{Path(brick).name}p*")):
                label = subprocess.run(["blkid", "-p", "-o", "value", "-s", "LABEL", str(part)], capture_output=True, text=True)
                if label.stdout.strip():
                    found[str(part)] = label.stdout.strip()
        return found

    # --- making and ending ---

    def _open(self) -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / "ssh").mkdir(mode=0o700)
        install(self.directory)
        (self.wire / "proc").mkdir()
        (self.directory / "boot").write_text(_BOOT.format(root=str(self.directory)))
        self.machines = {host: Machine(host, number) for number, host in enumerate(self.hosts, 1)}
        self._make_keys()
        lines = [f"{machine.address} {host} {host}-opa\n" for host, machine in self.machines.items()]
        self._write("../hosts", "127.0.0.1 localhost\n" + "".join(lines))
        for host, count in self.storage.items():
            images = [self.directory / "disks" / f"{host}-{number}" for number in range(count)]
            self.bricks[host] = [make_brick(image, self.brick_size) for image in images]
        self.switch = Switch()
        self.boot(*self.hosts)

    def _make_keys(self) -> None:
        ssh = self.directory / "ssh"
        for name in ("identity", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dacc", "-f", str(ssh / name)], check=True)
        public = (ssh / "host.pub").read_text()
        (ssh / "known_hosts").write_text("".join(f"{host} {public}" for host in self.hosts))
        (self.directory / "sshd_config").write_text(_SSHD.format(root=self.directory, path=PATH))

    def _record(self, host: str, pid: int) -> None:
        disks = [Path(brick).name for brick in self.bricks.get(host, [])]
        record = {"pid": pid, "address": self.machines[host].address, "nets": list(self.nets), "disks": disks}
        self._write(f"hosts/{host}.json", json.dumps(record))

    def _write(self, name: str, text: str) -> None:
        new = self.directory / "new"
        new.write_text(text)
        new.rename(self.wire / name)

    def close(self) -> None:
        """Remove all. Raises AssertionError for what is left."""
        for runner in self._runners:
            runner.close()
        for machine in self.machines.values():
            machine.strike()
        for machine in self.machines.values():
            machine.kill()
        if hasattr(self, "switch"):
            self.switch.close()
        for brick in (brick for bricks in self.bricks.values() for brick in bricks):
            remove_loop(brick)
        left = self.left()
        shutil.rmtree(self.directory)
        assert not left, left

    @property
    def _alive(self) -> bool:
        return any(machine.pid for machine in self.machines.values())

    def left(self) -> list[str]:
        """Loop devices, mounts and processes that there still are of the cluster; with the last process its namespaces are gone."""
        word = str(self.directory)
        end = time.monotonic() + 10
        while (found := [*_lines(word), *_processes(word)]) and not self._alive and time.monotonic() < end:
            time.sleep(0.05)  # a namespace's mounts go when its last process is reaped
        return found


def _lines(word: str) -> Iterator[str]:
    yield from (line for line in Path("/proc/self/mounts").read_text().splitlines() if word in line)
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    yield from (line for line in loops.splitlines() if word in line)


def _processes(word: str) -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if word.encode() in command and int(entry.name) != os.getpid():
                yield f"{entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that :meth:`LustreCluster.spawn` started."""
    process.send_signal(signal.SIGKILL)
    process.wait()
