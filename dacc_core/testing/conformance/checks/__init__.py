"""The checks, one file for each group. A check's docstring is the rule that it holds a provider to."""

from .group import CheckGroup, checks_of

__all__ = ["CheckGroup", "checks_of"]
