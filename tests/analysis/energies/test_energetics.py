"""Voltages and formation energies, against numbers by hand and against experiment's enthalpies."""

from __future__ import annotations

import pytest
from sodiate.analysis.energies.energetics import (
    EnergeticsError,
    adsorption_voltage,
    chalcogen_rich,
    formation_energy,
    metal_rich,
)

ELEMENTS = {"S": -4.0, "Se": -3.5}
UNIT = {"W": 1, "S": 1, "Se": 1}


def test_the_voltage_of_a_reaction_with_known_enthalpy() -> None:
    """4 Na + WSe2 → 2 Na2Se + W: ΔH by experiment, −342 kJ/mol a Na2Se, −185 a WSe2, gives 1.29 V."""
    kilojoule = 0.010364269
    reaction = (2 * -342.0 + 185.0) * kilojoule
    assert adsorption_voltage(reaction, atoms=4) == pytest.approx(1.29, abs=0.01)
    assert adsorption_voltage(0.49) == -0.49  # it would rather plate
    assert adsorption_voltage(-3.0, atoms=1, charge=2) == 1.5


def test_a_vacancy_in_both_limits_by_hand() -> None:
    """WSSe of −20.5 eV from W of −12: it lies 1 eV below its elements, half of which each chalcogen loses."""
    rich = chalcogen_rich(ELEMENTS, -20.5, UNIT, "W")
    poor = metal_rich(-20.5, {"W": 1, "S": 1, "Se": 1}, "W", -12.0, ELEMENTS)
    assert poor.potentials_ev == pytest.approx({"W": -12.0, "S": -4.5, "Se": -4.0})
    assert "same 0.500 eV" in poor.condition
    assert formation_energy(-93.0, -100.0, {"S": 1}, rich) == pytest.approx(3.0)
    assert formation_energy(-93.0, -100.0, {"S": 1}, poor) == pytest.approx(2.5)
    assert formation_energy(-88.0, -100.0, {"S": 1, "Se": 1}, rich) == pytest.approx(4.5)


def test_the_limits_are_one_for_a_host_without_heat_of_formation() -> None:
    """And the host's condition holds in the metal-rich limit: μ_W + μ_S + μ_Se is its energy."""
    poor = metal_rich(-19.5, {"W": 1, "S": 1, "Se": 1}, "W", -12.0, ELEMENTS)
    assert poor.potentials_ev == pytest.approx({"W": -12.0, **ELEMENTS})
    lower = metal_rich(-21.3, {"W": 1, "S": 1, "Se": 1}, "W", -12.0, ELEMENTS)
    assert sum(lower.potentials_ev.values()) == pytest.approx(-21.3)


def test_a_metal_vacancy_and_a_foreign_atom_by_hand() -> None:
    """X-rich the metal's potential is what the host leaves it, −20.5 + 4 + 3.5 = −13; a dopant has its element's."""
    rich = chalcogen_rich(ELEMENTS, -20.5, UNIT, "W").with_others({"Mo": -10.0})
    poor = metal_rich(-20.5, UNIT, "W", -12.0, ELEMENTS).with_others({"Mo": -10.0})
    assert rich.potentials_ev["W"] == pytest.approx(-20.5 - sum(ELEMENTS.values()))
    assert sum(rich.potentials_ev[element] for element in UNIT) == pytest.approx(-20.5)
    assert formation_energy(-85.0, -100.0, {"W": 1}, poor) == pytest.approx(3.0)
    own = formation_energy(-85.0, -100.0, {"W": 1}, rich)
    assert own == pytest.approx(15.0 - 20.5 - sum(ELEMENTS.values()))
    assert formation_energy(-97.0, -100.0, {"W": 1, "Mo": -1}, poor) == pytest.approx(3.0 - 12.0 + 10.0)
    assert "Mo in equilibrium with its element" in rich.condition


def test_what_is_missing_or_impossible_is_said() -> None:
    with pytest.raises(EnergeticsError, match="no chemical potential of Te in the X-rich limit"):
        formation_energy(0.0, 0.0, {"Te": 1}, chalcogen_rich(ELEMENTS, -20.5, UNIT, "W"))
    with pytest.raises(EnergeticsError, match="no energy of Se for the host WSe2"):
        metal_rich(-20.0, {"W": 1, "Se": 2}, "W", -12.0, {"S": -4.0})
    with pytest.raises(EnergeticsError, match=r"the host WSSe lies 1\.500 eV above its elements"):
        metal_rich(-18.0, {"W": 1, "S": 1, "Se": 1}, "W", -12.0, ELEMENTS)
