"""Real DFT with GPAW: plane waves and PAW, run as a separate process under custodian.

`GpawEngine.prepare` writes all keywords of the calculator; the process runs `sodiate.workflows.engines.gpaw.worker`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from ....analysis.codes import CodeDescription
from ....analysis.records import Frozen
from ....analysis.words import distinct, listed
from ...calculation import GEOMETRY
from ...campaign.yaml import InputError
from ...diagnosis import Finding
from ...kinds import KINDS
from ...start_structures import elements
from ...stop import Stop
from ..base import (
    Artefacts,
    Demand,
    Engine,
    EngineError,
    Limits,
    Outcome,
    PlainDeclaration,
    PlainEngine,
    Progress,
    Settings,
    Unsupported,
)
from ..shared.checks import BFGS_KEYS, bfgs_settings, check_kind, is_done
from ..shared.commands import mistake
from ..shared.files import DAMAGE, TRAJECTORY, exact_xyz, read_json, write_bytes, write_json
from ..shared.machine import available_cores, share_of_cores
from ..shared.named import refuse_unknown
from ..shared.path_task import COARSE_TAPE, TAPE, PathTask
from ..shared.processes import UNBOUND
from ..shared.tape import AHEAD, DISPLACEMENTS
from ..shared.vibrations import VIBRATIONS_TAPE, VibrationTask
from .chgnet_start import GUESS, POTENTIAL, settle_adsorbate
from .demand import demand_of, pieces_of
from .diagnosis import look
from .dispersion import with_dispersion
from .functionals import AT_DENSITY, FUNCTIONALS, WITH_D3, hubbard_refusal, refusal
from .inputs import (
    COARSE,
    CORRECTIONS,
    DENSITY,
    INPUT,
    OUTPUTS,
    PARENT_DENSITY,
    PROTOCOL_KEYS,
    RESULT,
    SAME_PLACE_A,
    SCRIPT,
    START,
    WITHIN_1_MEV,
    GpawInputs,
    calculator_settings,
    inputs_key,
)
from .progress import progress_of
from .results import GpawResult, cores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

    from ....analysis.records import Record
    from ...calculation import Calculation
    from ...campaign.campaign_file import CampaignFile

_SCRIPT_TEXT = """# Written by sodiate; run it with: mpiexec -n 2 gpaw python run.py
from sodiate.workflows.engines.gpaw.worker import main

main()
"""

_RUN_KEYS = ("max_force_ev_per_a", "dos_broadening_ev", "band_points", "dispersion", "hubbard_u_ev")
"""Protocol keys that the run reads beside the calculator's settings."""

_INSTALL = "pip install 'sodiate[gpaw]' (it needs Debian's libxc-dev libopenblas-dev libopenmpi-dev openmpi-bin)"


def _mistake(command: str) -> str | None:
    """Return what is wrong with a command for GPAW, in words."""
    found = mistake(command, ("ranks",))
    if found is None and shlex.split(command)[-1] == "python":
        return f"{command!r} lacks the script: it ends in `gpaw python {SCRIPT}`"
    return found


def _without_mistake(command: str) -> str:
    found = _mistake(command)
    if found is not None:
        raise ValueError(found)
    return command


class GpawWorkerKeys(Frozen):
    """Settings of a worker: the command, in which ``{ranks}`` stands for the number of ranks."""

    gpaw_command: Annotated[str, AfterValidator(_without_mistake)] | None = None
    """Command that starts GPAW: mpiexec -n {ranks} gpaw python run.py."""


class GpawDeclaration(PlainDeclaration):
    """What a campaign asks of GPAW beyond its common keys: a functional that it has.

    Parameters
    ----------
    where
        The campaign, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the protocol; raise `InputError` if its functional is unknown or lacks data sets of an element."""
        protocol = dict(calculation.protocol)
        refuse_unknown("gpaw", self.where, protocol, {"dispersion": ("d3bj",)})
        name = protocol.get("functional")
        # Data sets of PBE are checked with the atoms of each model; to find the elements here takes longer.
        symbols = elements(calculation) if FUNCTIONALS.get(str(name), "PBE") != "PBE" else ()
        reason = None if "density" in calculation.parents and name in AT_DENSITY else refusal(name, symbols)
        if reason is None and protocol.get("dispersion") not in (None, "none") and name not in WITH_D3:
            reason = f"dispersion: dftd3 has no parameters for {name}; it has them for {', '.join(WITH_D3)}."
        reason = reason or hubbard_refusal(protocol.get("hubbard_u_ev") or {}, str(name))
        if reason is not None:
            raise InputError(f"{self.where}: {calculation.label}: protocol.{reason}")
        return protocol


class GpawEngine(PlainEngine):
    """GPAW behind the protocol `sodiate.workflows.engines.base.Engine`.

    Parameters
    ----------
    settings
        ``execution`` holds, for a relaxation, ``optimizer`` (``bfgs``), ``max_steps``, ``max_step_a`` (Å) and,
        optionally, ``start_stiffness_ev_per_a2``, ``coarse`` and ``start_potential``. ``worker`` may hold
        ``gpaw_command``, in which ``{ranks}`` stands for the number of ranks.
    """

    name = "gpaw"
    physical = True
    capabilities = frozenset(
        {"relax", "relax_cell", "static", "path", "vibrations", "atom", "bulk", "dos", "bands", "density"}
    )
    protocol_keys = PROTOCOL_KEYS
    worker_keys: type[Frozen] = GpawWorkerKeys
    checkpoint_files: tuple[str, ...] = (
        *(TRAJECTORY, COARSE, CORRECTIONS, GUESS, TAPE, COARSE_TAPE),
        *(VIBRATIONS_TAPE, AHEAD),
    )
    inherited_files: tuple[str, ...] = (DENSITY, RESULT, INPUT, START, CORRECTIONS)
    input_files: tuple[str, ...] = (SCRIPT, INPUT, START)
    output_files: tuple[str, ...] = (OUTPUTS, DENSITY, RESULT, TRAJECTORY)
    nomad_files: tuple[str, ...] = (DENSITY,)
    adds_dispersion = True
    functionals_at_density: frozenset[str] = AT_DENSITY
    within_1_mev: Mapping[str, float] = WITHIN_1_MEV

    def check(self, atoms: Atoms) -> None:
        """Raise `Unsupported` for an element without PAW data, if the data are installed here."""
        reason = refusal("PBE", sorted(set(atoms.get_chemical_symbols())))
        if reason is not None:
            raise Unsupported(f"engine gpaw: {reason}")

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return those of a relaxation or path: BFGS, a coarse stage in a fixed cell, CHGNet for adsorbates."""
        kind = KINDS[calculation.kind]
        if kind.searches:
            return BFGS_KEYS | {"coarse"}
        if not kind.relaxes:
            return frozenset()
        # A unit cell is cheap anyway, and at a smaller cutoff its lattice constant would differ.
        coarse = frozenset() if kind.relaxes_cell else frozenset({"coarse"})
        start = frozenset({"start_potential"}) if calculation.structure["op"] == "adsorbate" else frozenset()
        return BFGS_KEYS | {"start_stiffness_ev_per_a2"} | coarse | start

    def declaration(self, campaign: CampaignFile, where: str) -> PlainDeclaration:
        """Check the potential that places the adsorbate; raise `InputError` for an unknown one."""
        potential = campaign.execution.start_potential
        if potential not in (None, POTENTIAL):
            raise InputError(f"{where}: execution.start_potential: {potential!r} should be {POTENTIAL!r}.")
        return GpawDeclaration(where)

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, Artefacts]
    ) -> None:
        """Write settings, geometry, start moments and script; keep the files of earlier launches.

        Parameters
        ----------
        calculation
            What to compute; its kind must be one of ``capabilities``.
        atoms
            Start geometry, with start moments (μB).
        directory
            Created if necessary.
        parents
            A DOS and vibrations start from the density of ``geometry`` if its files can be read. D3 is added to the
            energy of ``without`` if its files can be read and it had these settings. The functional is changed at the
            density of ``density``, which is computed anew if its files cannot be read.

        Raises
        ------
        Unsupported
            If the engine lacks an element, the kind or the optimizer.
        EngineError
            If the protocol or the execution settings lack a key, or a slab lacks vacuum.
        """
        kind = calculation.kind
        atoms = check_kind(self, kind, atoms, directory)
        execution = self._execution(directory, atoms, calculation) if KINDS[kind].moves else {}
        directory.mkdir(parents=True, exist_ok=True)
        if execution.get("start_potential") is not None:
            atoms, execution["start_potential"] = settle_adsorbate(atoms, directory)
        protocol = {key: calculation.protocol[key] for key in _RUN_KEYS if key in calculation.protocol}
        settings = calculator_settings(calculation.protocol, atoms, kind, str(directory))
        other = parents.get("density")
        if other is not None:
            protocol["functional"], settings["xc"] = settings["xc"], other.record.method.functional
        source = parents.get(GEOMETRY) if other is None and not KINDS[kind].moves else other
        values = {
            "calculation": calculation.id,
            "label": calculation.label,
            "kind": kind,
            "calculator": settings,
            "protocol": protocol,
            "execution": execution,
            "start_moments_mub": atoms.get_initial_magnetic_moments().tolist(),
            "host": host_values(source),
        }
        values["without"] = result_without(parents.get("without"), values, atoms)
        if KINDS[kind].searches:
            task = PathTask.of(calculation, parents, directory)
            task.write(directory)
            values["path"] = task.key
        if KINDS[kind].displaces:
            displaced = VibrationTask.of(calculation, atoms, parents)
            displaced.write(directory)
            values["path"] = displaced.key
        self._drop_other_corrections(directory, values, atoms)
        write_bytes(directory / START, exact_xyz(atoms).encode())
        write_json(directory / INPUT, values)
        write_bytes(directory / SCRIPT, _SCRIPT_TEXT.encode())
        _take_density(source, directory)

    def _drop_other_corrections(self, directory: Path, values: dict[str, Any], atoms: Atoms) -> None:
        """Delete corrections that an earlier launch needed for other inputs."""
        try:
            old_key = GpawInputs.read(directory).key
        except EngineError:
            return
        if old_key != inputs_key(values, atoms):
            (directory / CORRECTIONS).unlink(missing_ok=True)

    def _execution(self, directory: Path, atoms: Atoms, calculation: Calculation) -> dict[str, Any]:
        acting = self.execution_keys(calculation)
        settings = {key: value for key, value in self.settings.execution.items() if key in acting}
        stiffness = settings.get("start_stiffness_ev_per_a2")
        return {
            **bfgs_settings(settings, self.name, directory),
            "stiffness_ev_per_a2": None if stiffness is None else stiffness_of(atoms, stiffness),
            "coarse": _coarse(settings.get("coarse"), calculation.protocol, atoms, str(directory)),
            "start_potential": settings.get("start_potential"),
        }

    def run(self, directory: Path, limits: Limits, stop: Stop) -> None:
        """Run GPAW under custodian, or resume from its checkpoint; do nothing if it is done.

        Raises
        ------
        Stopped
            When asked to stop or out of time; run again to resume.
        EngineError
            If GPAW is not installed, cannot be started, or failed in a way that no handler corrects.
        """
        inputs = GpawInputs.read(directory)
        if is_done(lambda: GpawResult.read(inputs).check(), directory / RESULT, stop):
            return
        if inputs.without is not None:
            self._check_d3(inputs)
            added = inputs.functional if inputs.protocol.get("dispersion") is not None else None
            write_json(directory / RESULT, with_dispersion(inputs.without, inputs.atoms, added, inputs.key))
            return
        command = self._command(inputs)
        # Imported here because custodian takes a second to import.
        from .launch import launch

        # In a job its launcher knows the cores that are the job's alone.
        launch(command, {} if "tasks" in self.settings.worker else UNBOUND, directory, limits, stop)

    def _command(self, inputs: GpawInputs) -> str:
        """Return the command; raise `EngineError` if a program or package that it needs is missing."""
        where = inputs.directory
        if find_spec("gpaw") is None or find_spec("gpaw_data") is None:
            raise EngineError(f"{where}: GPAW or its PAW data are not installed here: {_INSTALL}.")
        self._check_d3(inputs)
        tasks = self.settings.worker.get("tasks")  # of a job of a cluster, which may have several nodes
        free = tasks or self.settings.worker.get("ranks") or share_of_cores()  # `sodiate run` gives out cores
        ranks = usable_ranks(inputs, free)
        given = self.settings.worker.get("gpaw_command")
        found = None if given is None else _mistake(str(given))
        if found is not None:
            raise EngineError(f"{where}: gpaw_command: {found}.")
        command = (default_command() if given is None else str(given)).replace("{ranks}", str(ranks))
        program = shlex.split(command)[0]
        if shutil.which(program) is None:
            raise EngineError(
                f"{where}: {program} is not installed here, but the command is '{command}': {_INSTALL}."
            )
        _refuse_too_many_ranks(command, tasks or available_cores(), inputs)
        return command

    def demand(self, calculation: Calculation) -> Demand:
        """Return ranks by k points and spins, and memory by wavefunctions."""
        return demand_of(calculation)

    def preload(self) -> None:
        """Import custodian, which takes a second."""
        from . import launch  # noqa: F401

    def _check_d3(self, inputs: GpawInputs) -> None:
        if inputs.protocol.get("dispersion") is not None and find_spec("dftd3") is None:
            raise EngineError(
                f"{inputs.directory}: the package dftd3, for the dispersion, is not installed here: {_INSTALL}."
            )

    def collect(self, directory: Path) -> Outcome:
        """Parse and check the outputs of `run`.

        Raises
        ------
        Unconverged
            If the forces are not below the criterion; nothing may be recorded.
        EngineError
            If an output is missing, truncated or of other inputs.
        """
        result = GpawResult.read(GpawInputs.read(directory))
        result.check()
        return result.outcome(self.name)

    def progress(self, directory: Path) -> Progress | None:
        """Return the stage, the last step of its trajectory and the SCF iteration in the newest text."""
        return progress_of(directory)

    def cores(self, directory: Path) -> int | None:
        """Return the number of ranks in the last text output."""
        return cores_of(directory)

    def description(self, records: Sequence[Record]) -> CodeDescription:
        """Return GPAW's reference, and its package of data sets with the elements of the records."""
        elements = sorted({symbol for record in records for symbol in record.method.paw})
        release = distinct(record.provenance.versions.get("gpaw_data") for record in records)
        package = f"gpaw-data {release}" if release else "gpaw-data"
        data = f"The PAW data sets were those of {package} for {listed(elements)}." if elements else ""
        return CodeDescription("GPAW", "Mortensen2024", data)

    def diagnose(self) -> list[Finding]:
        """Return package, data sets and whether ranks start."""
        return look(default_command())


def default_command() -> str:
    """Return the command that starts the GPAW of the running Python, whatever the search path is.

    cron and systemd know no activated environment, and another one may be active.
    """
    beside = Path(sys.executable).parent
    gpaw = shutil.which("gpaw", path=str(beside))
    start = shlex.quote(gpaw) if gpaw is not None else f"{shlex.quote(sys.executable)} -m gpaw"
    mpiexec = shutil.which("mpiexec", path=str(beside))
    return f"{'mpiexec' if mpiexec is None else shlex.quote(mpiexec)} -n {{ranks}} {start} python {SCRIPT}"


def usable_ranks(inputs: GpawInputs, free: int) -> int:
    """Return how many of the free ranks have something to compute."""
    alone = inputs.calculator["kpts"]["size"] == [1, 1, 1]
    return min(free, _calls_at_once(inputs)) if alone else _sharing(inputs, free)


def _sharing(inputs: GpawInputs, ranks: int) -> int:
    """Return how many of some ranks GPAW can share the work among, in each of its stages.

    Without ScaLAPACK, as pip builds it, it fails where several ranks share one k point and spin.
    """
    coarse, host = inputs.execution.get("coarse"), inputs.host
    stages = [inputs.calculator, *([] if coarse is None else [coarse["calculator"]])]
    anew = KINDS[inputs.kind].fixed_density or inputs.at_density
    if anew and host is not None and host["mesh"] is not None and not (inputs.directory / PARENT_DENSITY).exists():
        stages.append({**inputs.calculator, "kpts": {"size": host["mesh"]}})  # whose density is computed anew
    pieces = inputs.protocol.get("band_points") or min(pieces_of(stage, inputs.atoms) for stage in stages)
    most = int(pieces) * _calls_at_once(inputs)
    if ranks <= most:
        return ranks
    from gpaw.utilities import compiled_with_sl  # which takes a second

    return ranks if compiled_with_sl() else most


def _calls_at_once(inputs: GpawInputs) -> int:
    """Return how many force calls of a run may be computed side by side."""
    kind = KINDS[inputs.kind]
    if kind.searches:
        return PathTask.read(inputs.directory).images
    return DISPLACEMENTS * len(VibrationTask.read(inputs.directory).moved) if kind.displaces else 1


def _refuse_too_many_ranks(command: str, cores: int, inputs: GpawInputs) -> None:
    """Raise `EngineError` for a command that asks for more ranks than cores, unless it says that it means it.

    Also if it asks for more than GPAW can share the work among.
    """
    found = re.search(r"(?:-n|-np|--np)[ =](\d+)", command)
    if found is None:
        return
    asked, where = int(found[1]), inputs.directory
    if asked > cores and not re.search(r"oversubscribe|hwthread", command, re.IGNORECASE):
        raise EngineError(
            f"{where}: '{command}' asks for {asked} ranks, but only {cores} cores are available: write {{ranks}}, "
            "or add --oversubscribe."
        )
    most = _sharing(inputs, asked) if command.endswith(SCRIPT) else asked
    if most < asked:
        raise EngineError(
            f"{where}: '{command}' asks for {asked} ranks, but this calculation has {most} k points times spins, and "
            "a GPAW without ScaLAPACK computes each on one rank: write {ranks}."
        )


def _coarse(
    coarse: Mapping[str, Any] | None, protocol: Mapping[str, Any], atoms: Atoms, where: str
) -> dict[str, Any] | None:
    """Return the settings of the coarse relaxation before the real one; None if there is none."""
    if coarse is None:
        return None
    changed = {**protocol, **{key: value for key, value in coarse.items() if value is not None}}
    return {
        "calculator": calculator_settings(changed, atoms, "relax", where),
        "max_force_ev_per_a": changed["max_force_ev_per_a"],
    }


def stiffness_of(atoms: Atoms, stiffness: Mapping[str, float]) -> list[float]:
    """Return the start stiffness of each atom (eV/Å²): that of its element, or of ``other``."""
    return [float(stiffness.get(symbol, stiffness["other"])) for symbol in atoms.get_chemical_symbols()]


def host_values(parent: Artefacts | None) -> dict[str, Any] | None:
    """Return what is needed to compute a parent's density again, and to recognise it.

    None of it belongs to the key of the inputs: it follows from the parent, which the id has.
    """
    if parent is None or parent.record.sampling is None:
        return None
    record, sampling = parent.record, parent.record.sampling
    try:
        expected = (
            None if parent.directory is None else read_json(parent.directory / RESULT).get("density_fingerprint")
        )
    except DAMAGE:
        expected = None
    return {
        "label": record.label,
        "mesh": sampling.kmesh,
        "dispersion": record.method.dispersion,
        "energy_ev": record.energy_ev,
        "moments_mub": record.final_moments_mub,
        "total_moment_mub": record.total_moment_mub,
        "density_fingerprint": expected,
    }


def result_without(parent: Artefacts | None, values: Mapping[str, Any], atoms: Atoms) -> dict[str, Any] | None:
    """Return the result of the same energy without dispersion correction; None if it is no such one, or away.

    None of it belongs to the key of the inputs: it follows from the parent, which the id has.
    """
    if parent is None or parent.directory is None:
        return None
    try:
        inputs = GpawInputs.read(parent.directory)
        result = GpawResult.read(inputs)
    except EngineError:
        return None
    same = (
        inputs.calculator == values["calculator"]
        and inputs.protocol.get("functional") == values["protocol"].get("functional")
        and inputs.protocol.get("dispersion") is None
    )
    apart = abs(result.geometry.atoms().positions - atoms.positions).max()
    return result.values if same and apart < SAME_PLACE_A else None


def _take_density(parent: Artefacts | None, directory: Path) -> None:
    """Link or copy the parent's density beside the inputs, so that the directory needs no other."""
    source = None if parent is None or parent.directory is None else parent.directory / DENSITY
    target = directory / PARENT_DENSITY
    if source is None or not source.exists() or target.exists():
        return
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)


# mypy checks the class against the contract here.
_contract: Callable[[Settings], Engine] = GpawEngine
