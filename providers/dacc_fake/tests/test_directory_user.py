"""Backing directory: what holds for an ordinary user only. Root runs this through ``test_unprivileged.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dacc_core.sdk import InvalidRequest, Unavailable

if TYPE_CHECKING:
    from conftest import Site


def test_a_user_cannot_make_another_users_volume(plain: Site) -> None:
    with pytest.raises(InvalidRequest, match="run dacd as root or as that user"):
        plain.create(owner=0)

    plain.delete()


def test_auto_is_directory_for_a_user(plain: Site) -> None:
    plain.configure(backing="auto")

    assert plain.provider.backing == "directory"


def test_a_users_check_of_images_tells_what_to_set(plain: Site) -> None:
    plain.configure(backing="image")

    with pytest.raises(Unavailable, match="set backing: directory"):
        plain.check("b1")
