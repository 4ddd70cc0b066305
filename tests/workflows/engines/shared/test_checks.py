"""Notes that all engines share."""

from __future__ import annotations

import numpy as np
from sodiate.analysis.arrays import Bands
from sodiate.workflows.engines.shared.checks import whole_up_to


def test_a_dos_is_whole_up_to_the_least_of_its_highest_bands() -> None:
    """Of both spins and all k points: above 3.4 eV (1.4 from E_F) a band is missing at the second k point."""
    energies = np.array([[[-1.0, 5.0], [0.0, 3.9]], [[-1.0, 4.8], [0.0, 3.4]]])
    bands = Bands(energies, np.zeros_like(energies), np.zeros((2, 3)), np.array([0.5, 0.5]), 2.0)
    assert whole_up_to(bands) == "the DOS is whole up to 1.4 eV from E_F, where the last of 2 bands begins"
