"""Every error that dacc raises on purpose, as one tree.

A class's ``template`` is its message: its fields are the keyword arguments of the
constructor. Each class has an exit code of its own (inherited where the reaction is the
same) and says whether trying again can help.

    DaccError                     1   an error that another program recorded and this one does not know
    ├── InvalidRequest           10   the caller asks for something that cannot be meant
    │   ├── BadSize              11   a size that Slurm or we would misread
    │   ├── BadName              12   a buffer, host or pool name outside the grammar
    │   ├── BadDirectives        13   a job script's directives, all problems at once
    │   ├── BadConfig            14   the configuration file, all problems at once
    │   ├── BadArguments         15   a command line
    │   ├── DifferentRequest     16   the token exists with another request
    │   └── TooLarge             17   a record or message beyond its bound
    │       └── TooManyOperations 17  a transaction beyond etcd's bound
    ├── NotFound                 20   what is named does not exist
    │   ├── NoSuchSession        21   no session of that token (Slurm tolerates these words)
    │   ├── NoSuchPool           22   no brick host has registered such a pool
    │   ├── NoSuchBuffer         23   no persistent buffer of that name, or it is being destroyed
    │   ├── NoSuchUser           24   a uid without a passwd entry on the mover host
    │   └── NoSuchProvider       25   no installed package offers that provider
    ├── AlreadyExists            30   something is there already, and not what is to be made
    ├── Busy                     40   someone else uses it; wait or ask them
    │   ├── BufferInUse          41   jobs use the buffer that is to be destroyed
    │   │   └── BufferOwed       41   jobs that have ended are still to get data from it
    │   ├── SessionEnding        42   a teardown is in progress
    │   └── HostNameTaken        43   another daemon runs under this host name
    ├── NoSpace                  50   not enough room
    │   ├── PoolFull             51   not enough free bricks now
    │   └── PoolTooSmall         52   not enough bricks ever
    ├── Unavailable              60   something that must answer does not
    │   ├── KeystoreUnavailable  61   the store cannot be read or written
    │   ├── KeystoreMissing      62   no store here, and this program must not make one
    │   ├── WrongCluster         63   a store of another cluster
    │   ├── StaleView            64   the store has not been heard from for too long
    │   ├── HostUnreachable      65   no command can be run on the host
    │   │   └── HostLost         69   a command was begun on the host, and how it ended is not known
    │   ├── DaemonUnavailable    66   no daemon listens, or it says nothing
    │   ├── StepFailed           67   a provider or mover step failed
    │   └── Compacted            68   a watch asked for history that is gone
    ├── Unsupported              70   the provider or this version cannot do that
    ├── Denied                   71   the caller may not
    ├── StillWorking             75   the deadline passed first; the work goes on
    │   └── StillWaiting         75   what a session needs is not free yet; nothing is built before
    ├── Superseded               76   a contrary goal replaced this one
    ├── Cancelled                77   the step was told to stop
    └── ProviderBug              80   a provider broke its contract
        └── ProviderLoadError    81   a configured provider cannot load
"""

from __future__ import annotations

from typing import Self


class DaccError(Exception):
    """An error with a message for people, an exit code for programs, and whether trying again can help."""

    template = "{why}"  # no docstring, which python -OO would take away
    exit_code = 1
    retryable = False

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or cls.template

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.template.format(**fields))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """An error of this class whose message was already made (read from a record)."""
        error = cls.__new__(cls)
        Exception.__init__(error, text)
        error.fields = {}
        return error

    @property
    def kind(self) -> str:
        """The class's name, as records and ``--json`` output show it."""
        return type(self).__name__


class InvalidRequest(DaccError):
    template = "{why}"
    exit_code = 10


class BadSize(InvalidRequest):
    template = "size {size!r}: {why}"
    exit_code = 11


class BadName(InvalidRequest):
    template = "{what} name {name!r}: {why}"
    exit_code = 12


class BadDirectives(InvalidRequest):
    template = "{problems}"
    exit_code = 13


class BadConfig(InvalidRequest):
    template = "{problems}"
    exit_code = 14


class BadArguments(InvalidRequest):
    template = "{why}"
    exit_code = 15


class DifferentRequest(InvalidRequest):
    template = "session {token} exists with a different request ({what}): tear it down first, or repeat the same request"
    exit_code = 16


class TooLarge(InvalidRequest):
    template = "{what} is {size} bytes, more than the {limit} that are allowed: {hint}"
    exit_code = 17


class TooManyOperations(TooLarge):
    template = "{what} has {count} operations, more than the {limit} that etcd takes at once: {hint}"


class NotFound(DaccError):
    template = "{why}"
    exit_code = 20


class NoSuchSession(NotFound):
    template = "No matching session: token not found: {token}"
    # Both phrases are what Slurm's datawarp plugin looks for and then tolerates (dw.c: data_in, data_out, teardown).
    exit_code = 21


class NoSuchPool(NotFound):
    template = "pool {pool!r} does not exist: {hint}"
    exit_code = 22


class NoSuchBuffer(NotFound):
    template = "persistent buffer {name} does not exist: create it first with #BB create_persistent name={name}"
    exit_code = 23


class NoSuchUser(NotFound):
    template = "host {host} does not know uid {uid}, so it cannot copy data as that user: add the user there or choose another mover host"
    exit_code = 24


class NoSuchProvider(NotFound):
    template = (
        "provider {name!r} is not installed: install the package dacc-provider-{name}, or name another one in the pool's configuration"
    )
    exit_code = 25


class AlreadyExists(DaccError):
    template = "{why}"
    exit_code = 30


class Busy(DaccError):
    template = "{why}"
    exit_code = 40
    retryable = True


class BufferInUse(Busy):
    template = "persistent buffer {name} is used by job {job}: wait for the job to end, or cancel it"
    exit_code = 41
    retryable = False


class BufferOwed(BufferInUse):
    template = "persistent buffer {name} has what job {job} is still to get from it: dacc stage-out {job} copies that out, dacc discard {job} gives it up"


class SessionEnding(Busy):
    template = "session {token} is being torn down: call again when that has ended"
    exit_code = 42
    retryable = False


class HostNameTaken(Busy):
    template = "another dacd runs as host {host} ({who}): stop it, or give this one another name with --host"
    exit_code = 43
    retryable = False


class NoSpace(DaccError):
    template = "{why}"
    exit_code = 50


class PoolFull(NoSpace):
    template = (
        "pool {pool} has {free} free of {total} bricks and {needed} are needed ({needed_bytes} bytes in units of {granularity}): {hint}"
    )
    exit_code = 51


class PoolTooSmall(NoSpace):
    template = "pool {pool} has {total} bricks in all ({free} free now) and {needed} are needed ({needed_bytes} bytes in units of {granularity}): ask for at most {total_bytes} bytes"
    exit_code = 52


class Unavailable(DaccError):
    template = "{why}"
    exit_code = 60
    retryable = True


class KeystoreUnavailable(Unavailable):
    template = "keystore {where} does not answer: {why}"
    exit_code = 61


class KeystoreMissing(Unavailable):
    template = "no keystore at {where}: start dacd, which makes one, or name the right one in the configuration ({hint})"
    exit_code = 62
    retryable = False


class WrongCluster(Unavailable):
    template = "keystore {where} belongs to cluster {found}, not {wanted}: correct the configuration's `cluster` or the keystore's place"
    exit_code = 63
    retryable = False


class StaleView(Unavailable):
    template = "the keystore has not been heard from for {seconds:.0f} s, so the answer could be out of date: see the log of dacd"
    exit_code = 64


class HostUnreachable(Unavailable):
    template = "host {host} cannot be reached: {why}"
    exit_code = 65


class HostLost(HostUnreachable):
    template = "host {host} was lost while it ran a command: {why}; the command may still run there, until the host is fenced"
    exit_code = 69


class DaemonUnavailable(Unavailable):
    template = "dacd does not answer on {socket}: {why}"
    exit_code = 66


class StepFailed(Unavailable):
    template = "{step} of session {token} failed: {why}"
    exit_code = 67


class Compacted(Unavailable):
    template = "revision {wanted} is compacted, the oldest one kept is {oldest}: read everything anew"
    exit_code = 68


class Unsupported(DaccError):
    template = "{why}"
    exit_code = 70


class Denied(DaccError):
    template = "{who} may not {what}: {why}"
    exit_code = 71


class StillWorking(DaccError):
    template = "still {doing} for session {token}: call again, the work goes on"
    exit_code = 75
    retryable = True


class StillWaiting(StillWorking):
    template = "session {token} still waits for {what}: {why}; call setup again"


class Superseded(DaccError):
    template = "{verb} of session {token} was superseded by {by}"
    exit_code = 76


class Cancelled(DaccError):
    template = "{what} was cancelled"
    exit_code = 77


class ProviderBug(DaccError):
    template = "provider {provider} broke its contract in {where}: {why}; report it to the provider's authors"
    exit_code = 80


class ProviderLoadError(ProviderBug):
    template = "provider {provider} cannot load: entry point {entry_point} of {package} {version}: {why}; {fix}"
    exit_code = 81


def all_errors() -> dict[str, type[DaccError]]:
    """Every class of the tree by its name."""
    classes: dict[str, type[DaccError]] = {}
    todo: list[type[DaccError]] = [DaccError]
    while todo:
        cls = todo.pop()
        classes[cls.__name__] = cls
        todo.extend(cls.__subclasses__())
    return classes


def from_record(kind: str, text: str) -> DaccError:
    """The error that a record names; an unknown kind (a newer daemon wrote it) is a plain DaccError."""
    return all_errors().get(kind, DaccError).from_text(text)
