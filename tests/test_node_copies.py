"""What stands in several providers alike, since nothing of dacc is installed on the hosts."""

from __future__ import annotations

from pathlib import Path

PROVIDERS = Path(__file__).parents[1] / "providers"


def test_every_provider_has_the_same_guard_against_what_others_plant() -> None:
    copies = {path.read_text() for path in PROVIDERS.glob("dacc_*/src/dacc_*/node/planted.py")}
    assert (len(list(PROVIDERS.glob("dacc_*"))), len(copies)) == (3, 1)
