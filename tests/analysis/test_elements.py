"""Spins of free atoms and charges of ions, against Hund's rules and the groups of the periodic table by hand."""

from __future__ import annotations

import pytest
from sodiate.analysis.elements import HIGH_SPIN_MUB, ION_CHARGES, ground_state_moment

UNPAIRED = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Al", "Ga", "Cu", "Ag"), 1),  # one electron outside closed shells
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), 0),  # closed shells
    **{"O": 2, "N": 3, "V": 3, "Cr": 6, "Mn": 5, "Fe": 4, "Co": 3, "Ni": 2},
}


@pytest.mark.parametrize(("element", "unpaired"), UNPAIRED.items())
def test_unpaired_electrons_of_a_free_atom(element: str, unpaired: int) -> None:
    assert ground_state_moment(element) == unpaired


def test_charges_of_the_ions_of_batteries() -> None:
    told = {"Li": 1, "Na": 1, "K": 1, "Mg": 2, "Zn": 2, "Ca": 2, "Al": 3}
    assert {element: ION_CHARGES[element] for element in told} == told
    assert "Fe" not in ION_CHARGES  # Fe2+ and Fe3+


def test_high_spin_is_as_much_as_a_metal_of_a_sheet_can_have() -> None:
    """Atoms of a sheet have given electrons away: no more than the free atom, and for a d shell at most five."""
    for element, moment in HIGH_SPIN_MUB.items():
        assert 0 < moment <= min(5, ground_state_moment(element))
