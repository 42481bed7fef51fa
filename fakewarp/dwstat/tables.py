"""The tables of ``dwstat``, for ``scontrol show dwstat``: the columns of DataWarp's, then words of our own.

Slurm passes any user's arguments here and does not tell who asks. So there are steps, times and classes of error, and of what users
wrote only tokens, whose grammar is narrow; paths and full messages go where Slurm shows them to the owner.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

from dacc_core.errors import BadArguments
from dacc_core.names import count
from dacc_core.registry.records import Session, Status
from dacc_core.registry.view import View
from dacc_core.sizes import format_size
from dacc_core.verbs import goals, waiting
from fakewarp.directives.problems import shown

Table = Callable[[View, float], str]

_count = functools.lru_cache(maxsize=1 << 14)(count)  # of the same mounts at each call; expanding them takes most of its time

HELP = """\
dwstat [pools|sessions|instances|configurations|help]
states: Creating or Destroying is the goal, Actualized, Fuse blown (it failed), Transitioning, Mixed (on some nodes only)
"""

# --- arguments ---


def table_name(args: Sequence[str]) -> str:
    """The table that is asked for. Raises BadArguments."""
    if not args:
        return "pools"
    word = "help" if args[0] in ("-h", "--help") else args[0]
    if len(args) > 1 or word not in (*TABLES, "help"):
        raise BadArguments(why=f"dwstat shows one of {', '.join(TABLES)}, not {shown(' '.join(args))}")
    return word


# --- tables ---


def _pools(view: View, _: float) -> str:
    rows = [_pool(view, name) for name in sorted(view.pools)]
    return _table("pool units quantity free gran", rows) if rows else "no pools\n"


def _pool(view: View, name: str) -> list[str]:
    granularity = view.pools[name].record.granularity
    total, free = view.quantity(name)
    return [name, "bytes", format_size(total * granularity), format_size(free * granularity), format_size(granularity)]


def _sessions(view: View, now: float) -> str:
    rows, words = [], []
    for session in _by_id(view):
        status = view.status(session.token)
        creator = "CLI" if session.kind == "persistent" else "SLURM"
        times = [_date(session.created), "never", str(_count(status.mounts))]
        rows.append([str(session.id), _flags(session, status), session.token, creator, str(session.request.owner), *times])
        words.append(_words(view, session, status, now))
    return _table("sess state token creator owner created expiration nodes", rows, words) if rows else "no sessions\n"


def _instances(view: View, _: float) -> str:
    sessions = [session for session in _by_id(view) if session.volume is not None]
    rows = [_instance(session, view.status(session.token)) for session in sessions]
    words = [_usage(view, session.token) for session in sessions]
    return _table("inst state sess bytes nodes created expiration intact label public confs", rows, words) if rows else "no instances\n"


def _instance(session: Session, status: Status) -> list[str]:
    assert session.volume is not None
    size, hosts = format_size(session.volume.capacity), str(len(session.volume.hosts))
    persistent = session.kind == "persistent"
    intact = str(status.filesystem != "quarantined").lower()
    label = session.token if persistent else f"I{session.id}-0"
    number = str(session.id)
    return [
        *(number, _flags(session, status), number, size, hosts, _date(session.created)),
        *("never", intact, label, str(persistent).lower(), "1"),
    ]


def _usage(view: View, token: str) -> str:
    entry = view.usages.get(token)
    return f"{format_size(entry.record.used)} used" if entry else "usage unknown"


def _configurations(view: View, _: float) -> str:
    rows = [_configuration(view, session) for session in _by_id(view) if session.volume is not None]
    return _table("conf state inst type activs", rows) if rows else "no scratch, cache, swap configurations\n"


def _configuration(view: View, session: Session) -> list[str]:
    status, number = view.status(session.token), str(session.id)
    users = len(view.users_of(session.token)) if session.kind == "persistent" else int(bool(status.mounts))
    return [number, _flags(session, status), number, "scratch", str(users)]


TABLES: dict[str, Table] = {"pools": _pools, "sessions": _sessions, "instances": _instances, "configurations": _configurations}


def _by_id(view: View) -> list[Session]:
    return sorted((entry.record for entry in view.sessions.values()), key=lambda session: (session.id, session.token))


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def _table(heading: str, rows: Sequence[Sequence[str]], words: Iterable[str] = ()) -> str:
    """Columns as DataWarp aligns them, to the right; ``words`` follow each row."""
    lines = [heading.split(), *rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    aligned = [" ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines]
    return "".join(f"{line}  {more}".rstrip() + "\n" for line, more in zip_longest(aligned, ["", *words], fillvalue=""))


# --- how a session does ---


def _flags(session: Session, status: Status) -> str:
    """DataWarp's five: the goal Creating or Destroying, Actualized, Fuse blown, Transitioning, Mixed."""
    failed = goals.failed(session, status)
    return "".join(
        (
            "C" if session.goal.filesystem == "ready" else "D",
            "A" if goals.built(session, status) else "-",
            "F" if failed or status.filesystem == "quarantined" else "-",
            "T" if not failed and not goals.met(session, status) else "-",
            "M" if status.mounts != status.touched else "-",
        )
    )


def _words(view: View, session: Session, status: Status, now: float) -> str:
    """What a session is doing, or why it waits."""
    if status.running is not None:
        return f"{status.running.step} for {_duration(now - status.running.started)}{_copied(status)}"
    if session.kind == "kept":
        return "kept: its stage_out is owed"
    if goals.failed(session, status) and status.failure is not None:
        where = f" in {status.failure.step}" if status.failure.step else ""
        return f"{session.goal.verb} failed{where}: {status.failure.kind}"
    if goals.met(session, status):
        return _reached(view, session, status)
    if not view.alive:
        return f"{session.goal.verb} waits: no storage node is up"
    if waiting.needs(view, session):
        return f"{session.goal.verb} waits: {_missing(view, session)}"
    if status.events and status.events[-1].error:
        return f"{session.goal.verb} tries {status.events[-1].what} again"
    return f"{session.goal.verb} begins"


def _missing(view: View, session: Session) -> str:
    if waiting.unattached(view, session.token, session.request):
        return "a persistent buffer is not ready"
    total, free = view.quantity(session.request.pool)
    return f"{free} of {total} bricks of pool {session.request.pool} are free"


def _reached(view: View, session: Session, status: Status) -> str:
    if session.kind == "persistent":
        return f"used by {_number(len(view.users_of(session.token)), 'job')}"
    if status.mounts:
        return f"mounted on {_number(_count(status.mounts), 'node')}"
    if status.stage_out == "done":
        return "staged out"
    return "staged in" if status.stage_in == "done" else "ready"


def _copied(status: Status) -> str:
    done = status.progress
    if status.running is None or status.running.step not in ("stage_in", "stage_out") or not done.total_bytes:
        return ""
    return f", {done.files} of {_number(done.total_files, 'file')}, {format_size(done.bytes)} of {format_size(done.total_bytes)}"


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s" if minutes else f"{rest} s"
