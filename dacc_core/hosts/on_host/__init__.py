"""Programs that are sent to hosts: each one file, Python 3.6, standard library only."""
