"""The node kit: what a provider's program on hosts is made of, and how a provider calls it.

:mod:`.call` is the provider's side. The rest is for the program, which is sent to the hosts: :mod:`.kit` (verbs, commands, locks, errors),
:mod:`.mounts` (the mount table, unmounting), :mod:`.owned` (directories and links where others may have put something),
:mod:`.volumes` and :mod:`.swap` (what a mounted volume gets).
"""
