"""Parameters of the dry run: the elements that it supports, and the numbers of its potential.

Cheap to import: a plan only checks whether a structure is supported.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from ....analysis.records import Frozen
from ...campaign.yaml import CONFIGS, load_yaml, validate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Role = Literal["W", "S", "Se", "Na"]


class ElementRow(Frozen):
    """One row of ASE's EMT table, in its units; column for column ``E0 s0 V0 eta2 kappa lambda n0``."""

    e0_ev: float
    s0_bohr: float
    v0_ev: float
    eta2_per_bohr: float
    kappa_per_bohr: float
    lambda_per_bohr: float
    n0_per_bohr3: float

    def scaled(self, factor: float) -> ElementRow:
        """Return the row with all lengths multiplied by ``factor`` and the energies kept."""
        return ElementRow(
            e0_ev=self.e0_ev,
            s0_bohr=self.s0_bohr * factor,
            v0_ev=self.v0_ev,
            eta2_per_bohr=self.eta2_per_bohr / factor,
            kappa_per_bohr=self.kappa_per_bohr / factor,
            lambda_per_bohr=self.lambda_per_bohr / factor,
            n0_per_bohr3=self.n0_per_bohr3 / factor**3,
        )


class PairRepulsion(Frozen):
    """Repulsion of one pair, E = A (exp(x) - 1 - x) with x = (r_c - r)/ρ for r < r_c."""

    amplitude_ev: float
    width_a: float
    cutoff_a: float


class RepulsionTable(Frozen):
    """Repulsion of every pair of roles, keyed ``W-Se`` in the order of the roles."""

    amplitude_ev: float
    width_a: float
    cutoff_a: dict[str, float]

    def pair(self, a: Role, b: Role, factor: float) -> PairRepulsion:
        """Return the repulsion of two roles with its lengths multiplied by ``factor``."""
        key = f"{a}-{b}" if f"{a}-{b}" in self.cutoff_a else f"{b}-{a}"
        return PairRepulsion(
            amplitude_ev=self.amplitude_ev,
            width_a=self.width_a * factor,
            cutoff_a=self.cutoff_a[key] * factor,
        )


class PairIntegrals(Frozen):
    """Two-centre integrals of two shells at the sum r of the covalent radii, V(d) = V (r/d)^exponent."""

    integrals_ev: tuple[float, ...]
    exponent: float


class ElectronParameters(Frozen):
    """The tight-binding model: on-site energies and electrons by role, integrals by pair of shells.

    ``switch_a`` are the two distances between which the integrals go smoothly to zero.
    """

    onsite_ev: dict[Role, float]
    electrons: dict[Role, int]
    pairs: dict[Literal["ss", "sp", "sd", "pp", "pd", "dd"], PairIntegrals]
    switch_a: tuple[float, float]

    def pair(self, lower: int, higher: int) -> PairIntegrals:
        """Return the integrals of two shells, given as 0, 1, 2 for s, p, d."""
        return self.pairs["spd"[lower] + "spd"[higher]]  # type: ignore[index]  # the sum is one of the literals


class OtherElements(Frozen):
    """The pair potential of elements without a role.

    Attributes
    ----------
    well_share
        Depth of a pair's well, in units of the smaller of the two cohesive energies.
    ion_share
        By which the energies of ions are less: a bond of theirs must not be as strong as those of a sheet.
    steepness
        α of the Morse well times its distance r0.
    switch
        Where the cutoff begins and where nothing is left of the well, in units of r0.
    hump, hump_between
        Height of the hump in units of the well, and where it begins and ends, in units of r0.
    shortened, shortening
        Elements whose bonds are shorter than the sum of covalent radii, and by which factor.
    least_share
        EMT plays the ions alone in a sheet with more of these elements.
    cohesive_ev
        Cohesive energies by element, and of those that are not listed (``other``).
    """

    well_share: float
    ion_share: float
    steepness: float
    switch: tuple[float, float]
    hump: float
    hump_between: tuple[float, float]
    shortening: float
    shortened: tuple[str, ...]
    least_share: float
    cohesive_ev: dict[str, float]

    def of(self, numbers: NDArray[np.int_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the length (Å) and the well (eV) of each atom: r0 of a pair is the sum, D the smaller."""
        present = sorted(set(numbers.tolist()))
        table = np.array([self._of(number) for number in present])[np.searchsorted(present, numbers)]
        return table[:, 0], table[:, 1]

    def _of(self, number: int) -> tuple[float, float]:
        from ase.data import chemical_symbols, covalent_radii

        symbol = chemical_symbols[number]
        factor = self.shortening if symbol in self.shortened else 1.0
        energy = self.cohesive_ev.get(symbol, self.cohesive_ev["other"])
        return float(covalent_radii[number]) * factor, energy * self.well_share


class EmtParameters(Frozen):
    """The content of ``configs/emt.yaml``."""

    version: str
    roles: dict[Role, tuple[str, ...]]
    elements: dict[Role, ElementRow]
    repulsion: RepulsionTable
    electrons: ElectronParameters
    others: OtherElements

    @cached_property
    def role_of(self) -> dict[str, Role]:
        """Role of each element that the dry run knows."""
        return {symbol: role for role, symbols in self.roles.items() for symbol in symbols}

    def stand_ins(self, symbols: Iterable[str]) -> tuple[str, ...]:
        """Return the elements without a role, which the pair potential takes."""
        return tuple(sorted(set(symbols) - self.role_of.keys()))

    def electrons_of(self, symbol: str) -> tuple[Role, int]:
        """Return as which role an element takes part in the model of electrons, and with how many electrons.

        One without a role is taken by its block: its s, p or d shell as that of Na, Se or W, filled as in the atom.
        """
        if symbol in self.role_of:
            role = self.role_of[symbol]
            return role, self.electrons.electrons[role]
        return _of_block(symbol)

    def length_factor(self, *symbols: str) -> float:
        """Return the ratio of an element's covalent radius (or of the sum over a pair) to its role's."""
        from ase.data import atomic_numbers, covalent_radii

        radius = sum(covalent_radii[atomic_numbers[symbol]] for symbol in symbols)
        return float(radius / sum(covalent_radii[atomic_numbers[self.role_of[symbol]]] for symbol in symbols))

    def row(self, symbol: str) -> ElementRow:
        """Return the EMT row of an element: its role's, with lengths scaled."""
        return self.elements[self.role_of[symbol]].scaled(self.length_factor(symbol))

    def pair_repulsion(self, a: str, b: str) -> PairRepulsion:
        """Return the repulsion of two elements: their roles', with lengths scaled."""
        return self.repulsion.pair(self.role_of[a], self.role_of[b], self.length_factor(a, b))


_NOBLE = (2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers at which periods end."""


def _of_block(symbol: str) -> tuple[Role, int]:
    """Return the role in the model of electrons of an element's block, and its electrons in that shell."""
    from ase.data import atomic_numbers

    number = atomic_numbers[symbol]
    end = next(noble for noble in _NOBLE if noble >= number)
    before = max((noble for noble in _NOBLE if noble < number), default=0)
    if number - before <= 2:  # H, He and the first two of each period
        return "Na", number - before
    if end - number < 6:
        return "Se", 6 - (end - number)
    return "W", min(number - before - 2, 10)


@lru_cache(maxsize=1)
def load_parameters() -> EmtParameters:
    """Read the bundled parameter set, ``configs/emt.yaml``."""
    path = CONFIGS / "emt.yaml"
    return validate(EmtParameters, load_yaml(path, "parameter file"), f"parameter file {path}")
