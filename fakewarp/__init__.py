"""The Slurm front end: the command that Slurm's burst_buffer/datawarp plugin calls."""
