"""The error table."""

from __future__ import annotations

import pytest
from dacc_core.sdk import AlreadyExists, Busy, DaccError, FailedCommand, InvalidRequest, NoSpace, Unavailable, Unsupported

from dacc_lustre.errors import RULES, codes_to_retry, error_of, rule_for

# From Lustre's mount_lustre.c and mkfs_lustre.c, as far as each errno tells what is wrong.
EXPECTED = [
    ("mount.lustre", 16, "", "retry"),
    ("mount.lustre", 115, "", "retry"),
    ("mount.lustre", 2, "", "retry"),
    ("mount.lustre", 5, "", "retry"),
    ("mount.lustre", 11, "", "retry"),
    ("mount.lustre", 110, "", "retry"),
    ("mount.lustre", 113, "", "retry"),
    ("mount.lustre", 108, "", "retry"),
    ("mount.lustre", 123, "", "retry"),
    ("mount.lustre", 17, "", "conflict"),
    ("mount.lustre", 114, "", "conflict"),
    ("mount.lustre", 98, "", "conflict"),
    ("mount.lustre", 19, "", "fail host"),
    ("mount.lustre", 6, "", "quarantine"),
    ("mount.lustre", 22, "", "fail"),
    ("mkfs.lustre", 17, "", "busy"),
    ("mkfs.lustre", 1, "mkfs.lustre FATAL: Device /dev/sdb was previously formatted for lustre.", "conflict"),
    ("mkfs.lustre", 1, "Unable to build fs", "quarantine"),
    ("wipefs", 1, "", "quarantine"),
    ("something", 7, "", "retry"),
]


@pytest.mark.parametrize(("command", "rc", "text", "verdict"), EXPECTED)
def test_a_failure_has_the_verdict_of_its_row(command: str, rc: int, text: str, verdict: str) -> None:
    assert rule_for(command, rc, text).verdict == verdict


@pytest.mark.parametrize(
    ("command", "rc", "kind"),
    [
        ("mount.lustre", 16, Unavailable),
        ("mount.lustre", 98, AlreadyExists),
        ("mount.lustre", 28, NoSpace),
        ("mount.lustre", 22, InvalidRequest),
        ("umount", 32, Busy),
        ("wipefs", 1, Unsupported),
    ],
)
def test_an_error_has_the_class_that_the_verdict_asks_for(command: str, rc: int, kind: type[DaccError]) -> None:
    error = error_of(FailedCommand(command=command, target="dacc0001-OST0000", returncode=rc, output="noise\nlast words"))

    assert type(error) is kind
    assert str(error).startswith(f"{command} of dacc0001-OST0000 failed with status {rc} (last words): ")


def test_what_needs_a_person_is_never_retried() -> None:
    for rule in RULES:
        error = error_of(FailedCommand(command=rule.command, target="x", returncode=rule.rc, output=rule.text))
        assert error.retryable == (rule.verdict in ("retry", "fail host", "busy")), rule


def test_the_node_helper_retries_the_kin_of_ebusy_and_nothing_that_stays() -> None:
    codes = codes_to_retry()["mount.lustre"]

    assert {16, 5, 11, 110, 2} <= set(codes)
    assert not {17, 19, 22, 98, 114} & set(codes)


def test_every_rule_says_in_one_line_what_to_do() -> None:
    assert all(rule.says and "\n" not in rule.says and not rule.says.endswith(".") for rule in RULES)
