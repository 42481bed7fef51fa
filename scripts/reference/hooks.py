"""``hooks.md``, from the hook specifications and the types of the SDK."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from types import ModuleType
from typing import Any

from dacc_core import sdk
from dacc_core.errors import DaccError
from dacc_core.sdk import hookspecs, provider, requests
from dacc_core.sdk.node import call, kit, mounts, owned, swap, volumes
from dacc_core.values import Record

from . import markdown as md

INTRO = f"""
    **Provisional until version 1.0**: names and fields may still change; `CHANGELOG.md` says how. This is API
    {".".join(map(str, sdk.API_VERSION))}.

    A provider is a package with an entry point in the group `dacc.providers`. It imports `dacc_core.sdk` and nothing else of dacc. Start
    with the [guide](../guides/write-a-provider.md).
"""
HOOKS = """
    ## Hooks

    `hookimpl` marks an implementation (`hookspec` marks dacc's own specifications). Only `dacc_register_provider` must be there. A
    misspelt hook makes the package unusable, and `dacc providers list` says so; so does a hook wrapper.

    ### Observers

    `dacc_session_changed` and `dacc_step_finished` watch; what they return or raise changes nothing. A daemon calls those of the providers
    that it has loaded, one after the other on one thread, soon after the event and in the order of events. Each gets a copy of the event.

    - Up to 1000 events wait. What comes when the queue is full is dropped, counted in the metric
      [`dacc_observer_events_dropped_total`](metrics.md), and said in the log once.
    - One that raises anything, `sys.exit` included, is logged and called again next time.
    - One that has not come back after 10 s is called no more by that daemon, and neither are the others of its package; the log says so.
    - A daemon that ends gives them 2 s to see what waits. Events do not survive a daemon: for what must not be missed ask
      `dacc show --json`.
    - Changes that come close together may be told as one.

    Out of scope, for observers as for the rest of a package: code that ends the whole process (`os._exit`, a signal, a crash in an
    extension module), fills its memory, keeps the interpreter's lock, or never comes back while it is imported. Then the daemon is gone or
    stands still, and [others take over](../concepts/takeover.md). What does that while nobody uses it can be
    [disabled](../guides/operate.md#providers).
"""
SETTINGS = """
    ## Settings

    `Settings` is a dataclass: each field a setting of the section `providers.<name>`, with its type and default; one without a default must
    be given. dacc reads the section before it makes the provider, and reports everything wrong in it at once, each problem with its place
    in the file. Types are `str`, `int`, `float`, `bool`, `Literal["a", "b"]`, `tuple[T, ...]`, `Mapping[str, T]`, another dataclass, and
    `Size`, `Seconds`, `Count` and `AbsolutePath`. For what concerns several fields raise `InvalidRequest` or `ValueError` in
    `__post_init__`. The string below a field tells operators what it means; `dacc providers show` prints it.
"""
OPERATIONS = """
    ## What a provider does

    This version calls `check_host` when a brick host's daemon starts, `create`, `delete`, `mount`, `unmount`, and `swap_on` and
    `swap_off` where the capabilities say `swap`. It calls `restore` of a `RestoreProvider` when a brick host was booted (its kernel's
    boot id is another than when the volume was created or restored last), before anything that needs the volume, and while a job runs
    on it. It does not call `usage` yet. `dacc plan` calls `plan` of a
    `PlanProvider`.
"""
VERSIONS = """
    ## Versions

    The API has a version `(major, minor)`. A provider names the one that it was written for, `api = (1, 0)`. It is loaded when its major
    is dacc's and its minor is not greater: a new minor adds, a new major changes. `dacc providers list` calls others `incompatible` and
    says which side to upgrade.

    A hook, or a parameter of one, that gets another name keeps the old one for one release. Who uses it gets one `DeprecationWarning`
    in each process, which names the package, the new name, and the version of dacc in which the old one goes; `dacc providers list` shows
    the same. Fields of requests are renamed in the same way. Make the warnings errors in your tests: `filterwarnings = ["error"]`.
"""
ERRORS = """
    ## Errors

    A provider raises these classes only; any other exception counts as a defect of the provider. Raise one with `why=`, one line that
    says what failed, where, and what to do: `raise Unavailable(why=f"host {host} cannot load the module x: install it")`. See
    [all errors](errors.md).
"""
FIELDS = "## Records"
OTHERS = "## Context, hosts and commands"
ON_HOSTS = """
    ## On hosts

    What the modules of a [program for hosts](../guides/write-a-provider.md#the-node-kit) import by name, as in
    `from dacc_core.sdk.node.kit import run`. A `Job` is the mapping that a verb gets.
"""


def page() -> str:
    """The page."""
    exported = {name: getattr(sdk, name) for name in sdk.__all__}
    errors = [name for name, thing in exported.items() if isinstance(thing, type) and issubclass(thing, DaccError)]
    protocols = [name for name, thing in exported.items() if getattr(thing, "__module__", "") == provider.__name__]
    asked = [name for name, thing in exported.items() if thing is sdk.PerHost or getattr(thing, "__module__", "") == requests.__name__]
    records = [name for name, thing in exported.items() if isinstance(thing, type) and issubclass(thing, Record)]
    rest = [name for name in exported if name not in {*errors, *protocols, *asked, *records, "hookimpl", "hookspec"}]
    return md.page(
        "Hooks and types of the SDK",
        "dacc_core/sdk",
        INTRO,
        HOOKS,
        *(_hook(name) for name in vars(hookspecs) if name.startswith("dacc_")),
        VERSIONS,
        SETTINGS,
        OPERATIONS,
        *_things(protocols),
        "## Requests and results",
        "Sizes are bytes, owners are numbers, paths are absolute. Their fields are named when one is made: `PerHost(hosts=…)`.",
        *_things(asked),
        FIELDS,
        *_things(records),
        OTHERS,
        *_things(rest),
        ON_HOSTS,
        *map(_node_module, (kit, owned, mounts, volumes, swap)),
        ERRORS,
        md.table(("class", "message"), [(f"`{name}`", _message(exported[name])) for name in errors]),
    )


def _message(cls: type[DaccError]) -> str:
    template = cls.template
    return "`why`" if template == "{why}" else f"`{template}`"


def _hook(name: str) -> str:
    function = getattr(hookspecs, name)
    return f"### `{name}`\n\n    {name}{md.signature(function)}\n\n{md.doc(function)}"


def _things(names: list[str]) -> list[str]:
    return [_thing(name) for name in sorted(names, key=lambda name: (not inspect.isclass(getattr(sdk, name)), name))]


def _thing(name: str) -> str:
    thing = getattr(sdk, name)
    if inspect.isfunction(thing):
        return f"### `{name}`\n\n    {name}{md.signature(thing)}\n\n{md.doc(thing)}"
    if not isinstance(thing, type):
        return f"### `{name}`\n\n{_constant(name, thing)}"
    return "\n\n".join(filter(None, (f"### `{name}`", md.doc(thing), _fields(thing), *_methods(thing))))


def _node_module(module: ModuleType) -> str:
    nodes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    lines = [_node_line(node) for node in nodes if not node.name.startswith(("_", "answer_"))]
    return f"### `{module.__name__.rpartition('.')[2]}`\n\n{md.doc(module)}\n\n" + "\n".join(lines)


def _node_line(node: ast.ClassDef | ast.FunctionDef) -> str:
    text = md.markdown(ast.get_docstring(node) or "")
    return f"- `{node.name}{_as_written(node) if isinstance(node, ast.FunctionDef) else ''}`: {' '.join(text.split())}"


def _as_written(node: ast.FunctionDef) -> str:
    """A function's parameters and result, without the quotes that annotations need on old interpreters."""
    for annotated in (arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)):
        annotated.annotation = _unquoted(annotated.annotation)
    return f"({ast.unparse(node.args)}) -> {ast.unparse(_unquoted(node.returns) or ast.Constant(None))}"


def _unquoted(annotation: ast.expr | None) -> ast.expr | None:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _constant(name: str, value: Any) -> str:
    for module in (requests, provider, sdk.hosts, sdk.settings, call):
        text = md.attribute_docs(module).get(name)
        if text:
            return f"`{value!r}`. {text}" if isinstance(value, int | tuple) else text
    return f"One of {', '.join(f'`{one}`' for one in getattr(value, '__args__', ()))}."


def _fields(cls: type) -> str:
    if issubclass(cls, Record):
        names = list(cls.__struct_fields__)
    elif dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    else:
        names = [name for name in inspect.get_annotations(cls) if not name.startswith("_")]
    written = [base for base in reversed(cls.__mro__) if base.__module__.startswith("dacc_core.sdk")] or [cls]
    said = {name: text for base in written for name, text in md.attribute_docs(base).items()}
    hints = {name: hint for base in reversed(cls.__mro__) for name, hint in inspect.get_annotations(base).items()}
    rows = [(f"`{name}`", f"`{hints.get(name, '')}`", _default(cls, name), said.get(name, "")) for name in names]
    heads = ("field", "type", "default", "meaning")
    width = 4 if any(row[3] for row in rows) else 3 if any(row[2] for row in rows) else 2
    return md.table(heads[:width], (row[:width] for row in rows)) if rows else ""


def _default(cls: type, name: str) -> str:
    if not dataclasses.is_dataclass(cls):
        return ""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return "its own"
    return "*required*" if field.default is dataclasses.MISSING else _shown(name, field.default)


def _shown(name: str, value: Any) -> str:
    if name == "mode":
        return f"`{value:#o}`"
    if callable(value):
        return f"`{value.__name__}`" if value.__name__ != "<lambda>" else "does nothing"
    return f"`{value!r}`"


def _methods(cls: type) -> list[str]:
    own = {name: thing for name, thing in vars(cls).items() if not name.startswith("_")}
    found = []
    for name, thing in own.items():
        if isinstance(thing, property):
            found.append(f"- `{name}` (property): {_line(thing)}")
        elif isinstance(thing, classmethod):
            found.append(f"- `{name}{md.signature(thing.__func__)}` (class method): {_line(thing.__func__)}")
        elif inspect.isfunction(thing):
            found.append(f"- `{name}{md.signature(thing)}`: {_line(thing)}")
    return ["\n".join(found)] if found else []


def _line(thing: Any) -> str:
    return " ".join(md.doc(thing).split())
