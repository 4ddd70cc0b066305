"""The dry run's pair potential of elements that its EMT does not play: a Morse well, cut off smoothly.

E(r) = D ((1 - exp(-α (r - r0)))² - 1) s(r) + D h(r), from covalent radii and cohesive energies alone
(``configs/emt.yaml``). The hump h keeps second neighbours apart, so that open sheets do not close up. The switch s,
the hump and their first two derivatives are continuous, so that energies and forces are, too. As all of a dry run, it
holds a structure together and means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from .of_geometry import OfGeometry, voigt
from .pairs import pairs_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from .parameters import OtherElements

    Floats = NDArray[np.float64]


def morse(distances: Floats, wells: Floats, lengths: Floats, shape: OtherElements) -> tuple[Floats, Floats]:
    """Return the energy of pairs and its derivative by their distance.

    Parameters
    ----------
    distances
        Shape (pairs,), Å.
    wells, lengths
        Depth D (eV) and distance r0 (Å) of each pair's well, shape (pairs,).
    shape
        Steepness α r0, the cutoff and the hump.

    Returns
    -------
    energies, slopes
        eV and eV/Å, shape (pairs,).
    """
    scaled = distances / lengths
    near = np.exp(-shape.steepness * (scaled - 1.0))
    well, slope = (near - 2.0) * near, 2.0 * shape.steepness * (1.0 - near) * near
    part, width = _part_of(scaled, shape.switch)
    inside = 1.0 - part**3 * (10.0 - 15.0 * part + 6.0 * part**2)
    falling = -30.0 * (part * (1.0 - part)) ** 2 / width
    part, width = _part_of(scaled, shape.hump_between)
    arch = part * (1.0 - part)
    hump, rising = 64.0 * arch**3, 192.0 * arch**2 * (1.0 - 2.0 * part) / width
    energies = wells * (well * inside + shape.hump * hump)
    return energies, wells / lengths * (slope * inside + well * falling + shape.hump * rising)


def _part_of(scaled: Floats, between: tuple[float, float]) -> tuple[Floats, float]:
    """Return which part of the way between two distances is gone, 0 to 1, and its length."""
    begin, end = between
    return np.clip((scaled - begin) / (end - begin), 0.0, 1.0), end - begin


class PairPotential(OfGeometry):
    """Morse pairs wherever an element without a role takes part; EMT among the others.

    So energies of host, adsorbate and both are of one potential, whichever of them EMT plays. In a sheet with more
    than ``least_share`` of such elements EMT plays the ions alone: metals would close up without their chalcogens.
    An atom that EMT knows has the energy of its free atom in either case.

    Parameters
    ----------
    of_played
        EMT, for the elements that have a role.
    free_ev
        The energy of a free atom of each of them, eV.
    ions
        Elements that never count as part of a sheet.
    parameters
        Of the pairs.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self, of_played: Calculator, free_ev: Mapping[str, float], ions: Iterable[str], parameters: OtherElements
    ) -> None:
        super().__init__()
        self._of_played = of_played
        self._free_ev = {atomic_numbers[symbol]: energy for symbol, energy in free_ev.items()}
        self._ions = [atomic_numbers[symbol] for symbol in ions]
        self._parameters = parameters

    def computed(self, atoms: Atoms) -> dict[str, Any]:
        """Compute energy (eV), forces (eV/Å) and, with three lattice vectors, the stress (eV/Å³)."""
        played = self._played(atoms.numbers)
        energy, forces, stress = self._pairs(atoms, played)
        if played.any():
            part = atoms[played]
            part.calc = self._of_played
            energy += float(part.get_potential_energy())
            forces[played] += part.get_forces()
            stress = None if stress is None else stress + part.get_stress()
        results = {"energy": energy, "free_energy": energy, "forces": forces}
        return results if stress is None else {**results, "stress": stress}

    def _played(self, numbers: NDArray[np.int_]) -> NDArray[np.bool_]:
        """Return which atoms EMT plays."""
        known, ions = np.isin(numbers, list(self._free_ev)), np.isin(numbers, self._ions)
        of_sheet = np.count_nonzero(~ions)
        return ions if np.count_nonzero(~known) > self._parameters.least_share * of_sheet else known

    def _pairs(self, atoms: Atoms, played: NDArray[np.bool_]) -> tuple[float, Floats, Floats | None]:
        """Return energy, forces and stress of all pairs but those that EMT plays."""
        lengths, wells = self._parameters.of(atoms.numbers)
        wells[np.isin(atoms.numbers, self._ions)] *= self._parameters.ion_share
        pairs = pairs_within(atoms, 2.0 * float(lengths.max()) * self._parameters.hump_between[1])
        other = ~(played[pairs.first] & played[pairs.second])
        first, second, distances = pairs.first[other], pairs.second[other], pairs.distances[other]
        energies, slopes = morse(
            distances, np.minimum(wells[first], wells[second]), lengths[first] + lengths[second], self._parameters
        )
        pulls = (slopes / distances)[:, None] * pairs.vectors[other]
        # Each pair is listed twice, with opposite vectors: half of its energy, all of its force on the first atom.
        energy = 0.5 * float(energies.sum())
        energy += sum(self._free_ev.get(number, 0.0) for number in atoms.numbers[~played].tolist())
        # Without any pair, bincount counts in whole numbers.
        forces = np.stack([np.bincount(first, along, len(atoms)) for along in pulls.T], axis=1).astype(np.float64)
        if atoms.cell.rank < 3:
            return energy, forces, None
        return energy, forces, voigt(0.5 * pairs.vectors[other].T @ pulls / atoms.get_volume())
