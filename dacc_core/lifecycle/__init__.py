"""A session's way from goal to facts: :mod:`.plan` is pure, :mod:`.core` decides, :mod:`.executor` does."""
