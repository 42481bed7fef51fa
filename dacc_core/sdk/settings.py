"""Types for settings that say more than ``str``, ``int``, ``float``, ``bool``, ``Literal``, ``tuple`` and ``Mapping`` do.

dacc checks them before a provider is made, and tells operators their units.
"""

from __future__ import annotations

from ..config import kinds

Size = kinds.Size
"""A setting: bytes, above 0. A site may write a unit: ``1400GiB``."""

Seconds = kinds.Seconds
"""A setting: seconds, above 0, perhaps with a fraction."""

Count = kinds.Count
"""A setting: a whole number, at least 1."""

AbsolutePath = kinds.Path
"""A setting: a path that begins with ``/``."""
