"""Slurm in front of a simulated cluster: calls as the datawarp plugin makes them, answered by real cores in simulated time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dacc_core.config import Config
from dacc_core.keystore.base import PutKey
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.registry import keys
from dacc_core.registry.records import Session, Status
from dacc_core.registry.transaction import Commit
from dacc_core.registry.view import View
from dacc_core.simulation.cluster import Simulation
from dacc_core.simulation.daemon import SimulatedDaemon
from dacc_core.values import Record
from dacc_core.verbs.frontend import Answer, Call, FrontEnd, FrontEndContext, PeerCredentials
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import VerbContext
from fakewarp.dwstat.frontend import DWSTAT
from fakewarp.frontend import FRONTEND

SLURM = PeerCredentials(uid=64030, trusted=True)
OWNER = PeerCredentials(uid=1001)
STRANGER = PeerCredentials(uid=1002)

STRIPED = "#!/bin/bash\n#DW jobdw capacity=150 access_mode=striped,private\n"
STAGED = (
    STRIPED
    + "#DW stage_in type=file source=/home/in destination=$DW_JOB_STRIPED/in\n"
    + "#DW stage_out type=file source=$DW_JOB_STRIPED/out destination=/home/out\n"
)
NODES = "c1\nc2\n"


@dataclass
class Reply:
    """A call under way: its answer, once there is one, how many transactions its verb asked for, and which sessions it was told of."""

    answer: Answer | None = None
    lost: bool = False
    commits: int = 0
    told: list[str] = field(default_factory=list)


@dataclass
class Slurm:
    """The plugin's side. ``cores[0]`` answers unless a call says otherwise. ``buffer_wait``: the setting, of which tests need nothing."""

    sim: Simulation
    config: Config = field(default_factory=lambda: Config(mount_root="/mnt/dac"))
    buffer_wait: float = 0.0

    @property
    def cores(self) -> list[SimulatedDaemon]:
        """The daemons."""
        return self.sim.nodes

    # --- calls ---

    def begin(
        self,
        *args: str,
        files: Mapping[str, str] | None = None,
        caller: PeerCredentials = SLURM,
        node: int = 0,
        frontend: FrontEnd = FRONTEND,
        seconds: float | None = None,
        missing: frozenset[str] = frozenset(),
        session: str = "",
        waited: float = 0.0,
    ) -> Reply:
        """Start a call; :meth:`finish` brings its answer. A repeated one names its ``session``, and has ``waited`` before."""
        reply, core = Reply(), self.cores[node].engine
        assert core is not None
        parsed: Any = None
        try:
            began = self.sim.now.mono - waited
            parsed = frontend.parse(Call(args, files or {}, caller, session, lambda: self.sim.now.mono - began, missing))
        except Exception as error:
            reply.answer = frontend.failure(parsed, error)
            return reply
        verb_context = VerbContext(core.view, lambda: self.cores[node].now.wall, buffer_wait=self.buffer_wait)
        context = FrontEndContext(verb_context, self.config, lambda: self.sim.now.mono - core.heard, reply.told.append)
        verb = _counted(frontend.run(parsed, context), reply)
        limit = parsed.function.seconds(self.config) if seconds is None else seconds
        self.cores[node].send(verb, limit, "", partial(_answered, reply, frontend, parsed))
        return reply

    def finish(self, *replies: Reply, within: float = 600.0) -> list[Answer]:
        """Let time pass until all of them are answered."""
        self.until(lambda: all(reply.answer is not None for reply in replies), within=within)
        return [reply.answer for reply in replies if reply.answer is not None]

    def call(self, *args: str, **options: Any) -> Answer:
        """One call and its answer."""
        return self.finish(self.begin(*args, **options))[0]

    def dwstat(self, *args: str, **options: Any) -> Answer:
        """One call of dwstat."""
        return self.call(*args, frontend=DWSTAT, **options)

    def until(self, come: Callable[[], bool], *, within: float = 600.0) -> None:
        """Let time pass until something is true."""
        end = self.sim.now.mono + within
        while not come():
            assert self.sim.now.mono < end, "it did not come true in time"
            self.sim.step()

    # --- the plugin's argument lists (dw.c), with the functions' names ---

    def begin_setup(
        self, job: str, script: str = STRIPED, *, capacity: str = "default:200", nodes: str | None = None, **more: Any
    ) -> Reply:
        """Start a ``setup``."""
        args = ["--function", "setup", "--token", job, "--caller", "SLURM", "--user", "1001", "--groupid", "1001"]
        args += ["--capacity", capacity, "--job", "/spool/script"]
        files = {"job": script}
        if nodes is not None:
            args += ["--nodehostnamefile", "/spool/client_nids"]
            files["nodehostnamefile"] = nodes
        return self.begin(*args, files=files, **more)

    def setup(self, job: str, script: str = STRIPED, **more: Any) -> Answer:
        """``setup`` of a job."""
        return self.finish(self.begin_setup(job, script, **more))[0]

    def begin_create(self, name: str, capacity: str = "default:150", *more_args: str, uid: int = 1001, **more: Any) -> Reply:
        """Start a ``create_persistent``."""
        return self.begin("--function", "create_persistent", "-c", "CLI", "-t", name, "-u", str(uid), "-C", capacity, *more_args, **more)

    def create(self, name: str, capacity: str = "default:150", *more_args: str, **more: Any) -> Answer:
        """``create_persistent``."""
        return self.finish(self.begin_create(name, capacity, *more_args, **more))[0]

    def begin_job(self, function: str, job: str, **more: Any) -> Reply:
        """Start one of the functions whose arguments are a token and a script."""
        return self.begin("--function", function, "--token", job, "--job", "/spool/script", **more)

    def job(self, function: str, job: str, **more: Any) -> Answer:
        """A function whose arguments are a token and a script."""
        return self.finish(self.begin_job(function, job, **more))[0]

    def paths(self, job: str, **more: Any) -> Answer:
        """``paths`` of a job."""
        args = ["--function", "paths", "--job", "/spool/script", "--token", job, "--pathfile", "/spool/path"]
        return self.call(*args, **more)

    def begin_pre_run(self, job: str, nodes: str = NODES, **more: Any) -> Reply:
        """Start a ``pre_run``."""
        args = ["--function", "pre_run", "--token", job, "--job", "/spool/script", "--nodehostnamefile", "/spool/client_nids"]
        return self.begin(*args, files={"nodehostnamefile": nodes}, **more)

    def pre_run(self, job: str, nodes: str = NODES, **more: Any) -> Answer:
        """``pre_run`` of a job."""
        return self.finish(self.begin_pre_run(job, nodes, **more))[0]

    def begin_teardown(self, token: str, *, hurry: bool = False, **more: Any) -> Reply:
        """Start a ``teardown``."""
        args = ["--function", "teardown", "--token", token, "--job", "/spool/script", *(["--hurry"] if hurry else [])]
        return self.begin(*args, **more)

    def ending(self, token: str, **more: Any) -> Reply:
        """A ``teardown`` under way, of which every daemon has heard."""
        reply = self.begin_teardown(token, **more)
        self.until(lambda: all(core.engine is None or _ends(core.engine.view, token) for core in self.cores))
        return reply

    def teardown(self, token: str, *, hurry: bool = False, **more: Any) -> Answer:
        """``teardown`` of a job, or a buffer's destruction."""
        return self.finish(self.begin_teardown(token, hurry=hurry, **more))[0]

    def process(self, script: str, **more: Any) -> Answer:
        """``job_process`` of a script."""
        return self.call("--function", "job_process", "--job", "/spool/script", files={"job": script}, **more)

    # --- what is true ---

    def session(self, token: str) -> Session | None:
        """The session as the store has it."""
        self.sim.rules.revision()
        return self.sim.rules.records().session(token)

    def status(self, token: str) -> Status:
        """What the store knows of it."""
        self.sim.rules.revision()
        return self.sim.rules.records().status(token)

    def mounts(self, path: str) -> set[str]:
        """The hosts that have something mounted at a path."""
        return {host for host, where in self.sim.world.mounts if where == path}

    def listed(self) -> set[str]:
        """The tokens that show_sessions lists."""
        answer = self.call("--function", "show_sessions")
        assert answer.rc == 0
        return {session["token"] for session in slurm_json(answer)["sessions"]}

    def free(self) -> int:
        """The free bricks that pools tells of."""
        (pool,) = slurm_json(self.call("--function", "pools"))["pools"]
        return int(pool["free"])


def cluster(seed: int = 1, **options: Any) -> Slurm:
    """Slurm in front of a new cluster whose daemons have registered; without faults unless asked for."""
    slurm = Slurm(Simulation(seed, **{"faults": 0.0, **options}))
    slurm.sim.run(3.0)
    return slurm


def _ends(view: View, token: str) -> bool:
    session = view.session(token)
    return session is None or session.goal.filesystem == "absent"


def _answered(reply: Reply, frontend: FrontEnd, parsed: Any, answer: Answer | Exception | None) -> None:
    if isinstance(answer, Exception):
        answer = frontend.failure(parsed, answer)
    reply.answer, reply.lost = answer, answer is None


def _counted(verb: Verb[Answer], reply: Reply) -> Verb[Answer]:
    """The verb, its transactions counted."""
    step: Callable[[], Any] = partial(next, verb)
    while True:
        try:
            operation = step()
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        reply.commits += isinstance(operation, Commit)
        try:
            step = partial(verb.send, (yield operation))
        except Exception as error:
            step = partial(verb.throw, error)


def lines(answer: Answer) -> list[str]:
    """The lines of an answer; a failure always has some, since Slurm searches its output without looking whether there is one."""
    assert answer.stdout.endswith("\n") or not (answer.rc or answer.stdout), answer
    return answer.stdout.splitlines()


def succeeded(answer: Answer) -> bool:
    """Whether a call succeeded and said nothing, as most must."""
    assert answer.rc or not answer.stdout, answer
    return answer.rc == 0


def refused(answer: Answer) -> str:
    """The one line of a call that failed."""
    (line,) = lines(answer)
    assert answer.rc != 0, answer
    assert line.isprintable()
    assert "Traceback" not in line
    assert not line.startswith(("{", "["))
    return line


def real_size(slurm: Slurm, job: str) -> int:
    """What real_size tells of a job."""
    answer = slurm_json(slurm.call("--function", "real_size", "--token", job))
    assert answer.pop("units") == "bytes"
    capacity = answer.pop("capacity")
    assert type(capacity) is int
    assert answer == {}
    return capacity


# --- reading and faking records ---


def slurm_json(answer: Answer) -> Any:
    """The output as Slurm parses it: apostrophes become quotation marks first (dw.c, _python2json)."""
    return json.loads(re.sub(r"u?'", '"', answer.stdout))


def view_of(records: Mapping[tuple[str, str], Record]) -> View:
    """A view that holds these records, by kind and name."""
    store = MemoryKeystore()
    store.txn((), [PutKey(keys.key(kind, name), keys.encode(record)) for (kind, name), record in records.items()])
    view = View()
    view.load(store.range(keys.PREFIX))
    return view


def ask(
    view: View,
    *args: str,
    files: Mapping[str, str] | None = None,
    age: float = 0.0,
    frontend: FrontEnd = FRONTEND,
    caller: PeerCredentials = SLURM,
) -> Answer:
    """The answer of a function that only reads."""
    parsed: Any = None
    try:
        parsed = frontend.parse(Call(args, files or {}, caller))
        verb = frontend.run(parsed, FrontEndContext(VerbContext(view, lambda: 1_700_000_100.0), Config(mount_root="/mnt/dac"), lambda: age))
        return _result(verb)
    except Exception as error:
        return frontend.failure(parsed, error)


def _result(verb: Verb[Answer]) -> Answer:
    try:
        operation = next(verb)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    raise AssertionError(f"it asked for {operation}")
