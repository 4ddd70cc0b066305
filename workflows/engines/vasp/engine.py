"""VASP under custodian: POTCARs from the user's library, results from the settings that VASP reports."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....analysis.codes import CodeDescription
from ....analysis.electrons.bandpath import path_points
from ....analysis.words import distinct, listed
from ...diagnosis import Finding
from ...kinds import KINDS
from ...stop import Stop
from ..base import (
    Artefacts,
    Demand,
    Engine,
    EngineError,
    Limits,
    Outcome,
    PlainEngine,
    Progress,
    Settings,
    Unsupported,
)
from ..shared.checks import BFGS_KEYS, bfgs_settings, check_kind, is_done
from ..shared.commands import mistake
from ..shared.files import exact_xyz, write_bytes, write_json
from ..shared.grids import kpoint_mesh
from ..shared.machine import share_of_cores
from ..shared.path_task import TAPE
from ..shared.single_points import SinglePointPaths
from ..shared.vibrations import VIBRATIONS_TAPE
from .declaration import VaspDeclaration
from .diagnosis import LIBRARY, look
from .inputs import (
    CHARGE,
    INPUT,
    LAUNCHES,
    OUTPUTS,
    POTCAR,
    POTENTIAL,
    RESULT,
    SELF_CONSISTENT,
    SPEC,
    START,
    STATE,
    DataSet,
    VaspInputs,
    data_sets,
    has_charge_of,
    other_data_sets,
    vasp_order,
    write_incars,
    write_kpoints,
    write_poscar,
    write_potcar,
)
from .lattice_scan import scan_of
from .parallel import ranks_of, with_fewer_groups
from .tags import (
    Tags,
    images_of,
    is_meta,
    is_noncollinear,
    number_of_bands,
    stages,
    with_user_tags,
    without_chain,
    wrong_lengths,
)
from .worker_keys import VaspWorkerKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

    from ....analysis.records import Frozen, Method, Record
    from ...calculation import Calculation
    from ...campaign.campaign_file import CampaignFile
    from .adopt import VaspRunOfUser

PROTOCOL_KEYS = frozenset(
    {
        *("functional", "cutoff_ev", "energy_convergence_ev", "max_force_ev_per_a", "kpoint_length_a", "smearing"),
        *(
            "kpoint_mesh",
            "spin_polarised",
            "start_moments_mub",
            "dipole_correction",
            "dispersion",
            "dos_broadening_ev",
            "box_a",
        ),
        *("band_points", "empty_bands", "hubbard_u_ev", "spin_orbit", "paw", "paw_release", "incar"),
    }
)

_NEEDED = (
    *("functional", "cutoff_ev", "energy_convergence_ev", "kpoint_length_a", "smearing", "spin_polarised"),
    *("start_moments_mub", "dipole_correction", "paw", "paw_release"),
)

_LAST_ELEMENT = 96

_LARGE = ("WAVECAR", "CHGCAR", "CHG", "LOCPOT")
"""Large files; those not to be kept are deleted once the calculation is done."""

_KEEP = ("CHGCAR",)
"""Large files that are kept by default: a DOS starts from the host's CHGCAR."""

_RUN_KEYS = ("max_force_ev_per_a", "energy_convergence_ev", "dos_broadening_ev", "dispersion", "incar", "functional")
"""Protocol keys that the run reads beside the INCAR."""

_FRESH = ("CONTCAR", "WAVECAR", "XDATCAR", "CHG", POTENTIAL, "DOSCAR", "EIGENVAL", "PROCAR", STATE, RESULT, *OUTPUTS)
"""Files of an earlier launch with other inputs, from which no run may resume."""


class VaspEngine(PlainEngine):
    """VASP behind the protocol `sodiate.workflows.engines.base.Engine`.

    Parameters
    ----------
    settings
        ``execution`` holds, for a relaxation, ``max_steps``, and ``incar``: tags that change no number;
        ``cell: scan`` finds a lattice constant by E(a). ``worker`` may hold ``vasp_std`` and ``vasp_gam`` (commands),
        ``incar`` (tags such as NCORE), ``potcars`` (the library; by default the environment's PMG_VASP_PSP_DIR),
        ``keep`` (of WAVECAR, CHGCAR and CHG; by default CHGCAR alone).
    """

    name = "vasp"
    physical = True
    capabilities = frozenset(
        {"relax", "relax_cell", "static", "path", "vibrations", "atom", "bulk", "dos", "bands", "density"}
    )
    protocol_keys = PROTOCOL_KEYS
    worker_keys: type[Frozen] = VaspWorkerKeys
    checkpoint_files: tuple[str, ...] = ("CONTCAR", "POSCAR", STATE, "OSZICAR", "vasprun.xml", TAPE, VIBRATIONS_TAPE)
    inherited_files: tuple[str, ...] = (CHARGE,)
    input_files: tuple[str, ...] = ("INCAR", "INCAR.stage-*", "KPOINTS", "POSCAR")  # no POTCAR: it is under a licence
    output_files: tuple[str, ...] = ("vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR")
    nomad_files: tuple[str, ...] = ("vasprun.xml", "OUTCAR")

    def check(self, atoms: Atoms) -> None:
        """Raise `Unsupported` for an element beyond curium, of which VASP has no data set."""
        for symbol, number in zip(atoms.get_chemical_symbols(), atoms.numbers, strict=True):
            if number > _LAST_ELEMENT:
                raise Unsupported(f"engine vasp: VASP has no data set for {symbol}.")

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return ``incar`` and, for a relaxation, its limits: VASP's own optimizer has only tags as settings."""
        kind = KINDS[calculation.kind]
        if kind.searches:
            return BFGS_KEYS | {"incar"}
        steps = frozenset({"max_steps"}) if kind.relaxes else frozenset()
        cell = frozenset({"cell"}) if kind.relaxes_cell else frozenset()
        return steps | cell | {"incar"}

    def other_data_sets(self, protocol: Mapping[str, Any], elements: Sequence[str]) -> dict[str, str]:
        """Return, of the elements that have one, another data set of the release for which the cutoff suffices."""
        own, release = protocol.get("paw") or {}, str(protocol.get("paw_release"))
        return other_data_sets(own, release, elements, float(protocol.get("cutoff_ev", 0.0)))

    def declaration(self, campaign: CampaignFile, where: str) -> VaspDeclaration:
        """Read the campaign's INCAR tags; raise `InputError` for one that VASP does not have."""
        return VaspDeclaration(campaign.incar, where)

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, Artefacts]
    ) -> None:
        """Write INCAR, KPOINTS, POSCAR and POTCAR; keep the files of earlier launches with the same inputs.

        Parameters
        ----------
        calculation
            What to compute; its kind must be one of ``capabilities``.
        atoms
            Start geometry, with start moments (μB).
        directory
            Created if necessary.
        parents
            A DOS starts from the charge density of ``geometry`` if its files can be read.

        Raises
        ------
        Unsupported
            If the engine lacks the kind or a scheme.
        EngineError
            If the protocol lacks a key, or the POTCARs are not in the library.
        """
        kind, protocol = calculation.kind, calculation.protocol
        atoms = check_kind(self, kind, atoms, directory)
        if KINDS[kind].searches or KINDS[kind].displaces:
            SinglePointPaths(self).prepare(calculation, atoms, directory, parents, self.settings.execution)
            return
        missing = [key for key in _NEEDED if protocol.get(key) is None]
        if missing:
            raise EngineError(
                f"{directory}: the protocol of kind {kind} lacks {', '.join(missing)}, which VASP needs."
            )
        directory.mkdir(parents=True, exist_ok=True)
        order = vasp_order(atoms.get_chemical_symbols())
        sets = self._data_sets(protocol, atoms[order], directory)
        if kind == "dos":
            _take_charge(parents.get("geometry"), directory, atoms[order])
        values = self._values(calculation, atoms, order, sets, str(directory))
        old_key = _key_of(directory)
        write_bytes(directory / START, exact_xyz(atoms).encode())
        write_json(directory / INPUT, values)
        inputs = VaspInputs.read(directory)
        if old_key != inputs.key:
            _clear(directory, kind)
            write_poscar(directory, atoms[order])
            write_incars(directory, values["stages"])
        write_kpoints(directory, inputs.mesh, inputs.mesh_shift)
        if sets is None:
            write_bytes(directory / SPEC, _spec(protocol, atoms[order]).encode())
        else:
            write_potcar(directory / POTCAR, sets)

    def _data_sets(self, protocol: Mapping[str, Any], atoms: Atoms, directory: Path) -> list[DataSet] | None:
        """Return the POTCARs; None if no library is named, so that inputs can be previewed without one."""
        library = self.settings.worker.get("potcars") or os.environ.get(LIBRARY)
        if not library:
            return None
        species = list(dict.fromkeys(atoms.get_chemical_symbols()))
        try:
            return data_sets(protocol["paw"], protocol["paw_release"], species, Path(library).expanduser())
        except EngineError as error:
            if self.settings.reading:
                return None
            raise EngineError(f"{directory}: {error}") from None

    def _values(
        self,
        calculation: Calculation,
        atoms: Atoms,
        order: list[int],
        sets: Sequence[DataSet] | None,
        where: str,
    ) -> dict[str, Any]:
        kind, protocol, execution = calculation.kind, calculation.protocol, self.settings.execution
        relaxes = KINDS[kind].relaxes
        settings = bfgs_settings(execution, self.name, Path(where)) if relaxes else {"max_steps": 0}
        scans = KINDS[kind].relaxes_cell and execution.get("cell") == "scan"
        run_as = "relax" if scans else kind
        sorted_atoms = atoms[order]
        symbols = sorted_atoms.get_chemical_symbols()
        user_tags = {
            **self.settings.worker.get("incar", {}),
            **execution.get("incar", {}),
            **(protocol.get("incar") or {}),
        }
        mesh = _mesh(atoms, protocol)
        user_tags = with_fewer_groups(without_chain(user_tags), sorted_atoms, mesh["mesh"], mesh.get("mesh_shift"))

        own: Tags = {"SYSTEM": calculation.label, **_bands(protocol, user_tags, sorted_atoms, sets)}

        def incars(self_consistent: bool) -> list[Tags]:
            tags = stages(protocol, run_as, sorted_atoms, settings["max_steps"], self_consistent, where)
            made = [with_user_tags({**own, **stage}, user_tags, symbols) for stage in tags]
            wrong = wrong_lengths(made[-1], symbols)
            if wrong is not None:
                raise EngineError(f"{where}: {wrong}.")
            return made

        fixed = kind == "dos" and not is_meta(incars(True)[-1])
        optional: dict[str, Any] = {"without_charge": incars(True)} if fixed else {}
        if kind == "bands":
            optional["path"] = path_points(atoms.cell.array, protocol["band_points"]).tolist()
        tags = incars(not fixed)
        if scans:
            tags, optional["scales"] = scan_of(tags)
        return {
            "calculation": calculation.id,
            "label": calculation.label,
            "kind": kind,
            "stages": tags,
            **optional,
            **mesh,
            "order": order,
            "protocol": {key: protocol[key] for key in _RUN_KEYS if protocol.get(key) is not None},
            "execution": {"max_steps": settings["max_steps"]},
            "paw": {}
            if sets is None
            else dict(zip(dict.fromkeys(symbols), (data.title for data in sets), strict=True)),
            "notes": [
                *_notes(sets or (), protocol["cutoff_ev"]),
                *([_NO_FIXED] if kind == "dos" and not fixed else []),
            ],
        }

    def run(self, directory: Path, limits: Limits, stop: Stop) -> None:
        """Run VASP under custodian, stage after stage, or resume it; do nothing if it is done.

        Raises
        ------
        Stopped
            When asked to stop or out of time; run again to resume.
        EngineError
            If VASP cannot be started, or failed in a way that no handler corrects.
        """
        if SinglePointPaths.are_in(directory):
            relaxed = None if images_of(self.settings.execution) is None else self._relaxed_band
            SinglePointPaths(self).run(directory, limits, stop, relaxed)
            return
        from .results import VaspResult

        inputs = VaspInputs.read(directory)
        if is_done(lambda: VaspResult.read(inputs).check(), directory / RESULT, stop):
            return
        if not (directory / POTCAR).exists():
            raise EngineError(
                f"{directory}: no POTCARs: name their library with `potcars` in the FWorker's env, or in the "
                "environment's PMG_VASP_PSP_DIR."
            )
        command = self._command(inputs)
        if "tasks" not in self.settings.worker:
            share_of_cores()  # the command says how many it takes; others on this machine know of it by this
        # Imported here because custodian takes a second to import.
        from .launch import run_stages

        run_stages(command, inputs, limits, stop)
        for name in _LARGE:
            if name not in self.settings.worker.get("keep", _KEEP):
                (directory / name).unlink(missing_ok=True)

    def demand(self, calculation: Calculation) -> Demand:
        """Return the whole machine, and that the images of a path's chain divide its ranks."""
        images = images_of(self.settings.execution) if KINDS[calculation.kind].searches else None
        return Demand(divided_by=images or 1)

    def _relaxed_band(
        self, folder: Path, band: Sequence[Atoms], criteria: tuple[float, int], limits: Limits, stop: Stop
    ) -> tuple[list[Any], tuple[str, ...]]:
        """Relax a band as a chain of images, in a folder where a static calculation was prepared."""
        from .chain import Chain

        execution = self.settings.execution
        command = self._command(VaspInputs.read(folder))
        images, ranks = len(band) - 2, ranks_of(command) or self.settings.worker.get("tasks")
        if ranks is not None and ranks % images:
            raise EngineError(
                f"{folder}: IMAGES = {images} does not divide the {ranks} ranks of '{command}', which VASP shares "
                f"evenly among the images; give it a multiple of {images}, or leave IMAGES out of incar."
            )
        tags = {**self.settings.worker.get("incar", {}), **(execution.get("incar") or {})}
        return Chain(folder, command, tags, *criteria).relaxed(band, limits, stop)

    def _command(self, inputs: VaspInputs) -> str:
        """Return the command: that of vasp_gam if Γ is the only k point, of vasp_ncl for non-collinear spins."""
        gamma = inputs.mesh == (1, 1, 1) and not any(inputs.mesh_shift) and inputs.kind != "bands"
        name = "vasp_gam" if gamma else "vasp_std"
        name = "vasp_ncl" if is_noncollinear(inputs.stages[-1]) else name
        given = self.settings.worker.get(name)
        command = name if given is None else str(given)
        found = mistake(command)
        if found is not None:
            raise EngineError(f"{inputs.directory}: {name}: {found}.")
        program = shlex.split(command)[0]
        if shutil.which(program) is None:
            raise EngineError(
                f"{inputs.directory}: {program} is not found here, but the command is '{command}': set it "
                f"with `{name}` in the FWorker's env, and load the module that has it."
            )
        return command

    def collect(self, directory: Path) -> Outcome:
        """Parse and check the outputs of `run`.

        Raises
        ------
        Unconverged
            If the electrons or the forces are not converged; nothing may be recorded.
        EngineError
            If an output is missing, truncated or of other inputs.
        """
        if SinglePointPaths.are_in(directory):
            return SinglePointPaths(self).collect(directory)
        from .results import VaspResult

        result = VaspResult.read(VaspInputs.read(directory))
        result.check()
        return result.outcome(self.name)

    def progress(self, directory: Path) -> Progress | None:
        """Return the stage, the steps of all launches with the last force in OUTCAR, and the SCF iteration."""
        if SinglePointPaths.are_in(directory):
            return SinglePointPaths(self).progress(directory)
        from .progress import progress_of

        return progress_of(directory)

    def cores(self, directory: Path) -> int | None:
        """Return the ranks times threads in the head of OUTCAR."""
        if SinglePointPaths.are_in(directory):
            return SinglePointPaths(self).cores(directory)
        from .results import cores_of

        return cores_of(directory)

    def adopt(self, folder: Path) -> VaspRunOfUser:
        """Read a run of VASP that the user made; raise `EngineError` if its vasprun.xml cannot be read."""
        from .adopt import VaspRunOfUser

        return VaspRunOfUser(folder)

    def protocol_of(self, runs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return ``protocol`` and ``incar`` of a campaign whose calculations are runs of the user's."""
        from .protocol_of_runs import protocol_of

        return protocol_of(runs)

    def description(self, records: Sequence[Record]) -> CodeDescription:
        """Return VASP's reference, and the titles of the POTCARs of the records."""
        sets = {symbol: title for record in records for symbol, title in record.method.paw.items()}
        titles = listed(sets[symbol] for symbol in sorted(sets))
        data = f"The PAW data sets [@Kresse1999] were {titles}." if sets else ""
        data += tags_in_words([record.method for record in records])
        return CodeDescription("VASP", "Kresse1996", data)

    def diagnose(self) -> list[Finding]:
        """Return its programs, and the libraries of POTCARs."""
        return look()


_NO_FIXED = f"hybrids and meta-GGA have no fixed density: {SELF_CONSISTENT}"


# For mypy, which holds the class against the contract here.
_contract: Callable[[Settings], Engine] = VaspEngine


def tags_in_words(methods: Sequence[Method]) -> str:
    """Return the sentences about spin–orbit coupling, charge, and tags that are not VASP's own in some method."""
    every = [method.settings for method in methods if method.settings is not None]
    said = sorted(
        {f"{tag} = {value}" for one in every for tag, value in one.items() if tag not in (*_IN_WORDS, "charge")}
    )
    sentences = [text for tag, text in _IN_WORDS.items() if any(one.get(tag) not in (None, "false") for one in every)]
    sentences += [f"INCAR tags other than VASP's defaults were {listed(said)}."] if said else []
    charges = distinct(one.get("charge") for one in every)
    sentences += [f"Cells had a charge of {charges}."] if charges else []
    return "".join(f" {sentence}" for sentence in sentences)


_IN_WORDS = {"LSORBIT": "Spin–orbit coupling was included.", "LNONCOLLINEAR": "Moments were noncollinear."}


def _mesh(atoms: Atoms, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mesh that the protocol names, or that follows from its length; and its shift, if it has one."""
    given = protocol.get("kpoint_mesh")
    if given is None:
        return {"mesh": list(kpoint_mesh(atoms, protocol["kpoint_length_a"]))}
    shift = given.get("shift")
    return {"mesh": list(given["points"])} | ({} if shift is None else {"mesh_shift": list(shift)})


def _key_of(directory: Path) -> str | None:
    try:
        return VaspInputs.read(directory).key
    except EngineError:
        return None


def _clear(directory: Path, kind: str) -> None:
    """Delete the files of a run of other inputs; keep the charge density that a DOS starts from."""
    for name in _FRESH if kind == "dos" else (*_FRESH, CHARGE):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / LAUNCHES, ignore_errors=True)


def _take_charge(parent: Artefacts | None, directory: Path, atoms: Atoms) -> None:
    """Copy the parent's charge density beside the inputs, if it can be read and is that of these atoms."""
    target = directory / CHARGE
    source = None if parent is None or parent.directory is None else parent.directory / CHARGE
    if target.exists() or source is None or not has_charge_of(source, atoms):
        return
    partial = target.with_name(f"{CHARGE}.partial")
    shutil.copyfile(source, partial)  # no link: VASP may write to it
    partial.replace(target)


def _bands(
    protocol: Mapping[str, Any], user_tags: Mapping[str, Any], atoms: Atoms, sets: Sequence[DataSet] | None
) -> Tags:
    """Return NBANDS where the protocol asks for empty bands; nothing without POTCARs, which tell the electrons."""
    if sets is None:
        return {}
    valence = dict(zip(dict.fromkeys(atoms.get_chemical_symbols()), (data.valence for data in sets), strict=True))
    electrons = float(user_tags.get("NELECT", sum(valence[symbol] for symbol in atoms.get_chemical_symbols())))
    moment = float(atoms.get_initial_magnetic_moments().sum()) if protocol["spin_polarised"] else 0.0
    count = number_of_bands(protocol, electrons, moment)
    return {} if count is None else {"NBANDS": count}


def _spec(protocol: Mapping[str, Any], atoms: Atoms) -> str:
    """Return the release and the names of the POTCARs, for a machine without a library."""
    names = [protocol["paw"][symbol] for symbol in dict.fromkeys(atoms.get_chemical_symbols())]
    return "\n".join([protocol["paw_release"], *names]) + "\n"


def _notes(sets: Sequence[DataSet], cutoff_ev: float) -> list[str]:
    return [
        f"ENCUT {cutoff_ev:g} eV is below the {data.enmax_ev:g} eV (ENMAX) of POTCAR {data.name}"
        for data in sets
        if cutoff_ev < data.enmax_ev
    ]
