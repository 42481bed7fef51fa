"""Persistent buffers: create_persistent, their use by jobs, their destruction."""

from __future__ import annotations

import pytest

from dacc_core.config import Config
from dacc_core.errors import NoSuchUser
from dacc_core.verbs.frontend import Call, FrontEndContext
from dacc_core.verbs.operations import LookupUser, User
from dacc_core.verbs.sessions import VerbContext
from fakewarp.frontend import FRONTEND

from .driver import SLURM, Slurm, cluster, refused, slurm_json, succeeded, view_of

USES = "#DW persistentdw name=shared\n"


@pytest.fixture
def slurm() -> Slurm:
    return cluster()


def test_create_persistent_says_created(slurm: Slurm) -> None:
    # Without the word Slurm leaves the buffer in the state "allocating" for ever.
    answer = slurm.create("mybuf")
    assert (answer.rc, answer.stdout) == (0, "created\n")


def test_a_buffer_is_its_owners_and_is_listed(slurm: Slurm) -> None:
    slurm.create("mybuf")
    session = slurm.session("mybuf")
    assert session is not None
    assert session.volume is not None
    assert (session.kind, session.request.owner, session.request.group, session.request.mode) == ("persistent", 1001, 1001, 0o700)
    assert session.volume.capacity == 200
    assert slurm.listed() == {"mybuf"}


def test_ids_of_buffers_are_no_job_ids(slurm: Slurm) -> None:
    slurm.create("one")
    slurm.create("two")
    rows = slurm_json(slurm.call("--function", "show_sessions"))["sessions"]
    assert [row["id"] for row in rows] == [1 << 27, (1 << 27) + 1]


@pytest.mark.parametrize("extra", [(), ("-a", "striped"), ("-T", "scratch"), ("-a", "striped(MFS=10GB)", "-T", "scratch"), ("-a", "")])
def test_access_and_type_may_be_left_out(slurm: Slurm, extra: tuple[str, ...]) -> None:
    assert slurm.create("mybuf", "default:150", *extra).stdout == "created\n"


@pytest.mark.parametrize(
    ("extra", "what"), [(("-a", "private"), "access private"), (("-a", "bogus"), "access bogus"), (("-T", "cache"), "type cache")]
)
def test_what_a_buffer_cannot_be_is_refused(slurm: Slurm, extra: tuple[str, ...], what: str) -> None:
    assert what in refused(slurm.create("mybuf", "default:150", *extra))
    assert slurm.session("mybuf") is None


@pytest.mark.parametrize("name", ["7up", "a b", "a/b", "a'b", "a=b", "a\nb", "é", "x" * 65, "-x", "\udcff", "kept-a0010000"])
def test_a_name_that_is_no_name_is_refused(slurm: Slurm, name: str) -> None:
    assert "persistent buffer name" in refused(slurm.create(name))


@pytest.mark.parametrize("capacity", ["default:0", "default:-1", "default", "default:1e3", "default:9223372036854775808", ":5", "x y:5"])
def test_a_capacity_that_is_none_is_refused(slurm: Slurm, capacity: str) -> None:
    assert refused(slurm.create("mybuf", capacity))
    assert slurm.session("mybuf") is None


def test_an_unknown_pool_is_refused(slurm: Slurm) -> None:
    assert "pool 'nosuch' does not exist: there are default" in refused(slurm.create("mybuf", "nosuch:100"))


def test_bricks_can_be_asked_for_by_number(slurm: Slurm) -> None:
    slurm.create("mybuf", "default:2N")
    session = slurm.session("mybuf")
    assert session is not None
    assert session.request.capacity == 200


def create_with(user: User | None) -> object:
    """What create_persistent does first, when the passwd database answers this."""
    call = Call(("--function", "create_persistent", "-t", "mybuf", "-u", "1001", "-C", "default:100"), {}, SLURM)
    verb = FRONTEND.run(FRONTEND.parse(call), FrontEndContext(VerbContext(view_of({}), lambda: 0.0), Config()))
    assert next(verb) == LookupUser(uid=1001)
    return verb.send(user)


def test_an_owner_without_a_passwd_entry_is_refused() -> None:
    with pytest.raises(NoSuchUser, match="uid 1001 has no passwd entry"):
        create_with(None)


# --- repeated ---


def test_create_persistent_can_be_repeated(slurm: Slurm) -> None:
    slurm.create("mybuf")
    revision = slurm.sim.rules.revision()
    assert slurm.create("mybuf").stdout == "created\n"
    assert slurm.sim.rules.revision() == revision


def test_create_persistent_twice_at_once_makes_one_buffer(slurm: Slurm) -> None:
    answers = slurm.finish(*(slurm.begin_create("mybuf", node=node) for node in (0, 0, 1, 2)))
    assert [answer.stdout for answer in answers] == ["created\n"] * 4
    assert slurm.free() == 7


def test_create_persistent_with_another_owner_is_refused(slurm: Slurm) -> None:
    slurm.create("mybuf")
    assert "different request" in refused(slurm.create("mybuf", uid=1002))


def test_a_name_can_be_used_again_after_its_buffer_was_destroyed(slurm: Slurm) -> None:
    slurm.create("mybuf")
    assert succeeded(slurm.teardown("mybuf"))
    assert slurm.create("mybuf", "default:300").stdout == "created\n"


def test_create_persistent_is_tried_again_after_it_failed(slurm: Slurm) -> None:
    slurm.sim.world.down.update({"s1", "s2", "s3"})
    assert refused(slurm.create("mybuf"))
    slurm.sim.world.down.clear()
    assert slurm.create("mybuf").stdout == "created\n"


# --- destruction ---


def test_a_buffer_in_use_is_not_destroyed(slurm: Slurm) -> None:
    slurm.create("shared")
    slurm.setup("7", USES, capacity="default:0")
    assert refused(slurm.teardown("shared")) == "persistent buffer shared is used by job 7: wait for the job to end, or cancel it"
    assert succeeded(slurm.pre_run("7"))
    slurm.teardown("7")
    assert succeeded(slurm.teardown("shared"))


def test_a_buffer_in_use_is_destroyed_in_a_hurry(slurm: Slurm) -> None:
    slurm.create("shared")
    slurm.setup("7", USES, capacity="default:0")
    slurm.pre_run("7")
    assert succeeded(slurm.teardown("shared", hurry=True))
    assert slurm.mounts("/mnt/dac/7_persistent_shared") == set()
    assert succeeded(slurm.teardown("7"))


def test_a_destruction_can_be_repeated_in_parallel_and_afterwards(slurm: Slurm) -> None:
    slurm.create("shared")
    assert [answer.rc for answer in slurm.finish(*(slurm.begin_teardown("shared", node=node) for node in (0, 1, 2)))] == [0, 0, 0]
    assert slurm.teardown("shared").rc == 0


@pytest.mark.parametrize("name", ["nosuch", "a b", "a/b", "é", "x" * 100, "\udcff"])
def test_destroying_what_does_not_exist_succeeds(slurm: Slurm, name: str) -> None:
    # Slurm tolerates no words here and would ask again at each scheduling pass.
    answer = slurm.teardown(name)
    assert answer.rc == 0
    assert "token not found" in answer.stdout


# --- use ---


def test_a_job_of_another_user_may_not_attach(slurm: Slurm) -> None:
    slurm.create("shared", uid=1002)
    assert "uid 1001 may not use persistent buffer shared" in refused(slurm.setup("7", USES, capacity="default:0"))


def test_a_job_waits_for_a_buffer_that_is_being_created(slurm: Slurm) -> None:
    making = slurm.begin_create("shared")
    slurm.until(lambda: slurm.session("shared") is not None)
    assert succeeded(slurm.setup("7", USES, capacity="default:0"))
    assert slurm.status("shared").filesystem == "ready"
    assert slurm.finish(making)[0].stdout == "created\n"


def test_a_kept_session_cannot_be_attached(slurm: Slurm) -> None:
    assert "stage-out is owed" in refused(slurm.setup("7", "#DW persistentdw name=kept-a0010000\n", capacity="default:0"))
