"""A real cluster on this machine: three storage hosts with a glusterd and two block devices each, and two compute nodes."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import (
    BrickRef,
    CancelToken,
    CheckHost,
    Context,
    Create,
    Created,
    Deadline,
    Delete,
    HostRunner,
    HostUnreachable,
    Mount,
    PerHost,
    Unmount,
    Volume,
    VolumeRequest,
)
from dacc_core.testing.namespaces import Namespaces

from dacc_gluster import GlusterProvider, testing
from dacc_gluster.settings import GlusterSettings

STORAGE = ("dac1", "dac2", "dac3")
NODES = ("c1", "c2")
ROOT = f"/run/dacc-gluster-{os.getpid()}"
"""Not that of another worker: a look at processes sees the whole machine's."""

JOB = "/mnt/dac/7_job"
MIB = 1 << 20
LEAST = 400 * MIB
"""Of a brick of 512 MiB, which XFS uses for itself in part."""

UID, GID = 65534, 65534


class Entering(LocalRunner):
    """Runs the commands of a host in its namespaces, the network's too."""

    def __init__(self, machines: Namespaces, directory: Path) -> None:
        super().__init__(fence_dir=directory)
        self.machines = machines

    def _prefix(self, host: str) -> list[str]:
        if host not in self.machines.hosts:
            raise HostUnreachable(host=host, why="there is none of that name")
        return self.machines.enter(host)


@dataclass
class Site:
    """Requests about volumes; each volume is on the first two storage hosts with two bricks each, unless told otherwise.

    ``volumes``: those that are not deleted yet.
    """

    machines: Namespaces
    servers: testing.GlusterServers
    runner: Entering
    provider: GlusterProvider
    volumes: list[Volume] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def volume(self, *hosts: str, bricks: int = 2, first: int = 0, capacity: int = 0) -> Volume:
        """A new one; ``first``: its first brick on each host."""
        refs = [
            BrickRef(host=host, device=device)
            for host in hosts or STORAGE[:2]
            for device in self.servers.devices[host][first : first + bricks]
        ]
        name = f"t{next(self.numbers):07d}"
        made = Volume(name=name, pool="default", provider="gluster", capacity=capacity or len(refs) * LEAST, bricks=tuple(refs))
        self.volumes.append(made)
        return made

    def context(self, volume: Volume | None = None, runner: HostRunner | None = None, seconds: float = 120.0) -> Context:
        """Fenced for the volume's session."""
        cancel = CancelToken()
        fenced = runner or self.runner.fenced(volume.name if volume else "check", 1, cancel)
        return Context(hosts=fenced, deadline=Deadline.after(seconds), cancel=cancel)

    def create(self, volume: Volume, context: Context | None = None, **more: Any) -> Created:
        return self.provider.create(Create(context=context or self.context(volume, **more), volume=volume, owner=UID, group=GID))

    def delete(self, volume: Volume, gone: Sequence[str] = (), **more: Any) -> None:
        self.provider.delete(Delete(context=self.context(volume, **more), volume=volume, state={}, gone=tuple(gone)))
        if volume in self.volumes and not gone:
            self.volumes.remove(volume)

    def mount(self, volume: Volume, hosts: Sequence[str] = NODES, path: str = JOB, **more: Any) -> PerHost:
        what = {"owner": UID, "group": GID, **more}
        return self.provider.mount(
            Mount(context=self.context(volume, what.pop("runner", None)), volume=volume, state={}, hosts=tuple(hosts), path=path, **what)
        )

    def unmount(self, volume: Volume, hosts: Sequence[str] = NODES, path: str = JOB, **more: Any) -> PerHost:
        context = self.context(volume, more.pop("runner", None))
        return self.provider.unmount(Unmount(context=context, volume=volume, state={}, hosts=tuple(hosts), path=path, **more))

    def about(self, volume: Volume, **more: Any) -> VolumeRequest:
        """For usage and restore."""
        return VolumeRequest(context=self.context(volume, **more), volume=volume, state={})

    def check(self, host: str, *devices: str) -> None:
        bricks = tuple(BrickRef(host=host, device=device) for device in devices)
        self.provider.check_host(CheckHost(context=self.context(), host=host, bricks=bricks))

    def on(self, host: str, *argv: str, check: bool = True) -> str:
        """What a command prints there, both outputs."""
        argv = (*self.machines.enter(host), *argv)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def write(self, host: str, path: str, text: str) -> None:
        self.on(host, "sh", "-c", 'printf %s "$2" > "$1"', "sh", path, text)

    def mounts(self, host: str, word: str) -> list[str]:
        """Mount points on a host with this in them."""
        lines = [line.split() for line in self.on(host, "cat", "/proc/self/mounts").splitlines()]
        return [line[1] for line in lines if word in line[1]]

    def known(self) -> list[str]:
        """The volumes that gluster knows."""
        return [name for name in self.on("dac1", "gluster", "volume", "list", check=False).split() if name.startswith("t0")]

    def holds(self, device: str) -> str:
        """What blkid says of a device; nothing when it is clean."""
        return subprocess.run(["blkid", "-p", "-o", "export", device], capture_output=True, text=True).stdout

    def left(self) -> list[str]:
        """What is still there of any volume: on devices, in mount tables, in directories, in gluster, of processes."""
        found = [device for devices in self.servers.devices.values() for device in devices if self.holds(device)]
        for host in STORAGE:
            found += self.on(host, "find", ROOT, "-mindepth", "1", check=False).split() if self.exists(host, ROOT) else []
            found += self.mounts(host, ROOT)
            found += [f"{host}: {pid}" for pid in self.servers.processes(host) if "glusterfsd" in _command(pid)]
        for host in NODES:
            found += self.mounts(host, "/mnt/dac") + self.on(host, "find", "/mnt/dac", "-mindepth", "1", check=False).splitlines()
            found += [f"{host}: {pid}" for pid in self.servers.processes(host)]
        return [one for one in found if "No such file" not in one] + self.known()

    @contextmanager
    def working(self, host: str, directory: str) -> Iterator[int]:
        """While somebody works in a directory."""
        argv = [*self.machines.enter(host, directory), "sleep", "1000"]
        process = subprocess.Popen(argv)
        try:
            while str(Path(f"/proc/{process.pid}/cwd").readlink()) != directory:
                time.sleep(0.01)
            yield process.pid
        finally:
            process.kill()
            process.wait()

    def together(self, call: Callable[[Volume], Any], volumes: Sequence[Volume]) -> None:
        """A call for each, at once; all must succeed."""
        with ThreadPoolExecutor(len(volumes)) as pool:
            for one in [pool.submit(call, volume) for volume in volumes]:
                one.result()

    def restart(self, host: str) -> None:
        """Start a glusterd again, and wait until the others have noticed."""
        self.servers.launch(host)
        self.servers.await_server(host)
        self.wait(lambda: "Disconnected" not in self.on("dac1", "gluster", "pool", "list"), f"{host} is back in the pool")

    @staticmethod
    def wait(come: Callable[[], bool], what: str) -> None:
        """Until it is so."""
        end = time.monotonic() + 30
        while not come():
            assert time.monotonic() < end, f"it did not come: {what}"
            time.sleep(0.2)

    def exists(self, host: str, path: str) -> bool:
        return subprocess.run([*self.machines.enter(host), "test", "-e", path]).returncode == 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Site]:
    """The hosts, for all tests of a worker."""
    if words := testing.lacking():
        (pytest.fail if os.environ.get("DACC_REQUIRE_ALL") == "1" else pytest.skip)(f"needs {words}")
    with tempfile.TemporaryDirectory(prefix="dacc-gluster-") as name:
        yield from _opened(Path(name))


def _opened(directory: Path) -> Iterator[Site]:
    machines = Namespaces(directory / "ns", [*STORAGE, *NODES], network=True)
    servers = testing.GlusterServers(directory / "gluster", machines, STORAGE)
    try:
        machines.open()
        servers.open()
        provider = GlusterProvider(GlusterSettings(seed="dac1", brick_root=ROOT))
        yield Site(machines, servers, Entering(machines, directory / "fence"), provider)
    finally:
        servers.close()
        machines.close()


@pytest.fixture
def site(cluster: Site) -> Iterator[Site]:
    """The hosts, without any volume; a test may leave some."""
    yield cluster
    for volume in list(cluster.volumes):
        cluster.unmount(volume)
        cluster.delete(volume)
    assert cluster.left() == []
    cluster.volumes.clear()
