"""A plan as a tree and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...structures.molecules import formula
from ..quantities import quantities

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
    references = tree.add("references")
    hosts = {host.name for host in plan.hosts}
    shared = {name for quantity_plan in plan.quantities.values() for name in quantity_plan.shared}
    shared |= {name for name in plan.names if name.partition("/")[0] not in hosts}
    for name in (name for name in plan.names if name in shared):
        (tree if "/" in name else references).add(line(name, plan.names[name].id, notes.get(name, "")))
    for host in plan.hosts:
        cell = "×".join(map(str, host.repeat))
        branch = tree.add(line(host.name, host.calculation.id, f"  {cell}, relax{_moments(host)}"))
        for name, calculation in plan.names.items():
            if name.startswith(f"{host.name}/") and name not in shared:
                part = name.removeprefix(f"{host.name}/")
                number = host.multiplicities.get(part)
                note = f"  {number} in the cell" if number is not None else notes.get(name, "")
                branch.add(line(part, calculation.id, "  best site" if part == "lowest" else note))
    return tree


def _moments(host: PlannedHost) -> str:
    """Return the start moments that a host's elements have, if some are magnetic, and an adsorbate of its own."""
    given = host.calculation.protocol.get("start_moments_mub") or {}
    of_elements = [f"{element} starts at {moment:g} μB" for element, moment in (given.get("elements") or {}).items()]
    site = next(iter(host.sites.values()))
    own = (site.protocol.get("start_moments_mub") or {}).get("adsorbate")
    if own != given.get("adsorbate"):
        symbols = site.structure.get("symbols") or [site.structure["element"]]
        of_elements.append(f"adsorbed {formula(symbols)} at {(own or 0.0) * len(symbols):g} μB")
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
