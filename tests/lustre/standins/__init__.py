"""Stand-ins for Lustre's programs: their rules, labels and exit codes over ext4, with Python's standard library alone.

What is simplified: all data of a filesystem is on the one ext4 of its first OST, which every client mounts again, so its capacity is
that of one OST; the MDTs and other OSTs are formatted and mounted for real but hold nothing. An access to a host that is cut off
does not hang once a filesystem is mounted. What Lustre keeps in ``CONFIGS`` on a target, and an MGS on its own, is in the wire, by
the UUID of the ext4, so that formatting loses it as on a disk.
"""
