"""The verbs, run without a daemon or in the simulation."""
