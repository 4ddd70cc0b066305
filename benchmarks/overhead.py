"""What sodiate adds to the computing itself: the bundled campaign, dry, against a bare ASE loop.

Both are whole processes and relax the same hosts and sites from the same start geometries to the same criterion,
with one BLAS thread (more only slow matrices of this size down, which would flatter sodiate). The loop has ASE's own
EMT and BFGS, the former with the dry run's parameters and repulsion (tests/support/ase_emt.py), of which sodiate's
potential gives the same numbers. sodiate also computes five DOS and draws two figures, with one worker and with two.
Run it on an idle machine:

    python benchmarks/overhead.py

Prints the ratio of the wall times (best of a few runs each, since the machine may be noisy), and where sodiate's own
time goes: imports, server, and the cost of a calculation that computes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

REPEATS = 3

TESTS = Path(__file__).resolve().parents[1] / "tests"

BARE = """
import sys
from pathlib import Path
from ase.io import read
from ase.optimize import BFGS
from sodiate.workflows.engines.emt.parameters import load_parameters
from support.ase_emt import ase_emt

for path in sorted(Path(sys.argv[1]).glob("*.extxyz")):
    atoms = read(path)
    atoms.calc = ase_emt(atoms.get_chemical_symbols(), load_parameters())
    with BFGS(atoms, logfile=None, maxstep=0.2) as optimizer:
        optimizer.run(fmax=0.02, steps=300)
    print(path.stem, optimizer.nsteps, atoms.get_potential_energy())
"""

IMPORTS = """
import sodiate.workflows.cli.commands, sodiate.workflows.run, sodiate.workflows.plan
import sodiate.workflows.launch.loop
import sodiate.workflows.engines.emt.engine, sodiate.analysis.figures.plots
import rich.table, matplotlib.backends.backend_agg
"""


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def best(run: Callable[[], object]) -> float:
    return min(seconds(run) for _ in range(REPEATS))


def python(code: str, *arguments: str) -> None:
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def run_campaign(root: Path, workers: int) -> None:
    command = [str(Path(sys.executable).with_name("sodiate")), "run", "wsse", "--root", str(root)]
    subprocess.run([*command, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)


def first_after_s(root: Path, workers: int) -> float:
    """Return after how many seconds a run began its first calculation."""
    from sodiate.workflows.database.connection import open_root

    began = time.time()
    run_campaign(root, workers)
    with open_root(root) as database:
        started = min(attempt["started"] for attempt in database.db["attempts"].find())
    return datetime.fromisoformat(started).timestamp() - began


def write_starts(root: Path, folder: Path) -> int:
    """Write the start geometry of each relaxation, as sodiate itself relaxed it."""
    starts = sorted(root.glob("*/start.extxyz"))
    relaxations = [p for p in starts if json.loads((p.parent / "input.json").read_text())["kind"] == "relax"]
    for path in relaxations:
        (folder / f"{path.parent.name.replace('@', '_')}.extxyz").write_bytes(path.read_bytes())
    return len(relaxations)


def costs(root: Path) -> tuple[float, float, int]:
    """Return seconds of a calculation that computes nothing, of all relaxations beyond that, and the number of all.

    The choices of a site compute nothing; a record's wall time holds its own share of them.
    """
    from sodiate.workflows.database.connection import open_root
    from sodiate.workflows.database.documents import Documents

    with open_root(root) as database:
        found = list(Documents(database.db).attempts.find().sort("started", 1))
    starts = [datetime.fromisoformat(a["started"]) for a in found]
    spans = [(a, (end - start).total_seconds()) for a, start, end in zip(found, starts, starts[1:], strict=False)]
    idle = [span for a, span in spans if a["label"].endswith("/lowest")]
    nothing = sum(idle) / len(idle)
    relaxations = [span - nothing for a, span in spans if a["ionic_steps"] is not None]
    return nothing, sum(relaxations), len(found)


def main() -> None:
    from sodiate.workflows.database.connection import open_root

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        roots = iter(folder / f"root-{number}" for number in range(2 * REPEATS + 1))
        whole = best(lambda: run_campaign(next(roots), 1))
        both = best(lambda: run_campaign(next(roots), 2))
        first = first_after_s(next(roots), 2)
        root = folder / "root-0"
        starts = folder / "starts"
        starts.mkdir()
        count = write_starts(root, starts)
        bare = best(lambda: python(BARE, str(starts)))
        imports = best(lambda: python(IMPORTS))

        def open_and_close() -> None:
            with open_root(root):
                pass

        server = best(open_and_close)
        again = best(lambda: run_campaign(root, 2))
        nothing, relaxing, calculations = costs(root)
    print(f"bare ASE loop over {count} relaxations, whole process   {bare:7.2f} s")
    print(f"sodiate run, fresh root, two workers              {both:7.2f} s   ratio {both / bare:.2f}")
    print(f"  its first calculation begins after              {first:7.2f} s")
    print(f"sodiate run, fresh root, one worker               {whole:7.2f} s   ratio {whole / bare:.2f}")
    print(f"sodiate run again, everything recorded            {again:7.2f} s   ratio {again / bare:.2f}")
    rows = {
        "imports (Python, numpy, ASE, FireWorks, plots)": imports,
        "private server, start and stop": server,
        "relaxations": relaxing,
        f"{calculations} calculations, {nothing * 1000:.1f} ms each": calculations * nothing,
    }
    rows["planning, submitting, DOS, figures, the table"] = whole - sum(rows.values())
    for what, spent in rows.items():
        print(f"  {what:47} {spent:7.2f} s   {spent / whole:5.1%} of the run")


if __name__ == "__main__":
    main()
