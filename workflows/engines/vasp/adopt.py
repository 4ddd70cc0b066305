"""Import of VASP runs that the user made: read, compared with what sodiate would run, copied into a directory."""

from __future__ import annotations

import re
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.records import IMPORTED
from ....structures.geometry import Placement, placement, turned_cell
from ...kinds import KINDS
from ..base import EngineError
from ..shared.files import DAMAGE, fingerprint, read_json, write_json
from .arrays import vacuum
from .inputs import CHARGE, INPUT, POTENTIAL, RESULT, State, VaspInputs, has_charge_of, is_of_release
from .method import default_of, described
from .packed import forms, opened, plain_name
from .results import (
    FILES,
    RUN,
    SAME_BY_HAND_A,
    SAME_CELL_BY_HAND_A,
    electrons_missing,
    forces_of,
    held_fixed,
    method_of,
    read_vasprun,
    sampling_of,
    unreadable,
)
from .tags import MOVES, mixed_shells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.io.vasp.outputs import Vasprun

    from ....analysis.records import Method, Sampling
    from ...calculation import Calculation

_TAKEN = (RUN, "OUTCAR", "OSZICAR", "CONTCAR", "XDATCAR", "PROCAR", "INCAR", "KPOINTS", "POSCAR")

_SAMPLING = {"ISMEAR": 1, "SIGMA": 0.2, "ISPIN": 1, "LDIPOL": False, "IDIPOL": 0, "NUPDOWN": -1, "ICHARG": 2}
"""Tags of the sampling, with VASP's defaults."""


class VaspRunOfUser:
    """A finished run: a folder with vasprun.xml and OUTCAR, plain or packed, or the last of relax1, relax2 ….

    Parameters
    ----------
    folder
        Where it is; nothing is written there. ``relax1`` may be a folder in it, or the end of its files' names, as
        workflows of others leave them (``vasprun.xml.relax2.gz``).

    Raises
    ------
    EngineError
        If its vasprun.xml is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            wrong = "is a file; give the folder of the run" if folder.exists() else "there is no such folder"
            raise EngineError(wrong)
        self.folder = _last_part(folder)
        if not _file(self.folder, RUN).exists():
            raise EngineError(f"it has no {RUN}, plain or packed (.gz, .bz2, .xz); give the folder in which it lies")
        try:
            _refuse_two(_file(self.folder, RUN))
            self.run = read_vasprun(_file(self.folder, RUN))
        except DAMAGE as error:
            raise EngineError(f"{RUN} is missing or damaged ({error})") from None
        aside = _moved_otherwise(self.run)
        if aside is not None:
            raise EngineError(aside)

    @cached_property
    def atoms(self) -> Atoms:
        """Start geometry."""
        from pymatgen.io.ase import AseAtomsAdaptor

        atoms: Atoms = AseAtomsAdaptor.get_atoms(self.run.initial_structure, msonable=False)
        return atoms

    @cached_property
    def end(self) -> Atoms:
        """Last geometry."""
        from pymatgen.io.ase import AseAtomsAdaptor

        atoms: Atoms = AseAtomsAdaptor.get_atoms(self.run.ionic_steps[-1]["structure"], msonable=False)
        return atoms

    @property
    def energy_ev(self) -> float:
        """Energy extrapolated to zero smearing."""
        return float(self.run.final_energy)

    @cached_property
    def method(self) -> Method:
        """What was run."""
        return method_of(self.run, "vasp")

    @cached_property
    def sampling(self) -> Sampling:
        """How it was sampled."""
        return sampling_of(self.run)

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of calculation that the run can be imported as, by ICHARG, NSW and ISIF."""
        parameters = self.run.parameters
        if int(parameters.get("ICHARG", 2)) == 11:
            return frozenset({"dos"})
        if int(parameters["NSW"]) == 0 or int(parameters["IBRION"]) == -1:
            return frozenset({"static", "atom", "bulk", "density"})
        return frozenset({"relax" if int(parameters["ISIF"]) <= 2 else "relax_cell"})

    @cached_property
    def _ending(self) -> str:
        """What the names of its files end with, before .gz and the like: that of the part which vasprun.xml is of."""
        return plain_name(_file(self.folder, RUN)).removeprefix(RUN)

    def _path(self, name: str) -> Path:
        """Return where a file of this run is: those of its other parts are of other runs."""
        path = self.folder / f"{name}{self._ending}"
        return next((place for place in forms(path) if place.exists()), path)

    def _of_others(self) -> list[str]:
        """Say which files that would be read are of another run, as where two were made in one folder."""
        theirs_ev, ours_ev = self._last_energy_ev("OUTCAR"), self._free_energy_ev
        reasons = []
        if theirs_ev is not None and not abs(theirs_ev - ours_ev) < _SAME_ENERGY_EV:
            ends = f"it ends with {theirs_ev:.6f} eV, not {ours_ev:.6f} eV"
            reasons.append(f"OUTCAR is of another run than {RUN}: {ends}")
        if self.run.is_spin and not self._path("OUTCAR").exists():
            reasons.append("it has no OUTCAR, which the moments are in; give it, plain or packed, beside vasprun.xml")
        return reasons

    @property
    def _free_energy_ev(self) -> float:
        """Free energy of the last ionic step."""
        return float(self.run.ionic_steps[-1]["e_fr_energy"])

    def _last_energy_ev(self, name: str) -> float | None:
        """Return the free energy of the last ionic step by a text of VASP's; None if it has none."""
        energies = _ENERGIES[name].findall(_text(self._path(name)))
        return float(energies[-1]) if energies else None

    def _taken(self) -> Iterator[str]:
        """Yield the files that are copied, of which OSZICAR has moments of steps alone: none of another run."""
        theirs_ev, ours_ev = self._last_energy_ev("OSZICAR"), self._free_energy_ev
        for name in _TAKEN:
            # It has eight digits.
            if name != "OSZICAR" or theirs_ev is None or abs(theirs_ev - ours_ev) < 1e-6 * max(100.0, abs(ours_ev)):
                yield name

    def lay(self, calculation: Calculation, directory: Path, turns: Sequence[NDArray[np.int64]]) -> list[str]:
        """Copy the run into a prepared directory, or return its `differences` from the plan."""
        inputs = self._with_charge(directory, calculation)
        stars = unreadable(self.run)
        if stars is not None:
            return [stars]
        lies = placement(inputs.atoms, self.atoms, turns)
        found = [
            *unfinished(self.run, inputs),
            *differences(self.run, inputs, calculation),
            *self._of_others(),
        ]
        move_a = np.abs(lies.shift @ inputs.atoms.cell.array)
        if calculation.kind == "density" and move_a.max() > SAME_BY_HAND_A:
            beside = f"{np.linalg.norm(move_a):.3f} Å beside those of {calculation.label}"
            found.append(f"its atoms lie {beside}, and a density on a grid cannot be moved")
        parent = calculation.parents.get("geometry")
        if parent is not None and not KINDS[calculation.kind].relaxes and lies.distance > SAME_BY_HAND_A:
            found.append(f"its atoms lie up to {lies.distance:.2g} Å from where {parent.label} ended")
        if found:
            return found
        kept = {"density": (CHARGE,), "dos": (POTENTIAL,)}.get(calculation.kind, ())
        for name in (*self._taken(), *kept):
            _copy(self._path(name), directory / name)
        elsewhere = [
            name for name in kept if (directory / name).exists() and not has_charge_of(directory / name, self.end)
        ]
        if CHARGE in elsewhere:
            return [f"{CHARGE} is of other atoms, or of other places of them, than {RUN}"]
        for name in elsewhere:
            (directory / name).unlink()
        self._sign(directory, lies)
        (directory / POTENTIAL).unlink(missing_ok=True)  # large, and its two levels are kept
        return []

    def _with_charge(self, directory: Path, calculation: Calculation) -> VaspInputs:
        """Return the inputs; a DOS at a fixed density is compared with one from the host's charge density."""
        if calculation.kind == "dos" and int(self.run.parameters.get("ICHARG", 2)) == 11:
            values = read_json(directory / INPUT)
            values.pop("without_charge", None)
            write_json(directory / INPUT, values)
        return VaspInputs.read(directory)

    def _sign(self, directory: Path, lies: Placement) -> None:
        """Say that the run is finished, in which order and where its atoms are, how they began, whence it came."""
        values = dict(read_json(directory / INPUT))
        values |= {"order": lies.order, "shift": lies.shift.tolist()}
        if self._is_turned(lies, VaspInputs.read(directory)):
            values["turn"] = lies.turn.tolist()
        values["notes"] = [
            *values["notes"],
            f"{IMPORTED} run by the user in {self.folder.name}",
            *self._poor_density(),
        ]
        moments = self.run.parameters.get("MAGMOM")
        if "MAGMOM" in values["stages"][-1] and np.shape(moments) == (len(lies.order),):
            values["stages"][-1]["MAGMOM"] = [float(moment) for moment in moments]
        write_json(directory / INPUT, values)
        inputs = VaspInputs.read(directory)
        State(inputs.key, len(inputs.stages), len(inputs.stages)).write(directory)
        files = [name for name in FILES.get(inputs.kind, FILES["dos"]) if (directory / name).exists()]
        prints = {name: fingerprint(directory / name) for name in files}
        # LOCPOT of LVTOT has the exchange-correlation potential in it, of which no level follows.
        levels: dict[str, Any] = vacuum(inputs) if self.run.parameters.get("LVHAR") else {"vacuum_ev": None}
        if inputs.kind == "dos" and self._path(POTENTIAL).exists() and not (directory / POTENTIAL).exists():
            levels["no_vacuum"] = f"no vacuum level: {POTENTIAL} is of other atoms, or of other places of them"
        write_json(directory / RESULT, {"key": inputs.key, "fingerprints": prints, **levels})

    def _poor_density(self) -> list[str]:
        """Note a density that was held fixed and lacks what LMAXMIX leaves out of CHGCAR."""
        parameters = {**self.run.incar, **self.run.parameters}
        mixed, needed = int(parameters.get("LMAXMIX", 2)), mixed_shells(self.atoms.numbers)
        if int(parameters.get("ICHARG", 2)) < 10 or mixed >= needed:
            return []
        return [
            f"LMAXMIX = {mixed} where {needed} keeps the on-site density of {'f' if needed > 4 else 'd'} electrons: "
            "the density that was held fixed lacked it, and eigenvalues may be off"
        ]

    def _is_turned(self, lies: Placement, inputs: VaspInputs) -> bool:
        cell = self.run.initial_structure.lattice.matrix
        same = np.abs(cell - inputs.atoms.cell.array).max() < SAME_CELL_BY_HAND_A
        return not (same and np.array_equal(lies.turn, np.eye(3)))


_ENERGIES: Mapping[str, re.Pattern[str]] = {
    "OUTCAR": re.compile(r"free  energy   TOTEN  = +(-?[\d.]+) eV"),
    "OSZICAR": re.compile(r"^ *\d+ F= *(-?[\d.]+E[+-]\d+)", re.MULTILINE),
}
"""Free energies of ionic steps; those of electronic steps look otherwise."""

_SAME_ENERGY_EV = 1e-4

_OTHERWISE: Mapping[int, str] = {
    0: "molecular dynamics",
    **dict.fromkeys((5, 6), "displacements for force constants"),
    **dict.fromkeys((7, 8), "linear response"),
    **dict.fromkeys((40, 44), "a search for a saddle, or a path down from one"),
}
"""What VASP does by IBRION where its last step is no end of a relaxation."""


def _moved_otherwise(run: Vasprun) -> str | None:
    """Say what a run did in place of a relaxation or a single point; None if it was one of these."""
    scheme, steps = int(run.parameters["IBRION"]), int(run.parameters["NSW"])
    if scheme in (-1, *MOVES) or (scheme == 0 and steps == 0):
        return None
    return f"IBRION = {scheme} is {_OTHERWISE.get(scheme, 'no relaxation')}; relaxations and single points are taken"


def _last_part(folder: Path) -> Path:
    """Return the last of the folders relax1, relax2 … in a folder that has no run of its own."""
    parts = sorted(folder.glob("relax[0-9]*/"), key=lambda path: _number(path.name))
    return parts[-1] if parts and not _file(folder, RUN).exists() else folder


def _refuse_two(path: Path) -> None:
    """Raise `EngineError` if a file is there plain and packed, with another content."""
    places = [place for place in forms(path.with_name(plain_name(path))) if place.exists()]
    if len(places) > 1 and len({_text(place) for place in places}) > 1:
        names = " and ".join(place.name for place in places)
        raise EngineError(f"{names} in it are of two runs; take one of them away")


def _file(folder: Path, name: str) -> Path:
    """Return where a file of VASP's is: plain or packed, of the last part if there are several."""
    parts = {plain_name(path).removeprefix(name) for path in folder.glob(f"{name}.relax[0-9]*")}
    for ending in ("", *sorted(parts, key=_number, reverse=True)):
        for path in forms(folder / f"{name}{ending}"):
            if path.exists():
                return path
    return folder / name


def _number(name: str) -> int:
    return int("".join(filter(str.isdigit, name)) or 0)


def unfinished(run: Vasprun, inputs: VaspInputs) -> list[str]:
    """Say with its number what a run has not reached; sodiate does not go on with a run that is not its own."""
    reason = electrons_missing(run)
    found = [] if reason is None else [f"the electrons are not converged: {reason}"]
    found += filter(None, [held_fixed(run, inputs)])
    if KINDS[inputs.kind].relaxes:
        largest = float(np.linalg.norm(forces_of(run, inputs), axis=1).max())
        criterion = inputs.protocol["max_force_ev_per_a"]
        if not largest < criterion:
            found.append(f"largest force {largest:.3g} eV/Å > {criterion:g}")
    return found


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
    protocol, planned = calculation.protocol, inputs.stages[-1]
    method, sampling = method_of(run, "vasp"), sampling_of(run)
    pairs = _of_the_sampling(run, inputs, calculation.kind) | _of_the_method(run, inputs)
    pairs["ENCUT"] = (method.cutoff_ev, planned["ENCUT"])
    pairs["k mesh"] = (sampling.kmesh or (sampling.settings or {}).get("k points"), inputs.mesh)
    deviations = [
        f"{tag} {_shown(a)} (yours) ≠ {_shown(b)} (protocol)" for tag, (a, b) in pairs.items() if not _same(a, b)
    ]
    yours, ours = sampling.kmesh_shift or (0.0, 0.0, 0.0), inputs.mesh_shift
    if not _same(yours, ours):
        deviations.append(f"k mesh {_beside(yours)} (yours) ≠ {_beside(ours)} (protocol)")
    elsewhere = (sampling.settings or {}).get("DIPOL")
    if elsewhere is not None:
        deviations.append(f"DIPOL {elsewhere} (yours) ≠ at the middle (protocol)")
    deviations += _of_the_data_sets(method.paw, inputs.paw, protocol)
    if float(run.parameters["EDIFF"]) > 1.001 * protocol["energy_convergence_ev"]:
        deviations.append(
            f"EDIFF {run.parameters['EDIFF']:g} (yours) > {protocol['energy_convergence_ev']:g} (protocol)"
        )
    if turned_cell(run.initial_structure.lattice.matrix, inputs.atoms.cell.array)[1] > SAME_CELL_BY_HAND_A:
        edges = (run.initial_structure.lattice.abc, inputs.atoms.cell.lengths())
        sides = [" × ".join(f"{edge:.4f}" for edge in lengths) for lengths in edges]
        deviations.append(f"cell {sides[0]} Å (yours) ≠ {sides[1]} Å (protocol)")
    return deviations


def _beside(shift: Sequence[float]) -> str:
    return f"shifted by {', '.join(f'{step:g}' for step in shift)} of its steps" if any(shift) else "Γ-centred"


def _of_the_sampling(run: Vasprun, inputs: VaspInputs, kind: str) -> dict[str, tuple[Any, Any]]:
    planned, ran = inputs.stages[-1], {**run.incar, **run.parameters}
    pairs = {tag: (ran.get(tag, default), planned.get(tag, default)) for tag, default in _SAMPLING.items()}
    if any(planned.get(tag) for tag in ("LSORBIT", "LNONCOLLINEAR")):
        pairs.pop("ISPIN")  # VASP prints 1 whatever was asked for
    if kind != "dos":
        pairs.pop("ICHARG")
    given = [tag for tag in ("NELECT", "NGX", "NGY", "NGZ", "NGXF", "NGYF", "NGZF") if tag in planned]
    return pairs | {tag: (ran.get(tag), planned[tag]) for tag in given}


def _of_the_method(run: Vasprun, inputs: VaspInputs) -> dict[str, tuple[Any, Any]]:
    """Pair all that can move the energy: in what ran, and in the INCAR that would have been written."""
    planned, method = inputs.stages[-1], method_of(run, "vasp")
    species = list(dict.fromkeys(inputs.atoms[list(inputs.order)].get_chemical_symbols()))
    ours = described(planned, species, inputs.paw.values() or ("PAW_PBE",))
    pairs: dict[str, tuple[Any, Any]] = {
        "functional": (method.functional, ours.functional),
        "dispersion": (method.dispersion, ours.dispersion),
    }
    yours = method.settings or {}
    for tag in sorted(yours.keys() | ours.settings.keys()):
        pairs[tag] = (yours.get(tag, default_of(tag)), ours.settings.get(tag, default_of(tag)))
    if "NELECT" in planned:
        pairs.pop("charge", None)
    if "NGX" in planned or "NGXF" in planned:
        pairs.pop("grid", None)
    corrections, others = method.hubbard or {}, ours.hubbard or {}
    for element in sorted(corrections.keys() | others.keys()):
        pairs[f"Hubbard correction of {element}"] = (corrections.get(element), others.get(element))
    return pairs


def _of_the_data_sets(yours: Mapping[str, str], ours: Mapping[str, str], protocol: Mapping[str, Any]) -> list[str]:
    """Compare titles as a whole, dates and all; without a library those that the release is known to have."""
    found = []
    for element, name in protocol["paw"].items():
        title = " ".join(yours.get(element, "none").split())
        wanted, release = ours.get(element), protocol["paw_release"]
        if wanted is not None:
            if title != " ".join(wanted.split()):
                found.append(f"POTCAR of {element} {title} (yours) ≠ {wanted} (protocol)")
        elif title.split(" ")[:2] != ["PAW" if release.startswith("LDA") else "PAW_PBE", name] or not is_of_release(
            title, release
        ):
            found.append(f"POTCAR of {element} {title} (yours) ≠ {name} of {release} (protocol)")
    return found


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    if isinstance(first, str) and isinstance(second, str):
        return first.strip().lower() == second.strip().lower()
    try:
        return bool(np.allclose(np.array(first, float), np.array(second, float), rtol=1e-6, atol=1e-9))
    except (TypeError, ValueError):
        return bool(first == second)


def _text(path: Path) -> str:
    if not path.exists():
        return ""
    with opened(path) as file:
        return file.read().decode(errors="replace")


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        with opened(source) as file, target.open("wb") as out:
            shutil.copyfileobj(file, out)
