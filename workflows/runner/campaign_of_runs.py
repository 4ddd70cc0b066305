"""A campaign made of finished runs: the protocol is read from them, and must be one.

It is written as a file with its hosts beside it, planned as any other, and the runs become its records.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from ase import Atom
from ase.formula import Formula

from ...analysis.elements import ground_state_moment
from ...analysis.energies.adsorption import DESORBED
from ...analysis.energies.comparability import method_differences, sampling_differences
from ...structures.geometry import placement
from ...structures.sites import Site, end_site, own_site
from ...structures.slabs import read_slab
from .. import start_structures
from ..campaign.load import load_campaign
from ..campaign.yaml import CONFIGS, InputError, load_yaml
from ..engines import make_engine
from ..engines.base import EngineError, Settings
from ..engines.shared.grids import kpoint_mesh, length_that_holds_k
from ..plan.graph import Plan
from ..plan.planner import plan as plan_campaign
from .adopt import WAITS, Records, Verdict, take_runs
from .run_calculation import NotReady, WorkerSettings, run_calculation
from .sorted_runs import ROLES, Given, Refused, Sheet, Sorted, sort_runs, without

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from ..database.workbench import Workbench

_BROADENING_EV = 0.05
"""Of a DOS, which is made of the eigenvalues."""

_LAYOUT: Mapping[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 100}
"""Of the file: short lists and mappings on one line."""


@dataclass(frozen=True)
class CampaignOfRuns:
    """A campaign of runs.

    Attributes
    ----------
    file
        The campaign file, in a scratch folder with the files that it names.
    plan
        The campaign, planned.
    belongs
        The campaign's name of the calculation that each run is of.
    remarks
        What it lacks, in words.
    """

    file: Path
    plan: Plan
    belongs: Mapping[Given, str]
    remarks: tuple[str, ...]

    def verdicts(self) -> list[Verdict]:
        """Return the runs with their calculations, to be taken."""
        return [Verdict(one.folder, one.run, self.plan.names[name]) for one, name in self.belongs.items()]

    def write(self, file: Path) -> None:
        """Copy the campaign file and the files that it names to where the user wants them."""
        for path in sorted(self.file.parent.rglob("*")):
            if path.is_file():
                target = file if path == self.file else file.parent / path.relative_to(self.file.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def read_runs(folders: Sequence[Path], roles: Sequence[str], engine: str) -> list[Given]:
    """Read the run in each folder.

    Parameters
    ----------
    folders
        Where they are.
    roles
        As ``FOLDER=host``, of folders that are among them.
    engine
        The engine that reads them.

    Raises
    ------
    Refused
        If one cannot be read.
    InputError
        For a role that does not exist, or of another folder.
    """
    known: dict[Path, str] = {}
    for text in roles:
        name, _, role = text.rpartition("=")
        if role not in ROLES or Path(name) not in folders:
            raise InputError(f"--role {text!r}: say FOLDER=ROLE of a given folder; roles: {', '.join(ROLES)}.")
        known[Path(name)] = role
    given: list[Given] = []
    reasons: dict[Path, list[str]] = {}
    for folder in dict.fromkeys(folders):
        try:
            given.append(Given(folder, make_engine(engine, Settings()).adopt(folder), known.get(folder)))
        except EngineError as error:
            more = any(path.is_dir() for path in folder.glob("*"))
            reasons[folder] = [f"{error}{f'; if its folders have the runs, give {folder}/*' if more else ''}"]
    if reasons:
        raise Refused(reasons)
    return given


def campaign_of_runs(
    given: Sequence[Given], engine: str, file: Path, records: Records, scratch: Path
) -> CampaignOfRuns:
    """Make a campaign of runs, or add them to the one in a file.

    Parameters
    ----------
    given
        The runs.
    engine
        The engine that read them.
    file
        The campaign file; runs are added to one that is there. It is not written to.
    records
        Of that one.
    scratch
        A folder of its own for the files.

    Raises
    ------
    Refused
        If a run is nothing that a campaign has, or is of another method than most.
    InputError
        If the file is no campaign of runs.
    """
    making = _Making(given, engine, file, records, scratch)
    if file.exists():
        making.begin_with(file)
    return making.make()


def try_runs(found: CampaignOfRuns, records: Records, root: Path) -> list[Verdict]:
    """Make all checks of the runs of a campaign, and record nothing; raise `Refused` if one does not pass."""
    verdicts = take_runs(found.verdicts(), found.plan, records, root, None)
    reasons = {verdict.folder: verdict.reasons for verdict in verdicts if verdict.reasons}
    own = {folder: those for folder, those in reasons.items() if not those[0].startswith(WAITS)}
    if reasons:
        raise Refused(own or reasons)
    return verdicts


def record_runs(found: CampaignOfRuns, file: Path, bench: Workbench) -> list[Verdict]:
    """Write the campaign to where the user wants it, and record its runs and the choices of best sites."""
    found.write(file)
    bench.initialise()
    bench.documents.add_plan(found.plan)
    verdicts = take_runs(found.verdicts(), found.plan, bench.documents, bench.root, bench.documents)
    for choice in (host.lowest for host in found.plan.hosts if host.lowest is not None):
        with suppress(NotReady):  # a site that was added by hand, and is still to be computed
            run_calculation(bench.documents, choice.id, WorkerSettings(bench.root))
    return verdicts


@dataclass
class _Making:
    given: Sequence[Given]
    engine: str
    file: Path
    records: Records
    scratch: Path
    values: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    before: Plan | None = None
    known: list[Sheet] = field(default_factory=list)

    def begin_with(self, file: Path) -> None:
        """Begin with a campaign of earlier runs."""
        self.values, self.text = load_yaml(file, "campaign"), file.read_text(encoding="utf-8")
        if not isinstance(self.values.get("protocol"), dict) or self.values.get("engine") != self.engine:
            raise InputError(
                f"{file} is no campaign of runs: --as-protocol adds to those alone that it made. Choose another "
                "name, or import the runs without --as-protocol if they are what this campaign plans."
            )
        self.before = plan_campaign(load_campaign(file))
        for path in (*self.before.campaign.slabs, *self._crystals()):
            target = self.scratch / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.parent / path, target)
        for host in self.before.hosts:
            start = start_structures.ideal_atoms(host.calculation)
            assert start is not None  # of a host
            record = self.records.record(host.calculation.id)
            end = start if record is None or record.geometry is None else record.geometry.atoms()
            self.known.append(Sheet(start, end, None, host.name))

    def _crystals(self) -> Iterator[str]:
        for reference in self.values.get("bulk_references", {}).values():
            if "crystal" in reference:
                yield reference["crystal"]

    def make(self) -> CampaignOfRuns:
        adsorbate = self.values["adsorbate"]["element"] if self.before is not None else None
        found = sort_runs(self.given, self.known, adsorbate)
        _check_agreement(found)
        try:
            keys = make_engine(self.engine, Settings()).protocol_of(
                {kind: [one.run for one in runs] for kind, runs in found.by_kind().items()}
            )
        except EngineError as error:
            raise InputError(f"import: {error}.") from None
        self._begin(found, keys)
        belongs = self._models(found) | self._references(found, keys.keys() - {"protocol"})
        path = self.scratch / self.file.name
        same = self.before is not None and self.values == yaml.safe_load(self.text)
        path.write_text(self.text if same else yaml.safe_dump(self.values, **_LAYOUT), encoding="utf-8")
        try:
            plan = plan_campaign(load_campaign(path))
        except InputError as error:  # of what no campaign can have: the file is nothing to look into
            raise InputError(f"import: {str(error).replace(str(path), str(self.file))}") from None
        return CampaignOfRuns(path, plan, belongs, tuple(_remarks(plan, found, self.records)))

    def _begin(self, found: Sorted, keys: Mapping[str, Any]) -> None:
        """Say what all calculations share; of a campaign that is there, only what it had no run of."""
        protocol, others = dict(keys["protocol"]), {key: value for key, value in keys.items() if key != "protocol"}
        if self.before is None:
            self.values |= {
                "campaign": self.file.stem,
                "title": f"{found.adsorbate} on imported hosts",
                "engine": self.engine,
                "protocol": protocol,
                "supercell": [1, 1],
                "adsorbate": {"element": found.adsorbate},
                "quantities": [],
                "models": [],
            }
            # An atom that is not here is computed in the usual box, if ever.
            usual = load_yaml(CONFIGS / "protocols" / "paper.yaml", "protocol")["atom"]
            self.values["protocol"].setdefault("atom", usual)
            self.values |= others
            return
        for kind in found.by_kind():
            if kind != "relax" and not self._has_record(kind):
                self.values["protocol"][kind] = protocol[kind]
                for key, patterns in others.items():
                    if kind in patterns:
                        self.values.setdefault(key, {})[kind] = patterns[kind]
        if "paw" in protocol:
            self.values["protocol"]["paw"] = protocol["paw"] | self.values["protocol"]["paw"]

    def _has_record(self, kind: str) -> bool:
        assert self.before is not None
        return any(
            calculation.kind == kind and self.records.record(calculation.id) is not None
            for calculation in self.before.calculations
        )

    # -- models

    def _models(self, found: Sorted) -> dict[Given, str]:
        """Write the hosts with their sites into the campaign; return the names of the runs."""
        belongs: dict[Given, str] = {}
        models = {model["name"]: model for model in self.values["models"]}
        for sheet in found.sheets:
            if not sheet.name:
                sheet.name = _free_name(sheet, models)
                models[sheet.name] = self._model(sheet)
            model = models[sheet.name]
            if sheet.given is not None:
                belongs[sheet.given] = sheet.name
            if sheet.dos is not None:
                belongs[sheet.dos] = f"{sheet.name}/dos"
                self._add_dos(sheet, model)
            model.setdefault("own_sites", {})
            for one, site in self._sites(sheet, model, found.adsorbate):
                belongs[one] = f"{sheet.name}/{site}"
                if site not in (*model["sites"], *model["own_sites"]):
                    model["sites"].append(site)
            if not model["own_sites"]:
                del model["own_sites"]
        self.values["models"] = list(models.values())
        return belongs

    def _model(self, sheet: Sheet) -> dict[str, Any]:
        """Write a host's file; return its model."""
        from ase.io import write

        assert sheet.given is not None  # what has no name yet is new
        name = f"{self.file.stem}-{sheet.name}.xyz"
        write(self.scratch / name, sheet.start, format="extxyz", columns=["symbols", "positions"])
        model: dict[str, Any] = {"name": sheet.name, "file": name, "sites": []}
        thickness = max(z for _, _, z in read_slab(self.scratch / name).positions)
        height = float(sheet.start.cell.lengths()[2])
        vacuum = round(height - thickness - _headroom(self.values), 6)
        if vacuum <= 0:
            raise Refused(
                {sheet.given.folder: [f"its cell is {height:.1f} Å high: no room for an adsorbate and vacuum"]}
            )
        return model | {"vacuum_a": vacuum, "protocol": _mesh(sheet.given, sheet=True)}

    def _add_dos(self, sheet: Sheet, model: dict[str, Any]) -> None:
        assert sheet.dos is not None
        self.values["protocol"]["dos"].setdefault("dos_broadening_ev", _BROADENING_EV)
        model["protocol"].setdefault("dos", _mesh(sheet.dos, sheet=True, dos=True))
        self._add_quantity("dos")

    def _add_quantity(self, name: str) -> None:
        if name not in self.values["quantities"]:
            self.values["quantities"].append(name)

    def _sites(self, sheet: Sheet, model: Mapping[str, Any], element: str) -> Iterator[tuple[Given, str]]:
        """Name the sites at which runs begin; each may be one run's."""
        slab = read_slab(self.scratch / model["file"])
        host = start_structures.read_host(
            start_structures.host(slab, (1, 1), (), model["vacuum_a"], _headroom(self.values), 0.0)
        )
        taken: dict[str, Given] = {}
        for one in sheet.sites:
            sites = {**host.sites, **{name: _own(host, name, own) for name, own in model["own_sites"].items()}}
            place = _Place.of(host, one, element)
            site = end_site(host.pristine, (), tuple(sites.values()), place.atoms, place.guess(sites)).label
            if site.startswith(DESORBED):
                raise Refused({one.folder: [f"its {element} begins {place.height_a:.1f} Å above {sheet.name}"]})
            if site not in sites:  # between two, as on a bridge
                site = _free_site(place.face, model["own_sites"])
                at = [round(float(part), 6) for part in place.point]
                model["own_sites"][site] = {"at": at, "face": place.face, "height_a": round(place.height_a, 3)}
            if site in taken:
                other = taken[site].folder
                raise Refused({one.folder: [f"it begins at {site} of {sheet.name}, as {other} does; leave one out"]})
            taken[site] = one
            yield one, site

    # -- references

    def _references(self, found: Sorted, code_keys: Iterable[str]) -> dict[Given, str]:
        belongs: dict[Given, str] = {}
        if found.atom is not None:
            belongs[found.atom] = found.adsorbate
            self._box(found.atom)
        if found.bulk is not None:
            name, reference = self._metal(found.bulk, found.adsorbate)
            belongs[found.bulk] = name
            self.values.setdefault("bulk_references", {}).setdefault(found.adsorbate, reference)
            section = self.values["protocol"]["bulk"]
            if "kpoint_length_a" not in section:
                section |= _mesh(found.bulk, sheet=False)
            self._add_quantity("bulk_reference")
            if "crystal" in reference:  # it is relaxed, so that what is for its kind is for its label alone
                for patterns in (self.values.get(key, {}) for key in code_keys):
                    patterns |= {name: patterns.pop("bulk")} if "bulk" in patterns else {}
        return belongs

    def _box(self, atom: Given) -> None:
        """Say the box of the isolated atom."""
        section, atoms = self.values["protocol"]["atom"], atom.run.atoms
        if "box_a" in section:
            return
        if np.abs(np.asarray(atoms.cell) - np.diag(np.diag(atoms.cell))).max() > 1e-6:
            raise Refused({atom.folder: ["its box is not rectangular, with edges along x, y and z"]})
        section |= {"box_a": [round(float(edge), 6) for edge in np.diag(atoms.cell)], **_mesh(atom, sheet=False)}

    def _metal(self, bulk: Given, element: str) -> tuple[str, dict[str, Any]]:
        """Return the name of the bulk metal, and how the campaign declares it."""
        from ase.io import write

        atoms = bulk.run.atoms
        if "relax_cell" in bulk.run.kinds:
            raise Refused(
                {bulk.folder: ["its cell was relaxed, in the basis of another; give a run in the final cell"]}
            )
        for lattice, angle, ratio in (("bcc", 109.4712206, 2 / 3**0.5), ("fcc", 60.0, 2**0.5)):
            lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
            if len(atoms) == 1 and np.ptp(lengths) < 1e-4 and np.abs(angles - angle).max() < 1e-3:
                return f"{element}-{lattice}", {"lattice": lattice, "a": round(float(lengths.mean() * ratio), 6)}
        name = f"{self.file.stem}-{element}.xyz"
        write(self.scratch / name, atoms, format="extxyz", columns=["symbols", "positions"])
        return f"{element}-crystal", {"crystal": name}


def _check_agreement(found: Sorted) -> None:
    """Refuse runs of another method than most; sheets of another sampling than theirs, too."""
    kinds = found.by_kind()
    every = [one for runs in kinds.values() for one in runs]
    reasons = _deviations(
        every, lambda a, b: method_differences(a.run.method, b.run.method, a.formula.keys() & b.formula.keys())
    )
    reasons = reasons or _deviations(
        kinds.get("relax", []), lambda a, b: sampling_differences(a.run.sampling, b.run.sampling, *_OF_CELL)
    )
    for sheet in found.sheets if not reasons else ():
        runs = [*filter(None, [sheet.given]), *sheet.sites]
        reasons |= _deviations(runs, lambda a, b: sampling_differences(a.run.sampling, b.run.sampling))
    if reasons:
        raise Refused(reasons)


_OF_CELL = ("kmesh", "kmesh_shift")
"""Fields of a sampling that each host has its own of."""


def _deviations(runs: Sequence[Given], differences: Callable[[Given, Given], list[str]]) -> dict[Path, list[str]]:
    """Say how runs differ from those that most agree with; of equals, from the first.

    Not all pairs can be compared: an isolated atom agrees with each data set of the others' elements.
    """
    order = sorted(runs, key=lambda one: -sum(not differences(one, other) for other in runs))
    usual: list[Given] = []
    found: dict[Path, tuple[list[str], Given]] = {}
    for one in order:
        apart = next(((those, other) for other in usual if (those := differences(one, other))), None)
        if apart is None:
            usual.append(one)
        else:
            found[one.folder] = apart
    return {
        folder: [f"{'; '.join(those)} (in {other.folder}, with which {len(usual)} of {len(runs)} agree)"]
        for folder, (those, other) in found.items()
    }


def _mesh(given: Given, *, sheet: bool, dos: bool = False) -> dict[str, Any]:
    """Return the keys that give a run's mesh: a length, and the points where no length gives them."""
    sampling, atoms = given.run.sampling, given.run.atoms.copy()
    if sampling.kmesh is None:
        raise Refused({given.folder: ["its k points were given one by one; a campaign has meshes"]})
    atoms.pbc = (True, True, not sheet)
    counts, edges = sampling.kmesh, atoms.cell.lengths()
    longest = min(count * edge for count, edge, along in zip(counts, edges, atoms.pbc, strict=True) if along)
    length = 0.0 if counts == (1, 1, 1) else round(float(longest), 6)
    follows = sampling.kmesh_shift is None and kpoint_mesh(atoms, length) == counts
    if follows and not (dos and length_that_holds_k(atoms, (1, 1), length) != length):
        return {"kpoint_length_a": length}
    shift = {} if sampling.kmesh_shift is None else {"shift": list(sampling.kmesh_shift)}
    return {"kpoint_length_a": length, "kpoint_mesh": {"points": list(counts), **shift}}


def _headroom(values: Mapping[str, Any]) -> float:
    """Return the highest start of an adsorbate, Å, which a cell has room for."""
    usual = load_yaml(CONFIGS / "defaults.yaml", "defaults")["adsorbate"]["start_heights_a"]
    return float(max((usual | values["adsorbate"].get("start_heights_a", {})).values()))


def _free_name(sheet: Sheet, models: Mapping[str, Any]) -> str:
    name = Formula.from_list(list(sheet.start.symbols)).reduce()[0].format("metal")
    taken = [one for one in models if one == name or one.startswith(f"{name}-")]
    return f"{name}-{len(taken) + 1}" if taken else name


@dataclass(frozen=True)
class _Place:
    """Where an adsorbate begins on a host: atoms in the host's order and frame, it the last; its point and height."""

    atoms: Atoms
    face: str
    point: NDArray[np.float64]
    height_a: float

    @classmethod
    def of(cls, host: start_structures.Host, one: Given, element: str) -> _Place:
        ideal = host.atoms
        fits = [(placement(ideal, rest), index) for index, rest in without(one.run.atoms, element)]
        lies, index = min(fits, key=lambda fit: fit[0].distance)
        fractions = one.run.atoms.get_scaled_positions(wrap=False) + lies.shift
        places = ideal.get_scaled_positions(wrap=False)
        own = np.empty_like(places)
        own[lies.order] = np.delete(fractions, index, axis=0)
        start = ideal.copy()
        start.set_scaled_positions(own - np.round(own - places))
        middle = places[:, 2].mean()
        point = fractions[index] - [0.0, 0.0, np.round(fractions[index, 2] - middle)]
        start.append(Atom(element, point @ np.asarray(ideal.cell)))
        z = start.positions[:, 2]
        face = "top" if point[2] > middle else "bottom"
        height = z[-1] - z[:-1].max() if face == "top" else z[:-1].min() - z[-1]
        return cls(start, face, point[:2] % 1.0, max(0.0, float(height)))

    def guess(self, sites: Mapping[str, Site]) -> Site:
        """Return a site of the same face; of faces that are one by symmetry, any."""
        return next((site for site in sites.values() if site.face == self.face), next(iter(sites.values())))


def _own(host: start_structures.Host, name: str, own: Mapping[str, Any]) -> Site:
    return own_site(host.pristine, (), name, own["face"], tuple(own["at"]))


def _free_site(face: str, taken: Mapping[str, Any]) -> str:
    count = sum(name.startswith(f"imported@{face}") for name in taken)
    return f"imported@{face}-{count + 1}" if count else f"imported@{face}"


def _remarks(plan: Plan, found: Sorted, records: Records) -> Iterator[str]:
    """Say what stands behind the energies otherwise than one may think."""
    atom = plan.names[found.adsorbate]
    slabs = found.by_kind().get("relax", [])
    if found.atom is None and records.record(atom.id) is None:
        yield f"no isolated {found.adsorbate} atom is among the runs, and ΔE is against it: import it, too, as these"
    elif found.atom is not None and not found.atom.run.sampling.spin_polarised:
        if any(one.run.sampling.spin_polarised for one in slabs):
            raise Refused({found.atom.folder: ["the atom was run without spin, and the sheets with"]})
        if moment := ground_state_moment(found.adsorbate):
            yield f"the isolated {found.adsorbate} atom was run without spin; its ground state has {moment:g} μB"
