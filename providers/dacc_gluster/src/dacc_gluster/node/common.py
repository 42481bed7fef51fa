"""What the helpers share. They are called with an action and a JSON object, and print what they tell as JSON."""

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

INVALID, EXISTS, BUSY, NO_SPACE, UNAVAILABLE = 10, 30, 40, 50, 60
"""Exit codes: those of the errors' classes in dacc."""

os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
os.environ["LC_ALL"] = "C"


class Failure(Exception):
    """The action failed; the text is for people."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Mounted(NamedTuple):
    """What is mounted at a place; the device as the kernel numbers it."""

    device: str
    source: str
    kind: str
    read_only: bool


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    """A program of the host's."""
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, errors="replace"
        )
    except FileNotFoundError:
        raise Failure(UNAVAILABLE, "{0} is not installed: install the package that has it".format(argv[0])) from None


def do(*argv: str) -> str:
    """A program of the host's that must succeed; what it printed."""
    done = run(*argv)
    if done.returncode != 0:
        raise Failure(UNAVAILABLE, "{0}: {1}".format(argv[0], last_line(done)))
    return done.stdout


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Why a program failed, in its own words."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else "exit status {0}".format(done.returncode)


def mounted_at(place: str) -> Optional[Mounted]:
    """The topmost mount at a place (proc_pid_mountinfo(5))."""
    found, place = None, real(place)
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        for line in table:
            words = line.split()
            if unescaped(words[4]) == place:
                rest = words[words.index("-") + 1 :]
                found = Mounted(words[2], unescaped(rest[1]), rest[0], "ro" in words[5].split(","))
    return found


def real(place: str) -> str:
    """As the kernel and the client know it: without links above it. The place itself is not looked at, for nobody may serve it."""
    return os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))


def unescaped(word: str) -> str:
    """A word of the mount table: spaces and the like stand there in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, character)
    return word


def umount(place: str, seconds: float = 0.0) -> None:
    """Unmount what is there, waiting so long for those who use it."""
    end = time.monotonic() + seconds
    while mounted_at(place):
        done = run("umount", "-c", place)
        if done.returncode != 0 and mounted_at(place):
            if time.monotonic() >= end:
                raise Failure(BUSY, "{0} cannot be unmounted ({1}){2}".format(place, last_line(done), held_by(place)))
            time.sleep(0.1)


def held_by(place: str) -> str:
    """Who has files open below a place or works there, in words."""
    users = [pid for pid in processes() if any(uses(link, real(place)) for link in links(pid))]
    return ": end the processes {0}".format(", ".join(map(str, users[:5]))) if users else ": see who uses it"


def processes() -> List[int]:
    """Those that see the same mounts as this one."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and same_mounts(int(name))]


def same_mounts(pid: int) -> bool:
    return read_link("/proc/{0}/ns/mnt".format(pid)) == read_link("/proc/self/ns/mnt")


def links(pid: int) -> List[str]:
    base = "/proc/{0}".format(pid)
    try:
        numbers = os.listdir(base + "/fd")
    except OSError:  # it has ended
        numbers = []
    return [base + "/cwd", base + "/root"] + ["{0}/fd/{1}".format(base, number) for number in numbers]


def uses(link: str, place: str) -> bool:
    target = read_link(link)
    return target == place or target.startswith(place + "/")


def read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def end_clients(place: str) -> None:
    """End what is left of GlusterFS clients of a place: a mount that was killed leaves one, which could mount later."""
    for pid in processes():
        words = command_line(pid)
        if os.path.basename(words[0]) == "glusterfs" and words[-1] in (place, real(place)):
            end(pid)


def command_line(pid: int) -> List[str]:
    try:
        with open("/proc/{0}/cmdline".format(pid), errors="replace") as words:
            return words.read().rstrip("\0").split("\0")
    except OSError:
        return [""]


def end(pid: int, seconds: float = 5.0) -> None:
    """Ask a process to end, and kill it if it does not."""
    late = time.monotonic() + seconds
    signal_to(pid, signal.SIGTERM)
    while command_line(pid) != [""]:  # of a process that has ended, though nobody has asked how, this is empty
        if time.monotonic() >= late:
            signal_to(pid, signal.SIGKILL)
        time.sleep(0.02)


def signal_to(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def mount_client(volume: str, servers: List[str], place: str, read_only: bool = False) -> None:
    """Mount a volume, if it is not; a mount whose client has died is renewed."""
    if shutil.which("mount.glusterfs") is None:
        raise Failure(UNAVAILABLE, "mount.glusterfs is not installed: install glusterfs-client")
    found = mounted_at(place)
    if found and not found.source.endswith(":/" + volume):
        raise Failure(EXISTS, "{0} is a mount of {1}: unmount that first".format(place, found.source))
    if found and (found.read_only != read_only or is_dead(place)):
        umount(place)
        found = None
    if not found:
        end_clients(place)
        make_mount(volume, servers, place, read_only)


def make_mount(volume: str, servers: List[str], place: str, read_only: bool) -> None:
    # One log for all mounts, which the package's logrotate knows; by default there would be one for each path, for ever.
    options = ["nodev", "nosuid", "log-level=WARNING", "log-file=/var/log/glusterfs/dacc.log"]
    options += ["ro"] if read_only else []
    options += ["backup-volfile-servers=" + ":".join(servers[1:3])] if servers[1:] else []
    done = run("mount", "-t", "glusterfs", "-o", ",".join(options), "{0}:/{1}".format(servers[0], volume), place)
    if done.returncode != 0 or not mounted_at(place):
        why = "volume {0} cannot be mounted at {1} ({2}): see /var/log/glusterfs/dacc.log"
        raise Failure(UNAVAILABLE, why.format(volume, place, last_line(done)))


def is_dead(place: str) -> bool:
    """Whether nobody serves the mount any more. The kernel would answer stat from what it remembers."""
    try:
        os.statvfs(place)
    except OSError:
        return True
    return False


def release_client(place: str) -> None:
    """Take such a mount away, and its directory."""
    umount(place, 5.0)
    end_clients(place)
    remove_directory(place)


def remove_directory(path: str) -> None:
    """Remove a directory if there is nothing in it."""
    with contextlib.suppress(OSError):
        os.rmdir(path)


def locked(name: str) -> socket.socket:
    """Wait until nobody else on this host does something with this; until the socket is closed, or this program ends in any way."""
    lock = socket.socket(socket.AF_UNIX)
    while True:
        try:
            # An abstract name leaves no file behind, and belongs to the host's network.
            lock.bind("\0dacc-gluster-" + name[-80:])
            return lock
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            time.sleep(0.02)


def main(actions: Dict[str, Callable[[Dict[str, Any]], Any]]) -> int:
    """Do what the command line says, one call after the other for a volume."""
    action, what = actions[sys.argv[1]], json.loads(sys.argv[2])
    try:
        with locked(what["lock"]):
            print(json.dumps(action(what)))
    except (Failure, OSError, UnicodeError) as error:
        sys.stderr.write(str(error) + "\n")
        return error.code if isinstance(error, Failure) else UNAVAILABLE
    return 0
