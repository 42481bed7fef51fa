"""The node helper: these files are joined to one, which runs on the hosts."""
