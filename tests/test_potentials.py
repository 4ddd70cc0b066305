"""The test bench for potentials: its arithmetic on made-up potentials, and a cheap one from the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from potentials import Comparison, Sites, calculator_of, compare
from support import CHECKOUT, DOCS, present


@pytest.fixture(scope="module")
def sites() -> Sites:
    return Sites.read()


class Distorted(Calculator):
    """PBE itself, looked up: site energies times a slope and shifted, forces off by a constant."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, sites: Sites, slope: float, shift_ev: float, force_ev_per_a: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: dict[bytes, tuple[float, Any]] = {}
        for joined, host in zip(sites.joined, sites.hosts, strict=True):
            alone, together = present(host.energy_ev), present(joined.energy_ev)
            for record, energy in ((host, alone), (joined, alone + slope * (together - alone) + shift_ev)):
                forces = np.array(record.forces_ev_per_a) + force_ev_per_a
                self.known[present(record.geometry).atoms().positions.tobytes()] = energy, forces

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        energy, forces = self.known[present(atoms).positions.tobytes()]
        self.results = {"energy": energy, "forces": forces}


def test_the_seven_sites_are_those_of_the_document(sites: Sites) -> None:
    """E(host+Na) − E(host) is ΔE and E(Na), -0.2444 eV there."""
    text = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    found = compare(Distorted(sites, 1.0, 0.0, 0.0), sites)
    assert len(sites.names) == 7
    for name, energy in zip(found.names, found.pbe_ev, strict=True):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} | ") and line.count("|") == 9]
        assert float(line.split(" | ")[2]) == pytest.approx(energy + 0.2444, abs=1e-3)


def test_pbe_itself_is_without_error(sites: Sites) -> None:
    found = compare(Distorted(sites, 1.0, 0.7, 0.0), sites)
    assert found.mae_ev == pytest.approx(0.0, abs=1e-9)
    assert (found.shift_ev, found.slope) == pytest.approx((-0.7, 1.0))
    assert found.swapped == []
    assert np.abs(found.force_errors_ev_per_a).max() < 1e-12


def test_differences_squeezed_threefold(sites: Sites) -> None:
    found = compare(Distorted(sites, 1 / 3, -0.4, 0.05), sites)
    line = np.polyfit(found.pbe_ev, found.potential_ev, 1)
    assert found.slope == pytest.approx(line[0]) == pytest.approx(1 / 3)
    spread = np.abs(found.pbe_ev - found.pbe_ev.mean()).mean()
    assert found.mae_ev == pytest.approx(2 / 3 * spread)
    assert found.spread_ev == pytest.approx(spread)
    # The shift is that of least squares: to either side errors are larger.
    errors = [np.square(found.potential_ev + found.shift_ev + d - found.pbe_ev).sum() for d in (-0.01, 0.0, 0.01)]
    assert errors[1] == min(errors)
    assert found.swapped == []
    assert found.force_errors_ev_per_a == pytest.approx(0.05)


def test_a_reversed_order_is_told_pair_by_pair() -> None:
    names = ("a/1", "a/2", "b/1", "c/1")
    pbe, potential = np.array([-3.0, -1.0, -2.0, -1.5]), np.array([-1.0, -5.0, -2.0, -4.0])
    found = Comparison(names, potential, pbe, np.zeros(3))
    assert found.order(found.pbe_ev) == ["a", "b", "c"]
    assert found.order(found.potential_ev) == ["a", "c", "b"]  # a by its other site
    assert found.swapped == [("b", "c")]
    assert any(line.endswith("the other way round: b and c") for line in found.lines())


def test_any_calculator_of_ase_by_its_name() -> None:
    words = ["ase.calculators.lj:LennardJones", "sigma=2.2", "epsilon=0.8", "rc=6.0", "smooth=true"]
    assert calculator_of(words[0], words[1:]).parameters["smooth"] is True
    program = [sys.executable, str(CHECKOUT / "benchmarks" / "potentials.py")]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("| WS") == 7
    assert "12 single points" in done.stdout
    for wrong in (["ase.calculators.lj"], ["ase.calculators.lj:Lennard"], ["nowhere:Potential"], [words[0], "2.2"]):
        refused = subprocess.run([*program, *wrong], capture_output=True, text=True, check=False, timeout=60)
        assert refused.returncode == 1
        assert refused.stderr.startswith(wrong[0] + ": ")
        assert "Traceback" not in refused.stderr


def test_the_document_says_what_alike_sites_would_have(sites: Sites) -> None:
    text = " ".join((DOCS / "gpaw.md").read_text(encoding="utf-8").split())
    found = compare(Distorted(sites, 1.0, 0.0, 0.0), sites)
    assert f"{found.spread_ev:.2f} eV if all seven were alike" in text
    assert f"PBE's order is {' < '.join(found.order(found.pbe_ev))}" in text
