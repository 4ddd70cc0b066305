"""Runs of VASP that the user made: read, held against what sodiate would have run, and laid into a directory."""

from __future__ import annotations

import gzip
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....structures.geometry import pairing
from ..base import EngineError
from ..shared.files import DAMAGE, fingerprint, read_json, write_json
from .inputs import CHARGE, INPUT, RESULT, Inputs, State
from .results import FILES, RUN, method_of, read_vasprun, sampling_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from pymatgen.io.vasp.outputs import Vasprun

    from ...calculation import Calculation

_TAKEN = (RUN, "OUTCAR", "OSZICAR", "CONTCAR", "XDATCAR", "PROCAR", "INCAR", "KPOINTS", "POSCAR")

_SAME_CELL_A = 1e-3

_COMPARED = ("PREC", "ISMEAR", "SIGMA", "ISPIN", "LASPH", "LREAL", "LDIPOL", "IDIPOL", "NUPDOWN", "ICHARG", "IVDW")


class VaspRunOfUser:
    """A finished run: a folder with vasprun.xml and OUTCAR, plain or gz.

    Parameters
    ----------
    folder
        Where it is; nothing is written there.

    Raises
    ------
    EngineError
        If its vasprun.xml is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.run = read_vasprun(_file(folder, RUN))
        except DAMAGE as error:
            raise EngineError(f"{RUN} is missing or damaged ({error})") from None

    @cached_property
    def atoms(self) -> Atoms:
        """Where it started."""
        from pymatgen.io.ase import AseAtomsAdaptor

        atoms: Atoms = AseAtomsAdaptor.get_atoms(self.run.initial_structure, msonable=False)
        return atoms

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of calculation that it may be, by ICHARG, NSW and ISIF."""
        parameters = self.run.parameters
        if int(parameters.get("ICHARG", 2)) == 11:
            return frozenset({"dos"})
        if int(parameters["NSW"]) == 0 or int(parameters["IBRION"]) == -1:
            return frozenset({"static", "atom", "bulk", "density"})
        return frozenset({"relax" if int(parameters["ISIF"]) <= 2 else "relax_cell"})

    def lay(self, calculation: Calculation, directory: Path) -> list[str]:
        """Lay it into a prepared directory; return what it has otherwise, as ``ISMEAR 1 (yours) ≠ 0 (protocol)``."""
        inputs = _with_charge(directory, calculation)
        found = differences(self.run, inputs, calculation)
        if found:
            return found
        wanted = (*_TAKEN, CHARGE) if calculation.kind == "density" else _TAKEN
        for name in wanted:
            _copy(_file(self.folder, name), directory / name)
        _sign(directory, pairing(inputs.atoms, self.atoms)[0], self.folder)
        return []


def _file(folder: Path, name: str) -> Path:
    plain, packed = folder / name, folder / f"{name}.gz"
    return packed if packed.exists() and not plain.exists() else plain


def differences(run: Vasprun, inputs: Inputs, calculation: Calculation) -> list[str]:
    """Say what of a run is not what is planned, as ``ISMEAR 1 (yours) ≠ 0 (protocol)``.

    Parameters
    ----------
    run
        What was run.
    inputs
        What sodiate would have run.
    calculation
        For its protocol.
    """
    planned, ran = inputs.stages[-1], {**run.incar, **run.parameters}
    defaults = {"LDIPOL": False, "IDIPOL": 0, "NUPDOWN": -1, "ICHARG": 2, "IVDW": 0, "LREAL": False, "LASPH": False}
    pairs = {tag: (ran.get(tag, defaults.get(tag)), planned.get(tag, defaults.get(tag))) for tag in _COMPARED}
    if not planned.get("LDIPOL"):
        pairs.pop("IDIPOL")
    if calculation.kind != "dos":
        pairs.pop("ICHARG")
    pairs |= {tag: (run.incar.get(tag), value) for tag, value in inputs.protocol.get("incar", {}).items()}
    method, sampling = method_of(run, "vasp"), sampling_of(run)
    protocol = calculation.protocol
    pairs["ENCUT"] = (method.cutoff_ev, protocol["cutoff_ev"])
    pairs["functional"] = (method.functional, protocol["functional"])
    pairs["k mesh"] = (sampling.kmesh, inputs.mesh)
    pairs |= {
        f"POTCAR of {e}": (method.paw.get(e, "").split(" ")[1:2], [name]) for e, name in protocol["paw"].items()
    }
    found = [
        f"{tag} {_shown(a)} (yours) ≠ {_shown(b)} (protocol)" for tag, (a, b) in pairs.items() if not _same(a, b)
    ]
    if float(ran["EDIFF"]) > 1.001 * protocol["energy_convergence_ev"]:
        found.append(f"EDIFF {ran['EDIFF']:g} (yours) > {protocol['energy_convergence_ev']:g} (protocol)")
    apart = np.abs(run.initial_structure.lattice.matrix - inputs.atoms.cell.array).max()
    if apart > _SAME_CELL_A:
        edges = (run.initial_structure.lattice.abc, inputs.atoms.cell.lengths())
        yours, ours = (" × ".join(f"{edge:.3f}" for edge in one) for one in edges)
        found.append(f"cell {yours} Å (yours) ≠ {ours} Å (protocol)")
    return found


def _shown(value: Any) -> str:
    return value[0] if isinstance(value, list) and len(value) == 1 else str(value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):  # VASP cuts words to six letters
        return one.strip().lower()[:6] == other.strip().lower()[:6]
    try:
        return bool(np.allclose(np.array(one, float), np.array(other, float), rtol=1e-6, atol=1e-9))
    except (TypeError, ValueError):
        return bool(one == other)


def _with_charge(directory: Path, calculation: Calculation) -> Inputs:
    """Return the inputs; those of a DOS are compared as one from the host's charge density."""
    if calculation.kind == "dos":
        values = read_json(directory / INPUT)
        values.pop("without_charge")
        write_json(directory / INPUT, values)
    return Inputs.read(directory)


def _copy(source: Path, target: Path) -> None:
    if not source.exists():
        return
    if source.suffix == ".gz":
        target.write_bytes(gzip.decompress(source.read_bytes()))
    else:
        shutil.copyfile(source, target)


def _sign(directory: Path, order: list[int], folder: Path) -> None:
    """Say that the run is finished, in which order its atoms are, and where it came from."""
    values: Mapping[str, Any] = read_json(directory / INPUT)
    write_json(
        directory / INPUT,
        {**values, "order": order, "notes": [*values["notes"], f"imported: run by the user in {folder.name}"]},
    )
    inputs = Inputs.read(directory)
    State(inputs.key, len(inputs.stages), len(inputs.stages)).write(directory)
    files = [name for name in FILES.get(inputs.kind, FILES["dos"]) if (directory / name).exists()]
    prints = {name: fingerprint(directory / name) for name in files}
    write_json(directory / RESULT, {"key": inputs.key, "fingerprints": prints})
