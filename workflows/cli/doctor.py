"""The command that looks at this machine: what is there, and of what lacks what to do.

It is for machines on which something is wrong: whatever a look raises becomes its finding, and none is waited for
longer than a few seconds.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import ROOT

if TYPE_CHECKING:
    from ..diagnosis import Finding
    from ..engines.base import Engine

_LIMIT_S = 3.5
"""Seconds for all looks together, which go on side by side; more than `diagnosis.ask` waits."""

_ROOM_BYTES = 500_000_000
"""A dry run of a bundled campaign takes a tenth of it, the server's files among it."""

_FIRST = (3, 11)


def doctor(
    root: Annotated[Path, typer.Option(help="Folder in which you want to compute.")] = ROOT,
) -> None:
    """Say what is there on this machine for dry runs, real runs and clusters, and of what lacks what to do.

    It computes nothing and leaves nothing. Exit code 0: a dry run can work; 1: it cannot. Example: sodiate doctor
    """
    try:
        engines = _engines()
    except Exception as error:  # as in `_together`
        engines = [("engines", partial(_raise, error), True)]
    findings = _together([*_general(root), *engines, ("scheduler", _schedulers, False)])
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "ok  " if finding.is_there else "LACK" if finding.is_needed else "no  "
        print(f"{mark}  {finding.what:{width}}  {finding.words}")
        if not finding.is_there and finding.remedy:
            print(f"      {'':{width}}  → {finding.remedy}")
    lacking = [finding.what for finding in findings if finding.is_needed and not finding.is_there]
    if lacking:
        print(f"A dry run cannot work yet: see {', '.join(lacking)} above.")
        raise typer.Exit(1)
    print("A dry run can work: sodiate run")


Look = tuple[str, Callable[[], "Sequence[Finding]"], bool]
"""Name, what finds, and whether a dry run needs it."""


def _together(looks: Sequence[Look]) -> list[Finding]:
    """Look at all things at once; one that does not end in time, as on a dead file system, is left alone."""
    from ..diagnosis import Finding

    found: dict[str, Sequence[Finding]] = {}

    def look(name: str, find: Callable[[], Sequence[Finding]], is_needed: bool) -> None:
        try:
            found[name] = find()
        except Exception as error:  # whatever is broken: that is what it is to say
            words = f"{type(error).__name__}: {error}".partition("\n")[0]
            found[name] = [Finding(name, words, False, "pip install --force-reinstall sodiate", is_needed)]

    threads = [threading.Thread(target=look, args=one, daemon=True) for one in looks]
    end = time.monotonic() + _LIMIT_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {_LIMIT_S:g} s"
    again = "look again when the machine is less busy, or see whether one of its disks hangs: df"
    return [
        finding
        for name, _, is_needed in looks
        for finding in found.get(name, [Finding(name, late, False, again, is_needed)])
    ]


def _general(root: Path) -> list[Look]:
    return [
        ("Python", _python, True),
        ("packages", _packages, True),
        ("mongod", _mongod, True),
        ("root folder", partial(_folder, "root folder", root), True),
        ("temporary folder", _temporary, True),
        ("cores", _cores, False),
    ]


def _python() -> list[Finding]:
    from ...version import __version__
    from ..diagnosis import Finding

    number = ".".join(map(str, sys.version_info[:3]))
    remedy = f"python3.{_FIRST[1]} -m venv venv, then pip install sodiate there"
    here = Path(__file__).resolve().parents[2]
    return [
        Finding("Python", f"{number}, {sys.executable}", sys.version_info >= _FIRST, remedy, True),
        Finding("sodiate", f"{__version__}, {here}"),
    ]


def _packages() -> list[Finding]:
    """Hold what is installed against what sodiate asks for."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    from ..diagnosis import Finding

    wanted = [Requirement(line) for line in requires("sodiate") or []]
    here = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = []
    for one in here:
        try:
            installed = version(one.name)
        except PackageNotFoundError:
            wrong.append((one, "is missing"))
            continue
        if not one.specifier.contains(installed, prereleases=True):
            wrong.append((one, f"is {installed}"))
    if not wrong:
        return [Finding("packages", f"all {len(here)} that it needs")]
    words = ", ".join(f"{one.name} {state}" for one, state in wrong)
    remedy = "pip install " + " ".join(f"'{one.name}{one.specifier}'" for one, _ in wrong)
    return [Finding("packages", words, False, remedy, True)]


def _mongod() -> list[Finding]:
    from ..database.mongod_binary import NoMongod, how_to_get_one, usable_mongod
    from ..diagnosis import ANSWER_S, Finding

    try:
        binary, version = usable_mongod(ANSWER_S)
    except NoMongod as error:
        commands = (line.strip() for line in how_to_get_one().splitlines())
        command = next(line for line in commands if line.startswith(("pip ", "conda ")))
        if error.refused and all("no answer" in reason for reason in error.refused):
            command = "it may only be slow, as on a busy disk: sodiate doctor again"
        return [Finding("mongod", "; ".join(error.refused) or "none found", False, command, True)]
    return [Finding("mongod", f"{version}, {binary}")]


def _folder(what: str, folder: Path) -> list[Finding]:
    """Write a file into a folder, or into the first one above it that exists, and see how much room there is."""
    from ..diagnosis import Finding

    place = folder.absolute()
    other = "choose another one: sodiate run --root FOLDER" if what == "root folder" else "export TMPDIR=FOLDER"
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.NamedTemporaryFile(dir=place, prefix="sodiate-doctor-") as file:
            file.write(b"x")
        free = shutil.disk_usage(place).free
    except OSError as error:
        return [Finding(what, f"{place}: {error.strerror}", False, other, True)]
    words = f"{folder}: {free / 1e9:.1f} GB free" + ("" if place == folder or folder.exists() else f" in {place}")
    return [Finding(what, words, free > _ROOM_BYTES, f"make room, or {other}", True)]


def _temporary() -> list[Finding]:
    from ..diagnosis import Finding

    what = "temporary folder"
    try:
        return _folder(what, Path(tempfile.gettempdir()))
    except FileNotFoundError as error:  # none in which one can write
        return [Finding(what, str(error.strerror), False, "export TMPDIR=FOLDER", True)]


def _cores() -> list[Finding]:
    from ..diagnosis import Finding
    from ..engines.shared.machine import available_cores, cpu_quota, free_memory_bytes, memory_bytes, physical_cores

    quota, memory, free = cpu_quota(), memory_bytes(), free_memory_bytes()
    cores = f"{len(physical_cores())} physical" + ("" if quota is None else f", a quota of {quota:g}")
    words = "the system does not say"
    if memory is not None and free is not None:
        words = f"{memory / 1e9:.1f} GB, {free / 1e9:.1f} GB free"
    return [Finding("cores", f"{cores}: up to {available_cores()} at once"), Finding("memory", words)]


def _engines() -> list[Look]:
    """Load each engine, before the clock runs, and return a look by it; that of dry runs is needed."""
    from ..campaign.yaml import CONFIGS, load_yaml
    from ..engines import engine_names, make_engine
    from ..engines.base import Settings

    dry = load_yaml(CONFIGS / "defaults.yaml", "defaults")["engine"]
    looks: list[Look] = []
    for name in dict.fromkeys((dry, *engine_names())):
        what = f"engine {name}"
        try:
            engine = make_engine(name, Settings())
        except Exception as error:  # as in `_together`
            looks.append((what, partial(_raise, error), name == dry))
        else:
            looks.append((what, partial(_engine, engine), name == dry))
    return looks


def _engine(engine: Engine) -> list[Finding]:
    from ..diagnosis import Finding

    return engine.diagnose() or [Finding(f"engine {engine.name}", "all of it is in its package")]


def _raise(error: Exception) -> Sequence[Finding]:
    raise error


def _schedulers() -> list[Finding]:
    from ..clusters.registry import schedulers_here

    return [schedulers_here()]
