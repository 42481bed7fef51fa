"""``python -I -m fakewarp.dwstat``: what the thin client becomes when no daemon listens."""

from fakewarp.dwstat.frontend import DWSTAT
from fakewarp.fallback import run

if __name__ == "__main__":
    run(DWSTAT)
