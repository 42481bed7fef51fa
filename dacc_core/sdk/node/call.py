"""The provider's side of the node kit: a program, sent to hosts with a request, and what their answers mean.

One command for each host and call. The host's own interpreter reads the program, and the request behind it, from standard input: nothing
has to be installed, no name of a user is in the command's words, and no shell sees anything. An installed program gets the verb as its one
argument and the request on standard input.

An answer is judged strictly: what is not exactly of the expected shape is like no answer,
:class:`~dacc_core.errors.HostLost`, so that it is asked again and nothing is decided from it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.util import resolve_name
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from ...errors import DaccError, HostLost, Unavailable, all_errors
from ...names import clean_text
from ..context import Context
from ..hosts import Argv, Command, CommandResult, PerHost
from . import kit

KIT = __package__
RAISABLE: Mapping[str, type[DaccError]] = {kind: all_errors()[kind] for kind in kit.KINDS}

ByteCount = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""In the shape of a result: a number of bytes."""


class NodeResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the shapes of results; as it stands, of verbs that have none. What is not exactly of the shape is no answer."""


class FailedCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program on a host that failed (``CommandFailed`` of the kit)."""

    command: str
    """Its name."""

    target: str
    """What it worked on, for people."""

    returncode: Annotated[int, msgspec.Meta(ge=-255, le=255)]
    """Its exit status; below 0: minus the signal that ended it."""

    output: str
    """The end of what it wrote."""

    def why(self) -> str:
        """One clean line: what failed, and the last line that it wrote."""
        lines = self.output.strip().splitlines()
        last = f" ({clean_text(lines[-1], 300)})" if lines else ""
        return f"{clean_text(self.command, 100)} of {clean_text(self.target, 300)} failed with status {self.returncode}{last}"


class _ErrorAnswer(msgspec.Struct, forbid_unknown_fields=True):
    error: str
    text: str


class _FailedAnswer(msgspec.Struct, forbid_unknown_fields=True):
    failed: FailedCommand


class _ResultAnswer(msgspec.Struct, forbid_unknown_fields=True):
    result: dict[str, Any]


def failed_unavailable(failed: FailedCommand) -> DaccError:
    """Any failed program is Unavailable: for providers that need no other judgement."""
    return Unavailable(why=failed.why())


class NodeProgram:
    """A program for hosts, made of a provider's module and what it imports of its own package and of the kit.

    Those imports stand at the top of modules, by name (``from dacc_core.sdk.node.kit import run``, ``from .volume import serve``). The
    modules are joined into one, so no two of them may define one name; of the kit only what is used is in it. Raises ``ValueError`` for
    what cannot be joined.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self._package = module.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        """The joined modules."""
        texts: dict[str, str] = {}
        self._join(self.module, texts)
        self._check_names(texts)
        kit_modules = [module for module in texts if module.rpartition(".")[0] == KIT and module != self.module]
        own = "\n\n".join(text for module, text in texts.items() if module not in kit_modules)
        # Hosts compile the program for each call, so what is not used of the kit would cost time there.
        library = "\n\n".join(texts[module] for module in kit_modules)
        return f"{_used(library, own)}\n\n{own}"

    @cached_property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that it has."""
        return tuple(sorted(re.findall(r'^@verb\("([a-z-]+)"\)$', self.text, re.MULTILINE)))

    def installable(self, title: str) -> str:
        """The program as a file that can be installed on hosts; ``title``: what it is, for people who open the file."""
        end = '\n\nif __name__ == "__main__":\n    sys.exit(answer_installed(sys.argv[1:]))\n'
        return f'#!/usr/bin/python3 -IS\n"""{title}"""\n{self.text}{end}'

    def request(self, verb: str, document: str) -> bytes:
        """The program and behind it a request, as an interpreter reads them from standard input."""
        return f"{self.text}\n\nanswer_sent({verb!r}, {document!r}, sys.argv[1])\n".encode()

    def _join(self, module: str, texts: dict[str, str]) -> None:
        if module in texts:
            return
        texts[module] = ""  # an import in a circle ends here; the names are there when they are used
        source = _source(module)
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ImportFrom) and (imported := self._imported(module, node)):
                self._join(imported, texts)
                last = node.end_lineno or node.lineno
                lines[node.lineno - 1 : last] = [""] * (last - node.lineno + 1)
        del texts[module]
        texts[module] = "\n".join(lines)

    def _imported(self, module: str, node: ast.ImportFrom) -> str:
        """The module of the program that an import names; empty for the standard library."""
        name = resolve_name("." * node.level + (node.module or ""), module.rpartition(".")[0]) if node.level else str(node.module)
        if name.rpartition(".")[0] in (self._package, KIT):
            if any(alias.asname or alias.name == "*" for alias in node.names):
                raise ValueError(f"{module}, line {node.lineno}: import names as they are, the modules are joined")
            return name
        if name in (self._package, KIT) or name.partition(".")[0] in (self._package.partition(".")[0], "dacc_core"):
            raise ValueError(f"{module}, line {node.lineno}: a host has only the modules next to this one and the kit's, name by name")
        return ""

    @staticmethod
    def _check_names(texts: Mapping[str, str]) -> None:
        owner: dict[str, str] = {}
        for module, text in texts.items():
            for name in _defined(ast.parse(text)):
                if owner.setdefault(name, module) != module:
                    raise ValueError(f"{module} defines {name}, which {owner[name]} defines, too: the modules are joined, so rename one")


def _used(library: str, program: str) -> str:
    """A library without those of its functions and classes that a program does not use."""
    tree = ast.parse(library)
    definitions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    rest = [node for node in tree.body if node not in definitions.values()]
    used: set[str] = set()
    names = {"answer_sent", "answer_installed"}.union(_names_in(ast.parse(program)), *map(_names_in, rest))
    while names := {name for name in names if name in definitions and name not in used}:
        used |= names
        names = set().union(*(_names_in(definitions[name]) for name in names))
    lines = library.splitlines()
    for name in definitions.keys() - used:
        node = definitions[name]
        first = min(part.lineno for part in (node, *node.decorator_list))
        lines[first - 1 : node.end_lineno] = [""] * ((node.end_lineno or first) - first + 1)
    return re.sub("\n{3,}", "\n\n\n", "\n".join(lines))


def _names_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _source(module: str) -> str:
    package, _, name = module.rpartition(".")
    return (files(package) / f"{name}.py").read_text("utf-8")


def _defined(tree: ast.Module) -> list[str]:
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    names += [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return [name for name in names if name != "TYPE_CHECKING"]


Shape = TypeVar("Shape", bound=NodeResult)


@dataclass(frozen=True, slots=True)
class NodeAnswers(Generic[Shape]):
    """What hosts answered to a call."""

    hosts: Mapping[str, Shape | DaccError]
    """By host the verb's result or its error, in the order of the call."""

    def results(self) -> dict[str, Shape]:
        """The results. Raises the first error, if there is any."""
        self.outcome().check()
        return self.succeeded

    @property
    def succeeded(self) -> dict[str, Shape]:
        """The results of those hosts that have one."""
        return {host: answer for host, answer in self.hosts.items() if not isinstance(answer, DaccError)}

    def outcome(self) -> PerHost:
        """On which hosts it succeeded, and the errors of the others: what ``mount`` and its kin return."""
        return PerHost(hosts={host: answer if isinstance(answer, DaccError) else None for host, answer in self.hosts.items()})


@dataclass(frozen=True, slots=True)
class NodeHosts:
    """The hosts of one request, on which a program is called."""

    context: Context
    program: NodeProgram

    seconds: float = 600.0
    """How long a call may take at most, unless it names another time."""

    installed: Sequence[str] = ()
    """The command that runs the installed program (:meth:`NodeProgram.installable`); empty: the program is sent along."""

    judge: Callable[[FailedCommand], DaccError] = failed_unavailable
    """What it means that a program on a host failed."""

    def call(
        self,
        verb: str,
        hosts: Sequence[str],
        shape: type[Shape],
        common: Mapping[str, Any] | None = None,
        each: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        seconds: float | None = None,
        wrapper: Sequence[str] = (),
    ) -> NodeAnswers[Shape]:
        """Do a verb on each host at once.

        Its arguments are ``common`` with what ``each`` has for the host; ``host`` is among them. ``shape``: of its result.
        ``wrapper``: words before the command, such as ``("unshare", "--mount")``. Errors name the host. Raises
        :class:`~dacc_core.errors.Cancelled`, and :class:`~dacc_core.errors.Unavailable` when the deadline is over before it starts.
        """
        if not hosts:
            return NodeAnswers({})
        self.context.cancel.check(verb)
        self.context.deadline.check(verb)
        timeout = self.context.deadline.remaining(at_most=self.seconds if seconds is None else seconds)
        # What is late is then reported by the program itself, which knows what it was.
        request = {"common": {**(common or {}), "seconds": max(0.5, timeout - 2.0)}, "hosts": self._particular(hosts, each or {})}
        argv, stdin = self._command(verb, json.dumps(request), wrapper)
        results = self.context.hosts.run(hosts, Command(argv, timeout=timeout, stdin=stdin))
        self.context.cancel.check(verb)
        return NodeAnswers({host: self._answer(host, verb, results.get(host), shape) for host in hosts})

    def _particular(self, hosts: Sequence[str], each: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        # An installed program finds its host's name among them.
        return {host: each.get(host, {}) for host in hosts if self.installed or host in each}

    def _command(self, verb: str, document: str, wrapper: Sequence[str]) -> tuple[Argv, bytes]:
        if self.installed:
            return [*wrapper, *self.installed, verb], document.encode()
        python = self.context.hosts.python
        return lambda host: [*wrapper, python, "-I", "-S", "-", host], self.program.request(verb, document)

    def _answer(self, host: str, verb: str, result: CommandResult | None, shape: type[Shape]) -> Shape | DaccError:
        if result is None:
            return HostLost(host=host, why=f"the host runner gave no result of {verb}")
        if result.error is not None:
            return result.error
        if result.returncode and not result.stdout:
            return Unavailable(why=clean_text(f"host {host}: {verb} ended early: {result.why()}"))
        try:
            return self._decoded(host, result, shape)
        except (ValueError, RecursionError) as error:
            output = clean_text(result.stdout[:200].decode(errors="replace"), 100)
            why = f"{clean_text(str(error), 200)}; exit status {result.returncode}: {output or 'nothing'}"
            hint = "; an installed program must be of the provider's version" if self.installed else ""
            return HostLost(host=host, why=f"its answer to {verb} makes no sense ({why}){hint}")

    def _decoded(self, host: str, result: CommandResult, shape: type[Shape]) -> Shape | DaccError:
        """Raises ``ValueError`` and ``RecursionError``."""
        if result.returncode:
            raise ValueError("an answer goes with success only")
        answer = msgspec.json.decode(result.stdout, type=dict[str, Any])
        if "error" in answer:
            problem = msgspec.convert(answer, _ErrorAnswer)
            if problem.error not in RAISABLE:
                raise ValueError("no error that a host may raise")
            return RAISABLE[problem.error].from_text(f"host {host}: {clean_text(problem.text)}")
        if "failed" in answer:
            error = self.judge(msgspec.convert(answer, _FailedAnswer).failed)
            return type(error).from_text(f"host {host}: {error}")
        return msgspec.convert(_cleaned(msgspec.convert(answer, _ResultAnswer).result), shape)


def _cleaned(value: Any) -> Any:
    """A result with every text in it on one printable line: errors and operators' terminals show them."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(item) for key, item in value.items()}
    return value
