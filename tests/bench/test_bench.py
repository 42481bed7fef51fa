"""The benchmarks run and print every row. Their figures are the machine's, so none is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dacc_core.testing.etcd import lacking

ROOT = Path(__file__).parents[2]


def test_a_quick_run_prints_every_row_and_judges_those_with_a_target(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    argv = [sys.executable, "-m", "bench", "--quick", "--json", str(file)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())
    assert len({row["group"] for row in rows}) == 9 + (not lacking())
    assert sum(bool(row["target"]) for row in rows) > 20
    for row in rows:
        assert row["group"] in done.stdout
        assert row["name"] in done.stdout
        assert row["value"] >= 0
        assert row["verdict"] in (("met", "missed") if row["target"] else ("",))
    assert not [row["name"] for row in rows if row["name"].endswith("failed") and row["value"]]

