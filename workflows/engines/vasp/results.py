"""Outputs of VASP: read from vasprun.xml and OUTCAR, checked, and turned into an outcome."""

from __future__ import annotations

import re
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import Bands
from ....analysis.electrons.bandpath import filled_along
from ....analysis.records import Geometry, Method, Sampling, Stress, digest
from ...kinds import KINDS
from ..base import EngineError, Outcome, Unconverged
from ..shared.checks import cell_forces, check_forces, whole_up_to
from ..shared.files import DAMAGE, fingerprint, read_json, tail
from ..shared.temporary import temporary_folder
from ..shared.trajectory import Step, trajectory_of
from .arrays import density, eigenvalues, electrons, with_shells
from .inputs import CHARGE, LAUNCHES, RESULT, START, State, VaspInputs
from .lattice_scan import note
from .method import charge_of, coarseness, described, said_of_all, species_of, tags_of
from .packed import opened
from .tags import middle_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.io.vasp.outputs import Vasprun

RUN, TEXT = "vasprun.xml", "OUTCAR"

FILES = {"dos": (RUN, TEXT), "density": (RUN, TEXT, CHARGE)}
"""Files of a result, by kind; other kinds have those of a DOS."""

_SAME_CELL_A = 1e-5
_SAME_POSITION_A = 1e-5

SAME_BY_HAND_A, SAME_CELL_BY_HAND_A = 1e-3, 1e-4
"""Å. Positions and cells of a user's runs that differ by no more are the same, written with fewer digits."""


_LAST_DIGIT_EV = 1.001e-8
"""As vasprun.xml prints energies."""

_SAME_K = 1e-6
"""VASP writes eight digits of a k point."""

_NUMERICS = ("PREC", "LREAL", "LASPH", "ADDGRID")
"""What older records say beside their other fields; kept, so that new ones can be held against them."""

_SAME_CHARGE = 1e-3

_NO_DIPOL = -99.0
"""VASP prints −100 where nobody sets DIPOL."""

_ABOUT_A = 1.0
"""A dipole correction this near to the middle is about it: where the potential jumps is vacuum all the same."""


def read_vasprun(path: Path, whole: bool = True, **options: bool) -> Vasprun:
    """Read a vasprun.xml; raise one of `DAMAGE` if it is damaged, or if it must be whole and is truncated.

    ``options`` go to pymatgen's reader.
    """
    from pymatgen.io.vasp.outputs import Vasprun

    with warnings.catch_warnings(), _readable(path) as place:
        warnings.simplefilter("ignore")  # that it did not converge is checked here
        try:
            run = Vasprun(
                str(place),
                parse_potcar_file=False,
                exception_on_bad_xml=whole,
                **{"parse_eigen": False, "parse_dos": False} | options,
            )
            run.filename = str(path)
            return run
        except ValueError:
            if _has_starred_row(place):
                raise Stars(_FORCE_STARS) from None
            raise
        except (SyntaxError, IndexError, AssertionError) as error:  # the first is what XML readers raise
            raise ValueError(str(error) or "it is truncated") from None


class Stars(ValueError):
    """VASP printed a number as ``****``, for want of digits."""


_FORCE_STARS = f"{RUN} has **** in place of a force, or none: atoms overlap; look at the geometry"


def _has_starred_row(path: Path) -> bool:
    with opened(path) as file:
        return any(b"<v>" in line and b"***" in line for line in file)


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """Give the file, or a copy without the parameters that VASP could not print.

    VASP 5.4 writes ``KINTER ******``, of which no reader makes a whole number.
    """
    head = b""
    with opened(path) as file:
        for line in file:
            head += line
            if b"</parameters>" in line:
                break
        if not _STARS.search(head):
            yield path
            return
        with temporary_folder("vasp") as folder:
            copy = folder / RUN
            with copy.open("wb") as out:
                out.write(_STARS.sub(b"", head))
                shutil.copyfileobj(file, out)
            yield copy


_STARS = re.compile(rb'<([iv])\b[^>]*name="\w+"[^>]*>[^<]*\*{3,}[^<]*</\1>')
"""A value that did not fit into its field."""


@dataclass(frozen=True)
class VaspResult:
    """Outputs of the last stage in a directory."""

    inputs: VaspInputs
    run: Vasprun
    state: State
    vacuum_ev: tuple[float, float] | None
    no_vacuum: str | None

    @classmethod
    def read(cls, inputs: VaspInputs) -> VaspResult:
        """Read the outputs of the last stage; raise `EngineError` if they are missing, damaged or of other inputs."""
        path = inputs.directory / RESULT
        try:
            values = read_json(path)
            if values["key"] != inputs.key:
                raise ValueError("it is of other inputs")
            for name, expected in values["fingerprints"].items():
                path = inputs.directory / name
                if fingerprint(path) != expected:
                    raise ValueError(f"it is not the file that {RESULT} was written for")
            path = inputs.directory / RUN
            electronic = KINDS[inputs.kind].fixed_density
            # The Fermi level is in the DOS section.
            run = read_vasprun(path, parse_eigen=electronic, parse_projected_eigen=electronic, parse_dos=electronic)
        except DAMAGE as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
        vacuum = values.get("vacuum_ev")
        state, levels = State.read(inputs.directory, inputs.key), None if vacuum is None else tuple(vacuum)
        return cls(inputs, run, state, levels, values.get("no_vacuum"))

    def check(self) -> None:
        """Raise `Unconverged` above a criterion, `EngineError` if a number cannot be right."""
        inputs = self.inputs
        check_electrons(self.run, inputs)
        if KINDS[inputs.kind].relaxes_cell:
            self._check_c()
        if KINDS[inputs.kind].relaxes:
            criterion, limit = inputs.protocol["max_force_ev_per_a"], inputs.execution["max_steps"]
            steps = steps_taken(inputs.directory)
            check_forces(forces_of(self.run, inputs), criterion, steps, limit, inputs.directory)

    def _check_c(self) -> None:
        start, end = self.inputs.atoms.cell.array, np.array(self.geometry.cell_a)
        if max(np.abs(end[2] - start[2]).max(), np.abs(end[:2, 2]).max()) > _SAME_CELL_A:
            raise EngineError(
                f"{self.inputs.directory}: c was {start[2, 2]:.4f} Å and is {end[2, 2]:.4f} Å: this "
                "version of VASP ignores LATTICE_CONSTRAINTS; use 6.4 or newer, or execution: {cell: scan}."
            )

    @cached_property
    def geometry(self) -> Geometry:
        """Final geometry in our order, with our periodicity."""
        if KINDS[self.inputs.kind].relaxes:
            return Geometry.of(placed(self.inputs, self.run.ionic_steps[-1]["structure"]))
        atoms, final = self.inputs.atoms, placed(self.inputs, self.run.final_structure)
        same = SAME_BY_HAND_A if self.inputs.imported else _SAME_POSITION_A
        if np.abs(final.positions - atoms.positions).max() > same:
            raise EngineError(f"{self.inputs.directory / RUN} is of other positions than {START} there.")
        return Geometry.of(atoms)  # with all its digits

    @cached_property
    def forces(self) -> NDArray[np.float64]:
        """Forces of the last ionic step, shape (atoms, 3), eV/Å, in our order."""
        last = self.run.ionic_steps[-1]
        forces: NDArray[np.float64] = self.inputs.our_vectors(last["forces"], last["structure"].lattice.matrix)
        return forces

    @property
    def stress(self) -> Stress:
        """Stress of the last ionic step: xx, yy, zz, yz, xz, xy in eV/Å³, positive if the cell tends to shrink."""
        return ase_stress(self.run.ionic_steps[-1]["stress"])

    def outcome(self, engine: str) -> Outcome:
        """Return the outcome of the calculation."""
        inputs, run = self.inputs, self.run
        relaxed = KINDS[inputs.kind].relaxes
        trajectory = trajectory_of(steps_of(inputs, len(inputs.stages), self.state.dropped)) if relaxed else None
        fixed = KINDS[inputs.kind].fixed_density  # such energies are not those of a ground state
        # Where moments have directions, VASP prints ISPIN 1 whatever was asked for.
        noncollinear = bool(run.parameters.get("LNONCOLLINEAR"))
        spin = (inputs.stages[-1].get("ISPIN", 2) if noncollinear else run.parameters["ISPIN"]) == 2
        moments = Moments.read(inputs) if spin and not fixed else Moments(None, None)
        whole = whole_up_to(eigenvalues(run)) if inputs.kind == "dos" else None
        return Outcome(
            atoms=self.geometry.atoms(),
            energy_ev=None if fixed else float(run.final_energy),
            free_energy_ev=None if fixed else float(run.ionic_steps[-1]["e_fr_energy"]),
            forces_ev_per_a=None if fixed else self.forces,
            stress_ev_per_a3=self.stress if KINDS[inputs.kind].relaxes_cell else None,
            converged=True,
            method=method_of(run, engine),
            sampling=sampling_of(run, inputs.our_cell(run.final_structure.lattice.matrix)),
            versions=_versions(run),
            ionic_steps=len(trajectory.energies_ev) - 1 if trajectory is not None else None,
            scf_steps=scf_steps(inputs.directory),
            start_moments_mub=_start_moments(inputs) if spin else None,
            final_moments_mub=moments.of_atoms_mub,
            total_moment_mub=moments.total_mub,
            vacuum_ev=self.vacuum_ev,
            corrections=self.state.corrections,
            notes=(
                *inputs.notes,
                *self.state.notes,
                *note(inputs, self.state.energies_ev),
                *filter(None, [whole, self.no_vacuum, moments.note]),
            ),
            trajectory=trajectory,
            **self._arrays(),
        )

    def _arrays(self) -> dict[str, Any]:
        if self.inputs.kind == "dos":
            found = electrons(self.run, self.inputs.protocol["dos_broadening_ev"])
            return {**found, "bands": in_our_order(self.inputs, found["bands"])}
        if self.inputs.kind == "bands":
            return {"bands": along_path(self.inputs, self.run)}
        return {"density": density(self.inputs)} if self.inputs.kind == "density" else {}


def in_our_order(inputs: VaspInputs, bands: Bands) -> Bands:
    """Return bands with the weights on atoms, which VASP has in its order, in ours."""

    def ours(weights: Any) -> Any:
        """Return weights of shape (spins, k points, bands, atoms, ...)."""
        return None if weights is None else np.moveaxis(inputs.ours(np.moveaxis(weights, 3, 0)), 0, 3)

    return replace(bands, by_atom=ours(bands.by_atom), by_shell=ours(bands.by_shell))


def along_path(inputs: VaspInputs, run: Vasprun) -> Bands:
    """Return the bands of the last stage, filled as those of the mesh of the stage before."""
    before = launches(inputs.directory, len(inputs.stages) - 1)[:-1]
    path = (before or [inputs.directory / LAUNCHES])[-1] / RUN
    try:
        mesh = eigenvalues(read_vasprun(path, parse_eigen=True, parse_dos=True))
        bands = in_our_order(inputs, with_shells(run, eigenvalues(run)))
        if np.shape(bands.kpoints) != np.shape(inputs.path) or np.abs(bands.kpoints - inputs.path).max() > _SAME_K:
            raise ValueError(f"{RUN} beside it is not along the path of the inputs")
    except DAMAGE as error:
        raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
    return filled_along(bands.energies_ev, np.array(inputs.path), mesh, bands.by_shell)


def placed(inputs: VaspInputs, structure: Any) -> Atoms:
    """Return VASP's structure as atoms in our order, each in the periodic image of its start position.

    Raises
    ------
    EngineError
        If it has another number of atoms, or if a fixed cell changed.
    """
    atoms = inputs.atoms.copy()
    if len(structure) != len(atoms):
        raise EngineError(f"{inputs.directory}: {RUN} has {len(structure)} atoms instead of {len(atoms)}.")
    fractions, cell = inputs.our_fractions(structure.frac_coords), inputs.our_cell(structure.lattice.matrix)
    start = atoms.get_scaled_positions(wrap=False)
    if KINDS[inputs.kind].relaxes_cell:
        atoms.set_cell(cell)
    elif np.abs(cell - atoms.cell.array).max() > (SAME_CELL_BY_HAND_A if inputs.imported else _SAME_CELL_A):
        raise EngineError(f"{inputs.directory}: {RUN} has another cell than {START}, but the cell was fixed.")
    atoms.set_scaled_positions(fractions - np.round(fractions - start))
    return atoms


def check_electrons(run: Vasprun, inputs: VaspInputs) -> None:
    """Raise `Unconverged` if the last SCF cycle ended above the criterion of the protocol."""
    where, criterion = inputs.directory, inputs.protocol["energy_convergence_ev"]
    stars = unreadable(run)
    if stars is not None:
        raise EngineError(f"{where}: {stars}.")
    fixed = held_fixed(run, inputs)
    if fixed is not None:
        raise EngineError(f"{where}: {fixed}.")
    reason = electrons_missing(run)
    if reason is not None:
        raise Unconverged(f"{where}: the electrons did not converge: {reason}; see OSZICAR.")
    if run.parameters["EDIFF"] > 1.001 * criterion:
        raise Unconverged(f"{where}: ran with EDIFF {run.parameters['EDIFF']:g} eV instead of {criterion:g} eV.")


def unreadable(run: Vasprun) -> str | None:
    """Say which number of the last step VASP printed as ``****``, for want of digits; None if none that is used."""
    last = run.ionic_steps[-1]
    energies = [last.get("e_fr_energy"), last.get("e_0_energy"), run.final_energy]
    if not all(energy is not None and np.isfinite(float(energy)) for energy in energies):
        return f"{RUN} has **** in place of an energy: the run went astray; look at OSZICAR and the geometry"
    rows = [] if last.get("forces") is None else list(last["forces"])
    if not all(len(row) == 3 and np.isfinite(row).all() for row in rows) or len(rows) != len(last["structure"]):
        return _FORCE_STARS
    for what, values in _used(run).items():
        if not np.isfinite(values).all():
            return f"{RUN} has **** in place of {what}: the run went astray; look at OUTCAR and the geometry"
    return None


def _used(run: Vasprun) -> dict[str, Any]:
    """Return what else of a run goes into a record: geometry, the stress of a cell that relaxes, eigenvalues."""
    last = run.ionic_steps[-1]
    structures = last["structure"], run.final_structure
    used: dict[str, Any] = {
        "a position": np.array([one.frac_coords for one in structures]),
        "a cell vector": np.array([one.lattice.matrix for one in structures]),
    }
    if int(run.parameters.get("ISIF", 2)) > 2 and last.get("stress") is not None:
        used["the stress"] = np.array(last["stress"], float)
    levels = getattr(run, "eigenvalues", None)  # absent where they were not to be read
    if levels:
        used["an eigenvalue"] = np.concatenate([np.ravel(one) for one in levels.values()])
    return used


def held_fixed(run: Vasprun, inputs: VaspInputs) -> str | None:
    """Say that a run whose energy is wanted held its density fixed; None if it did not."""
    scheme = int(run.parameters.get("ICHARG", 2))
    if scheme < 10 or KINDS[inputs.kind].fixed_density:
        return None
    return f"ran with ICHARG = {scheme}: a fixed density has no energy of a ground state"


def ran_into_nelm(run: Vasprun) -> bool:
    """Tell whether the last SCF cycle used up all its iterations."""
    return len(run.ionic_steps[-1]["electronic_steps"]) >= int(run.parameters["NELM"])


def electrons_missing(run: Vasprun) -> str | None:
    """Say why the last SCF cycle of a run is not converged; None if it is.

    Fewer iterations than NELM do not say so: a run that STOPCAR ended with LABORT has few, and whole files.
    """
    iterations, limit = run.ionic_steps[-1]["electronic_steps"], run.parameters["EDIFF"]
    if ran_into_nelm(run):
        return f"not within NELM = {run.parameters['NELM']} iterations"
    energies = [float(one["e_fr_energy"]) for one in iterations if "e_fr_energy" in one]
    if len(energies) < 2:
        return f"the run ended after {len(energies)} electronic step(s), which tells no change of the energy"
    change = abs(energies[-1] - energies[-2])
    if not change <= 1.001 * limit + _LAST_DIGIT_EV:  # also where an energy is no number
        return (
            f"the last of {len(energies)} electronic steps changed the energy by {change:.2g} eV, more than EDIFF "
            f"({limit:g} eV), as in a run that STOPCAR ended"
        )
    return None


def forces_of(run: Vasprun, inputs: VaspInputs) -> NDArray[np.float64]:
    """Return the last forces in VASP's order, then those on the cell vectors if the cell relaxes (eV/Å)."""
    last = run.ionic_steps[-1]
    forces = np.array(last["forces"], float)
    if not inputs.by_stress:
        return forces
    stress = np.array(ase_stress(last["stress"]))
    return np.vstack([forces, cell_forces(np.array(last["structure"].lattice.matrix), stress)])


def ase_stress(kilobar: Any) -> Stress:
    """Return VASP's stress (3×3, kB) as xx, yy, zz, yz, xz, xy in eV/Å³ with ASE's sign."""
    from ase.units import GPa

    xx, yy, zz, yz, xz, xy = (-0.1 * GPa * np.array(kilobar, float)).ravel()[[0, 4, 8, 5, 2, 1]].tolist()
    return xx, yy, zz, yz, xz, xy


def method_of(run: Vasprun, engine: str) -> Method:
    """Return the method that a run had, from all that VASP says of itself."""
    parameters, tags, species = run.parameters, tags_of(run), species_of(Path(run.filename))
    titles = {
        symbol: said_of_all(one.title for one in species if one.symbol == symbol)
        for symbol in dict.fromkeys(one.symbol for one in species)
    }
    found = described(tags, [one.symbol for one in species], [one.title for one in species])
    charge = charge_of(tags, species)
    extra = {
        "charge": f"{charge:+.4g} e" if abs(charge) > _SAME_CHARGE else None,
        "grid": coarseness(tags, run.initial_structure.lattice.matrix),
    }
    return Method(
        engine=engine,
        engine_version=str(run.vasp_version).split(".")[0],
        functional=found.functional,
        cutoff_ev=float(parameters.get("ENMAX", parameters.get("ENCUT", 0.0))),
        dispersion=found.dispersion,
        paw=titles,
        numerics={tag: str(parameters[tag]).strip().lower() for tag in _NUMERICS if tag in parameters},
        settings={**found.settings, **{name: words for name, words in extra.items() if words is not None}},
        hubbard=found.hubbard,
    )


def sampling_of(run: Vasprun, cell_a: NDArray[np.float64] | None = None) -> Sampling:
    """Return the sampling of a run; ``cell_a`` is its cell (Å) where that is turned."""
    parameters = run.parameters
    scheme = int(parameters["ISMEAR"])
    mesh = run.kpoints.kpts[0] if _is_mesh(run) else None
    cell = (run.final_structure.lattice.matrix if cell_a is None else cell_a).tolist()
    return Sampling(
        cell_a=tuple(map(tuple, cell)),
        kmesh=None if mesh is None else tuple(int(n) for n in mesh),
        kmesh_shift=None if mesh is None else _shift(run),
        smearing={0: "gaussian", -1: "fermi-dirac"}.get(scheme, f"ISMEAR {scheme}"),
        smearing_width_ev=float(parameters["SIGMA"]),
        spin_polarised=int(parameters["ISPIN"]) == 2 or bool(parameters.get("LNONCOLLINEAR", False)),
        dipole_correction=bool(parameters.get("LDIPOL", False)) and int(parameters.get("IDIPOL", 0)) == 3,
        settings=_unusual(run) or None,
    )


def _is_mesh(run: Vasprun) -> bool:
    """Tell whether the k points are those of a mesh.

    Of lines of k points and of vectors that generate them vasprun.xml names none, and pymatgen says 1×1×1.
    """
    if len(run.kpoints.kpts) != 1 or run.kpoints.num_kpts != 0:
        return False
    return tuple(run.kpoints.kpts[0]) != (1, 1, 1) or len(run.actual_kpoints) == 1


def _shift(run: Vasprun) -> tuple[float, float, float] | None:
    """Return by how many of its steps a mesh lies beside Γ, between 0 and 1; None if Γ is on it.

    Of Monkhorst and Pack's, an even number of points lies half a step beside.
    """
    half = 0.5 if run.kpoints.style.name.startswith("M") else 0.0
    counts, given = run.kpoints.kpts[0], run.kpoints.kpts_shift or (0, 0, 0)
    steps = [(float(s) + half * (int(n) % 2 == 0)) % 1.0 for n, s in zip(counts, given, strict=True)]
    first, second, third = (0.0 if min(s, 1.0 - s) < _SAME_K else round(s, 6) for s in steps)
    return (first, second, third) if any((first, second, third)) else None


def _unusual(run: Vasprun) -> dict[str, str]:
    """Return what else of the sampling two runs of one cell must share.

    A fixed total moment (its value may be each system's own), a dipole correction along another axis or about
    another point than the middle of the sheet, k points that no mesh made.
    """
    parameters, found = run.parameters, {}
    if float(parameters.get("NUPDOWN", -1)) >= 0:
        found["NUPDOWN"] = "the total moment is fixed"
    if parameters.get("LDIPOL"):
        found |= _dipole(run)
    elif int(parameters.get("IDIPOL", 0)) > 0:
        found["IDIPOL"] = f"{parameters['IDIPOL']} without LDIPOL: the energy alone is corrected"
    if not _is_mesh(run):
        points = np.round(np.column_stack([run.actual_kpoints, run.actual_kpoints_weights]), 6) + 0.0
        found["k points"] = f"{len(points)} given one by one ({digest(points.tolist())[:8]})"
    return found


def _dipole(run: Vasprun) -> dict[str, str]:
    axis = int(run.parameters.get("IDIPOL", 0))
    found = {} if axis == 3 else {"IDIPOL": str(axis)}
    centre = [float(x) for x in run.parameters.get("DIPOL", [])]
    if axis not in (1, 2, 3) or len(centre) != 3 or min(centre) < _NO_DIPOL:
        return found
    structure = run.initial_structure
    away = (centre[axis - 1] - middle_of(structure.frac_coords[:, axis - 1]) + 0.5) % 1.0 - 0.5
    away_a = away * structure.lattice.abc[axis - 1]
    return found if abs(away_a) < _ABOUT_A else {**found, "DIPOL": f"{away_a:+.1f} Å from the middle of the sheet"}


def _versions(run: Vasprun) -> dict[str, str]:
    from importlib.metadata import version

    from ....version import __version__

    packages = {name: version(name) for name in ("pymatgen", "custodian", "ase", "numpy")}
    return {"vasp": str(run.vasp_version), **packages, "sodiate": __version__}


def _start_moments(inputs: VaspInputs) -> tuple[float, ...] | None:
    """Return the start moment of each atom in our order (μB); of noncollinear ones the part along SAXIS."""
    given, count = np.array(inputs.stages[-1].get("MAGMOM", []), float), len(inputs.order)
    if given.size not in (count, 3 * count):
        return None
    return tuple(float(m) for m in inputs.ours(given.reshape(count, -1)[:, -1]))


_ALONG_MUB = 0.1
"""An atom's moment with less across SAXIS is along it."""

_OF_THE_CELL = re.compile(r"number of electron\s+\S+\s+magnetization +(\S.*)")


@dataclass(frozen=True)
class Moments:
    """Moments in μB: of each atom in our order, along SAXIS if they have directions; of the cell, its length then."""

    of_atoms_mub: tuple[float, ...] | None
    total_mub: float | None
    note: str | None = None

    @classmethod
    def read(cls, inputs: VaspInputs) -> Moments:
        """Read OUTCAR; raise `EngineError` if it is missing or damaged."""
        from pymatgen.io.vasp.outputs import Outcar

        path = inputs.directory / TEXT
        try:
            tables = Outcar(str(path)).magnetization
            lines = _OF_THE_CELL.findall(path.read_text(encoding="utf-8", errors="replace"))
            cell = np.array(lines[-1].split(), float) if lines else None
            rows = np.array([np.atleast_1d(getattr(atom["tot"], "moment", atom["tot"])) for atom in tables], float)
        except (*DAMAGE, IndexError) as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
        total = None if cell is None else float(cell[0] if len(cell) == 1 else np.linalg.norm(cell))
        if len(rows) != len(inputs.order):
            return cls(None, total)
        ours = inputs.ours(rows)
        across = float(np.linalg.norm(ours[:, :-1], axis=1).max())
        note = f"moments are not all along SAXIS: one has {across:.2f} μB across it" if across > _ALONG_MUB else None
        return cls(tuple(float(moment) for moment in ours[:, -1]), total, note)


def launches(directory: Path, stage: int | None = None, dropped: int = 0) -> list[Path]:
    """Return the directories with VASP's outputs in their order, without those dropped, the current one last."""
    pattern = "*" if stage is None else f"*-stage-{stage}"
    earlier = sorted((directory / LAUNCHES).glob(pattern))
    return [*(folder for folder in earlier if launch_number(folder) > dropped), directory]


def launch_number(folder: Path) -> int:
    """Return the number of a launch whose outputs were moved aside, from 1."""
    return int(folder.name.partition("-")[0])


def steps_taken(directory: Path) -> int:
    """Count ionic steps of all launches by the lines that end a step in OSZICAR; -1 before the start geometry."""
    return sum(len(re.findall(r"^\s*\d+ F=", text, flags=re.MULTILINE)) for text in _oszicars(directory)) - 1


def scf_steps(directory: Path) -> int:
    """Count the SCF iterations of all launches."""
    return sum(len(re.findall(r"^[A-Z]{3}:\s*\d+", text, flags=re.MULTILINE)) for text in _oszicars(directory))


_RUNS_ON = re.compile(
    r"^ running (?:on +(\d+) total cores| *(\d+) mpi-ranks(?:, with +(\d+) threads/rank)?)", re.MULTILINE
)
"""Where OUTCAR says on how many cores it runs: VASP 5, and from 5.4.4 on."""

_HEAD = 5000
"""Characters of an OUTCAR in which it does."""


def cores_of(directory: Path) -> int | None:
    """Return the cores of the last launch, ranks times threads; None if OUTCAR is not there or does not say."""
    try:
        with (directory / TEXT).open(encoding="utf-8", errors="replace") as file:
            found = _RUNS_ON.search(file.read(_HEAD))
    except OSError:
        return None
    return None if found is None else int(found[1] or found[2]) * int(found[3] or 1)


_TAIL_BYTES = 4_000_000

_FORCES = re.compile(r"TOTAL-FORCE \(eV/Angst\)\n -+\n(.*?)\n -+", re.DOTALL)


def largest_force(path: Path) -> float:
    """Return the largest force of the last whole step in an OUTCAR, eV/Å; 0 if there is none, infinite if stars."""
    try:
        # The last block is near the end of a file that may have hundreds of megabytes.
        texts = (tail(path, size).decode(errors="replace") for size in (_TAIL_BYTES, path.stat().st_size))
        blocks = next(filter(None, map(_FORCES.findall, texts)), [])
        if blocks and "***" in blocks[-1]:  # more than the field holds
            return np.inf
        rows = [[float(value) for value in line.split()[3:6]] for line in blocks[-1].splitlines()] if blocks else []
    except (OSError, ValueError):
        return 0.0
    return max((sum(value * value for value in row) ** 0.5 for row in rows), default=0.0)


def _oszicars(directory: Path) -> list[str]:
    paths = [folder / "OSZICAR" for folder in launches(directory)]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.exists()]


def energies_in(folder: Path) -> list[tuple[float, float | None]]:
    """Return free energy (eV) and total moment (μB) of each ionic step in the OSZICAR of a launch."""
    path = folder / "OSZICAR"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    found = ((_number(energy), _number(moment)) for energy, moment in _STEP.findall(text))
    return [(energy, moment) for energy, moment in found if energy is not None]


_STEP = re.compile(r"^\s*\d+ F=\s*(\S+) E0=.*?(?:mag=\s*(\S+)[^\S\n]*)?\n", re.MULTILINE)
"""The line that ends an ionic step; with moments along three axes there are three numbers, and none is taken."""


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:  # none, or stars
        return None


def steps_of(inputs: VaspInputs, stage: int, dropped: int = 0, current: bool = True) -> list[Step]:
    """Return the steps of a stage (from 1) in all its launches whose files can be read, but for those dropped.

    ``current`` is False if the files that were not moved aside are of another stage.

    A launch may begin with the last geometry of the launch before it; that step is counted once.
    """
    steps: list[Step] = []
    folders = launches(inputs.directory, stage, dropped)
    for folder in folders if current else folders[:-1]:
        try:
            run = read_vasprun(folder / RUN, whole=False)
        except DAMAGE:
            continue  # killed before the first step
        moments = dict(enumerate(total for _, total in energies_in(folder)))
        for number, step in enumerate(run.ionic_steps):
            if step.get("forces") is None or "e_fr_energy" not in step:
                continue
            atoms = placed(inputs, step["structure"])
            if steps and np.abs(atoms.positions - steps[-1].positions_a).max() < _SAME_POSITION_A:
                steps.pop()
            if {len(row) for row in step["forces"]} != {3} or not np.isfinite(step["e_fr_energy"]):
                continue  # stars
            steps.append(_step(inputs, step, len(steps), moments.get(number), atoms))
    return steps


def _step(inputs: VaspInputs, step: Any, number: int, moment: float | None, atoms: Atoms) -> Step:
    # A run of the user's that lies turned has its stress in a frame of its own, and none of it is kept.
    cell, stress = KINDS[inputs.kind].relaxes_cell, step.get("stress") if inputs.turn is None else None
    return Step(
        number,
        float(step["e_fr_energy"]),
        atoms.positions,
        inputs.our_vectors(step["forces"], step["structure"].lattice.matrix),
        cell_a=atoms.cell.array if cell else None,
        stress_ev_per_a3=np.array(ase_stress(stress)) if cell and stress is not None else None,
        total_moment_mub=moment,
    )
