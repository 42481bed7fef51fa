"""What the configuration makes of etcd, and what using it does to a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dacc_core.config import Config, parse_text
from dacc_core.errors import BadConfig
from dacc_core.keystore.open import open_store
from tests.support.etcd import PASSWORD, EtcdCluster

ROOT = Path(__file__).parents[2]


def configured(**keystore: object) -> Config:
    settings = {"keystore": {"endpoints": ["127.0.0.1:1"], **keystore}}
    return parse_text(json.dumps(settings), "dacc.yaml", {"XDG_RUNTIME_DIR": "/run/user/1"})


def run(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A program that uses a store with these settings: ``keystore(**settings)``."""
    prologue = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import json
from dacc_core.config import parse_text
from dacc_core.errors import DaccError
def keystore(**settings):
    from dacc_core.keystore.open import open_store
    return open_store(parse_text(json.dumps({{"keystore": settings}}), "dacc.yaml"), create=True)
"""
    argv = [sys.executable, "-c", prologue + code, *arguments]
    return subprocess.run(argv, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)


def test_etcd_is_opened_without_asking_it_anything() -> None:
    store = open_store(configured())
    assert store.where == "etcd at 127.0.0.1:1"
    store.close()


class TestWithoutItsPackages:
    @pytest.mark.parametrize("package", ["grpc", "etcd3"])
    def test_the_extra_is_named_and_no_sqlite_is_made(self, package: str, tmp_path: Path) -> None:
        ended = run(
            f"""
sys.modules[{package!r}] = None
try:
    keystore(endpoints=["127.0.0.1:1"])
except DaccError as error:
    print(error.kind, error)
""",
            DACC_STATE_DIR=str(tmp_path),
        )
        assert ended.stdout.startswith("BadConfig dacc.yaml:1:14: keystore: etcd needs packages that are not installed (")
        assert ended.stdout.endswith("): install dacc[etcd]\n")
        assert list(tmp_path.iterdir()) == []

    def test_an_etcd3_that_describes_nothing_counts_as_missing(self, tmp_path: Path) -> None:
        place = tmp_path / "etcd3" / "etcdrpc"
        place.mkdir(parents=True)
        (tmp_path / "etcd3" / "__init__.py").touch()
        (place / "kv_pb2.py").touch()
        ended = run(
            """
try:
    keystore(endpoints=["127.0.0.1:1"])
except DaccError as error:
    print(error)
""",
            PYTHONPATH=str(tmp_path),
        )
        assert "(the package etcd3 does not describe kv.proto)" in ended.stdout, ended.stderr


class TestWhatItDoesToAProgram:
    def test_sqlite_loads_nothing_of_it(self, tmp_path: Path) -> None:
        ended = run(f"""
keystore(path={str(tmp_path / "store.db")!r}).close()
print([name for name in sys.modules if name.partition(".")[0] in ("grpc", "etcd3", "google")])
""")
        assert ended.stdout == "[]\n", ended.stderr

    @pytest.mark.parametrize("form", ["upb", "python"])
    def test_protobuf_may_have_any_form_and_stays_as_it_is(self, form: str, single: EtcdCluster) -> None:
        code = """
from google.protobuf.internal import api_implementation
print(keystore(endpoints=[sys.argv[1]]).range("").revision > 0, api_implementation.Type())
"""
        ended = run(code, single.members[0].address, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=form)
        assert ended.stdout == f"True {form}\n", ended.stderr

    def test_nothing_of_etcd3_is_run(self) -> None:
        ended = run("""
keystore(endpoints=["127.0.0.1:1"])
print([name for name in sys.modules if name.partition(".")[0] in ("etcd3", "tenacity")])
""")
        assert ended.stdout == "[]\n", ended.stderr

    def test_the_environment_stays_as_it_was(self) -> None:
        ended = run("""
before = dict(os.environ)
keystore(endpoints=["127.0.0.1:1"])
print(dict(os.environ) == before)
""")
        assert ended.stdout == "True\n", ended.stderr

    def test_nothing_is_written_to_stderr(self, single: EtcdCluster) -> None:
        """Slurm would take it for the program's output."""
        code = """
for endpoint in ("http://127.0.0.1:1", "https://" + sys.argv[1], "http://name.invalid:1", "http://" + sys.argv[1]):
    store = keystore(endpoints=[endpoint])
    watch = store.watch("", 1)
    try:
        store.range("", timeout=0.5)
        watch.next(0.5)
    except DaccError as error:
        print(error)
    store.close()
print("end")
"""
        ended = run(code, single.members[0].address)
        assert ended.stderr == ""
        assert ended.stdout.endswith("end\n")

    def test_a_forked_child_is_refused_and_ends_well(self, single: EtcdCluster) -> None:
        code = """
store = keystore(endpoints=[sys.argv[1]])
watch = store.watch("", store.range("").revision)
watch.next(1)
pid = os.fork()
if not pid:
    for call in (store.read, lambda: watch.next(1), lambda: store.watch("", 1)):
        try:
            call()
        except DaccError as error:
            print(error)
    store.close()
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
store.read("a")
store.close()
"""
        ended = run(code, single.members[0].address)
        assert ended.stdout.count("opened before a fork: open it anew, in a program executed anew") == 3
        assert ended.stdout.endswith("7\n")
        assert ended.stderr == ""

    def test_a_program_ends_although_it_closes_nothing(self, single: EtcdCluster) -> None:
        code = """
store = keystore(endpoints=[sys.argv[1]])
watch = store.watch("", store.range("").revision)
watch.next(1)
"""
        ended = run(code, single.members[0].address)
        assert (ended.returncode, ended.stderr) == (0, "")


class TestFiles:
    def test_a_certificate_that_cannot_be_read_is_named(self) -> None:
        with pytest.raises(BadConfig, match=r"dacc.yaml:1:\d+: keystore.cacert: /no/ca.pem cannot be read: No such file"):
            open_store(configured(cacert="/no/ca.pem"))

    def test_a_password_file_is_used(self, tmp_path: Path) -> None:
        from dacc_core.keystore.etcd.access import configured_access

        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        (tmp_path / "password").chmod(0o640)
        assert configured_access(configured(user="dacc", password_file=str(tmp_path / "password")), {}).password == PASSWORD

    def test_a_password_file_that_everyone_may_read_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(PASSWORD)
        (tmp_path / "password").chmod(0o644)
        with pytest.raises(BadConfig, match=r"keystore.password_file: everyone has access to .*: chmod o= "):
            open_store(configured(user="dacc", password_file=str(tmp_path / "password")))

    def test_the_environments_password_goes_before_the_file(self, tmp_path: Path) -> None:
        from dacc_core.keystore.etcd.access import configured_access

        (tmp_path / "password").write_text("another")
        (tmp_path / "password").chmod(0o600)
        access = configured_access(configured(user="dacc", password_file=str(tmp_path / "password")), {"ETCDCTL_USER": f"dacc:{PASSWORD}"})
        assert access.password == PASSWORD
        assert PASSWORD not in repr(access)
