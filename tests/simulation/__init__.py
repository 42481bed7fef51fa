"""The simulation: a cluster on a virtual clock."""
