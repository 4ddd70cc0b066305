"""What a look at this machine finds, and programs that are asked a question: `sodiate doctor` shows it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ANSWER_S = 2.5
"""How long a program may take to answer, where a person waits for it."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    what
        Its name.
    words
        What was found, in a line.
    is_there
        Whether it is there, and works.
    remedy
        What to do where it lacks, in a line, with the command to type.
    is_needed
        Whether not even a dry run goes without it.
    """

    what: str
    words: str
    is_there: bool = True
    remedy: str = ""
    is_needed: bool = False


@dataclass(frozen=True)
class Answer:
    """What a program answered.

    Attributes
    ----------
    code
        Its exit code, negative for a signal; None if it could not be started or did not end in time.
    output, errors
        What it wrote; for a program without an exit code ``errors`` says why.
    """

    code: int | None
    output: str = ""
    errors: str = ""

    @property
    def complaint(self) -> str:
        """The first line of its errors, or its exit code."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return lines[0] if lines else f"exit code {self.code}"


def ask(
    command: Sequence[str | Path], limit_s: float = ANSWER_S, environment: Mapping[str, str] | None = None
) -> Answer:
    """Run a program that is to answer at once; one that does not is ended, with all that it started.

    Parameters
    ----------
    command
        Program and arguments.
    limit_s
        Seconds that it may take.
    environment
        Variables; by default those of this process.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(None, errors=error.strerror or str(error))
    with process:
        try:
            output, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            return Answer(None, errors=f"no answer within {limit_s:g} s")
    return Answer(process.returncode, *(text.decode(errors="replace") for text in (output, errors)))
