"""Finding providers and front ends that are installed as packages, and loading them by name.

pluggy's own ``load_setuptools_entrypoints`` is not enough: one import error there stops everything without
naming the culprit, two packages of one name resolve silently, and misspelt hooks pass.
"""

from .inventory import ProviderRow, is_strict, list_providers, refuse_problems, show_provider
from .loading import add_commands, load_frontend, load_provider, new_manager, probe_provider
from .observers import Observers

__all__ = [
    "Observers",
    "ProviderRow",
    "add_commands",
    "is_strict",
    "list_providers",
    "load_frontend",
    "load_provider",
    "new_manager",
    "probe_provider",
    "refuse_problems",
    "show_provider",
]
