"""The tests run from the wheel and share helpers: pytest's importlib mode does not put this directory on the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
