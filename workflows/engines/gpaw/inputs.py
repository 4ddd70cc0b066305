"""Inputs of a GPAW run in its directory: all settings of the calculator, the start geometry, execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Bohr, Hartree

from ....analysis.records import Geometry, digest
from ...kinds import KINDS
from ..base import EngineError
from ..shared.files import DAMAGE, read_json, read_xyz
from ..shared.grids import kpoint_mesh, smooth

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

INPUT = "input.json"
START = "start.extxyz"
SCRIPT = "run.py"
RESULT = "result.json"
ERROR = "error.json"
CORRECTIONS = "corrections.json"
COARSE = "coarse.jsonl"
DENSITY = "density.gpw"
PARENT_DENSITY = "parent-density.gpw"
OUTPUTS = "gpaw*.txt"
LOCK = "lock"

SAME_PLACE_A = 1e-6
"""Atoms closer than this are at one place."""

PROTOCOL_KEYS = frozenset(
    {
        *("functional", "cutoff_ev", "energy_convergence_ev", "max_force_ev_per_a", "kpoint_length_a", "smearing"),
        *("spin_polarised", "start_moments_mub", "dipole_correction", "dispersion", "dos_broadening_ev", "box_a"),
        *("band_points", "density_convergence", "eigenstate_convergence_ev2", "empty_bands"),
        "hubbard_u_ev",
    }
)

WITHIN_1_MEV = {"energy_convergence_ev": 1e-3, "density_convergence": 1e-3, "eigenstate_convergence_ev2": 1e-3}
"""Ends an SCF cycle that starts from a density of another mesh or cutoff within a meV of its end.

Na on WSe2, 1×1, 350 eV, 4×4×1: 0.02 meV from there to 6×6×1, 0.4 meV to 420 eV.
"""

_NEEDED = (
    *("functional", "cutoff_ev", "energy_convergence_ev", "kpoint_length_a", "smearing", "spin_polarised"),
    *("start_moments_mub", "dipole_correction", "density_convergence", "eigenstate_convergence_ev2", "empty_bands"),
)

_VACUUM_A = 6.0
"""Least empty height; with less, the images of a slab touch each other."""


def calculator_settings(protocol: Mapping[str, Any], atoms: Atoms, kind: str, where: str) -> dict[str, Any]:
    """Translate a protocol into the keywords of GPAW's calculator.

    Parameters
    ----------
    protocol
        Flattened for the kind.
    atoms
        Start geometry.
    kind
        Kind of calculation.
    where
        Directory, for messages.

    Raises
    ------
    EngineError
        If a key is missing, or a slab with dipole correction has no vacuum.
    """
    missing = [key for key in _NEEDED if protocol.get(key) is None]
    if missing:
        raise EngineError(f"{where}: the protocol of kind {kind} lacks {', '.join(missing)}, which GPAW needs.")
    mesh = kpoint_mesh(atoms, protocol["kpoint_length_a"])
    settings: dict[str, Any] = {
        "mode": {"name": "pw", "ecut": protocol["cutoff_ev"]},
        "xc": protocol["functional"],
        "kpts": {"size": list(mesh), "gamma": True},
        "occupations": _occupations(protocol["smearing"]),
        "spinpol": bool(protocol["spin_polarised"]),
        "nbands": f"{100 * (1 + protocol['empty_bands']):g}%",
        "convergence": {
            "energy": {"name": "energy", "tol": protocol["energy_convergence_ev"], "relative": False},
            "density": protocol["density_convergence"],
            "eigenstates": protocol["eigenstate_convergence_ev2"],
        },
    }
    corrections = protocol.get("hubbard_u_ev") or {}
    if corrections:  # ":d,3.0" is the usual data set with a correction of its d states
        settings["setups"] = {
            element: f":{shell},{value!r}"
            for element, shells in corrections.items()
            for shell, value in shells.items()
        }
    if KINDS[kind].displaces:  # one set of k points for all displacements, whatever symmetry they break
        settings["symmetry"] = {"point_group": False}
    if KINDS[kind].fixed_density:
        settings["convergence"]["bands"] = "CBM+1.0"
    if kind in ("density", "relax_cell"):
        # Densities are subtracted point by point, and a grid that changes with the cell would distort E(a).
        settings["gpts"] = list(density_grid(atoms.cell.array, protocol["cutoff_ev"]))
    if protocol["dipole_correction"]:
        _check_vacuum(atoms, where)
        settings["poissonsolver"] = {"dipolelayer": "xy"}
    return settings


def density_grid(cell_a: NDArray[np.float64], cutoff_ev: float) -> tuple[int, int, int]:
    """Return the number of grid points of the density along each cell vector.

    It depends on cell and cutoff alone.

    The spacing is at most π/√(4E) in atomic units, GPAW's own rule for a plane-wave cutoff E: the grid holds every
    wave up to √2 times the wave vector of the cutoff. Numbers have no prime factor above 7, for fast transforms.

    Parameters
    ----------
    cell_a
        Shape (3, 3), vectors as rows.
    cutoff_ev
        Plane-wave cutoff.
    """
    spacing = np.pi / np.sqrt(4 * cutoff_ev / Hartree) * Bohr
    # The allowance gives vectors of equal length the same number despite rounding.
    first, second, third = (
        smooth(int(np.ceil(length / spacing + 1e-6))) for length in np.linalg.norm(cell_a, axis=1)
    )
    return first, second, third


def _occupations(smearing: Mapping[str, Any]) -> dict[str, Any]:
    width = smearing["width_ev"]
    match smearing["kind"]:
        case "gaussian":  # Methfessel and Paxton's order 0 is Gaussian smearing, width as VASP's SIGMA
            return {"name": "methfessel-paxton", "order": 0, "width": width}
        case "fermi-dirac":
            return {"name": "fermi-dirac", "width": width}
        case _:
            return {"name": "fermi-dirac", "width": 0.0}


def _check_vacuum(atoms: Atoms, where: str) -> None:
    if atoms.pbc.tolist() != [True, True, False]:
        raise EngineError(f"{where}: the dipole correction needs a slab that is periodic along a and b alone.")
    empty = atoms.cell[2, 2] - float(np.ptp(atoms.positions[:, 2]))
    if empty < _VACUUM_A:
        raise EngineError(f"{where}: {empty:.1f} Å of vacuum along c; a slab needs {_VACUUM_A:g} Å or more.")


@dataclass(frozen=True)
class GpawInputs:
    """The inputs that `GpawEngine.prepare` wrote.

    Attributes
    ----------
    kind, label
        Of the calculation.
    calculator
        Keywords of GPAW's calculator, corrections included.
    protocol, execution
        The keys of both that the run reads.
    atoms
        Start geometry with its start moments.
    key
        Differs between inputs that give different numbers.
    corrections
        Changes by error handlers, in words.
    host
        What the record says of the parent whose density the run takes (`host_values`); None if there is none.
    without
        The result of the same energy without dispersion correction, to which D3, if anything, is only added.
    """

    directory: Path
    kind: str
    label: str
    calculator: dict[str, Any]
    protocol: dict[str, Any]
    execution: dict[str, Any]
    atoms: Atoms
    key: str
    corrections: tuple[str, ...]
    host: dict[str, Any] | None = None
    without: dict[str, Any] | None = None

    @property
    def functional(self) -> str:
        """The functional of the energy: that of the calculator, or another one at its density."""
        return str(self.protocol.get("functional", self.calculator["xc"]))

    @property
    def at_density(self) -> bool:
        """Whether the functional is changed at the density of another one."""
        return "functional" in self.protocol

    @classmethod
    def read(cls, directory: Path) -> GpawInputs:
        """Read the inputs of a directory; raise `EngineError` if they are incomplete."""
        path = directory / INPUT
        try:
            values = read_json(path)
            path = directory / START
            atoms = read_xyz(path)
            atoms.set_initial_magnetic_moments(values["start_moments_mub"])
            path = directory / CORRECTIONS
            corrections = read_json(path)["corrections"] if path.exists() else []
        except DAMAGE as error:
            raise EngineError(f"{path} cannot be read ({error}); prepare the calculation again.") from None
        key = inputs_key(values, atoms)
        calculator = dict(values["calculator"])
        coarse = values["execution"].get("coarse")
        for correction in corrections:
            calculator |= correction["set"]
            if coarse is not None:
                coarse["calculator"] |= correction["set"]
        return cls(
            directory=directory,
            kind=values["kind"],
            label=values["label"],
            calculator=calculator,
            protocol=values["protocol"],
            execution=values["execution"],
            atoms=atoms,
            key=key,
            corrections=tuple(correction["why"] for correction in corrections),
            host=values.get("host"),
            without=values.get("without"),
        )


def inputs_key(values: Mapping[str, Any], atoms: Atoms) -> str:
    """Return a hash of everything that determines the numbers: of the content of `INPUT`, and the start."""
    geometry = Geometry.of(atoms).model_dump(mode="json")
    keys = ("kind", "calculator", "protocol")
    own = [*(values[key] for key in keys), geometry, list(values["start_moments_mub"])]
    return digest(own if values.get("path") is None else [*own, values["path"]])
