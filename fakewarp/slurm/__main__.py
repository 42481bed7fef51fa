"""``python -I -m fakewarp.slurm``: what the thin client becomes for ``fakewarp install-slurm``."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
