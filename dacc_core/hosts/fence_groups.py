"""The processes that commands run in: finding them, telling ours from strangers', ending them.

One half of the fence helper; like the other it must run where nothing of ours is installed: standard library only, Python 3.6 or newer.
"""

# ruff: noqa: PTH123, PTH208

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # see fence_helper.py

TERM_SECONDS = 2.0  # from TERM to KILL
END_SECONDS = 10.0  # from TERM until we give up on a process that cannot be killed
MARK = "DACC_FENCE"  # environment variable by which a group's orphans are told from a stranger's


class Group:
    """A process group that a command runs in: its leader's pid and start time, and the mark of its environment."""

    def __init__(self, generation: int, pgid: int, started: str, mark: str) -> None:
        self.generation = generation
        self.pgid = pgid
        self.started = started
        self.mark = mark

    def line(self) -> str:
        """The group as the fence file records it."""
        return f"group {self.generation} {self.pgid} {self.started} {self.mark}\n"


def read_file(path: str) -> bytes:
    """A whole small file."""
    with open(path, "rb", 0) as file:
        return file.read()


BOOT = read_file("/proc/sys/kernel/random/boot_id").decode().strip()  # start times count from boot


def process(pid: int) -> "tuple[str, int, str] | None":
    """State, process group and start time of a process; None when there is none."""
    try:
        stat = read_file(f"/proc/{pid}/stat").decode("latin-1")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the command's name may hold anything, spaces and ) too
    return fields[0], int(fields[2]), f"{fields[19]}@{BOOT}"


def carries(pid: int, mark: str) -> "bool | None":
    """Whether a process has the mark in its environment; None when we may not look."""
    try:
        return f"{MARK}={mark}".encode() in read_file(f"/proc/{pid}/environ").split(b"\0")
    except PermissionError:
        return None
    except OSError:
        return False


def orphans(group: Group) -> "list[tuple[int, bool]]":
    """Living members of a group, each with whether it is surely ours; for when the leader is not alive."""
    leader = process(group.pgid)
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        entry = process(int(name))
        if entry is None or entry[1] != group.pgid or entry[0] in "ZX":
            continue
        # With the leader gone its number could be a stranger's group by now: a daemon's, typically.
        ours = True if leader is not None else carries(int(name), group.mark)
        if ours is not False:
            found.append((int(name), ours is True))
    return found


def members(group: Group) -> "list[tuple[int, bool]]":
    """Living members of a group (the leader alone when it lives), each with whether it is surely ours. Zombies are gone."""
    leader = process(group.pgid)
    if leader is not None and leader[2] != group.started:
        return []  # a reused pid: the kernel reuses a number only when its process group is empty too
    if not group.started.endswith("@" + BOOT):
        return []
    if leader is not None and leader[0] not in "ZX":
        return [(group.pgid, True)]
    try:
        os.killpg(group.pgid, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    return orphans(group) or orphans(group)  # a fork during the first look could hide from it


def send(group: Group, number: int) -> None:
    """Signal all of a group, and nobody else."""
    for pid, ours in members(group):
        try:
            if pid == group.pgid:
                os.killpg(pid, number)
            elif ours:
                os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def end(groups: "list[Group]") -> "list[Group]":
    """End groups: TERM, later KILL. Returns those that did not end."""
    begun, pause = time.monotonic(), 0.005
    for group in groups:
        send(group, signal.SIGTERM)
    while True:
        left = [group for group in groups if members(group)]
        seconds = time.monotonic() - begun
        if not left or seconds > END_SECONDS:
            return left
        if seconds > TERM_SECONDS:
            for group in left:
                send(group, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.1, pause * 2)


def pids(groups: "list[Group]") -> str:
    """The living processes of groups, for people."""
    return " ".join(str(pid) for group in groups for pid, _ in members(group))
