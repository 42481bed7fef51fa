"""Backing directory: everything that needs no root. ``test_unprivileged.py`` runs this file as an ordinary user too."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dacc_core.sdk import AlreadyExists, Busy, NotFound, Unavailable, Unsupported

from dacc_fake.faults import PARTIAL

if TYPE_CHECKING:
    from conftest import Site


def at(site: Site, host: str, path: str = "") -> Path:
    """A path of a host, the mount's by default."""
    return Path(f"{site.base}/hosts/{host}{path or site.path}")


def test_two_hosts_share_global(plain: Site) -> None:
    plain.create()
    plain.mount("c1", "c2")

    (at(plain, "c1") / "global/from-c1").touch()

    assert (at(plain, "c2") / "global/from-c1").exists()
    plain.unmount("c1", "c2")
    plain.delete()


def test_each_host_has_its_private_directory_behind_the_link(plain: Site) -> None:
    plain.create()
    plain.mount("c1", "c2", private=True, link=plain.link)

    for host in ("c1", "c2"):
        (at(plain, host, plain.link) / f"only-{host}").touch()

    assert [path.name for path in at(plain, "c1", plain.link).iterdir()] == ["only-c1"]
    plain.unmount("c1", "c2", link=plain.link)
    plain.delete()


def test_without_a_root_the_real_path_is_used(plain: Site) -> None:
    plain.configure(root="")
    plain.create()
    path = f"{plain.base}/real/7_job"

    plain.mount("c1", path=path)

    assert Path(path).readlink() == plain.place()
    plain.unmount("c1", path=path)
    plain.delete()


def test_global_has_the_mode_that_was_asked(plain: Site) -> None:
    plain.create(mode=0o750)

    mode = (plain.place() / "global").stat().st_mode

    plain.delete()
    assert mode & 0o777 == 0o750


def test_a_mode_that_the_owner_chose_survives_a_mount(plain: Site) -> None:
    plain.create()
    (plain.place() / "global").chmod(0o711)

    plain.mount("c1")

    assert (plain.place() / "global").stat().st_mode & 0o777 == 0o711
    plain.unmount("c1")
    plain.delete()


def test_each_call_ten_times(plain: Site) -> None:
    for _ in range(10):
        plain.create()
    for _ in range(10):
        assert not plain.mount("c1", private=True, link=plain.link).failed
    for _ in range(10):
        assert not plain.unmount("c1", link=plain.link).failed
    for _ in range(10):
        plain.delete()


def test_delete_removes_what_was_in_it(plain: Site) -> None:
    plain.create()
    plain.mount("c1")
    (at(plain, "c1") / "global/file").write_text("data")
    plain.unmount("c1")

    plain.delete()

    assert plain.left() == []


@pytest.mark.parametrize(("gone", "left"), [("b1", {"b1"}), ("b2", {"b2"})])
def test_delete_leaves_hosts_alone_that_are_gone(plain: Site, gone: str, left: set[str]) -> None:
    plain.spread = True
    plain.create()

    plain.provider.delete(dataclasses.replace(plain.whole(None), gone=(gone,)))

    assert {name.partition("/")[0] for name in plain.left()} == left
    plain.delete()


def test_delete_while_mounted_is_refused_and_tells_where(plain: Site) -> None:
    plain.create()
    plain.mount("c1")

    with pytest.raises(Busy, match=f"still mounted at {at(plain, 'c1')}"):
        plain.delete()

    plain.unmount("c1")
    plain.delete()


def test_a_host_whose_link_is_gone_does_not_block_delete(plain: Site) -> None:
    plain.create()
    plain.mount("c1")
    at(plain, "c1").unlink()

    plain.delete()


@pytest.mark.parametrize("call", ["mount", "unmount"])
def test_something_else_at_the_path_is_an_error(plain: Site, call: str) -> None:
    plain.create()
    at(plain, "c1").parent.mkdir(parents=True)
    at(plain, "c1").write_text("")

    error = getattr(plain, call)("c1").hosts["c1"]

    at(plain, "c1").unlink()
    plain.delete()
    assert isinstance(error, AlreadyExists)
    assert f"host c1: {at(plain, 'c1')}" in str(error)


def test_mount_of_a_volume_that_is_not_there(plain: Site) -> None:
    assert isinstance(plain.mount("c1").hosts["c1"], NotFound)


def test_a_brick_that_holds_another_volume_is_refused(plain: Site) -> None:
    plain.create()
    plain.name = "vfake002"

    with pytest.raises(AlreadyExists, match="holds volume vfake001"):
        plain.create()

    plain.delete()
    plain.name = "vfake001"
    plain.delete()


@pytest.mark.parametrize("call", ["create", "delete"])
def test_again_after_a_crash(plain: Site, call: str) -> None:
    for place in PARTIAL[call]:
        plain.configure(faults=[])
        if call == "delete":
            plain.create()
        plain.configure(faults=[{"call": call, "partial": place}])
        with pytest.raises(Unavailable):
            getattr(plain, call)()
        getattr(plain, call)()
        plain.delete()


@pytest.mark.parametrize("call", ["mount", "unmount"])
def test_a_mount_again_after_a_crash(plain: Site, call: str) -> None:
    plain.create()
    for place in PARTIAL[call]:
        plain.configure(faults=[])
        if call == "unmount":
            plain.mount("c1")
        plain.configure(faults=[{"call": call, "partial": place}])
        assert getattr(plain, call)("c1").failed
        assert not getattr(plain, call)("c1").failed
        plain.unmount("c1")
    plain.delete()


def test_usage_counts_what_was_written(plain: Site) -> None:
    plain.create()
    (plain.place() / "global/file").write_bytes(bytes(1 << 20))

    usage = plain.provider.usage(plain.whole())

    plain.delete()
    assert 1 << 20 <= usage["used"] < 2 << 20
    assert usage["capacity"] == plain.capacity


def test_restore(plain: Site) -> None:
    plain.create()
    plain.provider.restore(plain.whole())
    plain.delete()

    with pytest.raises(NotFound):
        plain.provider.restore(plain.whole())


def test_check_host_makes_the_brick_directory(plain: Site) -> None:
    plain.check("b1")

    assert (plain.base / "b1").is_dir()


def test_swap_is_unsupported(plain: Site) -> None:
    error = plain.swap("swap_on").hosts["c1"]

    assert isinstance(error, Unsupported)
    assert "use backing image" in str(error)


def test_the_capabilities_say_what_it_lacks(plain: Site) -> None:
    found = plain.provider.capabilities

    assert (found.capacity_enforced, found.swap) == (False, False)


def test_the_movers_parent_directory_is_for_nobody_else(plain: Site, tmp_path: Path) -> None:
    path = tmp_path / "movers" / "vfake001"
    plain.create()

    plain.mount("c1", path=str(path), role="mover")

    assert path.parent.stat().st_mode & 0o777 == 0o700
    plain.unmount("c1", path=str(path), role="mover")
    plain.delete()


def test_a_mover_finds_the_volume_at_the_very_path_that_it_asked_for(plain: Site, tmp_path: Path) -> None:
    """Whoever copies there knows nothing of the roots that stand for hosts."""
    path = tmp_path / "movers" / "vfake001"
    plain.create()

    plain.mount("c1", path=str(path), role="mover")

    assert (path / "global").is_dir()
    plain.unmount("c1", path=str(path), role="mover")
    assert not path.is_symlink()
    plain.delete()
