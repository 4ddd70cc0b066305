"""Writes the tables of docs/reproduction.md from the records in docs/reproduction.

    python benchmarks/reproduction_tables.py            # prints them
    python benchmarks/reproduction_tables.py --write    # puts them into docs/reproduction.md

A table stands there between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. D3 is computed here, at the
geometries of the records, by the package dftd3 (extra ``[gpaw]``).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from sodiate.analysis.model_result import ModelResult
from sodiate.analysis.records import Record
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.campaign.yaml import CONFIGS
from sodiate.workflows.cli.cost_view import in_words
from sodiate.workflows.database.standing import standing_of
from sodiate.workflows.kinds import KINDS
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.quantities.dos import DensityOfStates
from sodiate.workflows.results.cost import launches_of, outlook
from sodiate.workflows.results.results import Results

DOCS = Path(__file__).resolve().parents[1] / "docs"

ENTHALPIES = DOCS.parent / "tests" / "data" / "formation_enthalpies.csv"
"""Of formation, by experiment, kJ/mol; with the source of each."""

KJ_PER_MOL_EV = 96.48533212

C2DB_GAP_EV = {"WSe2": 1.553, "WSSe": 1.696}
"""PBE without spin–orbit coupling, from the Computational 2D Materials Database."""

LEFT: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    (
        "energies on 3×3×1",
        "wsse-gpaw-best",
        {"protocol": {"base": "paper", "final_energy": {"kpoint_length_a": 26.1}}},
    ),
    (
        "energies on 4×4×1",
        "wsse-gpaw-best",
        {"protocol": {"base": "paper", "final_energy": {"kpoint_length_a": 39.0}}},
    ),
    (
        "clean sites, rattled, without symmetry",
        "wsse-gpaw-best",
        {
            "models": [
                {"model": "WSe2", "sites": ["T_W@top"], "starts": 2},
                {"model": "WSSe", "sites": ["T_W@top", "T_W@bottom"], "starts": 2},
            ]
        },
    ),
    (
        "the pair 4.58 Å apart, 3×3",
        "wsse-gpaw-best",
        {"models": [{"model": "WSSe+VS+VSe", "pair": 4.58, "sites": ["V_S@top"]}]},
    ),
    (
        "energies without spin, sheets and atom",
        "wsse-gpaw-best",
        {"protocol": {"base": "paper", "final_energy": {"spin_polarised": False}}},
    ),
    (
        "mixed sheets: the other T_W, vacancies of S and Se",
        "wsse-sensitivity",
        {
            "models": [
                {"model": "WSSe", "ordering": "2+2a", "sites": ["T_W@top-2"]},
                {"model": "WSSe", "name": "mixed-VS", "ordering": "2+2a", "remove": ["S@1"], "sites": ["V_S@top"]},
                {
                    "model": "WSSe",
                    "name": "mixed-VSe",
                    "ordering": "2+2a",
                    "remove": ["Se@8"],
                    "sites": ["V_Se@bottom"],
                },
            ]
        },
    ),
    ("hollows, T_X, and T_W beside vacancies", "wsse-gpaw", {}),
)
"""What docs/reproduction.md lacks: in words, the bundled campaign, and its keys that are changed for it."""

_BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True)
class Explanation:
    """What a difference of method would add to ΔE of the best site of each host, in eV."""

    name: str
    shifts_ev: tuple[float, ...]

    def left_ev(self, differences_ev: Sequence[float]) -> np.ndarray[Any, Any]:
        """Return what is left of the differences from the paper."""
        return np.array(differences_ev) + np.array(self.shifts_ev)

    def pattern(self, differences_ev: Sequence[float]) -> float:
        """Return the share of the differences' variance between hosts that it explains; a constant explains none."""
        return 1.0 - float(np.var(self.left_ev(differences_ev)) / np.var(differences_ev))


@dataclass(frozen=True)
class _Cost:
    """What a calculation took; a launch that was killed left no time."""

    iterations: int
    launches: int
    seconds: float
    last_s: float
    killed: int

    @classmethod
    def total(cls, costs: Iterable[_Cost]) -> _Cost:
        rows = [astuple(cost) for cost in costs]
        return cls(*(sum(column) for column in zip(*rows, strict=True)))

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What the table shows of it."""
        more = f", and {self.killed} killed" if self.killed else ""
        return str(self.iterations), str(self.launches), f"{self.seconds / 60:.0f}{more}", f"{self.last_s / 60:.0f}"


class Reproduction:
    """The archive of the reproduction, and the tables that follow from it."""

    def __init__(self, results: Results, page: str) -> None:
        self.results = results
        self.page = page

    def models(self, campaign: str) -> dict[str, ModelResult]:
        """Return the hosts of a campaign by name."""
        return {model.model: model for model in self.results.models(campaign)}

    @cached_property
    def best(self) -> dict[str, ModelResult]:
        """The hosts of the paper's Figure 5."""
        return self.models("wsse-gpaw-best")

    def sites(self) -> Iterator[Sequence[str]]:
        """ΔE of each site."""
        moments = "moment of the cell (μB)", "of it in Na's sphere (μB)"
        yield "site", "ended at", "ΔE (eV)", "against bcc Na (eV)", *moments, "paper (eV)", "less paper (eV)"
        for name, model in self.best.items():
            for site in model.sites:
                numbers = f"{site.adsorption_energy_ev:.3f}", f"{site.adsorption_energy_bulk_ev:+.3f}"
                moments = f"{site.total_moment_mub:.2f}", f"{site.adsorbate_moment_mub:.3f}"
                published = "", ""
                if site.site == model.site:
                    published = f"{model.paper_adsorption_energy_ev:.2f}", f"{model.difference_from_paper_ev:+.3f}"
                yield f"{name}/{site.site}", str(site.end), *numbers, *moments, *published

    def effects(self) -> Iterator[Sequence[str]]:
        """What each choice does to ΔE."""
        yield "model of `wsse-sensitivity`", "what is different", "ΔE (eV)", "effect (eV)"
        for name, model in self.models("wsse-sensitivity").items():
            words = "; ".join(model.changes) or "the protocol as it is"
            effect = "" if model.effect_ev is None else f"{model.effect_ev:+.3f}"
            yield name, words, f"{model.adsorption_energy_ev:.3f}", effect

    def gaps(self) -> Iterator[Sequence[str]]:
        """Gaps and levels of the vacancies."""
        yield "host", "gap (eV)", "of the host itself", "levels of the vacancies (eV)", "share", "C2DB"
        for name, model in self.best.items():
            lines = DensityOfStates().draw(model, self.results.documents).lines
            own = [match[1] for line in lines if (match := re.search(r"host itself ([\d.]+) eV", line))]
            levels = [match.groups() for line in lines if (match := _LEVEL.search(line))]
            told = [f"{low} to {high}{' filled' if state == 'filled' else ''}" for low, high, state, _ in levels]
            yield (
                name,
                f"{model.band_gap_ev:.3f}, {model.gap_nature}",
                own[0] if own else f"{model.band_gap_ev:.3f}",
                "; ".join(told),
                "; ".join(f"{share} %" for *_, share in levels),
                str(C2DB_GAP_EV.get(name, "")),
            )

    def formation(self) -> Iterator[Sequence[str]]:
        """Formation energies of the vacancies."""
        yield "vacancies of", "X-rich (eV)", "W-rich (eV)"
        for name, model in self.best.items():
            if "vacancy_formation" in model.quantities:
                energies = model.quantities["vacancy_formation"]
                yield name, f"{energies.x_rich_ev:.3f}", f"{energies.metal_rich_ev:.3f}"

    @cached_property
    def measured_ev(self) -> dict[str, float]:
        """Enthalpies of formation by experiment, eV per formula unit; WSSe as the mean of WS2 and WSe2."""
        with ENTHALPIES.open(encoding="utf-8") as lines:
            found = {row["substance"]: float(row["kj_per_mol"]) / KJ_PER_MOL_EV for row in csv.DictReader(lines)}
        return found | {"WSSe": (found["WS2"] + found["WSe2"]) / 2}

    @cached_property
    def converted(self) -> dict[str, ModelResult]:
        """The hosts of `wsse-conversion` by name, from an archive of their own."""
        with Results.open(DOCS / "conversion") as results:
            return {model.model: model for model in results.models()}

    def conversion(self) -> Iterator[Sequence[str]]:
        """Average voltages of conversion of sheets and crystals, what D3 adds at their geometries, and experiment."""
        numbers = "sheet (V)", "crystal (V)", "D3 adds to the sheet's (V)", "to the crystal's (V)", "experiment (V)"
        yield "reaction", *numbers, "mAh/g"
        for model in self.converted.values():
            found = model.quantities["conversion"]
            if found.voltage_v is None:
                continue
            entry = model.host.model.quantities["conversion"]
            others = {role: one for role, one in entry.calculations.items() if role != "crystal"}
            amounts = {"bulk": -Fraction(entry.declared["ions"])}
            amounts |= {name: Fraction(number) for name, number in entry.declared["products"].items()}
            rest = sum(float(amounts[role]) * self._d3_of_a_unit_ev(model, one) for role, one in others.items())
            voltages = [found.voltage_v, found.crystal_voltage_v]
            hosts = [model.host.model.host, entry.calculations["crystal"]]
            added = [
                "" if voltage is None else f"{(self._d3_of_a_unit_ev(model, host, 3) - rest) / found.electrons:+.2f}"
                for voltage, host in zip(voltages, hosts, strict=True)
            ]
            gained = sum(
                float(amounts[name]) * self.measured_ev.get(name, 0.0) for name in entry.declared["products"]
            )
            experiment = (self.measured_ev[model.model] - gained) / found.electrons
            shown = ["" if voltage is None else f"{voltage:.2f}" for voltage in voltages]
            yield found.equation, *shown, *added, f"{experiment:.2f}", f"{found.capacity_mah_per_g:.1f}"

    def _d3_of_a_unit_ev(self, model: ModelResult, identifier: str, atoms: int | None = None) -> float:
        """Return D3(BJ) of a record's atoms; of as many of its atoms as a formula unit has, if they are given."""
        record = model.host.records.get(identifier)
        if record is None or record.geometry is None:
            return 0.0
        return _d3_ev(record.geometry.atoms()) * (1.0 if atoms is None else atoms / len(record.geometry.symbols))

    def elements(self) -> Iterator[Sequence[str]]:
        """Energies of formation from the elements, against experiment."""
        yield "formed from its elements", "here (eV)", "experiment (eV)", "here less experiment (eV)"
        records = {r.label: r for model in self.converted.values() for r in model.host.records.values()}
        for name in ("S-molecule", "Se-crystal"):
            records[name] = self.results.get(name, campaign="wsse-gpaw-best").record
        elements = {
            name.partition("-")[0]: _energy(records[name]) / len(_symbols(records[name]))
            for name in ("Na-bcc", "W-bcc", "S-molecule", "Se-crystal")
        }
        found = {name: f"{name}-antifluorite" for name in ("Na2S", "Na2Se")}
        found |= {name: name for name in self.converted if name in records}
        for name, label in found.items():
            formed = _energy(records[label]) - sum(elements[one] for one in _symbols(records[label]))
            measured = self.measured_ev[name]
            yield name, f"{formed:.2f}", f"{measured:.2f}", f"{formed - measured:+.2f}"

    def charges(self) -> Iterator[Sequence[str]]:
        """Electrons that Na gives; from the page, since archives hold no grids."""
        yield "Na on", "by its Bader basin", "by the plane between Na and the sheet", "∫Δρ"
        for section in re.findall(r"<section class='host' id='host-0-\d+'>(.*?)</section>", self.page, re.DOTALL):
            plane, integral, basin = re.findall(_NUMBER, re.findall(r"<li>Na gave (.*?)</li>", section)[0])
            shown = re.findall(r">([^<>]*) as POSCAR", section)[0]
            yield shown.replace("/", ", "), basin, plane, integral

    def cost(self) -> Iterator[Sequence[str]]:
        """Wall times over all launches: relaxations of the hosts of Figure 5 one by one, others by kind."""
        yield "calculations", "SCF iterations", "launches", "minutes, all launches", "of which the last ones"
        groups: dict[str, list[_Cost]] = {}
        campaigns = ("wsse-gpaw-best", "wsse-sensitivity")
        seen: set[str] = set()
        for campaign in campaigns:
            for record in self._records(campaign):
                if record.calculation in seen:
                    continue
                seen.add(record.calculation)
                large = record.geometry is not None and len(record.geometry.symbols) > 20 and record.kind == "relax"
                name = record.label if large and campaign == campaigns[0] else f"{record.kind}, {campaign}"
                groups.setdefault(name, []).append(self._cost(record))
        rows = {name: _Cost.total(costs) for name, costs in groups.items()}
        for name, row in sorted(rows.items(), key=lambda item: ("," in item[0], item[0])):
            number = f"{len(groups[name])} × " if "," in name else ""
            yield (f"{number}{name}", *row.cells)
        whole = _Cost.total(rows.values())
        hours = (f"{2 * seconds / 3600:.1f} CPU-hours" for seconds in (whole.seconds, whole.last_s))
        yield ("all together, on two ranks", *whole.cells[:2], *hours)

    def left(self) -> Iterator[Sequence[str]]:
        """What is not computed yet, and what `sodiate plan` expects of it."""
        yield "what", "campaign", "with", "calculations", "CPU-hours (range)"
        for words, bundled, changes in LEFT:
            missing = self._missing(bundled, changes)
            estimate = outlook(self.results.documents, missing).total.estimate
            assert estimate is not None
            keys = json.dumps(changes, ensure_ascii=False).replace('"', "")[1:-1]
            yield words, f"`{bundled}`", f"`{keys}`" if keys else "", str(len(missing)), in_words(estimate)

    def _missing(self, bundled: str, changes: Mapping[str, Any]) -> list[Calculation]:
        """Return the calculations of ΔE that a changed campaign has and the archive lacks."""
        campaign = yaml.safe_load((CONFIGS / "campaigns" / f"{bundled}.yaml").read_text(encoding="utf-8"))
        campaign |= {"quantities": [], "bulk_references": {}, **changes}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "campaign.yaml"
            path.write_text(yaml.safe_dump(campaign, allow_unicode=True), encoding="utf-8")
            planned = plan(path).calculations
        reasons = standing_of(self.results.documents, [calculation.id for calculation in planned]).reasons
        return [one for one in planned if one.id in reasons and not KINDS[one.kind].chooses]

    def _cost(self, record: Record) -> _Cost:
        launches = launches_of(self.results.documents, {record.calculation: record})[record.calculation]
        run = record.provenance
        return _Cost(run.scf_steps or 0, launches.count, launches.wall_s, run.wall_time_s, launches.untimed)

    def _records(self, campaign: str) -> list[Record]:
        """Return the records of a campaign that a code computed, each once."""
        records: dict[str, Record] = {}
        for model in self.models(campaign).values():
            records |= model.host.records
        return [record for record in records.values() if record.choice is None]

    def explanations(self) -> Iterator[Sequence[str]]:
        """What each explanation leaves of the differences from the paper, the best for the pattern first."""
        heads = ("explanation", *self.best, "mean left (eV)", "scatter left (eV)", "of the pattern")
        yield heads
        differences = [float(model.difference_from_paper_ev) for model in self.best.values()]
        yield self._explanation(Explanation("none: this table's own values", (0.0,) * len(differences)), differences)
        ranked = sorted(self._explanations(), key=lambda explanation: -explanation.pattern(differences))
        for explanation in ranked:
            yield self._explanation(explanation, differences)

    def _explanation(self, explanation: Explanation, differences: Sequence[float]) -> Sequence[str]:
        left = explanation.left_ev(differences)
        share = f"{100 * explanation.pattern(differences) + 0.0:.0f} %"
        return (
            explanation.name,
            *(f"{value:+.3f}" for value in left),
            f"{left.mean():+.3f}",
            f"{left.std():.3f}",
            share,
        )

    def _explanations(self) -> Iterator[Explanation]:
        hosts = list(self.best)
        atom = float(self.models("wsse-sensitivity")["unpolarised-atom"].effect_ev)
        d3 = tuple(self.dispersion_ev(name) for name in hosts)
        mean = -float(np.mean([model.difference_from_paper_ev for model in self.best.values()]))
        yield Explanation(f"a constant, {mean:+.3f} eV, fitted", (mean,) * len(hosts))
        yield Explanation("Na atom without spin", (atom,) * len(hosts))
        for functional in ("RPBE", "PBEsol"):
            yield Explanation(functional, tuple(self._by_functional_ev(name, functional) for name in hosts))
        yield Explanation("D3", d3)
        yield Explanation("Na atom without spin, and D3", tuple(atom + shift for shift in d3))
        localised = {what: tuple(shifts.values()) for what, shifts in self.localised.items()}
        mesh, unpolarised = localised["4×4×1"], localised["without spin"]
        yield Explanation("k points, 4×4×1", mesh)
        yield Explanation("spin–orbit coupling", localised["spin–orbit coupling"])
        yield Explanation("sheets and atom without spin", unpolarised)
        yield Explanation(
            "sheets and atom without spin, D3, and 4×4×1",
            tuple(sum(shifts) for shifts in zip(unpolarised, d3, mesh, strict=True)),
        )

    def dispersion_ev(self, name: str) -> float:
        """Return what D3(BJ) adds to ΔE of a host's best site, at the geometries without it."""
        site = self.best[name].site
        return self._d3_ev(f"{name}/{site}") - self._d3_ev(name)  # far from everything Na has none

    def _d3_ev(self, calculation: str, functional: str = "PBE") -> float:
        return _d3_ev(self.results.get(calculation, campaign="wsse-gpaw-best").atoms, functional)

    def mesh(self) -> Iterator[Sequence[str]]:
        """What a denser mesh, spin–orbit coupling and no spin do to ΔE of the best sites, by localised orbitals."""
        heads = "by 4×4×1 (eV)", "ΔE on 4×4×1 (eV)", "by spin–orbit coupling (eV)", "without spin (eV)"
        yield "best site", "ΔE on 2×2×1 (eV)", *heads, "paper (eV)"
        for name, model in self.best.items():
            mesh, coupling, unpolarised = (shifts[name] for shifts in self.localised.values())
            energy = float(model.adsorption_energy_ev)
            changes = f"{mesh:+.3f}", f"{energy + mesh:.3f}", f"{coupling:+.3f}", f"{unpolarised:+.3f}"
            yield f"{name}/{model.site}", f"{energy:.3f}", *changes, f"{model.paper_adsorption_energy_ev:.2f}"

    def bars(self) -> Iterator[Sequence[str]]:
        """ΔE of the best sites on the densest mesh, its bars, and the changes by each functional.

        By the rules of sodiate's own bars: of the mesh what the last step changes, of the functional the
        largest change, at PBE's density and geometries.
        """
        methods = [(functional, d3) for functional in ("PBE", "RPBE", "PBEsol") for d3 in (False, True)][1:]
        heads = [f"by {functional}{'+D3' * d3} (eV)" for functional, d3 in methods]
        yield "ΔE of", "on 4×4×1 (eV)", "± mesh (eV)", "± functional (eV)", *heads, "paper (eV)"
        for name, model in self.best.items():
            site = f"{name}/{model.site}"
            energy = float(model.adsorption_energy_ev) + self.localised["4×4×1"][name]
            last = abs(self._bound(name, 4) - self._bound(name, 3))
            changes = [
                self._by_functional_ev(name, functional)
                + d3 * (self._d3_ev(site, functional) - self._d3_ev(name, functional))
                for functional, d3 in methods
            ]
            shown = f"{energy:.3f}", f"{last:.3f}", f"{max(map(abs, changes)):.2f}"
            rest = *(f"{change:+.3f}" for change in changes), f"{model.paper_adsorption_energy_ev:.2f}"
            yield site, *shown, *rest

    def _by_functional_ev(self, name: str, functional: str) -> float:
        """Return the change of ΔE of a host's best site by another functional at PBE's density, without D3."""
        if functional == "PBE":
            return 0.0
        whole, host, atom = (
            self._lines[structure, 2, True]["functional_ev"][functional]
            for structure in (f"{name}/{self.best[name].site}", name, "Na")
        )
        return float(whole - host - atom)

    @cached_property
    def _lines(self) -> dict[tuple[str, int, bool], dict[str, Any]]:
        """What `benchmarks/lcao.py` computed, by structure, mesh and spin."""
        lines = [json.loads(line) for line in (DOCS / "lcao.jsonl").read_text(encoding="utf-8").splitlines()]
        return {(line["structure"], line["mesh"], line["spin"]): line for line in lines}

    def _bound(self, name: str, mesh: int, spin: bool = True, key: str = "energy_ev") -> float:
        """Return the energy of a host's best site less that of the host, which has no spin, by localised orbitals."""
        whole, host = self._lines[f"{name}/{self.best[name].site}", mesh, spin], self._lines[name, mesh, True]
        return float(whole[key] - host[key])

    @cached_property
    def localised(self) -> dict[str, dict[str, float]]:
        """Changes of ΔE of the best sites by `benchmarks/lcao.py` (eV), by what is changed and host.

        The atom has no k points, and spin–orbit coupling does nothing to its 3s electron; without spin it is that of
        `wsse-sensitivity`.
        """
        atom = float(self.models("wsse-sensitivity")["unpolarised-atom"].effect_ev)
        return {
            "4×4×1": {name: self._bound(name, 4) - self._bound(name, 2) for name in self.best},
            "spin–orbit coupling": {name: self._bound(name, 2, key="spin_orbit_ev") for name in self.best},
            "without spin": {name: self._bound(name, 2, False) - self._bound(name, 2) + atom for name in self.best},
        }

    @property
    def tables(self) -> Mapping[str, Callable[[], Iterator[Sequence[str]]]]:
        """Each table by its name in the document."""
        return {
            "sites": self.sites,
            "effects": self.effects,
            "mesh": self.mesh,
            "bars": self.bars,
            "explanations": self.explanations,
            "gaps": self.gaps,
            "formation": self.formation,
            "conversion": self.conversion,
            "elements": self.elements,
            "charges": self.charges,
            "cost": self.cost,
            "left": self.left,
        }


def _energy(record: Record) -> float:
    assert record.energy_ev is not None
    return record.energy_ev


def _symbols(record: Record) -> Sequence[str]:
    assert record.geometry is not None
    return record.geometry.symbols


def _d3_ev(geometry: Atoms, functional: str = "PBE") -> float:
    from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator

    atoms = geometry.copy()
    atoms.calc = dispersion_calculator(functional)
    return float(atoms.get_potential_energy())


_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"

_LEVEL = re.compile(r"^defect level ([+-][\d.]+) to ([+-][\d.]+) eV.*?, (filled|empty|\w+), .*? (\d+)% of it")


def markdown(rows: Iterator[Sequence[str]]) -> str:
    """Return a table in Markdown, without alignment."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def written(text: str, reproduction: Reproduction) -> str:
    """Return the document with each of its tables as the archive has it."""
    return _BLOCK.sub(lambda block: block[1] + markdown(reproduction.tables[block[2]]()) + block[3], text)


def main() -> None:
    """Print the tables, or write them into the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put them into docs/reproduction.md")
    arguments = parser.parse_args()
    document = DOCS / "reproduction.md"
    with Results.open(DOCS / "reproduction") as results:
        page = (DOCS / "reproduction" / "report.html").read_text(encoding="utf-8")
        reproduction = Reproduction(results, page)
        if arguments.write:
            document.write_text(written(document.read_text(encoding="utf-8"), reproduction), encoding="utf-8")
            return
        for name, table in reproduction.tables.items():
            print(f"{name}\n\n{markdown(table())}")


if __name__ == "__main__":
    main()
