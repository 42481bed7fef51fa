"""The files that Slurm, its compute nodes and systemd need, made from templates for a site: ``fakewarp install-slurm``."""
