"""What a calculation with GPAW asks of a machine: ranks by k points and spins, and memory by its wavefunctions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Bohr, Hartree

from ....analysis.cost import valence_electrons
from ...kinds import KINDS
from ...start_structures import typical_atoms
from ..base import Demand
from ..shared.grids import even_ranks, irreducible_kpoints, kpoint_mesh, kpoints_without_point_group
from ..shared.side_by_side import wider_ranks
from ..shared.tape import DISPLACEMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

    from ...calculation import Calculation

_RANK_BYTES = 250 << 20
"""Of Python, GPAW and its libraries in one rank."""

_COPIES = 2.0
"""Arrays of the size of the wavefunctions: semicore states that `valence_electrons` leaves out, projections."""

_GRIDS = 60
"""Real numbers at each point of the fine grid: densities and potentials of both spins, mixing, and work arrays."""


def _calls(calculation: Calculation) -> tuple[int, int]:
    """Return how many independent force calls there are at once, and beside each such round how many alone."""
    kind = KINDS[calculation.kind]
    if kind.searches:  # a third of the calls of the paths that were computed were of the image that climbs alone
        images = int(calculation.structure["images"])
        return images, -(-images // 2)
    return (DISPLACEMENTS, 0) if kind.displaces else (1, 0)  # of one atom; others move only on demand


def pieces_of(settings: Mapping[str, Any], atoms: Atoms) -> int:
    """Return k points times spins of a calculator with these settings, which ranks share."""
    mesh, symmetry = settings["kpts"]["size"], settings.get("symmetry")
    if symmetry is None:
        points = irreducible_kpoints(atoms, mesh)
    else:
        points = kpoints_without_point_group(mesh) if symmetry != "off" else int(np.prod(mesh))
    return points * (2 if settings["spinpol"] else 1)


def demand_of(calculation: Calculation) -> Demand:
    """Return what a calculation asks for, by its start.

    k points times spins are shared evenly among ranks, which hardly talk to one another then. Γ alone is computed by
    one rank, since sharing plane waves gains little in cells of this size. Force calls of paths and vibrations are
    computed side by side as well, each with wavefunctions of its own.
    """
    atoms, protocol = typical_atoms(calculation), calculation.protocol
    if atoms is None or protocol.get("cutoff_ev") is None:
        return Demand()
    mesh = kpoint_mesh(atoms, protocol.get("kpoint_length_a") or 0.0)
    if protocol.get("band_points"):
        points = int(protocol["band_points"])
    elif KINDS[calculation.kind].displaces:
        points = kpoints_without_point_group(mesh)
    else:
        points = irreducible_kpoints(atoms, mesh)
    pieces = points * (2 if protocol.get("spin_polarised") else 1)
    volume, wave_vector = atoms.get_volume() / Bohr**3, np.sqrt(2 * protocol["cutoff_ev"] / Hartree)
    waves = volume * wave_vector**3 / (6 * np.pi**2)
    electrons = sum(valence_electrons(number) for number in atoms.numbers)
    bands = 0.5 * electrons * (1 + (protocol.get("empty_bands") or 0.0))
    fine_points = volume * (2 * np.sqrt(2) * wave_vector / np.pi) ** 3
    shared, kind = 1 if mesh == (1, 1, 1) else pieces, KINDS[calculation.kind]
    together, alone = _calls(calculation)
    wavefunctions = int(16 * _COPIES * pieces * bands * waves)
    return Demand(
        ranks=even_ranks(shared),
        memory_bytes=wavefunctions * (together + 1 if kind.searches else 1) + int(8 * _GRIDS * fine_points),
        rank_bytes=_RANK_BYTES + (wavefunctions if kind.displaces else 0),
        spare_ranks=wider_ranks(shared, together, alone),
    )
