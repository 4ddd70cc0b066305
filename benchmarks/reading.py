"""What it costs to read and check records: the results of 10,000 calculations.

    python benchmarks/reading.py               # 164 campaigns of 61 calculations

Prints the processor time of this process for all tables (the server's own is not in it) and of the reading alone, the
least of five. The records are made up, of the size of a dry run's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from many import write_campaign
from sodiate.analysis.records import Choice, Geometry, Method, ParentRef, Provenance, Record, Sampling
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.database.connection import open_root
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.lease import Owner
from sodiate.workflows.database.workbench import Workbench
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import ideal_atoms

PROVENANCE = Provenance(
    versions={"sodiate": "0.1.0"},
    host="h",
    directory="d",
    firework_id=1,
    command=None,
    execution={},
    started="2026-01-01T00:00:00",
    finished="2026-01-01T00:00:01",
    wall_time_s=1.0,
    launches=1,
    ionic_steps=9,
    scf_steps=None,
)


def made_up(calculation: Calculation, records: dict[str, Record], random: np.random.Generator) -> Record:
    """Return a record as a calculation might leave it."""
    atoms = ideal_atoms(calculation)
    geometry = None if atoms is None else Geometry.of(atoms)
    chooses = calculation.kind == "lowest"
    forces = None if atoms is None else tuple(map(tuple, random.normal(0, 0.01, (len(atoms), 3)).tolist()))
    values: dict[str, Any] = {
        "energy_ev": None if chooses else float(random.normal(-100, 1)),
        "choice": Choice(site=next(r for r in calculation.parents if r != "host"), energies_ev={})
        if chooses
        else None,
        "sampling": None if atoms is None else Sampling(cell_a=Geometry.of(atoms).cell_a),
        "geometry": geometry,
        "forces_ev_per_a": forces,
    }
    return Record(
        calculation=calculation.id,
        label=calculation.label,
        kind=calculation.kind,
        engine=calculation.engine,
        physical=False,
        free_energy_ev=None,
        max_force_ev_per_a=0.01,
        method=Method(engine="emt", engine_version="1"),
        input_digest="0" * 16,
        parents={
            role: ParentRef(calculation=parent.id, digest=records[parent.id].digest)
            for role, parent in calculation.parents.items()
        },
        provenance=PROVENANCE,
        **values,
    )


def store(documents: Documents, planned: Plan, random: np.random.Generator) -> None:
    """Store a campaign and a record of each of its calculations."""
    documents.add_plan(planned)
    records: dict[str, Record] = {}
    for calculation in planned.calculations:
        stored = documents.record(calculation.id)
        if stored is None:
            stored = made_up(calculation, records, random)
            lease = documents.leases.claim(calculation.id, Owner.here())
            documents.publish(lease, f"{calculation.id}-1-0", stored, {})
        records[calculation.id] = stored


def least(work: Callable[[], object]) -> float:
    """Return the least processor time of five, seconds."""
    times = []
    for _ in range(5):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    """Fill a database and read it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=164)
    parser.add_argument("--without-checksums", action="store_true", help="as records of older releases are")
    arguments = parser.parse_args()
    count = arguments.campaigns
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "root"
        with open_root(root) as database:
            bench = Workbench(database, root)
            bench.initialise()
            for number in range(count):
                store(bench.documents, plan(write_campaign(Path(temporary), number)), random)
            if arguments.without_checksums:
                bench.documents.records.update_many({}, {"$unset": {"checksum": ""}})
            results = Results(bench.documents, "benchmark")
            records = len(bench.documents.current())
            numbers = sum(model.adsorption_energy_ev is not None for model in results.models())
            print(f"{records} records, {numbers} adsorption energies of hosts")
            print(f"all tables: {least(results.models):.2f} s")
            print(f"reading all records: {least(bench.documents.current):.2f} s")


if __name__ == "__main__":
    main()
