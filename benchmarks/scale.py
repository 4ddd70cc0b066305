"""Whether what a database costs grows with it: add, status, results, recover and a run that has nothing to do.

    python benchmarks/scale.py                       # 100, 1,000 and 10,000 calculations
    python benchmarks/scale.py --until 1000

One campaign is computed, dry; then further ones that differ from it by a little vacuum are added with records that
are its own under other ids, which costs no computing. After each size the commands are timed as processes of their
own, in processor time, without that of the server: add (submitting one more campaign, per calculation of it), status
and recover (of the whole database), results and a run that has nothing to do (of one campaign).
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from many import write_campaign
from sodiate.analysis.records import Record
from sodiate.workflows.database.connection import open_root
from sodiate.workflows.database.seals import sealed_record
from sodiate.workflows.database.workbench import Workbench
from sodiate.workflows.launch.submit import submit
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan

SIZES = (100, 1000, 10_000)


def seconds(act: Callable[[], object]) -> float:
    """Return the processor time that this process and those that it waits for take, which other load leaves alone."""
    began = _processor_s()
    act()
    return _processor_s() - began


def _processor_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def sodiate(*words: str) -> None:
    command = [str(Path(sys.executable).with_name("sodiate")), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Filled:
    """A database that is filled with copies of a computed campaign.

    Parameters
    ----------
    bench
        Its workbench.
    first
        The computed campaign.
    """

    def __init__(self, bench: Workbench, first: Plan) -> None:
        self.bench, self.first = bench, first
        self.records = {
            name: bench.documents.records.find_one({"calculation": c.id, "state": "current"})
            for name, c in first.names.items()
        }

    def add(self, planned: Plan) -> float:
        """Submit a campaign, then record it; return the time that submitting it took."""
        took = seconds(lambda: submit(planned, self.bench))
        digests: dict[str, str] = {}
        names = {c.id: name for name, c in planned.names.items()}
        documents, attempts = [], []
        current = self.bench.documents.current([calculation.id for calculation in planned.calculations])
        digests |= {key: record.digest for key, record in current.items()}
        for calculation in planned.calculations:
            if calculation.id in current:  # shared with the campaigns before
                continue
            document = self._record(planned, names[calculation.id], digests)
            documents.append(document)
            attempts.append(
                {
                    "_id": document["_id"],
                    "calculation": calculation.id,
                    "label": calculation.label,
                    "started": document["provenance"]["started"],
                    "ended": document["provenance"]["finished"],
                    "outcome": "completed",
                    "wall_time_s": 1.0,
                }
            )
        self.bench.documents.records.insert_many(documents)
        self.bench.documents.attempts.insert_many(attempts)
        ids = [calculation.id for calculation in planned.calculations]
        for document in documents:
            update = {"$set": {"record": document["_id"]}}
            self.bench.documents.calculations.update_one({"_id": document["calculation"]}, update)
        states = {"$set": {"state": "COMPLETED"}}
        self.bench.launchpad.fireworks.update_many({"spec._tasks.calculation": {"$in": ids}}, states)
        self.bench.launchpad.workflows.update_many({"metadata.campaign": planned.campaign.spec.campaign}, states)
        return took

    def _record(self, planned: Plan, name: str, digests: dict[str, str]) -> dict[str, Any]:
        calculation = planned.names[name]
        known = {key: value for key, value in copy.deepcopy(self.records[name]).items() if key in Record.model_fields}
        known["calculation"] = calculation.id
        known["arrays"] = {}
        known["parents"] = {
            role: {"calculation": parent.id, "digest": digests[parent.id]}
            for role, parent in calculation.parents.items()
        }
        record = Record.model_validate(known)
        digests[calculation.id] = record.digest
        document = {**record.model_dump(mode="json"), "_id": f"{calculation.id}-1-copied", "digest": record.digest}
        return {**sealed_record(document), "state": "current", "token": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", type=int, default=SIZES[-1])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        root = folder / "root"
        paths = iter(write_campaign(folder, number) for number in range(10_000))
        path = next(paths)
        sodiate("run", str(path), "--root", str(root))
        first = plan(path)
        each = len(first.calculations)
        print("| calculations | add (ms each) | status (s) | recover (s) | results of one (s) | run again (s) |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        with open_root(root) as database:
            bench = Workbench(database, root)
            bench.initialise()
            filled, count = Filled(bench, first), each
            for size in (size for size in SIZES if size <= given.until):
                while count < size:
                    filled.add(plan(next(paths)))
                    count += each
                adding = min(filled.add(plan(next(paths))) for _ in range(2))
                count += 2 * each
                status, recover, results, again = (
                    min(seconds(partial(sodiate, *words, "--root", str(root))) for _ in range(2))
                    for words in (
                        ("status",),
                        ("recover",),
                        ("results", "--campaign", "many-0"),
                        ("run", str(path)),
                    )
                )
                print(
                    f"| {count:,} | {1000 * adding / each:.1f} | {status:.2f} | {recover:.2f} | {results:.2f} | "
                    f"{again:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
