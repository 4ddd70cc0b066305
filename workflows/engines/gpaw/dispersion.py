"""DFT-D3 on top of a DFT calculator, by the package ``dftd3``.

S. Grimme, J. Antony, S. Ehrlich, H. Krieg, J. Chem. Phys. 132, 154104 (2010).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.relax import Ranks

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


def dispersion_calculator(functional: str) -> Any:
    """Return the calculator of D3 with Becke–Johnson damping and two-body terms alone, as VASP's IVDW = 12.

    Parameters
    ----------
    functional
        The functional whose damping parameters are used, such as ``PBE``.
    """
    from dftd3.ase import DFTD3

    return DFTD3(damping="d3bj", params_tweaks={"method": functional, "atm": False})


def with_dispersion(result: Mapping[str, Any], atoms: Atoms, functional: str | None, key: str) -> dict[str, Any]:
    """Return the result of a single point (``result.json``) that goes on from another one, with D3 added to it.

    Parameters
    ----------
    result
        Of the same energy without, a single point or a relaxation.
    atoms
        Its atoms.
    functional
        The functional whose damping parameters are used; None if nothing is added.
    key
        Of the inputs of the new result.
    """
    from importlib.metadata import version

    kept = {name: value for name, value in result.items() if name != "density_fingerprint"} | {"key": key, "steps": 0}
    if functional is None:
        return kept
    d3, still = dispersion_calculator(functional), atoms.copy()
    energy, forces = float(d3.get_property("energy", still)), d3.get_property("forces", still)
    bare = result["forces_ev_per_a"]
    return {
        **kept,
        "energy_ev": result["energy_ev"] + energy,
        "free_energy_ev": result["free_energy_ev"] + energy,
        "forces_ev_per_a": None if bare is None else (np.array(bare) + forces).tolist(),
        "versions": {**result["versions"], "dftd3": version("dftd3")},
    }


class Dispersed:
    """A DFT calculator with D3 in its energy, forces and stress; everything else comes from the DFT calculator.

    Parameters
    ----------
    dft
        Calculator of the functional's energy, forces and stress.
    functional
        Name of the functional.
    ranks
        The first one computes D3, so that all take the same steps.
    """

    def __init__(self, dft: Any, functional: str, ranks: Ranks) -> None:
        self._dft = dft
        self._d3 = dispersion_calculator(functional)
        self._ranks = ranks

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Return the energy in eV."""
        energy: float = self._dft.get_potential_energy(atoms, force_consistent=force_consistent)
        return energy + float(self._part("energy", atoms))

    def get_forces(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return forces in eV/Å, shape (atoms, 3)."""
        forces: NDArray[np.float64] = self._dft.get_forces(atoms) + self._part("forces", atoms)
        return forces

    def get_stress(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return the stress in eV/Å³, shape (6,) in Voigt's order."""
        stress: NDArray[np.float64] = self._dft.get_stress(atoms) + self._part("stress", atoms)
        return stress

    def _part(self, name: str, atoms: Atoms) -> Any:
        return self._ranks.shared(lambda: self._d3.get_property(name, atoms))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dft, name)
