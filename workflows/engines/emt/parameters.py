"""Parameters of the dry run: the elements that it supports, and the numbers of its potential.

Cheap to import: a plan only checks whether a structure is supported.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

from ....analysis.records import Frozen
from ...campaign.yaml import CONFIGS, load_yaml, validate
from ..base import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable

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


class EmtParameters(Frozen):
    """The content of ``configs/emt.yaml``."""

    version: str
    roles: dict[Role, tuple[str, ...]]
    elements: dict[Role, ElementRow]
    repulsion: RepulsionTable
    electrons: ElectronParameters

    @cached_property
    def role_of(self) -> dict[str, Role]:
        """Role of each element that the dry run knows."""
        return {symbol: role for role, symbols in self.roles.items() for symbol in symbols}

    def check(self, symbols: Iterable[str]) -> None:
        """Raise `Unsupported`, naming the elements that have no role."""
        unsupported = sorted(set(symbols) - self.role_of.keys())
        if unsupported:
            supported = "; ".join(f"as {role}: {', '.join(names)}" for role, names in self.roles.items())
            raise Unsupported(
                f"The dry run (engine emt) has no parameters for {', '.join(unsupported)}. It knows these elements, "
                f"each in the role of another: {supported}. Use one of these, or another engine."
            )

    def role(self, symbol: str) -> Role:
        """Return the role of an element; raise `Unsupported` if it has none."""
        self.check([symbol])
        return self.role_of[symbol]

    def length_factor(self, *symbols: str) -> float:
        """Return the ratio of an element's covalent radius (or of the sum over a pair) to its role's."""
        from ase.data import atomic_numbers, covalent_radii

        radius = sum(covalent_radii[atomic_numbers[symbol]] for symbol in symbols)
        return float(radius / sum(covalent_radii[atomic_numbers[self.role(symbol)]] for symbol in symbols))

    def row(self, symbol: str) -> ElementRow:
        """Return the EMT row of an element: its role's, with lengths scaled."""
        return self.elements[self.role(symbol)].scaled(self.length_factor(symbol))

    def pair_repulsion(self, a: str, b: str) -> PairRepulsion:
        """Return the repulsion of two elements: their roles', with lengths scaled."""
        return self.repulsion.pair(self.role(a), self.role(b), self.length_factor(a, b))


@lru_cache(maxsize=1)
def load_parameters() -> EmtParameters:
    """Read the bundled parameter set, ``configs/emt.yaml``."""
    path = CONFIGS / "emt.yaml"
    return validate(EmtParameters, load_yaml(path, "parameter file"), f"parameter file {path}")
