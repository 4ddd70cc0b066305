"""What a calculation with GPAW asks of a machine: ranks by k points and spins, and memory by its wavefunctions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.units import Bohr, Hartree

from ....analysis.cost import valence_electrons
from ...start_structures import typical_atoms
from ..base import Demand
from ..shared.grids import even_ranks, irreducible_kpoints, kpoint_mesh

if TYPE_CHECKING:
    from ...calculation import Calculation

_RANK_BYTES = 250 << 20
"""Of Python, GPAW and its libraries in one rank."""

_COPIES = 2.0
"""Arrays of the size of the wavefunctions: semicore states that `valence_electrons` leaves out, projections."""

_GRIDS = 60
"""Real numbers at each point of the fine grid: densities and potentials of both spins, mixing, and work arrays."""


def demand_of(calculation: Calculation) -> Demand:
    """Return what a calculation asks for, by its start.

    k points times spins are shared evenly among ranks, which hardly talk to one another then. Γ alone is computed by
    one rank, since sharing plane waves gains little in cells of this size.
    """
    atoms, protocol = typical_atoms(calculation), calculation.protocol
    if atoms is None or protocol.get("cutoff_ev") is None:
        return Demand()
    mesh = kpoint_mesh(atoms, protocol.get("kpoint_length_a") or 0.0)
    points = int(protocol["band_points"]) if protocol.get("band_points") else irreducible_kpoints(atoms, mesh)
    pieces = points * (2 if protocol.get("spin_polarised") else 1)
    volume, wave_vector = atoms.get_volume() / Bohr**3, np.sqrt(2 * protocol["cutoff_ev"] / Hartree)
    waves = volume * wave_vector**3 / (6 * np.pi**2)
    electrons = sum(valence_electrons(number) for number in atoms.numbers)
    bands = 0.5 * electrons * (1 + (protocol.get("empty_bands") or 0.0))
    fine_points = volume * (2 * np.sqrt(2) * wave_vector / np.pi) ** 3
    return Demand(
        ranks=(1,) if mesh == (1, 1, 1) else even_ranks(pieces),
        memory_bytes=int(16 * _COPIES * pieces * bands * waves + 8 * _GRIDS * fine_points),
        rank_bytes=_RANK_BYTES,
    )
