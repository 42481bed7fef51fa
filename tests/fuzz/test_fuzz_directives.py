"""A short coverage-guided run, where atheris is installed; hypothesis covers the same ground everywhere."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("atheris"):

    def test_ten_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
        script = Path(__file__).with_name("fuzz_directives.py")
        command = [sys.executable, str(script), "-max_total_time=10", f"-artifact_prefix={tmp_path}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-4000:]
