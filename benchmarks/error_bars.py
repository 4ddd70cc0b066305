"""What error bars cost with GPAW: the whole of a ΔE with them against the plain ΔE, in one run.

ΔE of Na in the sulphur vacancy of WSSe, 2×2, as in dft_steps.py, with D3 added to the energies (`final_energy`) and
bars of k mesh, cutoff and functional. The plain ΔE are the Na atom and the two relaxations. It takes an hour on one
core; a run that was interrupted goes on:

    python benchmarks/error_bars.py --root error-bars
    python benchmarks/error_bars.py --root error-bars --cutoff 250      # a rehearsal

Prints SCF iterations and wall times by what they are for, the bars, and the ratio of all to the plain ΔE.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from dft_steps import LABELS, directory, iterations, write_campaign

EXTRA = "uncertainty: [kmesh, cutoff, functional]\n"
GROUPS = {"final": "D3", "kmesh": "k mesh", "cutoff": "cutoff", "": "functional"}


def campaign(folder: Path, cutoff_ev: float) -> Path:
    """Write the campaign of dft_steps.py with D3 and error bars."""
    path = write_campaign(folder, cutoff_ev)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("protocol: {", 'protocol: {"final_energy": {"dispersion": "d3bj"}, ') + EXTRA)
    return path


def group(label: str) -> str:
    """Return what a calculation is for."""
    if label.replace("/", "_") in LABELS:
        return "plain ΔE"
    end = label.replace("-", "/").rpartition("/")[2]
    return GROUPS.get(end, GROUPS[""])


def main() -> None:
    from sodiate.workflows.results.results import Results

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutoff", type=float, default=500.0, help="plane-wave cutoff in eV")
    parser.add_argument("--root", type=Path, required=True, help="folder of the run")
    options = parser.parse_args()
    options.root.mkdir(parents=True, exist_ok=True)
    program = str(Path(sys.executable).with_name("sodiate"))
    path = campaign(options.root, options.cutoff)
    subprocess.run([program, "run", str(path), "--root", str(options.root)], check=True, stdout=subprocess.DEVNULL)
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, list[str]] = defaultdict(list)
    with Results.open(options.root) as results:
        (entry,) = results.entries()
        for name in entry.names:
            record = results[name].record
            if record.kind == "lowest":
                continue
            purpose, where = group(record.label), directory(options.root, record.label.replace("/", "_"))
            seconds[purpose] += record.provenance.wall_time_s
            counts[purpose] += ["+".join(map(str, counted)) for counted in [iterations(where)] if counted]
        (model,) = results.models()
    for name, value in seconds.items():
        print(f"{name:12}{value:8.0f} s   SCF iterations {', '.join(counts[name]) or 'none'}")
    print(f"all to the plain ΔE: {sum(seconds.values()) / seconds['plain ΔE']:.2f}")
    for bars in model.quantities["uncertainty"].sites:
        print(f"{bars.site}: ± {bars.numerical_ev:.3f} eV, functional ± {bars.functional_ev:.3f} eV")
        print("  " + ", ".join(f"{words} {shift:+.4f}" for words, shift in bars.shifts_ev.items()))


if __name__ == "__main__":
    main()
