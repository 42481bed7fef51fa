"""The guide's commands work as written: certificates by openssl, users by etcdctl, and a store that is reached with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dacc_core.config import parse_text
from dacc_core.errors import KeystoreUnavailable
from dacc_core.keystore.base import Compare, PutKey
from tests.support.etcd import EtcdCluster
from tests.support.requirements import require

from .conftest import Open

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "etcd.md"


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guide's openssl commands make."""
    place = tmp_path_factory.mktemp("certificates")
    subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", block("sh certificates")], cwd=place, check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[EtcdCluster]:
    """A member with them."""
    etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"), tls="mutual")
    for ours, name in (("ca", "ca"), ("server", "hal1"), ("client", "root")):
        etcd.certificates.directory.mkdir(exist_ok=True)
        for kind in ("pem", "key"):
            shutil.copy(certificates / f"{name}.{kind}", etcd.certificates.directory / f"{ours}.{kind}")
    with etcd:
        yield etcd


@pytest.fixture(scope="module")
def guarded(member: EtcdCluster, certificates: Path) -> EtcdCluster:
    """The member with the guide's users."""
    require(shutil.which("etcdctl") is not None, "etcdctl (Debian: etcd-client)")
    variables = {"API": "3", "ENDPOINTS": member.endpoints[0], "CACERT": "ca.pem", "CERT": "root.pem", "KEY": "root.key"}
    environment = {**os.environ, **{f"ETCDCTL_{name}": value for name, value in variables.items()}}
    subprocess.run(["bash", "-eu", "-c", block("sh users")], cwd=certificates, env=environment, check=True, capture_output=True)
    return member


def access(certificates: Path, name: str) -> dict[str, str]:
    return {"cacert": f"{certificates}/ca.pem", "cert": f"{certificates}/{name}.pem", "key": f"{certificates}/{name}.key"}


def test_its_certificates_lead_to_a_store(member: EtcdCluster, certificates: Path, open_store: Open) -> None:
    assert open_store(*member.endpoints, **access(certificates, "root")).read().revision > 0


def test_the_certificates_name_is_the_user(guarded: EtcdCluster, certificates: Path, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, **access(certificates, "dacc"))
    assert store.txn([Compare("/dacc/1/a", 0)], [PutKey("/dacc/1/a", b"", store.grant(10))]).ok
    with pytest.raises(KeystoreUnavailable, match="permission denied"):
        store.txn([], [PutKey("elsewhere", b"")])


def test_who_only_looks_can_only_look(guarded: EtcdCluster, certificates: Path, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, **access(certificates, "dacc"), user="monitor", password="look but do not touch")
    store.range("/dacc/")
    with pytest.raises(KeystoreUnavailable, match="permission denied"):
        store.txn([], [PutKey("/dacc/1/a", b"")])


def test_its_settings_are_right() -> None:
    assert parse_text(block("yaml config"), "dacc.yaml", {}).keystore.backend == "etcd"
