"""How many ions a host takes, in which arrangement, and at which voltages: hull, plateaus, capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.columns import Column
from ...analysis.energies.adsorption import site_of
from ...analysis.energies.coverage import (
    COVERAGE,
    ArrangementResult,
    CoverageResult,
    coverage_result,
    energy_role,
    host_role,
    nearest_distance,
    terms_of,
)
from ...analysis.energies.uncertainty import NO_BAR, UNCERTAINTY
from ...analysis.records import MOCK
from ...analysis.report.content import Panel
from ...analysis.words import distinct, formula, listed
from ...structures.arrangements import Arrangements, Search
from ...structures.geometry import Floats
from ...structures.monolayers import Monolayer
from ...structures.stacks import Stack
from ..calculation import HOST
from ..campaign.yaml import InputError
from ..start_structures import Host, ideal_atoms, ions, name_of_ions, read_host
from .base import Figure, HostPart, Number, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded
from .bulk_reference import ion_charge
from .layers import sheet_label
from .statics import LEAST_VACUUM_A, energy_of_reference, static
from .vacancy_formation import unit_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...analysis.model_result import HostRecords, ModelResult
    from ..calculation import Calculation
    from ..database.documents import Documents
    from .declare import Declare


@dataclass(frozen=True)
class _Cell:
    """The cell that a coverage is computed in.

    Attributes
    ----------
    repeat
        Of the sheet.
    host
        The clean host.
    units
        Formula units of the sheet without its defects.
    search
        Of arrangements on the points that ions may take.
    """

    repeat: tuple[int, int]
    host: Calculation
    ideal: Host
    units: int
    search: Search

    @property
    def name(self) -> str:
        return "x".join(map(str, self.repeat))


class Coverage(Quantity):
    """Several ions on each host; asked for by the campaign's key ``coverage``."""

    name = COVERAGE
    optional = False
    of_sites = True
    words = {"bulk": "bulk", "": "ions on the host"}
    columns = (
        Column(
            "stable_coverage",
            lambda r: r.stable_coverage,
            page="stable to x{mock}",
            manuscript="x",
            only_with_values=True,
        ),
        Column(
            "average_voltage_v",
            lambda r: r.average_voltage_v,
            table="V{mock}",
            page="average voltage{mock} / V",
            manuscript="voltage (V)",
            digits=2,
            only_with_values=True,
        ),
        Column(
            "capacity_mah_per_g",
            lambda r: r.capacity_mah_per_g,
            table="mAh/g{mock}",
            page="capacity{mock} / (mAh/g)",
            manuscript="capacity (mAh/g)",
            digits=1,
            only_with_values=True,
        ),
        Column("plateaus", lambda r: [asdict(step) for step in r.plateaus], digits=None, in_csv=None),
        Column("coverages", lambda r: [_values(r, one) for one in r.arrangements], digits=None, in_csv=None),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the arrangements of each number of ions on each host, and the bulk metal.

        Raises
        ------
        InputError
            If there is no bulk metal, a cell cannot hold a coverage, or the sites not so many ions.
        """
        spec = declare.campaign.spec
        if not spec.coverage:
            return QuantityPlan()
        if declare.campaign.molecule is not None:
            raise InputError(
                f"{declare.where}: coverage: {declare.campaign.adsorbate} is a molecule and no ion, so that it has "
                "neither voltage nor capacity; leave coverage out, and adsorb it in smaller or larger supercells."
            )
        if "bulk" not in declare.engine.capabilities:
            raise InputError(f"{declare.where}: coverage: the engine {declare.engine.name} has no bulk metal.")
        taken = {host.calculation.id for host in hosts}
        return QuantityPlan(hosts={host.name: _Planned(declare, host, taken).part() for host in hosts})

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> CoverageResult | None:
        """Form the energies of all arrangements, their hull, and what follows from it."""
        if self.name not in host.model.quantities:
            return None
        return coverage_result(host.model, host.records, host.missing)

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say the steps, what was left out, and where ions are nearer than in the metal or ended elsewhere."""
        lines = []
        for result in results:
            found: CoverageResult | None = result.quantities.get(self.name)
            if found is not None:
                mock = "" if result.physical else f", {MOCK}"
                unit = result.host.model.quantities[self.name].declared.get("unit")
                lines += [f"{result.model}: {line}{mock}" for line in _lines(found, unit)]
                if found.plateaus and UNCERTAINTY in result.host.model.quantities:
                    lines.append(f"{result.model}: ± of formation energies and voltages: {NO_BAR}")
                lines += [f"{result.model}: {line}" for line in _chosen(result.host, found)]
        return lines

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Draw the hull, and the voltage against the capacity."""
        found: CoverageResult | None = result.quantities.get(self.name)
        if found is None or not found.hull:
            return QuantityContent()
        x, energies = zip(*found.corners, strict=True)
        counting = [one for one in found.arrangements if one.counts]
        hull = {
            "x": "ions per formula unit",
            "y": "formation energy / (eV per formula unit)",
            "curves": [
                {"name": "convex hull", "x": x, "y": energies},
                {
                    "name": "arrangements",
                    "x": [one.x for one in counting],
                    "y": [one.formation_energy_ev for one in counting],
                    "mode": "markers",
                },
            ],
        }
        words = f"Formation energies of ions on {result.model}, with their convex hull"
        panels = [Panel("curves-hull", hull, words, f"{words}.")]
        if found.voltage_curve:
            capacities, voltages = zip(*found.voltage_curve, strict=True)
            curve = {"name": result.model, "x": capacities, "y": voltages, "mode": "lines"}
            steps = {"x": "capacity / (mAh/g)", "y": "voltage / V", "curves": [curve]}
            words = f"Voltage of {result.model} against the bulk metal, by the capacity"
            panels.append(Panel("curves-voltage", steps, words, f"{words}."))
        return QuantityContent(panels=panels)

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw hulls and voltages of all hosts."""
        given = {result.model: result.quantities.get(self.name) for result in results}
        found = {model: one for model, one in given.items() if one is not None and one.hull}
        if not found:
            return {}

        def draw(path: Path, mock: bool) -> None:
            from ...analysis.figures.coverage import voltage_plot

            voltage_plot(found, path, mock)

        return {"voltage": draw}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say how arrangements were chosen and what the voltages are."""
        asked = [host.model.quantities[self.name].declared for host in hosts if self.name in host.model.quantities]
        if not asked or not recorded(hosts, self.name):
            return []
        numbers = sorted({Fraction(said["coverage"]) for one in asked for said in one["found"]})
        return [
            "Symmetry-distinct arrangements of ions were enumerated at "
            f"{listed([str(number) for number in numbers])} ions per formula unit on "
            f"{distinct(one['faces'] for one in asked)}, and those of lowest energy of point charges relaxed.",
            "Voltages are those between neighbouring corners of the convex hull of formation energies against the "
            "clean host and the bulk metal, without entropy; capacities refer to the mass of the host.",
        ]

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return the formation energy of each arrangement, and the values of the host, with the records behind."""
        found: CoverageResult | None = result.quantities.get(self.name)
        if found is None:
            return []
        model = result.host.model
        entry = model.quantities[self.name]

        def behind(one: ArrangementResult) -> tuple[str, ...]:
            terms = terms_of(model, entry, one.name, one.cell)
            return tuple(dict.fromkeys((*terms.energies, *terms.relaxed)))

        corners = [record for name in found.hull for record in behind(found.arrangement(name))]
        numbers = [
            Number("", column.key, result.values[column.key], tuple(dict.fromkeys(corners)))
            for column in self.columns
            if column.digits is not None and result.values[column.key] is not None
        ]
        return numbers + [
            Number(one.name, "formation_energy_ev", one.formation_energy_ev, behind(one))
            for one in found.arrangements
            if one.formation_energy_ev is not None
        ]


@lru_cache(maxsize=8)
def _search(host: Host, heights_a: tuple[float, ...], allowed: tuple[int, ...], spacing_a: float) -> Search:
    """Return the search on a host; the campaigns of a study have the same hosts."""
    return Search(host.points, np.array(heights_a), allowed, spacing_a)


class _Planned:
    """The arrangements on one host."""

    def __init__(self, declare: Declare, host: PlannedHost, taken: set[str]) -> None:
        self.declare, self.host, self.taken = declare, host, taken
        self.spec = declare.campaign.spec
        self.element = declare.campaign.adsorbate
        self.where = f"{declare.where}: coverage: model {host.name}"
        self.sites = [name for name in host.sites if site_of(name) == name]
        self.relaxed_bulk = declare.element(self.element, COVERAGE, host.protocol)
        final = host.final_protocol
        self.bulk = self.relaxed_bulk
        if final is not None:
            self.bulk, _ = energy_of_reference(declare, self.element, host.protocol, final, "final")
        self.cells: dict[tuple[int, int], _Cell] = {}

    def part(self) -> HostPart:
        """Return the calculations of all coverages."""
        calculations: dict[str, Calculation] = {}
        names: dict[str, Calculation] = {}
        declared: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        for coverage in sorted(map(Fraction, self.spec.coverage)):
            cell, count = self._cell(coverage)
            if cell.repeat != self.host.repeat:
                calculations[host_role(cell.name)] = cell.host
                if cell.host.id not in self.taken:
                    names[f"{self.host.name}/{cell.name}"] = cell.host
            own, arrangements = self._of(cell, count)
            for name, calculation in own.items():
                calculations[name] = calculation
                places = self._places(cell.ideal, name, calculation)
                declared.append({"name": name, "ions": count, "cell": cell.name, "places": places})
                if calculation not in self.host.sites.values():
                    folder = "" if cell.repeat == self.host.repeat else f"{cell.name}/"
                    names[f"{self.host.name}/{folder}{name}"] = calculation
            counts = {"count": arrangements.count, "complete": arrangements.complete, "computed": len(own)}
            found.append({"coverage": str(coverage), **counts})
        self._read(self.host.repeat)  # for the mass of its formula unit, also where every coverage is in another cell
        values: dict[str, Any] = {
            "charge": ion_charge(self.declare, COVERAGE),
            "faces": self._faces,
            "units": {cell.name: cell.units for cell in self.cells.values()},
            "arrangements": declared,
            "found": found,
        }
        if self._unit is not None:
            values["unit"] = self._unit
        finals = self._finals(calculations)
        names |= {f"{name}/final": finals[calculation.id] for name, calculation in names.items() if finals}
        energies = {energy_role(role): finals[relaxed.id] for role, relaxed in calculations.items() if finals}
        if finals:
            energies[energy_role(HOST)] = self.host.finals[HOST]
        references = (self.relaxed_bulk, *([] if self.bulk == self.relaxed_bulk else [self.bulk]))
        return HostPart({"bulk": self.bulk, **calculations, **energies}, values, references, names)

    def _finals(self, relaxed: Mapping[str, Calculation]) -> dict[str, Calculation]:
        """Return the energies at relaxed geometries by the ids of the relaxations, if they are asked for."""
        protocol, own = self.host.final_protocol, self.host.finals
        if protocol is None:
            return {}
        extra = self.host.extra_vacuum_a
        return {
            calculation.id: own[role] if role in own else static(self.declare, calculation, "final", protocol, extra)
            for role, calculation in relaxed.items()
        }

    @cached_property
    def _face(self) -> str | None:
        return None if self.spec.sides == "both" else self._ideal.sites[self._named[0]].face

    @cached_property
    def _unit(self) -> str | None:
        """The formula unit of a structure file, which its own dopants and vacancies make larger: ``Mo3S8W``."""
        if isinstance(self.host.origin, Monolayer | Stack):
            return None
        return formula(unit_of(self.host))

    @property
    def _faces(self) -> str:
        """The faces that ions are put on, which are fewer than asked for where sites are named on one alone."""
        points, allowed = self._ideal.points, self._read(self.host.repeat).search.allowed
        on = {points.face(index) for index in allowed}
        return "both faces" if len(on) > 1 else f"the {on.pop()} face"

    @cached_property
    def _ideal(self) -> Host:
        return read_host(self.host.calculation.structure)

    @cached_property
    def _named(self) -> list[str]:
        """The sites of faces; those of a user's own have no equivalents by name, and a bridge is between two."""
        faces = self._ideal.sites
        if not faces:
            raise InputError(
                f"{self.where}: is periodic along c, and ions are distributed over the sites of faces; take it out, "
                "or give it layers, which have faces."
            )
        named = [name for name in self.sites if name in faces]
        if not named:
            raise InputError(
                f"{self.where}: has own_sites alone, bridges or gallery sites; name some of {', '.join(faces)}."
            )
        return named

    def _read(self, repeat: tuple[int, int]) -> _Cell:
        """Return the host in a cell, its own or another one."""
        if repeat in self.cells:
            return self.cells[repeat]
        host = self.host.calculation
        if repeat != self.host.repeat:
            lengths = {key: host.structure[key] for key in ("vacuum_a", "headroom_a")}
            structure = self.declare.host_structure(self.host.origin, repeat, (), **lengths)
            host = self.declare("relax", structure, {}, sheet_label(self.declare, self.host), self.host.protocol)
        ideal = read_host(host.structure)
        units = len(ideal.pristine) // sum(unit_of(self.host).values())
        named = self._named  # refuses a crystal, which has no points on faces
        allowed = ideal.points.of(named, self._face)
        search = _search(ideal, tuple(self._heights(ideal).tolist()), tuple(allowed), self._spacing_a)
        self.cells[repeat] = _Cell(repeat, host, ideal, units, search)
        return self.cells[repeat]

    def _cell(self, coverage: Fraction) -> tuple[_Cell, int]:
        """Return the cell of a coverage, the host's own or a smaller one that holds it, and the number of ions."""
        own = self.host.repeat
        in_one = len(self._ideal.pristine) // sum(unit_of(self.host).values()) // (own[0] * own[1])
        smaller = [(n, n) for n in range(min(own), 0, -1) if n < max(own)]
        # Defects have a concentration, and a mesh that is given by hand one cell.
        if self.host.defects or "kpoint_mesh" in self.host.calculation.protocol:
            smaller = []
        for repeat in (own, *smaller):
            count = coverage * in_one * repeat[0] * repeat[1]
            if count.denominator == 1:
                cell = self._read(repeat)
                if count <= 2 * cell.search.holds:
                    return cell, int(count)
                raise InputError(self._too_many(coverage, cell))
        raise InputError(self._not_held(coverage, in_one * own[0] * own[1]))

    def _too_many(self, coverage: Fraction, cell: _Cell) -> str:
        holds = cell.search.holds
        second = f"{self.element}2"
        more = [", or sides: both"] * (self._face is not None)
        more += [", or sites: all"] * (len(self._named) < len(self._ideal.sites))
        return (
            f"{self.where}: {coverage} ions per formula unit are more than its sites hold: "
            f"{', '.join(self._named)} on {self._faces} take "
            f"{Fraction(holds, cell.units)}, a second layer ({second}) as many again; give at most "
            f"{Fraction(2 * holds, cell.units)}{''.join(more)}."
        )

    def _not_held(self, coverage: Fraction, units: int) -> str:
        cell = "×".join(map(str, self.host.repeat))
        below = int(coverage * units)
        near = listed([str(Fraction(k, units)) for k in (below, below + 1) if k > 0])
        smaller = "" if self.host.defects else ", and no smaller cell holds it"
        of = "" if self._unit is None else f" {self._unit}"
        return (
            f"{self.where}: {coverage} ions per formula unit are no whole number in its {cell} cell, which has "
            f"{units} formula unit{'s' * (units != 1)}{of}{smaller}; near it are {near}. Or give a supercell "
            f"with a multiple of {coverage.denominator} formula units."
        )

    def _of(self, cell: _Cell, count: int) -> tuple[dict[str, Calculation], Arrangements]:
        """Return the relaxations of a number of ions by name, and what was chosen from."""
        points = cell.ideal.points
        found = cell.search.arrange(count, self.spec.most)
        if count == 1 and cell.repeat == self.host.repeat:
            alone = dict.fromkeys(points.sites[i].name for i in cell.search.allowed)
            return {name: self.host.sites[name] for name in alone}, found
        above = self.host.heights
        by_site = {site.name: above.of(site.kind) for site in points.sites}
        own: dict[str, Calculation] = {}
        for one in found.chosen:
            first, second = ([points.place(index) for index in layer] for layer in (one.first, one.second))
            name = name_of_ions(self.element, cell.repeat, first, second)
            operation = ions(self.element, first, by_site, second, self._spacing_a)
            label = f"{cell.host.label}/{name}"
            own[name] = self.declare("relax", operation, {"host": cell.host}, label, self.host.protocol)
            self._refuse_without_vacuum(name, own[name])
        return own, found

    def _places(self, ideal: Host, name: str, calculation: Calculation) -> str:
        """Say how many ions are put on which kind of site of which face: ``4 T_W@top, 2 Na2@top``."""
        operation, points = calculation.structure, ideal.points
        if "places" not in operation:
            return f"1 {name}"
        layers = [[points.index(place) for place in operation.get(key, ())] for key in ("places", "second")]
        words = [f"{points.sites[index].kind}@{points.face(index)}" for index in layers[0]]
        words += [f"{self.element}2@{points.face(index)}" for index in layers[1]]
        return ", ".join(f"{number} {word}" for word, number in Counter(words).items())

    def _heights(self, ideal: Host) -> Floats:
        """Return the height of an ion on each point above the middle of the host, Å."""
        points, above = ideal.points, self.host.heights
        half = float(np.ptp(ideal.pristine.positions[:, 2])) / 2
        heights = np.array([half + above.of(site.kind) for site in points.sites])
        return np.where(points.on_top, heights, -heights)

    @cached_property
    def _spacing_a(self) -> float:
        """Distance of neighbours in the metal, which layers of ions have too at the start, Å."""
        atoms = ideal_atoms(self.relaxed_bulk)
        assert atoms is not None  # a reference has atoms
        return round(nearest_distance(atoms.positions, atoms.cell.array, periodic=3), 4)

    def _refuse_without_vacuum(self, name: str, calculation: Calculation) -> None:
        atoms = ideal_atoms(calculation)
        assert atoms is not None
        left = float(atoms.cell[2, 2] - np.ptp(atoms.positions[:, 2]))
        if left < LEAST_VACUUM_A:
            lacking = LEAST_VACUUM_A - left
            raise InputError(
                f"{self.where}: {name} leaves {left:.1f} Å of vacuum, and images of a sheet overlap below "
                f"{LEAST_VACUUM_A:g} Å; raise vacuum_a by {lacking:.1f} Å or more."
            )


def _values(result: CoverageResult, one: ArrangementResult) -> dict[str, Any]:
    return {**asdict(one), "on_hull": one.name in result.hull}


def _lines(found: CoverageResult, unit: str | None) -> list[str]:
    """Return what the energies say, a sentence each; ``unit`` is the formula unit of a structure file."""
    if not found.plateaus:
        return []
    steps = ", ".join(f"{step.voltage_v:.2f} V from x = {step.first} to {step.last}" for step in found.plateaus)
    without = f", without x = {listed(found.unknown)}, where no energy is known" if found.unknown else ""
    lines = [f"voltage against the metal: {steps}{without}"]
    if found.stable_coverage is None:
        return lines
    if found.stable_coverage == 0:
        lines.append("plating the metal is preferred from the first ion on")
    else:
        last = found.arrangement(found.hull[_stable_steps(found) - 1])
        of = "" if unit is None else f" {unit}"
        most = ", the most that was asked for" if last.x == max(one.x for one in found.arrangements) else ""
        lines.append(
            f"takes {last.coverage} {'ion' if last.x == 1 else 'ions'} per formula unit{of}{most} ({last.places}) "
            f"at {found.average_voltage_v:.2f} V on average"
            + ("" if found.capacity_mah_per_g is None else f", {found.capacity_mah_per_g:.1f} mAh/g")
            + f"; the thickness of the sheet has then changed by {last.thickness_change_a:+.2f} Å"
        )
    return lines


def _stable_steps(found: CoverageResult) -> int:
    return sum(step.voltage_v > 0 for step in found.plateaus)


def _chosen(host: HostRecords, found: CoverageResult) -> list[str]:
    """Return what was left out, what ended elsewhere, and where ions are near, a sentence each."""
    lines = []
    cut = [
        f"{said['computed']} of {'' if said['complete'] else 'more than '}{said['count']} at x = {said['coverage']}"
        for said in host.model.quantities[COVERAGE].declared["found"]
        if said["computed"] < said["count"]
    ]
    if cut:
        lines.append(
            f"distinct arrangements that are relaxed, those of lowest energy of point charges: {', '.join(cut)}"
        )
    same: dict[str, list[str]] = {}
    for one in found.arrangements:
        if one.same_as is not None:
            same.setdefault(one.same_as, []).append(one.name)
    lines += [f"{listed(names)} ended in the place of {name}, which counts once" for name, names in same.items()]
    left = [one.name for one in found.arrangements if one.left]
    lines += [f"ions left the sheet from {listed(left)}, which do not count"] if left else []
    near = [
        f"{one.nearest_ions_a:.2f} Å at x = {one.coverage}"
        for one in found.arrangements
        if one.nearer_than_metal and one.name in found.hull
    ]
    lines += [f"ions lie nearer to each other than in the metal: {', '.join(near)}"] if near else []
    return lines
