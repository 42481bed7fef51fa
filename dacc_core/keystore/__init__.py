"""Shared state behind one contract: :mod:`.base` defines it; :mod:`.etcd`, :mod:`.sqlite` and :mod:`.memory` implement it."""
