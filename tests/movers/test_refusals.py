"""What a mover refuses, and how it says so."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dacc_core.errors import (
    Cancelled,
    DaccError,
    Denied,
    HostUnreachable,
    InvalidRequest,
    NoSpace,
    NoSuchUser,
    NotFound,
    TooLarge,
    Unavailable,
)
from dacc_core.hosts import LocalRunner
from dacc_core.movers import RsyncMover
from dacc_core.movers.pairs import MAX_LIST_BYTES
from dacc_core.values import StageRequest

from .conftest import PYTHON, Site, require_root

BUFFER = "$DW_JOB_STRIPED"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "name",
    ["-e/x/evil.sh", "a;reboot", "$(touch x)", "`touch x`", "new\nline", "--rsh=x", "host:path", "rsync:", "*", "a b", "'", "\\"],
)
def test_a_hostile_name_is_only_a_name(site: Site, name: str) -> None:
    site.file(site.home / "dir" / name / name)
    one = StageRequest(source=f"{site.home}/dir/{name}/{name}", destination=f"{BUFFER}/{name}")
    all_of_it = StageRequest(source=f"{site.home}/dir/{name}", destination=f"{BUFFER}/tree/{name}", kind="directory")
    RsyncMover().copy(site.order("in", one, all_of_it))
    assert (site.buffer / name).read_bytes() == b"content"
    assert (site.buffer / "tree" / name / name).read_bytes() == b"content"
    assert not [path for path in site.place.rglob("x") if path.is_file()]


def test_a_missing_source_is_one_clear_error(site: Site) -> None:
    with pytest.raises(NotFound, match=r"^stage_in source /x does not exist \(as user \d+\)$"):
        site.copy("/x", f"{BUFFER}/x")


def test_a_missing_source_in_the_buffer_is_named_as_the_user_wrote_it(site: Site) -> None:
    with pytest.raises(NotFound, match=re.escape("stage_out source $DW_JOB_STRIPED/x does not exist")):
        site.copy(f"{BUFFER}/x", site.home / "x", out=True)


def test_nothing_is_copied_when_one_of_several_requests_is_wrong(site: Site) -> None:
    good = StageRequest(source=str(site.file(site.home / "a")), destination=f"{BUFFER}/a")
    bad = StageRequest(source="/x", destination=f"{BUFFER}/x")
    with pytest.raises(NotFound):
        RsyncMover().copy(site.order("in", good, bad))
    assert files(site.buffer) == []


@pytest.mark.root
def test_what_only_root_may_read_is_not_read(site: Site) -> None:
    require_root()
    secret = site.place / "secret"
    secret.write_bytes(b"secret")
    secret.chmod(0o600)
    with pytest.raises(Denied, match=f"user {site.someone.uid} may not read stage_in source {secret}: Permission denied on host mover"):
        site.copy(secret, f"{BUFFER}/secret")
    assert files(site.buffer) == []


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_closed_directory_in_the_source_is_named(site: Site, mode: int) -> None:
    require_root()
    site.file(site.home / "d/open")
    site.file(site.home / "d/shut/x")
    (site.home / "d/shut").chmod(mode)
    with pytest.raises(Denied, match=r"d/shut"):
        site.copy(site.home / "d", f"{BUFFER}/d", "directory")


@pytest.mark.root
def test_an_unreadable_file_in_the_source_is_named(site: Site) -> None:
    require_root()
    site.file(site.home / "d/shut", mode=0o000)
    with pytest.raises(Denied, match=r"d/shut\): Permission denied"):
        site.copy(site.home / "d", f"{BUFFER}/d", "directory")


@pytest.mark.root
def test_a_destination_that_the_user_may_not_write_is_named(site: Site) -> None:
    require_root()
    site.file(site.buffer / "a")
    with pytest.raises(Denied, match=r"/etc"):
        site.copy(f"{BUFFER}/a", "/etc/dacc-test/a", out=True)


@pytest.mark.root
def test_an_existing_directory_that_the_user_may_not_write_is_named(site: Site) -> None:
    require_root()
    site.file(site.buffer / "a")
    with pytest.raises(Denied, match=r"may not write stage_out destination /etc/dacc-test \(/etc\): Permission denied"):
        site.copy(f"{BUFFER}/a", "/etc/dacc-test", out=True)
    assert not Path("/etc/dacc-test").exists()


@pytest.mark.root
def test_a_directory_of_somebody_elses_in_the_destination_is_denied(site: Site) -> None:
    require_root()
    site.file(site.buffer / "d/theirs/a")
    (site.home / "d/theirs").mkdir(parents=True)
    site.give(site.home / "d")
    with pytest.raises(Denied, match=rf"^user {site.someone.uid} may not copy .*d/theirs"):
        site.copy(f"{BUFFER}/d", site.home / "d", "directory", out=True)


def test_a_link_that_leads_out_of_the_buffer_is_refused(site: Site) -> None:
    (site.buffer / "out").symlink_to(site.home)
    with pytest.raises(InvalidRequest, match="leads outside of its buffer"):
        site.copy(site.file(site.home / "a"), f"{BUFFER}/out/b")
    assert files(site.home) == ["a"]


def test_a_source_behind_a_link_that_leads_out_of_the_buffer_is_refused(site: Site) -> None:
    site.file(site.home / "a")
    (site.buffer / "out").symlink_to(site.home)
    with pytest.raises(InvalidRequest, match="leads outside of its buffer"):
        site.copy(f"{BUFFER}/out/a", site.home / "b", out=True)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "new/../../x", ".."])
def test_dots_that_lead_out_of_the_buffer_are_refused(site: Site, path: str) -> None:
    site.file(site.buffer / "a/b")
    with pytest.raises((InvalidRequest, Denied)):
        site.copy(site.file(site.home / "a"), f"{BUFFER}/{path}")
    assert files(site.place / "locked") == ["global", "global/a", "global/a/b"]


def test_a_link_to_nothing_is_no_destination(site: Site) -> None:
    (site.buffer / "out").symlink_to(site.home / "new")
    with pytest.raises(InvalidRequest, match="is a symbolic link to something that does not exist"):
        site.copy(site.file(site.home / "a"), f"{BUFFER}/out")
    assert files(site.home) == ["a"]


def test_a_link_inside_of_the_buffer_may_be_followed(site: Site) -> None:
    (site.buffer / "real").mkdir()
    site.give(site.buffer / "real")
    (site.buffer / "link").symlink_to("real")
    site.copy(site.file(site.home / "a"), f"{BUFFER}/link/a")
    assert (site.buffer / "real/a").is_file()


def test_a_source_that_contains_its_destination_is_refused(site: Site) -> None:
    (site.home / "d").mkdir()
    site.give(site.home / "d")
    order = replace(
        site.order("in", StageRequest(source=str(site.home), destination=f"{BUFFER}/x", kind="directory")),
        roots={"DW_JOB_STRIPED": site.root(site.home / "d")},
    )
    with pytest.raises(InvalidRequest, match="is inside of its source"):
        RsyncMover().copy(order)


def test_a_directory_is_not_a_file(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="is a directory: say type=directory"):
        site.copy(site.home, f"{BUFFER}/x", "file")


def test_a_file_is_not_a_directory(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="is not a directory: say type=file"):
        site.copy(site.file(site.home / "a"), f"{BUFFER}/x", "directory")


def test_a_device_is_no_source(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="is neither a file nor a directory"):
        site.copy("/dev/zero", f"{BUFFER}/x")


def test_a_directory_does_not_replace_a_file(site: Site) -> None:
    site.file(site.buffer / "x")
    site.file(site.home / "d/a")
    with pytest.raises(InvalidRequest, match=re.escape(f"stage_in destination {BUFFER}/x is not a directory")):
        site.copy(site.home / "d", f"{BUFFER}/x", "directory")


def test_a_list_of_wrong_lines_names_the_line(site: Site) -> None:
    listing = site.file(site.home / "list", b"# fine\n/a b c\n")
    with pytest.raises(InvalidRequest, match=r"list .*/list, line 2: 3 paths instead of"):
        site.copy(listing, "", "list")


def test_a_list_has_a_bound(site: Site) -> None:
    listing = site.file(site.home / "list", bytes(MAX_LIST_BYTES + 1))
    with pytest.raises(TooLarge):
        site.copy(listing, "", "list")


def test_a_list_is_read_as_the_user(site: Site) -> None:
    require_root()
    listing = site.place / "list"
    listing.write_text(f"/etc/hostname {BUFFER}/x\n")
    listing.chmod(0o600)
    with pytest.raises(Denied, match="read stage_in list"):
        site.copy(listing, "", "list")


def test_a_fifo_is_no_list(site: Site) -> None:
    os.mkfifo(site.home / "fifo", 0o644)
    site.give(site.home / "fifo")
    with pytest.raises(InvalidRequest, match="is not a file"):
        site.copy(site.home / "fifo", "", "list")


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """The buffer has room for a MiB."""
    require_root()
    volume = site.buffer.parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "dacc-test", volume], check=True)
    volume.chmod(0o700)
    site.buffer.mkdir(0o700)
    site.give(site.buffer)
    try:
        yield site
    finally:
        subprocess.run(["umount", volume], check=True)


@pytest.mark.root
def test_a_full_destination_is_no_space(small: Site) -> None:
    with pytest.raises(NoSpace, match=r"No space left on device"):
        small.copy(small.file(small.home / "big", b"x" * 2_000_000), f"{BUFFER}/big")


def test_a_limit_is_kept_before_anything_is_copied(site: Site) -> None:
    site.file(site.buffer / "old", b"x" * 500_000)
    with pytest.raises(NoSpace, match=r"stage_in needs 600000 bytes in \$DW_JOB_STRIPED, which has 500000 of 1000000 left"):
        site.copy(site.file(site.home / "big", b"x" * 600_000), f"{BUFFER}/big", limit=1_000_000)
    assert files(site.buffer) == ["old"]


def test_what_is_there_already_does_not_count_twice(site: Site) -> None:
    big = site.file(site.home / "big", b"x" * 600_000)
    for _ in range(2):
        site.copy(big, f"{BUFFER}/big", limit=1_000_000)


def test_a_limit_does_not_concern_what_is_copied_out(site: Site) -> None:
    site.file(site.buffer / "big", b"x" * 600_000)
    site.copy(f"{BUFFER}/big", site.home / "big", out=True, limit=1000)


def test_a_uid_that_the_host_does_not_know_is_refused(site: Site) -> None:
    request = StageRequest(source="/etc/hostname", destination=f"{BUFFER}/x")
    with pytest.raises(NoSuchUser, match="host mover does not know uid 3999999"):
        RsyncMover().copy(replace(site.order("in", request), uid=3_999_999))


def test_roots_jobs_are_not_staged(site: Site) -> None:
    request = StageRequest(source="/etc/hostname", destination=f"{BUFFER}/x")
    with pytest.raises(Denied, match="never as root"):
        RsyncMover().copy(replace(site.order("in", request), uid=0, gid=0))


def test_a_group_that_the_user_is_not_in_is_refused(site: Site) -> None:
    request = StageRequest(source="/etc/hostname", destination=f"{BUFFER}/x")
    with pytest.raises(Denied, match="group 3999999"):
        RsyncMover().copy(replace(site.order("in", request), gid=3_999_999))


def test_a_buffer_that_is_not_mounted_is_unavailable(site: Site) -> None:
    request = StageRequest(source="/etc/hostname", destination=f"{BUFFER}/x")
    order = replace(site.order("in", request), roots={"DW_JOB_STRIPED": site.root(site.place / "nowhere")})
    with pytest.raises(Unavailable, match="No such file or directory"):
        RsyncMover().copy(order)


def test_a_dead_host_is_unreachable(site: Site) -> None:
    site.hook = lambda _: LocalRunner(fence_dir=site.place / "fences", namespace="/nonexistent/%h", python=PYTHON)
    with pytest.raises(HostUnreachable):
        site.copy("/etc/hostname", f"{BUFFER}/x")


def test_a_deadline_that_has_passed_ends_the_copy(site: Site) -> None:
    order = site.order("in", StageRequest(source="/etc/hostname", destination=f"{BUFFER}/x"), seconds=0)
    with pytest.raises(Unavailable, match="stage_in did not end before its deadline"):
        RsyncMover().copy(order)


def test_a_cancelled_copy_does_not_start(site: Site) -> None:
    site.cancel.cancel()
    with pytest.raises(Cancelled):
        site.copy("/etc/hostname", f"{BUFFER}/x")


@pytest.mark.parametrize("name", ["evil\nline", "\x1b[31m", "\udcff"])
def test_an_error_is_one_printable_line(site: Site, name: str) -> None:
    with pytest.raises(DaccError) as caught:
        site.copy(f"/{name}", f"{BUFFER}/x")
    assert str(caught.value).isprintable()
