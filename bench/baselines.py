"""The baseline of each row: the figures of the program that dacc replaces (data-acc 2.6, the peer), and our targets.

The peer was measured once, on a machine with 2 cores, without its simulated steps of 200 ms; compare orders of magnitude, not digits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Baseline:
    """In the row's own unit: the peer's figure, and our target, the most or the least that is good enough. ``most_ratio``: of its ratio."""

    peer: float | None = None
    most: float | None = None
    least: float | None = None
    most_ratio: float | None = None


NO_BASELINE = Baseline()

ONE_CALL = "one call, as a process (3 hosts, no sessions)"
LISTINGS = "listings of larger registries (hosts of 12 bricks / sessions), asked of dacd"
FALLBACK = "the same without dacd"
MANY = "whole lifecycles of 9 calls, many clients"
LARGE = "whole lifecycles, 2,400 other hosts registered"
COUNTS = "what a lifecycle leaves and costs in the keystore"
REQUESTS = "keystore requests of a call, with 24 and with 240 hosts"
COPIES = "copying"
ETCD = "calls of the keystore on etcd, 1.2 kB a value"
FAN_OUT = "one command of 50 ms on many hosts"
LUSTRE = "Lustre provider over ssh, on stand-ins for Lustre's programs (storage hosts x bricks + nodes)"
TAKEOVER = "a host's dacd is killed in the middle of a step: until another one has finished it"

_ONE_CALL = {
    "pools": Baseline(13.8, most=15.0),
    "show_instances": Baseline(9.6, most=15.0),
    "show_sessions": Baseline(9.2, most=15.0),
    "show_configurations": Baseline(6.7, most=15.0),
    "job_process": Baseline(6.5, most=25.0),
    "job_process, slowest": Baseline(12.0, most=25.0),
    "setup": Baseline(43.2),
    "data_in": Baseline(20.9),
    "real_size": Baseline(10.9),
    "paths": Baseline(10.2, most=25.0),
    "paths, slowest": Baseline(most=25.0),
    "pre_run": Baseline(22.7),
    "post_run": Baseline(20.9),
    "data_out": Baseline(20.7),
    "teardown": Baseline(35.9),
    "whole lifecycle": Baseline(193.0, most=150.0),
}

# pools, show_instances, show_sessions, how much of the peer's time pools may take without the daemon, and the memory of its pools in MB.
_LISTINGS = {
    "24/100": (28.5, 17.0, 15.0, 1.0, 16.0),
    "240/1000": (128.0, 48.0, 54.0, 0.6, 25.0),
    "2400/10000": (1054.0, 318.0, 312.0, 0.5, 83.0),
}
_BARE = 10.0
"""What a bare Python took on the machine that measured the peer: a start-up is compared in multiples of it."""

# Lifecycles a second, the median of a setup in ms.
_MANY = {
    1: (Baseline(4.8), Baseline(47.0)),
    4: (Baseline(7.0), Baseline(119.0)),
    16: (Baseline(8.6), Baseline(440.0)),
    64: (Baseline(7.9, least=16.0), Baseline(5200.0, most=2000.0)),
}

BASELINES: dict[tuple[str, str], Baseline] = {
    **{(ONE_CALL, name): baseline for name, baseline in _ONE_CALL.items()},
    **{(LISTINGS, f"pools {size}"): Baseline(pools, most=15.0) for size, (pools, *_) in _LISTINGS.items()},
    **{(LISTINGS, f"show_instances {size}"): Baseline(instances) for size, (_, instances, *_) in _LISTINGS.items()},
    **{(LISTINGS, f"show_sessions {size}"): Baseline(sessions) for size, (_, _, sessions, *_) in _LISTINGS.items()},
    **{(FALLBACK, f"pools {size}"): Baseline(pools, most_ratio=pools * part / _BARE) for size, (pools, _, _, part, _) in _LISTINGS.items()},
    **{(FALLBACK, f"show_instances {size}"): Baseline(instances) for size, (_, instances, *_) in _LISTINGS.items()},
    **{(FALLBACK, f"show_sessions {size}"): Baseline(sessions) for size, (_, _, sessions, *_) in _LISTINGS.items()},
    **{(group, f"memory of a call {size}"): Baseline(peer) for group in (LISTINGS, FALLBACK) for size, (*_, peer) in _LISTINGS.items()},
    **{(MANY, f"{clients} clients: lifecycles"): rate for clients, (rate, _) in _MANY.items()},
    **{(MANY, f"{clients} clients: setup"): setup for clients, (_, setup) in _MANY.items()},
    **{(MANY, f"{clients} clients: failed"): Baseline(0.0, most=0.0) for clients in _MANY},
    (LARGE, "16 clients: lifecycles"): Baseline(0.94, least=8.0),
    (LARGE, "16 clients: setup"): Baseline(15400.0),
    (LARGE, "16 clients: failed"): Baseline(0.0, most=0.0),
    (COUNTS, "revisions"): Baseline(62.0, most=20.0),
    (COUNTS, "leases granted"): Baseline(6.0, most=0.0),
    (COUNTS, "keys left beside the history"): Baseline(most=0.0),
    (TAKEOVER, "lease of 10 s"): Baseline(61.0, most_ratio=1.5),  # the peer's call fails then
    # 5,000 hosts at 200 ms have to be done in 300 s; here are about a tenth of them, a quarter as slow.
    (FAN_OUT, "512 hosts, as processes of this machine"): Baseline(most=7.7),
}


def on(store: str, group: str) -> str:
    """The group of the same rows on another keystore; by itself a group is measured on the default, SQLite."""
    return group if store == "sqlite" else f"{group}, on {store}"


ON_BOTH = (LISTINGS, FALLBACK, MANY, LARGE, COUNTS, TAKEOVER)
# The peer has etcd only: its figures and our targets are the same on both.
BASELINES |= {(on("etcd", group), name): baseline for (group, name), baseline in BASELINES.items() if group in ON_BOTH}
