"""Vibrations of an adsorbate at its sites: modes, zero-point and free energies, ΔG, attempt frequencies.

The sheet is at rest, or all of it but the adsorbate's neighbours; energies are those of the adsorbate's own modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..elements import ground_state_moment
from ..records import Record, Saddle, Vibrations
from .hopping import ASSUMED_HZ, BOLTZMANN_EV_PER_K, HZ_PER_CM, TEMPERATURE_K, Modes, frequencies_hz, rate_hz

if TYPE_CHECKING:
    from ..arrays import SecondDerivatives
    from .barrier import PathBarrier

PLANCK_EV_S = 4.135667696e-15

PRESSURE_PA = 1e5
"""Of the gas of atoms that ΔG is against: 1 bar."""

_U_KG, _K_J_PER_K, _H_J_S = 1.66053906660e-27, 1.380649e-23, 6.62607015e-34

SOFT_PER_CM = 50.0
"""A mode below is soft: the adsorbate goes beyond where its energy is harmonic, at room temperature."""


def vibrations_of(found: SecondDerivatives, masses_u: Sequence[float]) -> Vibrations:
    """Return the modes of second derivatives, for their record; ``masses_u`` of all atoms, the adsorbate's last."""
    moved = tuple(int(atom) for atom in found.moved)
    last = moved.index(len(masses_u) - 1)
    own = found.hessian_ev_per_a2[3 * last : 3 * last + 3, 3 * last : 3 * last + 3]
    return Vibrations(
        moved=moved,
        modes_hz=frequencies_hz(found.hessian_ev_per_a2, [masses_u[atom] for atom in moved]),
        ion_hz=frequencies_hz(own, [masses_u[-1]]),
    )


def zero_point_ev(modes_hz: Sequence[float]) -> float:
    """Return ½ Σ hν."""
    return 0.5 * PLANCK_EV_S * float(sum(modes_hz))


def free_energy_ev(modes_hz: Sequence[float], temperature_k: float) -> float:
    """Return the vibrational free energy of harmonic modes, all of them real: Σ ½hν + kT ln(1 − exp(−hν/kT)).

    Parameters
    ----------
    modes_hz
        Positive frequencies.
    temperature_k
        Positive.
    """
    quanta, thermal = PLANCK_EV_S * np.array(modes_hz), BOLTZMANN_EV_PER_K * temperature_k
    return float((quanta / 2 + thermal * np.log(-np.expm1(-quanta / thermal))).sum())


def gas_ev(element: str, temperature_k: float) -> float:
    """Return the free energy of an atom of an ideal gas at 1 bar above that of one at rest.

    Of its translation (Sackur and Tetrode) and the spins of its ground state; orbital degeneracy, as of aluminium, is
    left out.
    """
    from ase.data import atomic_masses, atomic_numbers

    thermal_j = _K_J_PER_K * temperature_k
    mass = float(atomic_masses[atomic_numbers[element]]) * _U_KG
    states = thermal_j / PRESSURE_PA * (2 * np.pi * mass * thermal_j / _H_J_S**2) ** 1.5
    spins = round(ground_state_moment(element)) + 1
    return float(-BOLTZMANN_EV_PER_K * temperature_k * np.log(states * spins))


@dataclass(frozen=True)
class Hop:
    """The rate of a hop out of a site along a path of the campaign.

    Attributes
    ----------
    path, towards
        The path, and the site at its other end.
    attempt_hz, origin
        Attempt frequency, and in words where it is from.
    rate_hz
        ν exp(−E/kT) at 300 K.
    """

    path: str
    towards: str
    attempt_hz: float
    origin: str
    rate_hz: float


@dataclass(frozen=True)
class SiteVibrations:
    """The vibrations at one site.

    Attributes
    ----------
    site, best
        The site, and whether it was asked for as the best one.
    neighbours
        How many atoms of the host moved with the adsorbate.
    wavenumbers_per_cm, quanta_mev
        Of all modes, ascending; imaginary ones are negative.
    ion_wavenumbers_per_cm
        Of the adsorbate alone, the sheet at rest.
    imaginary
        How many modes are imaginary: with any, the place is no minimum.
    zero_point_ev
        ½ Σ hν of the adsorbate's own modes; None if it is at no minimum.
    temperatures_k, free_energies_ev
        Temperatures, and the free energy of the adsorbate's own modes at each.
    adsorption_free_energies_ev
        ΔG at each against the gas of atoms at 1 bar: ΔE + F − G(gas); None without ΔE.
    adsorption_free_energies_bulk_ev
        ΔE against the bulk metal + F, the metal at rest: its own vibrations are left out; None without ΔE.
    hops
        Rates out of the site, where the campaign has barriers.
    records
        Ids behind it.
    """

    site: str
    best: bool
    neighbours: int
    wavenumbers_per_cm: tuple[float, ...]
    quanta_mev: tuple[float, ...]
    ion_wavenumbers_per_cm: tuple[float, ...]
    imaginary: int
    zero_point_ev: float | None
    temperatures_k: tuple[float, ...]
    free_energies_ev: tuple[float, ...] | None
    adsorption_free_energies_ev: tuple[float, ...] | None
    adsorption_free_energies_bulk_ev: tuple[float, ...] | None
    hops: tuple[Hop, ...]
    records: tuple[str, ...]

    @property
    def soft(self) -> bool:
        """Whether a mode is so soft that a harmonic free energy is doubtful."""
        return self.imaginary == 0 and min(abs(value) for value in self.ion_wavenumbers_per_cm) < SOFT_PER_CM


@dataclass(frozen=True)
class Asked:
    """What is known of a site beside its vibrations.

    Attributes
    ----------
    site, best
        Its name, and whether it was asked for as the best one.
    element
        Of the adsorbate.
    temperatures_k
        Temperatures.
    energy_ev, energy_bulk_ev
        ΔE against the isolated atom and the bulk metal; None where not known.
    paths
        The barriers of the host with the saddle of each.
    """

    site: str
    best: bool
    element: str
    temperatures_k: tuple[float, ...]
    energy_ev: float | None
    energy_bulk_ev: float | None
    paths: Sequence[tuple[PathBarrier, Saddle | None]] = ()


def site_vibrations(record: Record, asked: Asked) -> SiteVibrations:
    """Return the vibrations at a site from their record."""
    found = record.vibrations
    assert found is not None  # a record of this kind has them
    own = found.ion_hz
    imaginary = sum(value < 0 for value in found.modes_hz)
    at_rest = min(own) > 0 and imaginary == 0
    temperatures = asked.temperatures_k
    free = tuple(free_energy_ev(own, t) for t in temperatures) if at_rest else None
    gas = tuple(gas_ev(asked.element, t) for t in temperatures)
    energy, bulk = asked.energy_ev, asked.energy_bulk_ev
    against_gas = against_metal = None
    if free is not None and energy is not None:
        against_gas = tuple(energy + f - g for f, g in zip(free, gas, strict=True))
    if free is not None and bulk is not None:
        against_metal = tuple(bulk + f for f in free)
    return SiteVibrations(
        site=asked.site,
        best=asked.best,
        neighbours=len(found.moved) - 1,
        wavenumbers_per_cm=tuple(value / HZ_PER_CM for value in found.modes_hz),
        quanta_mev=tuple(1e3 * PLANCK_EV_S * value for value in found.modes_hz),
        ion_wavenumbers_per_cm=tuple(value / HZ_PER_CM for value in own),
        imaginary=imaginary,
        zero_point_ev=zero_point_ev(own) if at_rest else None,
        temperatures_k=temperatures,
        free_energies_ev=free,
        adsorption_free_energies_ev=against_gas,
        adsorption_free_energies_bulk_ev=against_metal,
        hops=_hops(found, asked),
        records=(record.calculation,),
    )


def _hops(found: Vibrations, asked: Asked) -> tuple[Hop, ...]:
    """Return the rates out of a site, with Vineyard's prefactor where the saddle's modes are known."""
    hops = []
    for path, saddle in asked.paths:
        ways = ((path.start, path.end, path.forward_ev), (path.end, path.start, path.backward_ev))
        for start, end, height in ways:
            if start == asked.site:
                attempt, origin = _attempt(found, path, saddle, start == path.start)
                hops.append(Hop(path.path, end, attempt, origin, rate_hz(height, attempt)))
    return tuple(hops)


def _attempt(found: Vibrations, path: PathBarrier, saddle: Saddle | None, forward: bool) -> tuple[float, str]:
    """Return an attempt frequency and where it is from: both places' modes, the path's own, or assumed."""
    if saddle is not None and saddle.saddle_hz is not None:
        both = Modes(found.modes_hz, saddle.saddle_hz).attempt_hz
        if both is not None:
            return both, "Vineyard's prefactor from the modes here and at the saddle"
        if forward and not path.assumed:
            return path.attempt_hz, "Vineyard's prefactor from the modes of the path"
        return ASSUMED_HZ, "assumed: the modes here and at the saddle are not of the same atoms"
    return ASSUMED_HZ, f"assumed: the saddle has no modes at hand (barrier.modes), {TEMPERATURE_K:g} K"


def lowest_free_energies(sites: Sequence[SiteVibrations]) -> Mapping[float, str]:
    """Return the site of lowest ΔG at each temperature, where more than one has it."""
    known = [one for one in sites if one.adsorption_free_energies_ev is not None]
    if len(known) < 2:
        return {}
    return {
        temperature: min(known, key=lambda one: (one.adsorption_free_energies_ev or ())[number]).site
        for number, temperature in enumerate(known[0].temperatures_k)
    }
