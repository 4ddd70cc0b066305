"""Import of VASP runs that the user made: read, compared with what sodiate would run, copied into a directory."""

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
from .inputs import CHARGE, INPUT, RESULT, State, VaspInputs
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
        Of the run; nothing is written there.

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
        """Start geometry."""
        from pymatgen.io.ase import AseAtomsAdaptor

        atoms: Atoms = AseAtomsAdaptor.get_atoms(self.run.initial_structure, msonable=False)
        return atoms

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of calculation that the run can be imported as, by ICHARG, NSW and ISIF."""
        parameters = self.run.parameters
        if int(parameters.get("ICHARG", 2)) == 11:
            return frozenset({"dos"})
        if int(parameters["NSW"]) == 0 or int(parameters["IBRION"]) == -1:
            return frozenset({"static", "atom", "bulk", "density"})
        return frozenset({"relax" if int(parameters["ISIF"]) <= 2 else "relax_cell"})

    def lay(self, calculation: Calculation, directory: Path) -> list[str]:
        """Copy the run into a prepared directory, or return its `differences` from the plan."""
        inputs = _with_charge(directory, calculation)
        deviations = differences(self.run, inputs, calculation)
        if deviations:
            return deviations
        names = (*_TAKEN, CHARGE) if calculation.kind == "density" else _TAKEN
        for name in names:
            _copy(_file(self.folder, name), directory / name)
        _sign(directory, pairing(inputs.atoms, self.atoms)[0], self.folder)
        return []


def _file(folder: Path, name: str) -> Path:
    plain, packed = folder / name, folder / f"{name}.gz"
    return packed if packed.exists() and not plain.exists() else plain


def differences(run: Vasprun, inputs: VaspInputs, calculation: Calculation) -> list[str]:
    """Return the differences between a run and the plan, as ``ISMEAR 1 (yours) ≠ 0 (protocol)``.

    Parameters
    ----------
    run
        The run that the user made.
    inputs
        The run that sodiate would have made.
    calculation
        Of the plan, with its protocol.
    """
    planned, actual = inputs.stages[-1], {**run.incar, **run.parameters}
    defaults = {"LDIPOL": False, "IDIPOL": 0, "NUPDOWN": -1, "ICHARG": 2, "IVDW": 0, "LREAL": False, "LASPH": False}
    pairs = {tag: (actual.get(tag, defaults.get(tag)), planned.get(tag, defaults.get(tag))) for tag in _COMPARED}
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
        f"POTCAR of {element}": (method.paw.get(element, "").split(" ")[1:2], [name])
        for element, name in protocol["paw"].items()
    }
    deviations = [
        f"{tag} {_shown(a)} (yours) ≠ {_shown(b)} (protocol)" for tag, (a, b) in pairs.items() if not _same(a, b)
    ]
    if float(actual["EDIFF"]) > 1.001 * protocol["energy_convergence_ev"]:
        deviations.append(f"EDIFF {actual['EDIFF']:g} (yours) > {protocol['energy_convergence_ev']:g} (protocol)")
    offset = np.abs(run.initial_structure.lattice.matrix - inputs.atoms.cell.array).max()
    if offset > _SAME_CELL_A:
        edges = (run.initial_structure.lattice.abc, inputs.atoms.cell.lengths())
        yours, ours = (" × ".join(f"{edge:.3f}" for edge in lengths) for lengths in edges)
        deviations.append(f"cell {yours} Å (yours) ≠ {ours} Å (protocol)")
    return deviations


def _shown(value: Any) -> str:
    return value[0] if isinstance(value, list) and len(value) == 1 else str(value)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, str) and isinstance(second, str):  # VASP cuts words to six letters
        return first.strip().lower()[:6] == second.strip().lower()[:6]
    try:
        return bool(np.allclose(np.array(first, float), np.array(second, float), rtol=1e-6, atol=1e-9))
    except (TypeError, ValueError):
        return bool(first == second)


def _with_charge(directory: Path, calculation: Calculation) -> VaspInputs:
    """Return the inputs; a DOS is compared with a run from the host's charge density."""
    if calculation.kind == "dos":
        values = read_json(directory / INPUT)
        values.pop("without_charge")
        write_json(directory / INPUT, values)
    return VaspInputs.read(directory)


def _copy(source: Path, target: Path) -> None:
    if not source.exists():
        return
    if source.suffix == ".gz":
        target.write_bytes(gzip.decompress(source.read_bytes()))
    else:
        shutil.copyfile(source, target)


def _sign(directory: Path, order: list[int], folder: Path) -> None:
    """Write that the run is finished, the order of its atoms, and where it came from."""
    values: Mapping[str, Any] = read_json(directory / INPUT)
    write_json(
        directory / INPUT,
        {**values, "order": order, "notes": [*values["notes"], f"imported: run by the user in {folder.name}"]},
    )
    inputs = VaspInputs.read(directory)
    State(inputs.key, len(inputs.stages), len(inputs.stages)).write(directory)
    files = [name for name in FILES.get(inputs.kind, FILES["dos"]) if (directory / name).exists()]
    prints = {name: fingerprint(directory / name) for name in files}
    write_json(directory / RESULT, {"key": inputs.key, "fingerprints": prints})
