"""Commands of codes: looked through before they run, and what their end means in words."""

from __future__ import annotations

import re
import shlex
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ACTED_ON = re.compile(r"[;&|<>`$]")
"""What a shell would act on."""

_BUILTINS = frozenset({"module", "ml", "source", ".", "export", "cd", "ulimit", "eval", "set", "unset"})
"""Words that only a shell knows."""

_WAY_OUT = "modules and variables belong in `modules` and `setup` of the cluster file, else write sh -c '…'"


def mistake(command: str, places: Collection[str] = ()) -> str | None:
    """Return what is wrong with a command that runs without a shell, in words; None if nothing can be seen.

    Parameters
    ----------
    command
        Program and arguments, quoted as for a shell.
    places
        Names that are replaced where they stand in braces.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return f"{command!r}: a quote is open; quotes come in pairs"
    if not words:
        return "it is empty; leave the key out for the default"
    braces = [place for place in re.findall(r"(?<!\$)\{(\w*)\}", command) if place not in places]
    if braces:
        known = f"what is replaced is {' and '.join(f'{{{place}}}' for place in places)}" if places else "nothing is"
        return f"{command!r}: {{{braces[0]}}} is not replaced; {known}"
    if words[0] in _BUILTINS or re.match(r"\w+=", words[0]):
        return f"{command!r} begins with {words[0]}, which only a shell knows; no shell runs it: {_WAY_OUT}"
    # An argument of several words is for a shell that the command itself starts.
    acted_on = next((word for word in words if " " not in word and _ACTED_ON.search(word)), None)
    if acted_on is not None:
        return f"{command!r}: {acted_on} is for a shell, and no shell runs it: {_WAY_OUT}"
    return None


@dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes
    ----------
    words
        That, and why, for a user.
    killed
        Whether it, or a rank of it, was ended from outside: what it left goes on, and nothing of it is wrong.
    out_of_memory
        Whether that certainly was for want of memory.
    """

    words: str
    killed: bool = False
    out_of_memory: bool = False


_KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals with which users, schedulers and the system end a program; others are crashes of its own."""

_SIGNALLED = re.compile(
    r"exited on signal (\d+)|(?:terminated|killed) by signal:? (\d+)|\(signal (\d+)\)", re.IGNORECASE
)
"""As OpenMPI, Intel's MPI and MPICH say it of a rank."""

NO_MEMORY = re.compile(r"out[ _-]of[ _-]memory(?!\?)|oom.?kill|MemoryError|cannot allocate memory", re.IGNORECASE)
"""Messages of schedulers, kernels and codes that ran out of memory, and not of one that is only asked whether."""

_LONGEST = 300
"""Characters of what a command said that are handed on."""


def end_of(code: int | None, text: str, oom_kills: int | None) -> End:
    """Return how a command ended without its result.

    Parameters
    ----------
    code
        Its exit code, negative for a signal, as `subprocess` has it; None if it was never started.
    text
        What it wrote to its standard error, together with its launcher of ranks.
    oom_kills
        How many processes the system ended meanwhile for want of memory; None if it does not say.
    """
    said = last_words(text)
    said = f": {said}" if said else ""
    number = _signal(code, text)
    if number is None:
        return End(f"ended without a result{said}" + ("" if code is None else f" (exit status {code})"))
    words = f"ended without a result, by signal {number} ({signal.Signals(number).name})"
    if number not in _KILLS:
        return End(words + said)
    out_of_memory = number == signal.SIGKILL and (bool(oom_kills) or NO_MEMORY.search(text) is not None)
    if number == signal.SIGKILL:
        words += ": out of memory" if out_of_memory else ": out of memory?"
    return End(words, True, out_of_memory)


def _signal(code: int | None, text: str) -> int | None:
    """Return the signal that ended a command or one of its ranks; None if it ended by itself, or never began."""
    if code is None or _NOT_STARTED.search(text):  # OpenMPI's exit codes for that look like signals
        return None
    found = _SIGNALLED.search(text)
    number = int(next(filter(None, found.groups()))) if found else -code if code < 0 else code - 128
    with suppress(ValueError):
        return signal.Signals(number).value
    return None


_RULER = re.compile(r"-{20,}|={20,}|\*{20,}")

_NOT_STARTED = re.compile(r"failed to start|did not launch|unable to (find|launch)|not enough slots")

_NO_REASON = re.compile(
    r"Primary job +terminated normally|exited with non-zero status|MPI_ABORT was invoked|ORTE_ERROR_LOG"
    r"|CLEANUP \(node|BAD TERMINATION|EXIT CODE|^Abort\(|for usage|for help"
)
"""Of launchers of ranks, and of codes that end their ranks: they say that a rank ended, not why."""

_PROGRAM = re.compile(r"Executable: (\S+)")

_REASON = re.compile(r"error|fatal|not found|no such|cannot|could not|unable|denied|invalid|unknown", re.IGNORECASE)


def last_words(text: str) -> str:
    """Return the line or the block of an error output that says most about why a command ended; may be empty.

    A launcher of ranks puts its own messages between rulers, after those of the program: what the program said comes
    first, unless it was never started.
    """
    outside, blocks = _parts(text)
    blocks = [block for block in blocks if not _NO_REASON.search(block)]
    never_started = next((block for block in blocks if _NOT_STARTED.search(block)), None)
    lines = [line for line in outside if not _NO_REASON.search(line)]
    telling = [line for line in lines if _REASON.search(line)]
    said = never_started or next(iter(telling[-1:] or lines[-1:] or blocks), "")
    program = _PROGRAM.search(said)
    if program:
        return f"there is no program {program[1]}, or it cannot be run"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Return the lines outside rulers, and each block between two of them as one line; without ranks' prefixes."""
    outside: list[str] = []
    blocks: list[str] = []
    block: list[str] | None = None
    for line in _plain(text):
        if _RULER.fullmatch(line):
            blocks += [" ".join(block)] if block else []
            block = [] if block is None else None
        else:
            (outside if block is None else block).append(line)
    return outside + (block or []), blocks


def _plain(text: str) -> Iterator[str]:
    for line in text.splitlines():
        plain = re.sub(r"^rank=\d+ L\d+: ?", "", line).strip(" |")
        if re.search(r"\w", plain) or _RULER.fullmatch(plain):
            yield plain
