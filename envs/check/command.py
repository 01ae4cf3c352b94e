"""``spl check env``, the environment checker: runs the checks in a process that may die, prints the table."""

import faulthandler
import multiprocessing
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from spl.config.errors import UsageError
from spl.envs.check.config import CheckEnvConfig, Say
from spl.envs.check.examine import examine, fingerprint
from spl.envs.check.failures import RAISED, innermost, of_failure
from spl.envs.check.findings import Finding
from spl.envs.config import EnvConfig
from spl.envs.registry import DOOM
from spl.envs.workers import cause_of_death
from spl.printable import printable
from spl.processes.signals import serve_above
from spl.runs.logger import print_table

Look = Callable[[CheckEnvConfig, Say], Iterator[Finding]]
NUM_SHORT = 400  # steps of a short check
TRACE = "trace"  # of the child's death, beside its last words
START_TIMEOUT_S = 180.0  # for Python and its imports, on a busy machine
COLOURS = {"ok": "green", "note": "blue", "warning": "yellow", "fault": "bold red"}
DOOM_FIX = (
    "OpenAL's sound effects crash ViZDoom: give it the game argument '+snd_efx 0', as spl does without --raw "
    "and --env.kwargs.game_args '+snd_efx 0' does with it"
)


def check_env(config: CheckEnvConfig, *, console: Console | None = None) -> list[Finding]:
    """Examine the environment in a child process and return all that was found, its death included.

    Raises:
        UsageError: if the environment is unknown or cannot be made, or its streams or actions do not serve.
    """
    console = Console(stderr=True) if console is None else console
    return [
        _of_processes(found, config, console) if found[:2] == ("seed", "fault") else found
        for found in _send_out(examine, config, console)
    ]


def _of_processes(found: Finding, config: CheckEnvConfig, console: Console) -> Finding:
    """Return the fault of the seed, reported more exactly where two new processes play alike."""
    (one,), (other,) = (_send_out(fingerprint, config, console)[-1:] for _ in range(2))
    if one.name != "seed" or one.what != other.what:
        return found
    return found._replace(what=f"repeats in a fresh process only; {found.what}")


def _send_out(look: Look, config: CheckEnvConfig, console: Console) -> list[Finding]:
    """Return what ``look`` finds in a child process, and how that ended if not by itself."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        last_words = Path(folder) / "words"
        reader, writer = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(look, config, writer, last_words))
        child.start()
        writer.close()
        try:
            return _listen(config, child, reader, last_words, console)
        finally:
            _end(child)
            reader.close()


def _work(look: Look, config: CheckEnvConfig, writer: Connection, last_words: Path) -> None:
    """Examine, in the child: in a process group of its own, without a core file, prints kept apart."""
    serve_above()
    if hasattr(os, "setsid"):  # not on Windows, which has neither groups nor core files
        import resource

        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with last_words.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    trace = last_words.with_name(TRACE).open("w")  # kept open until the process ends
    faulthandler.enable(trace)
    doing = "starting"

    def say(what: str) -> None:
        nonlocal doing
        doing = what
        writer.send(what)

    try:
        for finding in look(config, say):
            writer.send(finding)
    except UsageError as error:
        writer.send(error)
    except RAISED as error:  # in an author's code that no check is about, such as close()
        writer.send(of_failure(doing, error))
        writer.send(None)
    else:
        writer.send(None)


def _listen(
    config: CheckEnvConfig, child: Any, reader: Connection, last_words: Path, console: Console
) -> list[Finding]:
    """Gather findings until the child says that it is done, dies or hangs."""
    findings: list[Finding] = []
    doing, patience_s = "starting", START_TIMEOUT_S
    status = console.status("") if console.is_terminal else nullcontext()
    with status as shown:
        while True:
            # a game engine may hold the pipe open after the child's death, so that both are waited for
            if not wait([reader, child.sentinel], patience_s):
                return [*findings, _of_hang(doing, patience_s)]
            try:
                if not reader.poll():
                    raise EOFError
                told = reader.recv()
            except EOFError:
                child.join()
                return [*findings, _of_death(config, doing, child.exitcode, last_words)]
            if told is None:
                return findings
            if isinstance(told, UsageError):
                raise told
            patience_s = config.step_timeout_s
            if isinstance(told, Finding):
                findings.append(told)
            else:
                doing = told
                if shown is not None:
                    shown.update(escape(printable(f"{config.env.id}: {doing}")))


def _of_hang(doing: str, seconds: float) -> Finding:
    what = f"hangs: {doing} took longer than {seconds:g} s"
    fix = "find what it waits for; if it is only slow, give more than --step_timeout_s"
    return Finding("process", "fault", what, fix)


def _of_death(config: CheckEnvConfig, doing: str, exit_code: int, last_words: Path) -> Finding:
    by = cause_of_death(exit_code)
    lines = [line.strip() for line in last_words.read_text(errors="replace").splitlines() if line.strip()]
    said = f": {lines[-1]}" if lines else ""
    at = _place_of_death(last_words.with_name(TRACE))
    fix = f"a native library ended it{at}: see its last line, and the library's options for what that names"
    if exit_code >= 0:
        is_told = "Traceback (most recent call last):" in lines
        fix = "fix what raised it" if is_told else "find what calls os._exit, and raise an error instead"
    if hasattr(signal, "SIGKILL") and exit_code == -signal.SIGKILL:
        fix = "something outside ended it, most likely for want of memory: leave it more"
    if config.env.id.startswith(DOOM):
        fix = DOOM_FIX
    fix += "; until then only an episode is lost where it has a process of its own (--env_workers true)"
    return Finding("process", "fault", f"the process died of {by} at {doing}{said}", fix)


def _place_of_death(trace: Path) -> str:
    """Return `` (file, line)`` of the user's line at which the process died; its trace begins with it."""
    told = trace.read_text(errors="replace") if trace.exists() else ""
    frames = re.findall(r'^  File "(.+)", line (\d+) in ', told, flags=re.MULTILINE)
    return innermost([(file, int(line)) for file, line in reversed(frames)])


def _end(child: Any) -> None:
    """End the child and whatever it started, such as a game engine."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        child.kill()
    child.join()


def print_findings(config: CheckEnvConfig, findings: list[Finding]) -> None:
    """Print a row per finding, its fix beneath it, and one sentence of the whole."""
    rows = []
    for name, verdict, what, fix in findings:
        advice = f"\n[dim]fix:[/dim] {escape(printable(fix))}" if fix else ""
        rows.append([name, f"[{COLOURS[verdict]}]{verdict}[/]", escape(printable(what)) + advice])
    how = ", as shipped" if config.raw else ""
    print_table(f"{printable(config.env.id)}{how}", ["", "verdict", "found"], rows, is_prose=True)
    print(f"{printable(config.env.id)}: {verdict_on(findings)}")


def verdict_of(env_id: str) -> str:
    """Return what a short check of an environment finds, in a few words."""
    return verdict_on(check_env(CheckEnvConfig(env=EnvConfig(id=env_id), num_steps=NUM_SHORT)))


def verdict_on(findings: list[Finding]) -> str:
    """Return how many faults and warnings there are."""
    counts = {
        verdict: sum(found.verdict == verdict for found in findings) for verdict in ("fault", "warning")
    }
    told = [f"{number} {verdict}{'s' * (number > 1)}" for verdict, number in counts.items() if number]
    return " and ".join(told) or "no faults found"
