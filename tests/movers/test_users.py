"""Who a copy runs as."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from dacc_core.errors import Denied, HostUnreachable, NoSuchUser, Unavailable
from dacc_core.hosts import RecordedCommand, RecorderRunner
from dacc_core.movers import Root, enter, walker
from dacc_core.movers.users import MoverUser, entering, look_up_user
from dacc_core.sdk import Command, CommandResult, Context, Deadline

from .conftest import Site, require_root

ANSWERS = {
    ("getent", "passwd", "1001"): b"anna:x:1001:100:Anna:/home/anna:/bin/sh\n",
    ("id", "-G", "--", "anna"): b"100 2000\n",
    ("id", "-u"): b"0\n",
}


def look(changes: dict[tuple[str, ...], CommandResult] | None = None, uid: int = 1001, gid: int = 100) -> MoverUser:
    def answer(call: RecordedCommand) -> CommandResult:
        if changes and call.argv in changes:
            return changes[call.argv]
        return CommandResult(call.host, 0, stdout=ANSWERS[call.argv])

    return look_up_user(Context(hosts=RecorderRunner(answer), deadline=Deadline.after(9)), "m", uid, gid)


def test_root_becomes_the_user_with_all_groups_and_without_privileges() -> None:
    identity = "--reuid 1001 --regid 100 --groups 100,2000"
    assert " ".join(look().switch) == f"setpriv {identity} --no-new-privs --inh-caps=-all --bounding-set=-all --"


def test_a_group_of_the_users_may_be_the_first() -> None:
    assert "--regid 2000" in " ".join(look(gid=2000).switch)


def test_the_user_needs_not_become_himself() -> None:
    assert look({("id", "-u"): CommandResult("m", 0, b"1001\n")}).switch == ()


def test_another_user_cannot_become_the_user() -> None:
    with pytest.raises(Denied, match=r"^dacc \(uid 7 on host m\) may not copy data as uid 1001: only root can act as another user"):
        look({("id", "-u"): CommandResult("m", 0, b"7\n")})


def test_a_user_that_getent_does_not_find_is_unknown() -> None:
    with pytest.raises(NoSuchUser):
        look({("getent", "passwd", "1001"): CommandResult("m", 2)})


def test_a_directory_service_that_is_down_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="host m cannot look up uid 1001"):
        look({("getent", "passwd", "1001"): CommandResult("m", 1, stderr=b"sssd is down\n")})


def test_what_the_runner_meets_is_raised() -> None:
    with pytest.raises(HostUnreachable):
        look({("id", "-u"): CommandResult("m", -1, error=HostUnreachable(host="m", why="no route"))})


def test_buffers_are_entered_before_we_become_the_user() -> None:
    words = entering("python3", [Root("/locked", "global", 1001)], look().command(["rsync"]))
    assert words[:4] == ["python3", "-I", "-S", "-c"]
    assert words[5:13] == ["", "1", "/locked", "global", "1001", "env", "-u", "HOME"]
    assert words[13] == "setpriv"
    assert words[-2:] == ["--", "rsync"]


@pytest.mark.root
def test_a_command_of_the_users_has_his_ids_and_no_capability(site: Site) -> None:
    require_root()
    context = Context(hosts=site.runner.fenced("s1", 1, site.cancel), deadline=Deadline.after(9))
    user = look_up_user(context, "mover", site.someone.uid, site.someone.gid)
    status = site.runner.run(["mover"], Command(user.command(["cat", "/proc/self/status"])))["mover"].stdout.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(site.someone.uid)] * 4
    assert fields["Gid"].split() == [str(site.someone.gid)] * 4
    assert fields["Groups"].split() == sorted([str(site.someone.gid), "60"], key=int)
    assert [int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")] == [0] * 5
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("module", [enter, walker])
def test_what_runs_on_hosts_is_python_3_6(module: ModuleType) -> None:
    ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 6))
