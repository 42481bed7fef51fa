"""Shared state behind one contract: :mod:`.base` says it, :mod:`.sqlite` and :mod:`.memory` keep it."""
