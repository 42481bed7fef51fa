"""The benchmarks run and print every row. Their figures are the machine's, so none is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.baselines import FALLBACK, LISTINGS, on
from bench.listings import REGISTRIES
from bench.rows import Row
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.registry.keys import PREFIX
from dacc_core.registry.view import View
from dacc_core.simulation.invariants import broken_rules
from tests.support.etcd import lacking
from tests.support.registries import Registry, write

from ..lustre import cluster as lustre

ROOT = Path(__file__).parents[2]
PAGES = {"24/100": 1, "240/1000": 1, "2400/10000": 3}
"""What the calls without dacd ask: etcd is read 10,000 records at a time."""
ON_ETCD = {(on("etcd", LISTINGS), f"keystore requests of a call {size}"): 0 for size in PAGES} | {
    (on("etcd", FALLBACK), f"keystore requests of a call {size}"): pages for size, pages in PAGES.items()
}


@pytest.mark.long
def test_a_quick_run_prints_every_row_and_judges_those_with_a_target(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    argv = [sys.executable, "-m", "bench", "--quick", "--json", str(file)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())
    assert len({row["group"] for row in rows}) == (10 if lacking() else 17) + (not lustre.lacking())
    assert sum(bool(row["target"]) for row in rows) > 20
    for row in rows:
        assert row["group"] in done.stdout
        assert row["name"] in done.stdout
        assert row["value"] >= 0
        assert row["verdict"] in (("met", "missed") if row["target"] else ("",))
    assert not [row["name"] for row in rows if row["name"].endswith("failed") and row["value"]]
    asked = {(row["group"], row["name"]): row["value"] for row in rows if row["name"].startswith("keystore requests")}
    assert asked == ({} if lacking() else ON_ETCD)


def test_what_a_ratio_must_not_exceed_is_a_target_too() -> None:
    row = Row(FALLBACK, "pools 24/100", 1.0, "ms", 3.0, "bare python")
    assert (row.target, row.verdict) == ("<= 2.85x", "missed")
    assert replace(row, ratio=2.8).verdict == "met"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.name)
def test_the_registries_that_are_measured_break_no_rule(registry: Registry) -> None:
    store, view = MemoryKeystore(), View()
    write(store, registry)
    view.load(store.range(PREFIX))
    assert (len(view.alive), len(view.sessions)) == (registry.hosts, registry.sessions)
    assert list(broken_rules(view)) == []
