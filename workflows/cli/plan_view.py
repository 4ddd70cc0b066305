"""A plan as a tree and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.tree import Tree

    from ..plan.graph import Plan


def plan_objects(plan: Plan) -> dict[str, Any]:
    """Return a plan as a JSON-like object."""
    return {
        "campaign": plan.campaign.spec.campaign,
        "engine": plan.campaign.spec.engine,
        "method_id": plan.method_id,
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


def _common_branches(plan: Plan, tree: Tree, line: Callable[[str, str, str], str]) -> None:
    """Add what belongs to no model: references, and the 1×1 cells of the monolayers."""
    references = tree.add("references")
    references.add(line(plan.campaign.spec.adsorbate.element, plan.atom.id, "  isolated atom"))
    if plan.bulk is not None:
        references.add(line(plan.bulk.label, plan.bulk.id, "  bulk"))
    for name, calculation in plan.elements.items():
        references.add(line(name, calculation.id, "  element, for formation energies"))
    for layer, calculation in plan.lattices.items():
        tree.add(line(f"{layer}/lattice", calculation.id, "  1×1, cell relaxed in the plane"))
    for layer, calculation in plan.bands.items():
        tree.add(line(f"{layer}/bands", calculation.id, "  Γ–M–K–Γ of the relaxed 1×1 host"))


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
    _common_branches(plan, tree, line)
    own = {plan.atom.label: "  isolated atom of its own", "pristine": "  the host without its vacancies"}
    for model in plan.models:
        cell = "×".join(map(str, model.supercell))
        branch = tree.add(line(model.name, model.host.id, f"  {cell}, relax"))
        for part, words in own.items():
            if f"{model.name}/{part}" in plan.names:
                branch.add(line(part, plan.names[f"{model.name}/{part}"].id, words))
        if model.dos is not None:
            branch.add(line("dos", model.dos.id, "  DOS and gap"))
        for site, calculation in model.sites.items():
            branch.add(line(site, calculation.id, f"  {model.multiplicities[site]} in the cell"))
        branch.add(line("lowest", model.lowest.id, "  best site"))
        for part, calculation in model.densities.items():
            branch.add(line(f"density/{part}", calculation.id, "  density of the best site's atoms"))
    return tree
