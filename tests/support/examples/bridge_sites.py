"""Bridge sites: midway between two bonded neighbours of the outermost layer of a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from sodiate.structures.geometry import FACES, face_layers, in_plane_cell, in_plane_fractions, wrap
from sodiate.structures.site_candidates import Candidate
from sodiate.structures.vacancies import Defect

_RANK = 4
"""After vacancies, second layer, hollows and atoms."""


def bridges(pristine: Atoms, defects: Sequence[Defect]) -> list[Candidate]:
    """List the bridges of both faces, the top face first; a missing atom has none."""
    missing = {defect.index for defect in defects if defect.replacement is None}
    fractions, cell = in_plane_fractions(pristine), in_plane_cell(pristine)
    found = []
    for face in FACES:
        outer, _ = face_layers(pristine, face)
        height = float(pristine.positions[outer, 2].mean())
        offsets = wrap(fractions[outer][None] - fractions[outer][:, None])
        distances = np.linalg.norm(offsets @ cell, axis=-1)
        nearest = distances[distances > 0.1].min()
        for i, j in np.argwhere((distances > 0.1) & (distances < 1.1 * nearest)):
            if i < j and not {int(outer[i]), int(outer[j])} & missing:
                middle = (fractions[outer[i]] + offsets[i, j] / 2) % 1.0
                found.append(Candidate("BR", _RANK, face, (float(middle[0]), float(middle[1])), height))
    return found
