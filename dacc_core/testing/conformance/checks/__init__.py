"""The checks, one file for each group. A check's docstring is the rule that it holds a provider to."""

from .group import Group, checks_of

__all__ = ["Group", "checks_of"]
