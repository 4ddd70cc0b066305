"""Voltages and formation energies: plain formulas of the energies in records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import SodiateError
from ..words import formula


class EnergeticsError(SodiateError):
    """A chemical potential or a reference is missing, or the limits contradict one another."""


def adsorption_voltage(adsorption_energy_bulk_ev: float, atoms: int = 1, charge: int = 1) -> float:
    """Return the voltage against the bulk metal at which the sheet takes up its adsorbed atoms.

    V = −[E(*Na_n) − E(*) − n E(Na, bulk)] / (n z e), the average over the n atoms, for ions of charge z; entropy and
    pressure are left out, as is usual for solids (Aydinol et al., Phys. Rev. B 56, 1354 (1997)).

    Parameters
    ----------
    adsorption_energy_bulk_ev
        E(*Na_n) − E(*) − n E(Na, bulk), eV.
    atoms
        Number of adsorbed atoms, n.
    charge
        Of each ion, z.

    Returns
    -------
    float
        In V; negative where plating the metal is preferred.
    """
    return -adsorption_energy_bulk_ev / (atoms * charge)


@dataclass(frozen=True)
class ChemicalPotentials:
    """Chemical potentials of the removed elements at one end of the host's range of stability.

    Attributes
    ----------
    name
        ``X-rich`` or ``metal-rich``.
    potentials_ev
        μ of each element, eV per atom, on the scale of total energies.
    condition
        The assumption, in words.
    """

    name: str
    potentials_ev: Mapping[str, float]
    condition: str

    def with_others(self, elements_ev: Mapping[str, float]) -> ChemicalPotentials:
        """Return the same with the potentials of elements that the host has not: those of their elements."""
        if not elements_ev:
            return self
        words = f"{self.condition}; {', '.join(elements_ev)} in equilibrium with its element"
        return ChemicalPotentials(self.name, {**self.potentials_ev, **elements_ev}, words)


def chalcogen_rich(
    elements_ev: Mapping[str, float], formula_unit_ev: float, units: Mapping[str, int], metal: str
) -> ChemicalPotentials:
    """Return the limit in which each chalcogen is in equilibrium with its element, μ_X = E(X)/atom.

    That of the metal follows from the host, μ_M = [E(unit) − Σ n_X μ_X] / n_M.

    Parameters
    ----------
    elements_ev
        Energy an atom of crystalline S8, trigonal Se and so on.
    formula_unit_ev
        Energy of the host for each formula unit.
    units
        Atoms of each element in it, such as ``{"W": 1, "S": 1, "Se": 1}``.
    metal
        The metal.
    """
    rest = formula_unit_ev - sum(n * elements_ev[element] for element, n in units.items() if element != metal)
    potentials = {**elements_ev, metal: rest / units[metal]}
    return ChemicalPotentials("X-rich", potentials, "each chalcogen in equilibrium with its element")


def metal_rich(
    formula_unit_ev: float, units: Mapping[str, int], metal: str, metal_ev: float, elements_ev: Mapping[str, float]
) -> ChemicalPotentials:
    """Return the limit in which the metal is in equilibrium with its element.

    The host gives one condition, μ_M + Σ n_X μ_X = E(unit), with μ_M = E(M)/atom. Two chalcogens need a second
    condition: they share the loss equally, μ_X = E(X)/atom + δ with the same δ, so that neither is favoured.

    Parameters
    ----------
    formula_unit_ev
        Energy of the host per formula unit.
    units
        Atoms of each element per formula unit, such as ``{"W": 1, "S": 1, "Se": 1}``.
    metal, metal_ev
        The metal and its energy per atom.
    elements_ev
        Energy per atom of each chalcogen's element.

    Raises
    ------
    EnergeticsError
        If an element of the unit has no energy, or the host is not stable against its elements.
    """
    chalcogens = {element: count for element, count in units.items() if element != metal}
    missing = [element for element in chalcogens if element not in elements_ev]
    if missing or metal not in units:
        raise EnergeticsError(f"no energy of {', '.join(missing) or metal} for the host {formula(units)}.")
    elements = units[metal] * metal_ev + sum(n * elements_ev[element] for element, n in chalcogens.items())
    shift = (formula_unit_ev - elements) / sum(chalcogens.values())
    if shift > 0:
        raise EnergeticsError(
            f"the host {formula(units)} lies {shift * sum(chalcogens.values()):.3f} eV above its elements: it has "
            "no range of stability; look at the references."
        )
    return ChemicalPotentials(
        "metal-rich",
        {metal: metal_ev, **{element: elements_ev[element] + shift for element in chalcogens}},
        f"{metal} in equilibrium with its element, the chalcogens' potentials lowered by the same {-shift:.3f} eV",
    )


def formation_energy(
    defective_ev: float, pristine_ev: float, removed: Mapping[str, int], potentials: ChemicalPotentials
) -> float:
    """Return the formation energy of neutral vacancies, E_f = E(defect) − E(host) + Σ n_X μ_X.

    Parameters
    ----------
    defective_ev, pristine_ev
        Energies of the same cell with and without the defects.
    removed
        Number of removed atoms of each element, n.
    potentials
        Their chemical potentials.

    Returns
    -------
    float
        In eV, for all the defects of the cell together.

    Raises
    ------
    EnergeticsError
        If an element has no chemical potential.
    """
    missing = [element for element in removed if element not in potentials.potentials_ev]
    if missing:
        raise EnergeticsError(f"no chemical potential of {', '.join(missing)} in the {potentials.name} limit.")
    return defective_ev - pristine_ev + sum(n * potentials.potentials_ev[element] for element, n in removed.items())
