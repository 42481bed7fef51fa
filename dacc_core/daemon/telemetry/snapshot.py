"""The cluster in numbers, counted in a view: bricks, hosts and sessions by what they are doing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...registry.view import View
from ...verbs import goals
from ...verbs.hosts import brick_state, state_of


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """Numbers of bricks by (pool, state), hosts by state, sessions by (kind, state)."""

    pools: tuple[str, ...]
    bricks: Counter[tuple[str, str]]
    hosts: Counter[str]
    sessions: Counter[tuple[str, str]]


def take_snapshot(view: View) -> ClusterSnapshot:
    """Count everything."""
    return ClusterSnapshot(tuple(view.pools), _bricks(view), _hosts(view), _sessions(view))


def _bricks(view: View) -> Counter[tuple[str, str]]:
    return Counter((brick.pool, brick_state(view, host, brick)) for host, entry in view.hosts.items() for brick in entry.record.bricks)


def _hosts(view: View) -> Counter[str]:
    gone = (host for host, held in view.allocations.items() if held.record.forgotten and host not in view.hosts)
    # "dead, draining" counts as dead: nobody waits for such a host to be empty.
    return Counter(state_of(view, host).partition(",")[0] for host in (*view.hosts, *gone))


def _sessions(view: View) -> Counter[tuple[str, str]]:
    sessions = (entry.record for entry in view.sessions.values())
    return Counter((session.kind, goals.state(session, view.status(session.token))) for session in sessions)
