"""Several calculations at once against one after the other, on the cores of this machine.

    python benchmarks/workers.py                  # the bundled campaign, dry
    python benchmarks/workers.py --supercell 6    # the same in 6×6, where start and end matter less
    python benchmarks/workers.py --gpaw           # and two cells of 1×1 with GPAW

Dry: `sodiate run` of `wsse` with --workers 2 and 1, in turn, each on a fresh root. GPAW: energy and forces of the 1×1
hosts WSe2 and WSSe, two at a time with a rank each, and one after the other with two ranks each. The best of a few.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import yaml
from sodiate.workflows.campaign.yaml import CONFIGS

CAMPAIGN = {
    "campaign": "pair",
    "supercell": [1, 1],
    "models": ["WSe2", "WSSe"],
    "sites": ["H@top"],
    "quantities": [],
    "protocol": {"base": "paper", "cutoff_ev": 300, "max_force_ev_per_a": 50.0},
}
"""No relaxation: a force of 50 eV/Å ends it at its start."""


def seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def dry_campaign(folder: Path, supercell: int) -> Path:
    """Write the bundled dry campaign with cells of n×n."""
    content = yaml.safe_load((CONFIGS / "campaigns" / "wsse.yaml").read_text(encoding="utf-8"))
    path = folder / "wsse.yaml"
    path.write_text(yaml.safe_dump({**content, "supercell": [supercell, supercell]}), encoding="utf-8")
    return path


def dry(folder: Path, campaign: Path, workers: int) -> float:
    root = folder / "root"
    command = [str(Path(sys.executable).with_name("sodiate")), "run", str(campaign), "--root", str(root)]
    took = seconds(
        lambda: subprocess.run([*command, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)
    )
    shutil.rmtree(root)
    return took


def prepared(folder: Path) -> list[Path]:
    """Write inputs of the two hosts."""
    from sodiate.workflows.engines import make_engine
    from sodiate.workflows.engines.base import Settings
    from sodiate.workflows.plan.planner import plan
    from sodiate.workflows.start_structures import ideal_atoms, start_moments

    base = yaml.safe_load((CONFIGS / "campaigns" / "wsse-gpaw.yaml").read_text(encoding="utf-8"))
    path = folder / "pair.yaml"
    path.write_text(yaml.safe_dump({**base, **CAMPAIGN}), encoding="utf-8")
    planned, directories = plan(path), []
    for name in ("WSe2", "WSSe"):
        calculation = planned.names[name]
        atoms = ideal_atoms(calculation)
        assert atoms is not None
        moments = start_moments(calculation, len(atoms))
        if moments is not None:
            atoms.set_initial_magnetic_moments(moments)
        directories.append(folder / name)
        engine = make_engine("gpaw", Settings(execution=planned.execution(calculation)))
        print(name, engine.demand(calculation), file=sys.stderr)
        engine.prepare(calculation, atoms, directories[-1], {})
    return directories


def compute(directory: Path, cpus: tuple[int, ...]) -> None:
    """Run GPAW in a directory, pinned to some CPUs, with a rank on each."""
    from sodiate.workflows.engines import make_engine
    from sodiate.workflows.engines.base import Limits, Settings
    from sodiate.workflows.stop import Stop

    os.sched_setaffinity(0, cpus)
    make_engine("gpaw", Settings(worker={"ranks": len(cpus)})).run(directory, Limits(), Stop())


def at_once(jobs: list[tuple[Path, tuple[int, ...]]]) -> None:
    processes = [get_context("fork").Process(target=compute, args=job) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def gpaw(folder: Path, cpus: tuple[int, int]) -> tuple[float, float]:
    """Return the time of both at once with a rank each, and of one after the other with two."""
    (folder / "together").mkdir(parents=True)
    (folder / "after").mkdir()
    one, two = prepared(folder / "together")
    together_s = seconds(lambda: at_once([(one, cpus[:1]), (two, cpus[1:])]))
    return together_s, sum(seconds(partial(at_once, [(path, cpus)])) for path in prepared(folder / "after"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpaw", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--supercell", type=int, default=3, metavar="N", help="N×N cells of the dry campaign")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        campaign = dry_campaign(folder, given.supercell)
        pairs = [(dry(folder, campaign, 2), dry(folder, campaign, 1)) for _ in range(given.repeats)]
        two, one = (min(times) for times in zip(*pairs, strict=True))
        print(f"dry campaign: 2 workers {two:.2f} s, 1 worker {one:.2f} s, ratio {two / one:.2f}", flush=True)
        if given.gpaw:
            first, second = sorted(os.sched_getaffinity(0))[:2]
            rounds = [gpaw(folder / str(number), (first, second)) for number in range(given.repeats)]
            together_s, after_s = (min(times) for times in zip(*rounds, strict=True))
            print(
                f"GPAW: two with a rank each {together_s:.1f} s, one after the other {after_s:.1f} s, "
                f"ratio {together_s / after_s:.2f}"
            )


if __name__ == "__main__":
    main()
