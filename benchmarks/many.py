"""What many campaigns cost: adding them to a database, and looking at the whole of it.

    python benchmarks/many.py                  # 170 campaigns of 61 calculations

Prints the time to add 100 campaigns, with and without planning them, and the time of `sodiate status` afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from sodiate.workflows.campaign.yaml import CONFIGS
from sodiate.workflows.database.connection import open_root
from sodiate.workflows.database.workbench import Workbench
from sodiate.workflows.launch.submit import submit
from sodiate.workflows.plan.planner import plan

MORE = ["WSe2+VSe"]
"""Models beside the five of the paper: some 60 calculations in all."""


def write_campaign(folder: Path, number: int) -> Path:
    """Write the bundled campaign with another vacuum, so that no calculation is shared."""
    data = yaml.safe_load((CONFIGS / "campaigns" / "wsse.yaml").read_text(encoding="utf-8"))
    data |= {"campaign": f"many-{number}", "vacuum_a": 15.0 + 0.01 * number, "models": [*data["models"], *MORE]}
    data["quantities"] = ["dos", "bulk_reference"]
    path = folder / f"many-{number}.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def main() -> None:
    """Add the campaigns and look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=170)
    count = parser.parse_args().campaigns
    planning = adding = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with open_root(folder / "root") as database:
            bench = Workbench(database, folder / "root")
            bench.initialise()
            for number in range(count):
                began = time.perf_counter()
                planned = plan(write_campaign(folder, number))
                planning += time.perf_counter() - began
                began = time.perf_counter()
                submit(planned, bench)
                adding += time.perf_counter() - began
            each = len(planned.calculations)
            print(f"adding 100 campaigns of {each}: {100 * adding / count:.1f} s")
            print(f"planning them: {100 * planning / count:.1f} s")
            began = time.perf_counter()
            command = [str(Path(sys.executable).with_name("sodiate")), "status", "--root", str(folder / "root")]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            calculations = bench.documents.calculations.estimated_document_count()
            print(f"status of {calculations} calculations: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
