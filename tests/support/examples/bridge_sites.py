"""Sites over the second layer's bridges: midway between two neighbours of the layer below the outermost one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from sodiate.structures.geometry import FACES, face_layers, in_plane_cell, in_plane_fractions, wrap
from sodiate.structures.site_candidates import Candidate
from sodiate.structures.vacancies import Defect

_RANK = 5
"""After vacancies, second layer, hollows, atoms and bridges."""


def second_bridges(pristine: Atoms, defects: Sequence[Defect]) -> list[Candidate]:
    """List these points of both faces, the top face first; a missing atom has none."""
    missing = {defect.index for defect in defects if defect.replacement is None}
    fractions, cell = in_plane_fractions(pristine), in_plane_cell(pristine)
    found = []
    for face in FACES:
        outer, second = face_layers(pristine, face)
        height = float(pristine.positions[outer, 2].mean())
        offsets = wrap(fractions[second][None] - fractions[second][:, None])
        distances = np.linalg.norm(offsets @ cell, axis=-1)
        nearest = distances[distances > 0.1].min()
        for i, j in np.argwhere((distances > 0.1) & (distances < 1.1 * nearest)):
            if i < j and not {int(second[i]), int(second[j])} & missing:
                middle = (fractions[second[i]] + offsets[i, j] / 2) % 1.0
                found.append(Candidate("B2", _RANK, face, (float(middle[0]), float(middle[1])), height))
    return found
