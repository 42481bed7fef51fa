"""Certificates: what is said of wrong ones, and that renewed ones are used without a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dacc_core.errors import KeystoreUnavailable
from tests.support.certificates import Certificates
from tests.support.etcd import EtcdCluster

from .conftest import MakeProxy, Open


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """An etcd that asks clients for a certificate."""
    with EtcdCluster(tmp_path_factory.mktemp("tls"), tls="mutual") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of another CA."""
    return Certificates(tmp_path_factory.mktemp("strangers")).make()


def files(certificates: Certificates, *names: str) -> dict[str, str]:
    paths = {"cacert": certificates.cert("ca"), "cert": certificates.cert("client"), "key": certificates.key("client")}
    return {name: str(paths[name]) for name in names}


def complaint(open_store: Open, endpoint: str, **access: str) -> str:
    with pytest.raises(KeystoreUnavailable) as caught:
        open_store(endpoint, **access).read("a", timeout=0.5)
    return str(caught.value)


def test_an_endpoint_without_scheme_uses_tls_when_certificates_are_given(secure: EtcdCluster, open_store: Open) -> None:
    open_store(secure.members[0].address, **files(secure.certificates, "cacert", "cert", "key")).read("a")


def test_a_server_of_another_ca_is_not_trusted(secure: EtcdCluster, strangers: Certificates, open_store: Open) -> None:
    text = complaint(open_store, secure.endpoints[0], **files(strangers, "cacert"))
    assert "its certificate is not of the CA that we trust: correct keystore.cacert, or the member's certificate" in text


@pytest.mark.parametrize("ours", [(), ("cert", "key")], ids=["none", "of another CA"])
def test_a_missing_or_wrong_certificate_of_ours_is_named(
    secure: EtcdCluster, strangers: Certificates, open_store: Open, ours: tuple[str, ...]
) -> None:
    access = files(secure.certificates, "cacert") | files(strangers, *ours)
    assert "it does not take our certificate: set keystore.cert and keystore.key" in complaint(open_store, secure.endpoints[0], **access)


def test_no_tls_where_tls_is_wanted_is_named(secure: EtcdCluster, open_store: Open) -> None:
    assert "it closes the connection: use https:// if it wants TLS" in complaint(open_store, f"http://{secure.members[0].address}")


def test_tls_where_there_is_none_is_named(single: EtcdCluster, open_store: Open) -> None:
    assert "it does not speak TLS: write http:// in keystore.endpoints" in complaint(open_store, f"https://{single.members[0].address}")


def test_what_is_no_certificate_is_named(secure: EtcdCluster, open_store: Open, tmp_path: Path) -> None:
    rubbish = tmp_path / "ca.pem"
    rubbish.write_text("rubbish")
    assert "the certificates cannot be used" in complaint(open_store, secure.endpoints[0], cacert=str(rubbish))


def install(certificates: Certificates, directory: Path) -> dict[str, str]:
    """Put a client's certificate where we look for it."""
    for path in (certificates.cert("client"), certificates.key("client")):
        (directory / path.name).write_bytes(path.read_bytes())
    return {"cert": str(directory / "client.pem"), "key": str(directory / "client.key")}


def test_renewed_certificates_are_used_by_the_next_connection(
    secure: EtcdCluster, strangers: Certificates, open_store: Open, proxy: MakeProxy, tmp_path: Path
) -> None:
    way = proxy(secure)
    store = open_store(f"https://{way.endpoint}", **files(secure.certificates, "cacert"), **install(strangers, tmp_path))
    with pytest.raises(KeystoreUnavailable, match="does not take our certificate"):
        store.read("a", timeout=0.5)
    install(secure.certificates, tmp_path)
    store.read("a")
