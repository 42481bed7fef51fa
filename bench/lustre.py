"""The Lustre provider over ssh, on stand-ins for Lustre's programs, beside the same device commands run by hand in parallel."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.lustre.cluster import LustreCluster, lacking
from tests.lustre.lustre_site import MIB, Volumes, reached

from .baselines import LUSTRE
from .rows import Row
from .timing import ratio

SIZES = ((4, 3, 24, 2), (24, 12, 128, 1))
"""Storage hosts, bricks of each, nodes, and how often."""
PATIENT = {f"{what}_seconds": 900.0 for what in ("probe", "format", "start", "settle", "mount", "unmount")}
"""One machine has the work of all hosts."""
QUICK = ((2, 1, 2, 1),)
HAND = "its commands by hand"
Log = Mapping[str, list[list[str]]]


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for each size; none where hosts cannot be made."""
    if words := lacking():
        print(f"bench: lustre is left out, since it needs {words}", file=sys.stderr)
        return
    for hosts, bricks, nodes, turns in QUICK if quick else SIZES:
        with _cluster(hosts, bricks, nodes) as cluster:
            yield from _rows(cluster, f"{hosts}x{bricks}+{nodes}", turns)


@contextmanager
def _cluster(hosts: int, bricks: int, nodes: int) -> Iterator[LustreCluster]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dacc-bench-", ignore_cleanup_errors=True))) / "lustre"
        storage = {f"dac{number}": bricks for number in range(1, hosts + 1)}
        clients = [f"c{number}" for number in range(1, nodes + 1)]
        yield stack.enter_context(LustreCluster(directory, storage, clients, brick_size=160 * MIB))


def _rows(cluster: LustreCluster, size: str, turns: int) -> Iterator[Row]:
    volume = Volumes(cluster, settings={"mdt_slice": 40 * MIB, **PATIENT}, seconds=1800.0)
    volume.prepare()
    volume.create()  # the MGTs start once and stay
    volume.delete()
    ours: dict[str, list[float]] = {}
    hand: dict[str, list[float]] = {}
    trips: dict[str, int] = {}
    for _ in range(turns):
        logs: dict[str, Log] = {}
        for name, call in _calls(volume).items():
            cluster.forget_commands()
            volume.calls.clear()
            ours.setdefault(name, []).append(_timed(call))
            logs[name] = {host: cluster.commands(host) for host in cluster.hosts}
            trips[name] = max(Counter(host for hosts in volume.calls for host in hosts).values())
        for name, log in logs.items():
            hand.setdefault(name, []).append(_timed(lambda log=log: _replay(cluster, log)))  # type: ignore[misc]
    for name, times in ours.items():
        yield Row(LUSTRE, f"{name} {size}", median(times), "s", ratio(times, hand[name]), HAND)
        yield Row(LUSTRE, f"{name} {size}: round trips of a host", trips[name], "")
    yield Row(LUSTRE, f"{size}: connections of a host", volume.runner.links.opened / len(cluster.hosts), "")


def _calls(volume: Volumes) -> Mapping[str, Callable[[], object]]:
    nodes = list(volume.cluster.clients)

    def on_all(call: Callable[..., object]) -> None:
        done = call(*nodes)
        assert reached(done) == nodes, done  # type: ignore[arg-type]

    return {
        "create": volume.create,
        "mount": lambda: on_all(volume.mount),
        "unmount": lambda: on_all(volume.unmount),
        "delete": volume.delete,
    }


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


# --- by hand: what an administrator would type into a parallel shell that needs no ssh, stage by stage ---


def _replay(cluster: LustreCluster, log: Log) -> None:
    creates = any(argv[0] == "mkfs.lustre" for calls in log.values() for argv in calls)
    staged = {host: [(_stage(argv, creates), argv) for argv in calls] for host, calls in log.items()}
    for stage in sorted({stage for calls in staged.values() for stage, _ in calls} - {""}):
        scripts = {host: _script([argv for one, argv in calls if one == stage]) for host, calls in staged.items()}
        running = [cluster.spawn(host, ["sh", "-c", script]) for host, script in scripts.items() if script]
        assert not [process for process in running if process.wait()], f"{stage} by hand fails"


def _script(calls: list[list[str]]) -> str:
    """All at once: each is for a device of its own."""
    if not calls:
        return ""
    places = [shlex.quote(argv[2]) for argv in calls if argv[0] == "mount.lustre"]
    begin = [f"mkdir -p {place}" for place in places]
    lines = [f'{shlex.join(argv)} > /dev/null & all="$all $!"' for argv in calls]
    return "\n".join([*begin, *lines, "for one in $all; do wait $one || exit; done"])


def _stage(argv: list[str], creates: bool) -> str:
    """When a command's turn is; empty for one that only looks."""
    place = Path(argv[-1] if argv[0] == "umount" else argv[2] if len(argv) > 2 else "").name
    target = "1 MDT0000" if place == "MDT0000" else "2 MDTs" if place.startswith("MDT") else "3 OSTs"
    words = {
        "mkfs.lustre": "1 format",
        "mount.lustre": "3 mount" if ":/" in " ".join(argv) else f"2 start {target}",
        "umount": f"4 stop {target}",
        "wipefs": ("0 wipe" if creates else "6 wipe") if "-a" in argv else "",
        "blkdiscard": "0 wipe, discard" if creates else "7 discard",
    }
    if argv[:2] == ["lctl", "lcfg_erase"]:
        return "0 erase" if creates else "5 erase"
    return words.get(argv[0], "")
