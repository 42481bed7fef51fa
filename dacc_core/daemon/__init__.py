"""``dacd``: the core with a real clock, keystore, threads and socket."""
