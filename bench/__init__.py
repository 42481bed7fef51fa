"""The benchmarks: ``python -m bench``. Whatever depends on the machine is shown beside something that ran in turn with it."""
