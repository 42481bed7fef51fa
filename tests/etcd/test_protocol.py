"""etcd's API as it is taken from the package etcd3: with which versions this was tried, and that it is what etcd3 itself would give."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

TRIED = {"etcd3": ("0.12.0",), "protobuf": ("4.25.8", "5.29.5", "6.33.0", "7.36.2")}
"""Each with the implementations upb and python: a watch, a lease, transactions and ranges on a real etcd."""

METHODS = {"Range", "Txn", "LeaseGrant", "LeaseKeepAlive", "LeaseRevoke", "Authenticate", "Watch"}


def major(release: str) -> str:
    return release.partition(".")[0]


def test_the_installed_etcd3_was_tried() -> None:
    assert version("etcd3") in TRIED["etcd3"], "try this one, see dacc_core/keystore/etcd/protocol.py"


def test_the_installed_protobuf_is_of_a_major_version_that_was_tried() -> None:
    assert major(version("protobuf")) in map(major, TRIED["protobuf"]), "try this one, see dacc_core/keystore/etcd/protocol.py"


@pytest.mark.parametrize("name", ["kv", "auth", "rpc"])
def test_a_compiled_proto_is_that_of_etcd3s_own_module(name: str) -> None:
    from dacc_core.keystore.etcd.protocol import _compiled_proto

    code = f"import sys; from etcd3.etcdrpc import {name}_pb2; sys.stdout.buffer.write({name}_pb2.DESCRIPTOR.serialized_pb)"
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert ran.stdout == _compiled_proto(name)


def test_a_channel_has_every_method_that_the_store_calls() -> None:
    from dacc_core.keystore.etcd.protocol import EtcdChannel

    channel = EtcdChannel("127.0.0.1:1", None)
    assert set(channel._methods) >= METHODS
    channel.close()


def test_an_unknown_message_is_an_attribute_error() -> None:
    from dacc_core.keystore.etcd.protocol import messages

    with pytest.raises(AttributeError, match="RangeReqest"):
        _ = messages.RangeReqest
