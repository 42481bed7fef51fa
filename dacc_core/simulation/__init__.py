"""A whole cluster in one process, on a virtual clock, with faults: the invariants are checked after every event."""
