"""A plan as a tree and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...analysis.words import listed
from ...structures.molecules import formula
from ...structures.vacancies import distances_between, distinct_pairs, face_of
from ..quantities import quantities
from ..start_structures import read_host

if TYPE_CHECKING:
    from rich.tree import Tree

    from ..plan.graph import Plan
    from ..quantities.base import PlannedHost


def plan_objects(plan: Plan) -> dict[str, Any]:
    """Return a plan as a JSON-like object."""
    return {
        "campaign": plan.campaign.spec.campaign,
        "engine": plan.campaign.spec.engine,
        "method_id": plan.method_id,
        "remarks": list(plan.remarks),
        "dropped": list(plan.dropped),
        "not_applicable": list(plan.not_applicable),
        "hosts": [{"name": host.name, **_defects(host)} for host in plan.hosts],
        "calculations": [
            {
                "name": name,
                "id": calculation.id,
                "kind": calculation.kind,
                "label": calculation.label,
                "directory": calculation.directory_name,
                "parents": {role: parent.id for role, parent in calculation.parents.items()},
                "structure": dict(calculation.structure),
                "protocol": dict(calculation.protocol),
            }
            for name, calculation in plan.names.items()
        ],
    }


def plan_tree(plan: Plan, states: dict[str, str] | None = None) -> Tree:
    """Return a plan as a tree with counts; ``states`` adds a word for each calculation id."""
    from rich.markup import escape
    from rich.tree import Tree

    def line(name: str, identifier: str, extra: str = "") -> str:
        state = states[identifier] if states else ""
        word = f"  [{'green' if state == 'done' else 'yellow'}]{escape(state)}[/]" if state else ""
        return f"{escape(name)}  [dim]{identifier}[/]{extra}{word}"

    spec = plan.campaign.spec
    counts: dict[str, int] = {}
    for calculation in plan.calculations:
        counts[calculation.kind] = counts.get(calculation.kind, 0) + 1
    total = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    tree = Tree(
        f"[bold]{escape(spec.campaign)}[/] with {spec.engine}, method {plan.method_id}: "
        f"{len(plan.calculations)} calculations ({total})"
    )
    notes = _notes(plan)
    hosts = {host.name for host in plan.hosts}
    shared = {name for quantity_plan in plan.quantities.values() for name in quantity_plan.shared}
    shared |= {name for name in plan.names if name.partition("/")[0] not in hosts}
    alone = any("/" not in name for name in shared)
    references = tree.add("references") if alone else tree
    for name in (name for name in plan.names if name in shared):
        (tree if "/" in name else references).add(line(name, plan.names[name].id, notes.get(name, "")))
    for host in plan.hosts:
        cell = "×".join(map(str, host.repeat))
        branch = tree.add(line(host.name, host.calculation.id, f"  {cell}, relax{_moments(host)}{_less(host)}"))
        for name, calculation in plan.names.items():
            if name.startswith(f"{host.name}/") and name not in shared:
                part = name.removeprefix(f"{host.name}/")
                number = host.multiplicities.get(part)
                note = f"  {number} in the cell" if number is not None else notes.get(name, "")
                branch.add(line(part, calculation.id, "  best site" if part == "lowest" else note))
    return tree


_MOST_ATOMS = 8
"""Of a host's removed or replaced atoms that the plan names."""


def _defects(host: PlannedHost) -> dict[str, Any]:
    """Return which atoms of a host are removed or replaced, on which face, and how far apart vacancies are (Å)."""
    pristine = read_host(host.calculation.structure).pristine
    removed = [defect for defect in host.defects if defect.replacement is None]
    distances = distances_between(pristine, [defect.index for defect in removed])
    return {
        "removed": [{"atom": str(defect), "face": face_of(pristine, defect.index)} for defect in removed],
        "replaced": [
            {"atom": str(defect), "face": face_of(pristine, defect.index)}
            for defect in host.defects
            if defect.replacement is not None
        ],
        "distances_a": [round(distance, 3) for distance in distances],
    }


def _less(host: PlannedHost) -> str:
    """Return in words which atoms a host's defects took, and of two vacancies which other pairs there are."""
    found = _defects(host)
    words = ""
    for verb, atoms in (("less", found["removed"]), ("with", found["replaced"])):
        named = [f"{one['atom']} ({one['face']})" for one in atoms[:_MOST_ATOMS]]
        more = [f"{len(atoms) - _MOST_ATOMS} more"] if len(atoms) > _MOST_ATOMS else []
        words += f", {verb} {listed([*named, *more])}" if atoms else ""
    distances = list(dict.fromkeys(f"{distance:.2f}" for distance in found["distances_a"]))
    if distances:
        words += f", {distances[0]}{f' to {distances[-1]}' if len(distances) > 1 else ''} Å apart"
    if len(found["removed"]) == 2:
        words += _other_pairs(host)
    return words


def _other_pairs(host: PlannedHost) -> str:
    first, second = (defect.element for defect in host.defects if defect.replacement is None)
    pairs = distinct_pairs(read_host(host.calculation.structure).pristine, first, second)
    return f" (pairs: {', '.join(pair.name for pair in pairs)})" if len(pairs) > 1 else ""


def _moments(host: PlannedHost) -> str:
    """Return the start moments that a host's elements have, if some are magnetic, and an adsorbate of its own."""
    given = host.calculation.protocol.get("start_moments_mub") or {}
    of_elements = [f"{element} starts at {moment:g} μB" for element, moment in (given.get("elements") or {}).items()]
    site = next(iter(host.sites.values()), None)
    own = {} if site is None else site.protocol.get("start_moments_mub") or {}
    if site is not None and own.get("adsorbate") != given.get("adsorbate"):
        symbols = site.structure.get("symbols") or [site.structure["element"]]
        of_elements.append(f"adsorbed {formula(symbols)} at {(own.get('adsorbate') or 0.0) * len(symbols):g} μB")
    return "".join(f", {words}" for words in of_elements)


def _notes(plan: Plan) -> dict[str, str]:
    """Return the quantities' notes on their calculations, by the campaign's names."""
    notes, molecule = dict[str, str](), plan.campaign.molecule is not None
    for quantity, quantity_plan in plan.quantities.items():
        words = quantities()[quantity].words
        for name, calculation in quantity_plan.shared.items():
            notes[calculation.id] = words.get(name.rpartition("/")[2], "")
        for part in quantity_plan.hosts.values():
            for role, calculation in part.calculations.items():
                word = "free molecule" if molecule and role == "atom" else words.get(role, words.get("", ""))
                notes[calculation.id] = notes.get(calculation.id) or word
    return {name: f"  {note}" for name, c in plan.names.items() if (note := notes.get(c.id, ""))}
