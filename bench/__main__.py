"""``python -m bench``: measure, print a table. Targets that are missed are a word in it, never an exit status."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from . import copies, etcd, fan_out, lifecycles, listings, lustre, requests, takeover, verbs
from .rows import Row, table

THEMES: dict[str, Callable[..., Iterator[Row]]] = {
    "verbs": verbs.measure,
    "listings": listings.measure,
    "lifecycles": lifecycles.measure,
    "takeover": takeover.measure,
    "requests": requests.measure,
    "etcd": etcd.measure,
    "copies": copies.measure,
    "fan-out": fan_out.measure,
    "lustre": lustre.measure,
}


def main() -> None:
    """Run the themes and show what they found."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions and small trees: to see that it works, not how fast")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows to FILE, too")
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"some of: {', '.join(THEMES)} [default: all]")
    options = parser.parse_args()
    unknown = set(options.themes) - THEMES.keys()
    if unknown:
        parser.error(f"there is no theme {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in options.themes or THEMES:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        rows.extend(THEMES[name](quick=options.quick))
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end\n")
    print("\n".join(table(rows)))
    if options.json:
        options.json.write_text(json.dumps([row.plain() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
