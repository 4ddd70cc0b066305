"""What a ΔE costs by GPAW: sodiate against a plain script of ASE and GPAW.

ΔE of Na in the sulphur vacancy of WSSe, 2×2: the Na atom, the clean host, and the host with Na. The plain script has
the very keywords of sodiate's calculator (so GPAW's own eigensolver and mixer), the same ranks, start geometries,
start moments and criterion, and ASE's BFGS as it comes. Run it on an idle machine, which takes an hour or two:

    python benchmarks/dft_steps.py
    python benchmarks/dft_steps.py --cutoff 250      # a rehearsal

Prints SCF iterations, ionic steps and wall times of both, their ratio, and both energies.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CAMPAIGN = """
campaign: dft-steps
engine: gpaw
protocol: {protocol}
supercell: [2, 2]
monolayers:
  WSSe: {{metal: W, top: S, bottom: Se, a: 3.252, bond_top: 2.416, bond_bottom: 2.538}}
models: [{{model: WSSe+VS, sites: [V_S@top]}}]
quantities: []
execution: {execution}
"""

PLAIN = """
import json, sys
from ase.io import read, write
from ase.optimize import BFGS
from gpaw import GPAW

inputs = json.load(open(sys.argv[1] + "/input.json"))
atoms = read(sys.argv[1] + "/start.extxyz")
if len(sys.argv) > 2:
    host = read(sys.argv[2])
    atoms.positions[: len(host)] = host.positions
atoms.set_initial_magnetic_moments(inputs["start_moments_mub"])
atoms.calc = GPAW(**inputs["calculator"], txt="gpaw.txt")
steps = 0
if inputs["kind"] == "relax":
    optimizer = BFGS(atoms, logfile="bfgs.log")
    if not optimizer.run(fmax=inputs["protocol"]["max_force_ev_per_a"], steps=200):
        raise SystemExit("not converged")
    steps = optimizer.nsteps
energy = atoms.get_potential_energy()
write("end.extxyz", atoms)
json.dump({"energy_ev": energy, "steps": steps}, open("plain.json", "w"))
"""

LABELS = ("Na", "WSSe+VS", "WSSe+VS_V_S@top")


@dataclass(frozen=True)
class Cost:
    """What one calculation took."""

    energy_ev: float
    seconds: float
    steps: str
    iterations: str


def write_campaign(folder: Path, cutoff_ev: float) -> Path:
    """Write the campaign: the bundled protocol, at another cutoff if asked, and the cheapest settings that are known.

    On 2×2 Na in the vacancy does not distort it, so the coarse stage goes without spin.
    """
    from sodiate.workflows.campaign.load import load_campaign

    bundled = load_campaign("wsse-gpaw")
    protocol = bundled.protocol.model_copy(update={"cutoff_ev": cutoff_ev}).model_dump(mode="json", exclude_none=True)
    execution = {
        "start_stiffness_ev_per_a2": bundled.spec.execution.start_stiffness_ev_per_a2,
        "coarse": {"cutoff_ev": 0.6 * cutoff_ev, "spin_polarised": False, "max_force_ev_per_a": 0.03},
    }
    path = folder / "dft-steps.yaml"
    path.write_text(CAMPAIGN.format(protocol=json.dumps(protocol), execution=json.dumps(execution)))
    return path


def directory(root: Path, label: str) -> Path:
    (found,) = (path for path in root.glob(f"{label}-*") if path.name.rsplit("-", 1)[0] == label)
    return found


def iterations(folder: Path) -> list[int]:
    """Return the SCF iterations of each of GPAW's outputs, in their order."""
    texts = sorted(folder.glob("gpaw*.txt"), key=lambda path: path.stat().st_mtime)
    return [len(re.findall(r"^\|iter:|^iter:", text.read_text(), re.MULTILINE)) for text in texts]


def with_sodiate(folder: Path, cutoff_ev: float) -> dict[str, Cost]:
    """Run the campaign as a user would; the time is divided by the records."""
    from sodiate.workflows.results.results import Results

    root = folder / "root"
    command = [str(Path(sys.executable).with_name("sodiate")), "run", str(write_campaign(folder, cutoff_ev))]
    subprocess.run([*command, "--root", str(root)], check=True, stdout=subprocess.DEVNULL)
    found = {}
    with Results.open(root) as results:
        for label in LABELS:
            record = results[label.replace("WSSe+VS_", "WSSe+VS/")].record
            where = directory(root, label)
            coarse = max(len((where / "coarse.jsonl").read_text().splitlines()) - 2, 0) if "+" in label else 0
            counts = iterations(where)
            assert record.energy_ev is not None
            found[label] = Cost(
                record.energy_ev,
                record.provenance.wall_time_s,
                f"{coarse}+{record.provenance.ionic_steps or 0}" if "+" in label else "0",
                "+".join(map(str, counts)),
            )
    return found


def plain(folder: Path, root: Path) -> dict[str, Cost]:
    """Run the plain script for each calculation, in turn."""
    script = folder / "plain.py"
    script.write_text(PLAIN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if os.getuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    found = {}
    for label in LABELS:
        given, where = directory(root, label), folder / f"plain-{label}"
        where.mkdir()
        ranks = json.loads((given / "result.json").read_text())["ranks"]
        host = [str(folder / "plain-WSSe+VS" / "end.extxyz")] if "@" in label else []
        gpaw = str(Path(sys.executable).with_name("gpaw"))
        command = ["mpiexec", "-n", str(ranks), gpaw, "python", str(script), str(given), *host]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=where, env=environment, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        result = json.loads((where / "plain.json").read_text())
        (count,) = iterations(where)
        found[label] = Cost(result["energy_ev"], seconds, str(result["steps"]), str(count))
    return found


def adsorption_energy(found: dict[str, Cost]) -> float:
    atom, host, site = (found[label].energy_ev for label in LABELS)
    return site - host - atom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutoff", type=float, default=500.0, help="plane-wave cutoff in eV")
    cutoff = parser.parse_args().cutoff
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        ours = with_sodiate(folder, cutoff)
        whole = time.perf_counter() - start
        theirs = plain(folder, folder / "root")
    print(f"{cutoff:g} eV; steps and SCF iterations of sodiate: coarse + real stage")
    print(f"{'':18}{'energy (eV)':>14}{'seconds':>9}{'steps':>7}  SCF iterations")
    for name, found in (("sodiate", ours), ("plain", theirs)):
        for label, cost in found.items():
            site = label.removeprefix("WSSe+VS_")
            print(f"{name:8}{site:10}{cost.energy_ev:14.4f}{cost.seconds:9.0f}{cost.steps:>7}  {cost.iterations}")
    seconds = sum(cost.seconds for cost in theirs.values())
    ours_ev, theirs_ev = adsorption_energy(ours), adsorption_energy(theirs)
    print(f"wall time: sodiate run {whole:.0f} s, plain {seconds:.0f} s, ratio {whole / seconds:.2f}")
    print(f"ΔE: sodiate {ours_ev:.4f} eV, plain {theirs_ev:.4f} eV, {1000 * (ours_ev - theirs_ev):+.1f} meV")
    if abs(ours_ev - theirs_ev) > 0.005:
        raise SystemExit("the two energies are more than 5 meV apart: another state or another minimum")


if __name__ == "__main__":
    main()
