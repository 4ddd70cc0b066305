"""How far a universal potential is from PBE where it matters here: Na on the seven sites of docs/reproduction.

    python benchmarks/potentials.py chgnet.model.dynamics:CHGNetCalculator use_device=cpu
    python benchmarks/potentials.py sevenn.calculator:SevenNetCalculator model=7net-0 device=cpu

The first word is `module:factory` of any ASE calculator, the others are its keyword arguments, values as in YAML.
Single points at the geometries of the archive, campaign wsse-gpaw-best: E(host+Na) − E(host) of each site beside
PBE's, which needs no energy of the Na atom. A constant shift is free, since that atom would take it: what is left of
the seven after the best one (least squares: their mean difference) is the error of what a campaign asks for,
differences between hosts and sites. The slope is that of a straight line through the seven, 1 if differences have
their size. The order is that of the hosts by their best sites. Forces are compared at PBE's minima, with Na and
without.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sodiate.analysis.records import Record
from sodiate.workflows.results.results import Results

ARCHIVE = Path(__file__).resolve().parents[1] / "docs" / "reproduction"
CAMPAIGN = "wsse-gpaw-best"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sites:
    """The sites of a campaign: for each the records of the host with the adsorbate, and of the host alone."""

    names: tuple[str, ...]
    joined: tuple[Record, ...]
    hosts: tuple[Record, ...]

    @classmethod
    def read(cls, archive: Path = ARCHIVE, campaign: str = CAMPAIGN) -> Sites:
        """Read them from an archive; sites without a record are left out."""
        with Results.open(archive) as results:
            (entry,) = results.entries(campaign)
            records = results.documents.current(entry.ids)
        found = [
            (f"{model.name}/{site.name}", records[site.calculation], records[model.host])
            for model in entry.models
            for site in model.sites
            if site.calculation in records and model.host in records
        ]
        names, joined, hosts = zip(*found, strict=True)
        return cls(names, joined, hosts)


@dataclass(frozen=True)
class Comparison:
    """E(host+Na) − E(host) of some sites by a potential and by PBE, in eV; shape (sites,).

    ``force_errors_ev_per_a`` are the components of the differences of all forces at PBE's minima.
    """

    names: tuple[str, ...]
    potential_ev: Floats
    pbe_ev: Floats
    force_errors_ev_per_a: Floats

    @property
    def shift_ev(self) -> float:
        """The constant that, added to the potential's values, leaves the least squares of errors: the mean."""
        return float((self.pbe_ev - self.potential_ev).mean())

    @property
    def left_ev(self) -> Floats:
        """Potential less PBE after the shift, shape (sites,)."""
        left: Floats = self.potential_ev + self.shift_ev - self.pbe_ev
        return left

    @property
    def mae_ev(self) -> float:
        """Mean absolute error after the shift."""
        return float(np.abs(self.left_ev).mean())

    @property
    def spread_ev(self) -> float:
        """The mean absolute error after the shift of a potential for which all sites are alike."""
        return float(np.abs(self.pbe_ev - self.pbe_ev.mean()).mean())

    @property
    def slope(self) -> float:
        """The least-squares slope of the potential's values against PBE's."""
        deviations = self.pbe_ev - self.pbe_ev.mean()
        return float(deviations @ (self.potential_ev - self.potential_ev.mean()) / (deviations @ deviations))

    def order(self, energies: Floats) -> list[str]:
        """Return the hosts, the one that binds most strongly at its best site first."""
        best: dict[str, float] = {}
        for name, energy in zip(self.names, energies, strict=True):
            host = name.rpartition("/")[0]
            best[host] = min(float(energy), best.get(host, np.inf))
        return sorted(best, key=lambda host: best[host])

    @property
    def swapped(self) -> list[tuple[str, str]]:
        """Pairs of hosts that the potential has the other way round than PBE, the stronger one of PBE first."""
        ours, theirs = self.order(self.pbe_ev), self.order(self.potential_ev)
        return [(a, b) for a, b in combinations(ours, 2) if theirs.index(a) > theirs.index(b)]

    def lines(self) -> list[str]:
        """Return the comparison as a Markdown table and sentences."""
        rows = [
            f"| {name} | {pbe:.3f} | {potential:.3f} | {potential + self.shift_ev:.3f} | {left:+.3f} |"
            for name, pbe, potential, left in zip(
                self.names, self.pbe_ev, self.potential_ev, self.left_ev, strict=True
            )
        ]
        errors = np.abs(self.force_errors_ev_per_a)
        pairs = ", ".join(f"{a} and {b}" for a, b in self.swapped)
        return [
            "| site | PBE (eV) | potential (eV) | shifted (eV) | less PBE (eV) |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"best shift {self.shift_ev:+.3f} eV, then MAE {self.mae_ev:.2f} eV ({self.spread_ev:.2f} if all sites "
            f"were alike); slope {self.slope:.2f}",
            f"order of the hosts {' < '.join(self.order(self.potential_ev))}",
            f"of PBE {' < '.join(self.order(self.pbe_ev))}; the other way round: {pairs or 'none'}",
            f"forces at PBE's minima: MAE {errors.mean():.3f}, largest {errors.max():.2f} eV/Å (a component)",
        ]


def compare(calculator: Any, sites: Sites) -> Comparison:
    """Compute all sites and hosts with a calculator, each once."""
    energies: dict[str, float] = {}
    errors = []
    for record in _each_once(sites):
        assert record.geometry is not None
        assert record.forces_ev_per_a is not None
        atoms = record.geometry.atoms()
        atoms.calc = calculator
        energies[record.calculation] = float(atoms.get_potential_energy())
        errors.append((atoms.get_forces() - np.array(record.forces_ev_per_a)).ravel())
    pairs = list(zip(sites.joined, sites.hosts, strict=True))
    return Comparison(
        sites.names,
        np.array([energies[joined.calculation] - energies[host.calculation] for joined, host in pairs]),
        np.array([_energy(joined) - _energy(host) for joined, host in pairs]),
        np.concatenate(errors),
    )


def _each_once(sites: Sites) -> Sequence[Record]:
    return list({record.calculation: record for record in (*sites.joined, *sites.hosts)}.values())


def _energy(record: Record) -> float:
    assert record.energy_ev is not None
    return record.energy_ev


def calculator_of(name: str, keywords: Sequence[str]) -> Any:
    """Return the calculator that `module:factory` makes with keyword arguments such as ``device=cpu``."""
    module, colon, factory = name.partition(":")
    values: Mapping[str, Any] = {
        key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in keywords)
    }
    if not colon or not all("=" in word for word in keywords):
        raise SystemExit(f"{name}: give module:factory, then its keyword arguments as key=value.")
    try:
        make: Callable[..., Any] = getattr(import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"{name}: {error}.") from None
    return make(**values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calculator", help="module:factory of an ASE calculator")
    parser.add_argument("keywords", nargs="*", help="its keyword arguments, key=value")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()):  # what it says while it loads
        calculator = calculator_of(given.calculator, given.keywords)
    sites, began = Sites.read(), time.monotonic()
    for line in compare(calculator, sites).lines():
        print(line)
    print(f"{time.monotonic() - began:.1f} s for {len(_each_once(sites))} single points")


if __name__ == "__main__":
    main()
