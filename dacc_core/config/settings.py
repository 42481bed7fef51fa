"""The settings that exist: one frozen class per section of the file, each setting with its text.

The annotations are the documentation: :func:`dacc_core.config.describe` makes the reference page
from them, and the reader checks a file against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from .kinds import Address, Count, Endpoint, Host, Listen, Name, Nodes, Path, PoolName, Port, Seconds, Size, User, doc


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every section."""


class PoolSetting(Section, frozen=True, kw_only=True):
    """Bricks of one capacity, served by one provider."""

    granularity: Annotated[Size, doc("Capacity of a brick. Requests are rounded up to multiples of it.", example="1400GiB")]
    provider: Annotated[Name, doc("The provider that builds filesystems on the pool's bricks.", example="lustre")]


class BrickSetting(Section, frozen=True, kw_only=True):
    """One block device that a host offers."""

    device: Annotated[Path, doc("The block device; for the provider `fake`, a directory.", example="/dev/nvme0n1")]
    pool: Annotated[str, doc("The pool it belongs to.", default="the value of `default_pool`")] = ""
    capacity: Annotated[Size, doc("How much it holds.", default="the pool's granularity")] = 0


class KeystoreSettings(Section, frozen=True, kw_only=True):
    """Where the shared state is kept."""

    backend: Annotated[
        Literal["auto", "sqlite", "etcd"],
        doc("`sqlite` serves one machine and needs no set-up, `etcd` serves a cluster. `auto`: etcd if there are endpoints, else sqlite."),
    ] = "auto"
    path: Annotated[Path, doc("sqlite: the database file.", default="`<state_dir>/store.db`")] = ""
    endpoints: Annotated[
        tuple[Endpoint, ...],
        doc(
            "etcd: every member of the cluster, as `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`. Without a scheme, TLS is used "
            "if one of the files below is set.",
            example="[https://hal1:2379, https://hal2:2379, https://hal3:2379]",
        ),
    ] = ()
    cacert: Annotated[Path, doc("etcd: the CA that signed the members' certificates.", default="those that gRPC brings along")] = ""
    cert: Annotated[Path, doc("etcd: our own certificate, if the members want one.")] = ""
    key: Annotated[Path, doc("etcd: its key.")] = ""
    user: Annotated[str, doc("etcd: the user to log in as. Empty: none.")] = ""
    password_file: Annotated[Path, doc("etcd: the file with that user's password; only its owner and group may have access to it.")] = ""


class HostsSettings(Section, frozen=True, kw_only=True):
    """How commands reach the hosts."""

    runner: Annotated[
        Literal["local", "ssh", "openssh"],
        doc(
            "How a command is run on a host: `local` on this machine; `ssh` over connections that are kept; `openssh` with the program "
            "`ssh`, once for each command."
        ),
    ] = "local"
    addresses: Annotated[
        Mapping[Nodes, Address],
        doc(
            "With ssh: the address of each host, by its name or by a set of names; `%h` is the host's name. A host that is not here is "
            "reached by its name.",
            example='{"c[1-64]": "%h-ib"}',
        ),
    ] = {}
    port: Annotated[Port, doc("With ssh: the port on which sshd listens.")] = 22
    user: Annotated[User, doc("With ssh: the user who runs commands on the hosts.")] = "root"
    identity: Annotated[Path, doc("With ssh: the file of the private key.", default="ssh's own", example="/etc/dacc/ssh/id_ed25519")] = ""
    known_hosts: Annotated[
        Path,
        doc(
            "With ssh: the file of the hosts' keys, by the names that dacc has for its hosts.",
            default="ssh's own",
            example="/etc/dacc/ssh/known_hosts",
        ),
    ] = ""
    connect_timeout: Annotated[Seconds, doc("With ssh: how long a connection may take.")] = 10.0
    ssh_config: Annotated[Path, doc("With `openssh`: the configuration file that `ssh` reads.", default="ssh's own")] = ""
    namespace: Annotated[
        str,
        doc(
            "With the runner `local`: the namespace file that stands for a host, `%h` being its name. Empty: none.",
            example="/run/dacc-hosts/%h",
        ),
    ] = ""
    python: Annotated[
        str,
        doc(
            "The Python interpreter on the hosts, 3.6 or newer.",
            default="`local`: the one that runs dacd; with ssh: `/usr/bin/python3`",
        ),
    ] = ""
    fence_dir: Annotated[
        Path,
        doc(
            "Where each host keeps the highest generation that it has seen of a session.",
            default="`<runtime>/fence`",
        ),
    ] = ""


class DeadlineSettings(Section, frozen=True, kw_only=True):
    """How long one step of a session may take."""

    create: Annotated[Seconds, doc("Building a filesystem.")] = 600.0
    restore: Annotated[Seconds, doc("Serving a filesystem again after storage hosts were booted.")] = 300.0
    mount: Annotated[Seconds, doc("Mounting it on all hosts of a job.")] = 120.0
    unmount: Annotated[Seconds, doc("Unmounting it from all hosts of a job.")] = 120.0
    delete: Annotated[Seconds, doc("Removing a filesystem and cleaning its bricks.")] = 240.0
    stage: Annotated[Seconds, doc("Copying all data of a session in, or out.")] = 86400.0
    teardown: Annotated[
        Seconds,
        doc("A whole teardown; what is unfinished then goes to quarantine. Keep it below `slurm.other_timeout`."),
    ] = 240.0


class Retries(Section, frozen=True, kw_only=True):
    """How often a step is tried when its error says that trying again can help."""

    attempts: Annotated[Count, doc("Tries in all.")] = 3
    first_wait: Annotated[Seconds, doc("The wait before the second try; it doubles before each further one.")] = 1.0


class SlurmSettings(Section, frozen=True, kw_only=True):
    """The timeouts of Slurm's burst_buffer.conf (keep both alike), and what else depends on how Slurm works."""

    other_timeout: Annotated[Seconds, doc("Slurm's `OtherTimeout`.")] = 300.0
    validate_timeout: Annotated[Seconds, doc("Slurm's `ValidateTimeout`.")] = 5.0
    stage_in_timeout: Annotated[Seconds, doc("Slurm's `StageInTimeout`.")] = 86400.0
    stage_out_timeout: Annotated[Seconds, doc("Slurm's `StageOutTimeout`.")] = 86400.0
    buffer_wait: Annotated[
        Seconds,
        doc(
            "How long the setup of a job waits for a persistent buffer that does not exist: the job that makes it may have been "
            "submitted a moment later."
        ),
    ] = 45.0


class MoverSettings(Section, frozen=True, kw_only=True):
    """Copying data in and out."""

    digest: Annotated[bool, doc("Compare contents by digest, not by size and time; slower.")] = False
    host: Annotated[Host, doc("The host that copies.", default="the session's coordinator")] = ""


class HistorySettings(Section, frozen=True, kw_only=True):
    """What is remembered of sessions that have ended."""

    days: Annotated[Count, doc("How long.", unit="days")] = 7
    number: Annotated[Count, doc("How many sessions at most.")] = 1000


class LogSettings(Section, frozen=True, kw_only=True):
    """What dacd writes to its log."""

    format: Annotated[Literal["kv", "json"], doc("Lines of `key=value`, or of JSON.")] = "kv"
    level: Annotated[Literal["debug", "info", "warning", "error"], doc("The least severe lines that are written.")] = "info"


class MetricsSettings(Section, frozen=True, kw_only=True):
    """What dacd tells Prometheus."""

    listen: Annotated[
        Listen,
        doc(
            "The address and port on which dacd serves its metrics over HTTP, without encryption or login: best a loopback "
            "address, or one of the management network. Empty: it serves none.",
            example="127.0.0.1:9753",
        ),
    ] = ""


class PluginsSettings(Section, frozen=True, kw_only=True):
    """Which installed plugins dacc leaves alone."""

    disabled: Annotated[
        tuple[Name, ...],
        doc(
            "Providers that are not to be loaded, by the provider's name, or by the package's name for all that it offers. Their "
            "code is never run: no provider, no commands, no observers.",
            example="[toy, dacc-provider-other]",
        ),
    ] = ()


class Settings(Section, frozen=True, kw_only=True):
    """Everything that the configuration file may say."""

    cluster: Annotated[str, doc("The cluster id that the keystore must have. Empty: any.")] = ""
    state_dir: Annotated[Path, doc("Where dacc keeps its state.", default="root: `/var/lib/dacc`; a user: `~/.local/state/dacc`")] = ""
    socket: Annotated[
        Path,
        doc(
            "The socket on which dacd listens. `<runtime>` below is the directory of its default.",
            default="root: `/run/dacc/dacd.sock`; a user: `$XDG_RUNTIME_DIR/dacc/dacd.sock`, or `/tmp/dacc-<uid>/dacd.sock`",
        ),
    ] = ""
    keystore: KeystoreSettings = KeystoreSettings()
    slurm_user: Annotated[str | int, doc("Slurm's user (`SlurmUser` in slurm.conf), who may do everything.")] = "slurm"
    group: Annotated[str, doc("The group that owns the state directory and the keystore's files. Empty: the daemon's own.")] = ""
    mount_root: Annotated[
        Path,
        doc(
            "The directory on compute nodes under which volumes are mounted. As root: it and all above it must be root's alone.",
            default="root: `/mnt/dac`; a user: `<state_dir>/mnt`",
        ),
    ] = ""
    mover_root: Annotated[
        Path,
        doc(
            "Where volumes are mounted for copying: a directory that only root may enter.",
            default="`<runtime>/movers`",
        ),
    ] = ""
    default_pool: Annotated[PoolName, doc("The pool of requests and bricks that name none.")] = "default"
    pools: Annotated[Mapping[PoolName, PoolSetting], doc("The pools of this cluster.")] = {}
    bricks: Annotated[
        Mapping[Nodes, tuple[BrickSetting, ...]],
        doc("The bricks of each host, by its name or by a set of names such as `dac[1-4,7]`.", example="dac[1-24]"),
    ] = {}
    providers: Annotated[Mapping[Name, Mapping[str, Any]], doc("The settings of each provider.")] = {}
    plugins: PluginsSettings = PluginsSettings()
    hosts: HostsSettings = HostsSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    retries: Retries = Retries()
    slurm: SlurmSettings = SlurmSettings()
    lease_ttl: Annotated[Seconds, doc("A daemon that has not been heard from for so long counts as dead.")] = 10.0
    mover: MoverSettings = MoverSettings()
    history: HistorySettings = HistorySettings()
    frontends: Annotated[tuple[Name, ...], doc("The front ends that dacd serves.")] = ("fakewarp", "dwstat", "dacc")
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    usage_interval: Annotated[Seconds, doc("The time between two questions to a provider how full a volume is.")] = 300.0
    max_pre_run_failures: Annotated[Count, doc("A job whose pre_run failed so often in a row is not tried again.")] = 3
