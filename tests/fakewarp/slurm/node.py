"""A compute node for the Prolog and the Epilog: real mounts, swap and processes in namespaces of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fakewarp.slurm.files import make_files
from fakewarp.slurm.site import TIMEOUTS, SlurmSite
from tests.support.requirements import require

MIB = 1 << 20
SECONDS = 60.0


def make_site(mount_root: str = "/mnt/dac") -> SlurmSite:
    """A site of which only the mount root matters."""
    programs = {name: f"/opt/dacc/bin/{name}" for name in ("fakewarp", "dwstat", "dacd")}
    return SlurmSite(programs, dict.fromkeys(TIMEOUTS, 300), "default", "slurm", mount_root, "/etc/slurm")


def text_of(script: str, mount_root: str) -> str:
    """The ``prolog`` or ``epilog`` for a mount root."""
    (file,) = (file for file in make_files(make_site(mount_root)) if file.name == f"{script}.d/50-dacc")
    return file.text


@dataclass
class Node:
    """A machine that sees its own mounts and processes only. ``base``: a directory for the test; ``shell``: what runs the scripts."""

    base: Path
    pid: int
    shell: str = "sh"
    changes: dict[str, str] = field(default_factory=dict)
    """What stands in the scripts and what to put there instead."""

    root: Path = Path()

    def __post_init__(self) -> None:
        self.root = self.base / "dac"
        self.root.mkdir()

    def enter(self, argv: Sequence[str | Path | bytes]) -> list[str | Path | bytes]:
        """A command as run on the node."""
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", f"--pid=/proc/{self.pid}/ns/pid_for_children", "--", *argv]

    def do(self, *argv: str | Path | bytes) -> str:
        """Run a command that succeeds."""
        done = subprocess.run(self.enter(argv), capture_output=True, text=True, errors="surrogateescape", timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- mounts and swap ---

    def mount(self, *names: str, root: Path | None = None) -> None:
        """Mount something at each of these names below the mount root, one after the other."""
        for name in names:
            path = (root or self.root) / name
            self.do("mkdir", "-p", "--", path)
            self.do("mount", "-t", "tmpfs", "-o", "size=64k", "none", path)

    def mounts(self) -> list[str]:
        """What is mounted below the base, relative to the mount root."""
        table = self.do("cat", "/proc/self/mountinfo").splitlines()
        points = [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), line.split()[4]) for line in table]
        return sorted(os.path.relpath(point, self.root) for point in points if point.startswith(f"{self.base}/"))

    def mount_image(self, name: str) -> Path:
        """Mount a filesystem that can hold swap files; its directory."""
        image, path = self.base / f"{name}.img", self.root / name
        with image.open("wb") as file:
            file.truncate(8 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        path.mkdir()
        self.do("mount", "-o", "loop", image, path)
        return path

    def swap_on(self, path: Path) -> str:
        """Swap to a new file; where it is."""
        self.do("sh", "-c", 'mkdir -p "${1%/*}" && dd if=/dev/zero of="$1" bs=64k count=16 && chmod 600 "$1"', "sh", path)
        self.do("mkswap", path)
        self.do("swapon", path)
        return str(path)

    def swaps(self) -> list[str]:
        """The swap files of this test."""
        return [line.split()[0] for line in self.do("cat", "/proc/swaps").splitlines()[1:] if line.startswith(f"{self.base}/")]

    # --- scripts ---

    def write(self, script: str, root: str | None = None) -> Path:
        """Install a script for the mount root; where it is."""
        text = text_of(script, root or str(self.root))
        for old, new in {"/bin/sh": f"/bin/{self.shell}", **self.changes}.items():
            assert old in text
            text = text.replace(old, new)
        path = self.base / script
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, script: str, job: str | None, *, root: str | None = None) -> str:
        """Run a script as slurmd does, without a search path; what it said. It has to succeed, whatever happens."""
        environment = {} if job is None else {"SLURM_JOB_ID": job}
        argv = self.enter([self.write(script, root)])
        done = subprocess.run(argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr

    @contextmanager
    def running(self, *argv: str | Path, name: str = "", argv0: str = "") -> Iterator[subprocess.Popen[str]]:
        """A process of the node which has printed a line, or was started under another name."""
        program = self.base / name if name else None
        if program is not None and not program.exists():
            shutil.copy("/bin/sleep", program)
        command = ["sh", "-c", 'exec "$@"', "sh", *argv]
        if program is not None:
            command = ["bash", "-c", 'echo; exec -a "$0" "$@"', argv0, program, *argv]
        with subprocess.Popen(self.enter(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def using(self, name: str) -> Iterator[subprocess.Popen[str]]:
        """A process that works in a directory, until its standard input ends."""
        with self.running("sh", "-c", 'cd "$1" && echo && exec cat', "sh", self.root / name) as process:
            yield process


@contextmanager
def open_node(base: Path, shell: str) -> Iterator[Node]:
    """A node that is gone afterwards, with everything on it."""
    require(os.geteuid() == 0, "root, for mounts")
    require(shutil.which("unshare") is not None, "unshare(1)")
    require(shutil.which(shell) is not None, f"the shell {shell}")
    keep = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    with subprocess.Popen([*keep, "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdin is not None
        keeper.stdout.readline()
        node = Node(base, keeper.pid, shell)
        try:
            yield node
        finally:
            for name in node.swaps():
                subprocess.run(node.enter(["swapoff", name]), check=True)
            keeper.stdin.close()
