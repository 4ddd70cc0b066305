"""Weights of bands with GPAW: the states of a row of sulphur are of the shells that an atom has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines.base import Limits
from sodiate.workflows.stop import Stop
from support import present
from support.engine_cases import GPAW, sulphur_with_na


@pytest.mark.usefixtures("gpaw")
def test_states_have_the_shells_of_the_atom(tmp_path: Path) -> None:
    """Na 2p and S 3s lie deep, one below the other, each of one shell of one atom."""
    atoms, engine = sulphur_with_na(), GPAW.engine()
    protocol = {key: value for key, value in GPAW.protocol.items() if not key.startswith(("max_force", "dos"))}
    values = {**protocol, "band_points": 8}
    calculation = Calculation("bands", {"op": "geometry", "recipe": 1}, "gpaw", values, {}, "test/bands")
    engine.prepare(calculation, atoms, tmp_path, {})
    engine.run(tmp_path, Limits(), Stop())
    bands = present(engine.collect(tmp_path).bands)
    weights = present(bands.by_shell).astype(float)
    assert weights.shape == (*bands.energies_ev.shape, 2, 3)
    np.testing.assert_allclose(weights.sum(axis=-1), present(bands.by_atom), atol=2e-3)
    for states, (atom, shell) in ((slice(0, 3), (1, 1)), (slice(3, 4), (0, 0))):
        own = weights[0, :, states, atom, shell]
        assert own.min() > 0.6
        assert own.min() > 5 * (weights[0, :, states].sum(axis=(-1, -2)) - own).max()
