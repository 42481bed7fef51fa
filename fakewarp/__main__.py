"""``python -I -m fakewarp``: what the thin client becomes when no daemon listens."""

from .fallback import run
from .frontend import FRONTEND

if __name__ == "__main__":
    run(FRONTEND)
