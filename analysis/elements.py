"""What is known of an element before anything is computed: its atom's spin, its ion's charge, start moments.

Each value is a default, and a campaign may say another one where it has a key for it.
"""

from __future__ import annotations

from collections.abc import Mapping

_BY_CHARGE = {
    1: ("H", "Li", "Na", "K", "Rb", "Cs", "Ag"),
    2: ("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"),
    3: ("Al", "Ga", "In", "Sc", "Y", "La"),
}

ION_CHARGES: Mapping[str, int] = {element: charge for charge, elements in _BY_CHARGE.items() for element in elements}
"""Charge of the ion that a metal gives to an electrolyte, where it gives one alone."""

HIGH_SPIN_MUB: Mapping[str, float] = {"V": 3.0, "Cr": 4.0, "Mn": 5.0, "Fe": 4.0, "Co": 3.0, "Ni": 2.0}
"""Start moments (μB) of the metals whose sheets may be magnetic.

High spin on purpose: from zero a self-consistent run stays at zero, and from too much it comes down.
"""

TRIPLET_DIMERS = frozenset({"B", "O", "S", "Se", "Te"})
"""Elements whose molecules of two atoms have two unpaired electrons (Huber and Herzberg 1979).

From zero a self-consistent run stays in the singlet, 1 eV too high for O2.
"""


def ground_state_moment(element: str) -> float:
    """Return the moment of a free atom in its ground state, μB: how many of its electrons are unpaired."""
    from ase.data import atomic_numbers, ground_state_magnetic_moments

    return float(ground_state_magnetic_moments[atomic_numbers[element]])
