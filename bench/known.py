"""What the rows are judged by: the figures of the program that dacc replaces (data-acc 2.6), and our targets.

The peer was measured once, on a machine with 2 cores, without its pretended 200 ms steps; compare orders of magnitude, not digits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """In the row's own unit: the peer's figure, and the most or the least that we aim for. ``most_ratio``: the same of its ratio."""

    peer: float | None = None
    most: float | None = None
    least: float | None = None
    most_ratio: float | None = None


NOTHING = Known()

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
    "pools": Known(13.8, most=15.0),
    "show_instances": Known(9.6, most=15.0),
    "show_sessions": Known(9.2, most=15.0),
    "show_configurations": Known(6.7, most=15.0),
    "job_process": Known(6.5, most=25.0),
    "job_process, slowest": Known(12.0, most=25.0),
    "setup": Known(43.2),
    "data_in": Known(20.9),
    "real_size": Known(10.9),
    "paths": Known(10.2, most=25.0),
    "paths, slowest": Known(most=25.0),
    "pre_run": Known(22.7),
    "post_run": Known(20.9),
    "data_out": Known(20.7),
    "teardown": Known(35.9),
    "whole lifecycle": Known(193.0, most=150.0),
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
    1: (Known(4.8), Known(47.0)),
    4: (Known(7.0), Known(119.0)),
    16: (Known(8.6), Known(440.0)),
    64: (Known(7.9, least=16.0), Known(5200.0, most=2000.0)),
}

KNOWN: dict[tuple[str, str], Known] = {
    **{(ONE_CALL, name): known for name, known in _ONE_CALL.items()},
    **{(LISTINGS, f"pools {size}"): Known(pools, most=15.0) for size, (pools, *_) in _LISTINGS.items()},
    **{(LISTINGS, f"show_instances {size}"): Known(instances) for size, (_, instances, *_) in _LISTINGS.items()},
    **{(LISTINGS, f"show_sessions {size}"): Known(sessions) for size, (_, _, sessions, *_) in _LISTINGS.items()},
    **{(FALLBACK, f"pools {size}"): Known(pools, most_ratio=pools * part / _BARE) for size, (pools, _, _, part, _) in _LISTINGS.items()},
    **{(FALLBACK, f"show_instances {size}"): Known(instances) for size, (_, instances, *_) in _LISTINGS.items()},
    **{(FALLBACK, f"show_sessions {size}"): Known(sessions) for size, (_, _, sessions, *_) in _LISTINGS.items()},
    **{(group, f"memory of a call {size}"): Known(peer) for group in (LISTINGS, FALLBACK) for size, (*_, peer) in _LISTINGS.items()},
    **{(MANY, f"{clients} clients: lifecycles"): rate for clients, (rate, _) in _MANY.items()},
    **{(MANY, f"{clients} clients: setup"): setup for clients, (_, setup) in _MANY.items()},
    **{(MANY, f"{clients} clients: failed"): Known(0.0, most=0.0) for clients in _MANY},
    (LARGE, "16 clients: lifecycles"): Known(0.94, least=8.0),
    (LARGE, "16 clients: setup"): Known(15400.0),
    (LARGE, "16 clients: failed"): Known(0.0, most=0.0),
    (COUNTS, "revisions"): Known(62.0, most=20.0),
    (COUNTS, "leases granted"): Known(6.0, most=0.0),
    (COUNTS, "keys left beside the history"): Known(most=0.0),
    (TAKEOVER, "lease of 10 s"): Known(61.0, most_ratio=1.5),  # the peer's call fails then
    # 5,000 hosts at 200 ms have to be done in 300 s; here are about a tenth of them, a quarter as slow.
    (FAN_OUT, "512 hosts, as processes of this machine"): Known(most=7.7),
}


def on(store: str, group: str) -> str:
    """The group of the same rows on another keystore; by itself a group is measured on the default, SQLite."""
    return group if store == "sqlite" else f"{group}, on {store}"


ON_BOTH = (LISTINGS, FALLBACK, MANY, LARGE, COUNTS, TAKEOVER)
# The peer has etcd only: its figures and our targets are the same on both.
KNOWN |= {(on("etcd", group), name): known for (group, name), known in KNOWN.items() if group in ON_BOTH}
