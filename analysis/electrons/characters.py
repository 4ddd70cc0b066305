"""The characters of bands: their weights on the d states of metals and the p states of both faces of a sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..arrays import Bands
    from ..records import Geometry

    Floats = NDArray[np.float64]

_D_BLOCK = (range(21, 31), range(39, 49), range(57, 81))
"""Atomic numbers of elements whose d states make the bands near the Fermi level, lanthanides among them."""

_FACE_A = 0.5
"""An atom further from the middle of a sheet is on a face."""

_SHELLS = "spd"


def characters(bands: Bands, geometry: Geometry) -> dict[str, Floats]:
    """Return the weights of states on the d states of metals and the p states of each element of a face.

    Parameters
    ----------
    bands
        With weights by shell; without them, as of older records, there are no characters.
    geometry
        The atoms, as of the weights.

    Returns
    -------
    dict
        Shape (spins, k points, bands) each, by names such as ``W d`` and ``S p, top``, the metals first. As the code
        projects: they are no shares of a state.
    """
    if bands.by_shell is None:
        return {}
    atoms = geometry.atoms()
    heights = atoms.positions[:, 2]
    middle = (heights.max() + heights.min()) / 2
    groups: dict[str, list[int]] = {}
    for index in sorted(range(len(atoms)), key=lambda i: (not _has_d(atoms.numbers[i]), -heights[i])):
        groups.setdefault(_name(atoms.symbols[index], atoms.numbers[index], heights[index] - middle), []).append(
            index
        )
    return {
        name: bands.by_shell[..., members, _SHELLS.index(name.split()[1][0])].sum(axis=-1, dtype=np.float64)
        for name, members in groups.items()
    }


def _has_d(number: int) -> bool:
    return any(number in block for block in _D_BLOCK)


def _name(symbol: str, number: int, above_a: float) -> str:
    if _has_d(number):
        return f"{symbol} d"
    face = "" if abs(above_a) < _FACE_A else ", top" if above_a > 0 else ", bottom"
    return f"{symbol} p{face}"
