"""What of GPAW is there on this machine: package, data sets, mpiexec, and whether ranks start."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

from ...diagnosis import ANSWER_S, Answer, Finding, ask
from ..shared.commands import last_words
from ..shared.machine import available_cores
from ..shared.processes import UNBOUND, for_root

_SAID = "sodiate-ranks"
_VERSION = "import gpaw; print(gpaw.__version__)"
_RANKS = f"from gpaw.mpi import world; world.barrier(); world.rank or print('{_SAID}', world.size)"

_LIBRARIES = "apt-get install libxc-dev libopenblas-dev libopenmpi-dev openmpi-bin"
_AGAIN = f"{_LIBRARIES}, then pip install --force-reinstall --no-binary gpaw gpaw"


def look(command: str) -> list[Finding]:
    """Return what is there.

    Parameters
    ----------
    command
        Starts GPAW; it ends in ``python`` and a script, and ``{ranks}`` stands for the number of ranks.
    """
    if find_spec("gpaw") is None:
        remedy = f"{_LIBRARIES}, then pip install 'sodiate[gpaw]' (for real DFT)"
        return [Finding("GPAW", "not installed", False, remedy)]
    ranks = min(2, available_cores())
    words = [*shlex.split(command.replace("{ranks}", str(ranks)))[:-1], "-c", _RANKS]
    environment = {"OMP_NUM_THREADS": "1", **UNBOUND, **os.environ, **for_root()}
    with ThreadPoolExecutor(2) as pool:
        alone = pool.submit(ask, [sys.executable, "-c", _VERSION], ANSWER_S)
        together = pool.submit(ask, words, ANSWER_S, environment)
    package = _package(alone.result())
    return [package, _data(), *([_ranks(together.result(), words, ranks)] if package.is_there else [])]


def _package(answer: Answer) -> Finding:
    if answer.code == 0:
        return Finding("GPAW", answer.output.strip())
    why = last_words(answer.errors) or answer.complaint
    remedy = f"it may only be slow: {shlex.join([sys.executable, '-c', _VERSION])}" if answer.code is None else _AGAIN
    return Finding("GPAW", f"cannot be imported: {why}", False, remedy)


def _data() -> Finding:
    if find_spec("gpaw_data") is not None:
        return Finding("GPAW data sets", "the package gpaw-data")
    return Finding("GPAW data sets", "the package gpaw-data is not installed", False, "pip install gpaw-data")


def _ranks(answer: Answer, words: list[str], ranks: int) -> Finding:
    """Return whether ranks started, as of a calculation, and met."""
    if shutil.which(words[0]) is None:
        return Finding("GPAW ranks", f"{words[0]} is not there", False, "apt-get install openmpi-bin")
    if answer.code == 0 and f"{_SAID} {ranks}" in answer.output:
        return Finding("GPAW ranks", f"{ranks} start by {words[0]}")
    if answer.code == 0:
        said = f"{ranks} start, each alone: {words[0]} and GPAW are of different MPI libraries"
        return Finding("GPAW ranks", said, False, _AGAIN)
    why = last_words(answer.errors) or answer.complaint
    slow = "a busy machine may only be slow; " if answer.code is None else ""
    return Finding("GPAW ranks", f"do not start: {why}", False, f"{slow}see what this says: {shlex.join(words)}")
