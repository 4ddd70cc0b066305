"""Plans and results as people and programs read them: tables, JSON, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...analysis.records import MOCK
from .rows import _number

if TYPE_CHECKING:
    from rich.table import Table


LATTICE_MARGIN_A = 0.02
"""A lattice constant that is declared further than this from the relaxed one is warned of."""


def results_table(objects: Sequence[dict[str, Any]], title: str) -> Table:
    """Return the table of the best site of each host, the paper's value in a column of its own."""
    from rich.table import Table
    from rich.text import Text

    mock = any(not one["physical"] for one in objects)
    header = Text(title)
    if mock:
        header.append(f"\n{MOCK}", style="bold red")
    names = sorted({one["adsorbate"] for one in objects}) or ["Na"]
    # What all rows share stands in the title, so that the numbers fit into 80 columns.
    differing = [key for key in ("supercell", "engine", "method_id") if len({one[key] for one in objects}) > 1]
    if objects:
        shared = ("supercell", "engine", "method_id")
        words = {"supercell": "{} cells", "engine": "engine {}", "method_id": "method {}"}
        said = [words[key].format(objects[0][key]) for key in shared if key not in differing]
        header.append(f"\n{', '.join(said)}" if said else "")
    table = Table(title=header, title_justify="left")
    for name in ("model", *(key.split("_")[0] for key in differing), "best site", "ended at"):
        table.add_column(name, overflow="fold")
    numbers = _number_columns(names, mock)
    for name in numbers:
        table.add_column(name, justify="right", min_width=6)
    table.add_column("sites", justify="right", min_width=3)
    for one in objects:
        done = sum(s["adsorption_energy_ev"] is not None for s in one["sites"])
        table.add_row(
            *(one[key] for key in ("model", *differing)),
            one["site"] or "—",
            best_end(one) or "—",
            *(_number(one[key]) for key in numbers.values()),
            f"{done}/{len(one['sites'])}",
        )
    return table


def _number_columns(adsorbates: Sequence[str], mock: bool) -> dict[str, str]:
    """Return the head and the key of each column of numbers; beside a mock value there is no difference."""
    said_mock = " mock" if mock else ""
    return {
        f"ΔE {'/'.join(adsorbates)} (eV){said_mock}": "adsorption_energy_ev",
        "vs bulk (eV)": "adsorption_energy_bulk_ev",
        "paper (eV)": "paper_adsorption_energy_ev",
        **({} if mock else {"less paper (eV)": "difference_from_paper_ev"}),
        f"gap (eV){said_mock}": "band_gap_ev",
    }


def best_end(one: dict[str, Any]) -> str | None:
    """Return where the best site's adsorbate ended."""
    ends: list[str | None] = [s["end"] for s in one["sites"] if s["start"] == one["site"]]
    return ends[0] if ends else None


def remark_lines(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return what stands under the table: effects of changes, formation energies, lattices, what is missing."""
    return [*effect_lines(objects), *note_lines(objects)]


def note_lines(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return what stands there beside effects: formation energies, lattices, what is missing."""
    return [*formation_lines(objects), *lattice_lines(objects), *reason_lines(objects)]


def reason_lines(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each host and reason, naming all that is missing for it."""
    lines = []
    for one in objects:
        parts: dict[str, list[str]] = {}
        for reason in one["reasons"]:
            part, _, why = reason.partition(": ")
            parts.setdefault(why, []).append(part)
        lines += [f"{one['model']}: {', '.join(names)}: {why}" for why, names in parts.items()]
    return lines


def formation_lines(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each host with vacancies: their formation energy at both ends, and what these assume."""
    lines = []
    for one in objects:
        formation = one["vacancy_formation"]
        if formation is None or formation["x_rich_ev"] is None:
            continue
        what = " + ".join(f"{n} V_{element}" for element, n in formation["removed"].items())
        said = "" if one["physical"] else f", {MOCK}"
        lines.append(
            f"{one['model']}: formation energy of {what}: {formation['x_rich_ev']:.3f} eV X-rich, "
            f"{formation['metal_rich_ev']:.3f} eV metal-rich ({'; '.join(formation['conditions'])}){said}"
        )
    return lines


def lattice_lines(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each relaxed lattice constant beside the declared one, a warning where they are apart."""
    hosts: dict[tuple[float, float], list[str]] = {}
    for one in objects:
        if one["relaxed_lattice_a"] is not None:
            hosts.setdefault((one["declared_lattice_a"], one["relaxed_lattice_a"]), []).append(one["model"])
    lines = []
    for (declared, relaxed), names in hosts.items():
        difference = relaxed - declared
        line = f"{', '.join(names)}: lattice constant {relaxed:.4f} Å relaxed, {declared:.4f} Å declared"
        lines.append(f"{line} ({difference:+.4f} Å)")
        if abs(difference) > LATTICE_MARGIN_A:
            lines.append(
                f"WARNING: {', '.join(names)}: computed in a cell that is off by more than {LATTICE_MARGIN_A:g} Å; "
                "declare the relaxed constant under monolayers, or ask why they differ."
            )
    return lines


def effect_lines(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each model that is compared with another one: what is different, and what it does to ΔE."""
    return [
        f"{one['model']} against {one['compare_with']}: {'; '.join(one['changes']) or 'nothing differs'}: "
        + ("not known yet" if one["effect_ev"] is None else f"{one['effect_ev']:+.3f} eV")
        + ("" if one["physical"] else f", {MOCK}")
        for one in objects
        if one["compare_with"] is not None
    ]
