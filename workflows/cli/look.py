"""Commands to look at a campaign before it runs: its inputs, its plan, its structures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import (
    ROOT,
    ArchiveOption,
    CampaignArgument,
    ClassesOption,
    EngineOption,
    LaunchpadOption,
    has_database,
    is_physical,
    make_console,
    open_results,
)

if TYPE_CHECKING:
    from ..clusters.cluster_file import ClusterFile
    from ..plan.graph import Plan
    from ..results.cost import Outlook


def inputs(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
) -> None:
    """Write the inputs of every calculation, as its engine will; needs no database, no licence and no POTCARs.

    With PMG_VASP_PSP_DIR set, VASP's inputs have their POTCAR, else a POTCAR.spec that names it.

    Example: sodiate inputs wsse --engine vasp --out inputs
    """
    from ..plan.planner import plan as plan_campaign
    from ..plan.preview import UNRELAXED, write_inputs

    count = write_inputs(plan_campaign(campaign, engine), out)
    print(f"inputs of {count} calculations in {out}; those with a file {UNRELAXED} start elsewhere when they are run")


def plan(
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Say what is recorded and what is new.")] = False,
    root: Annotated[Path | None, typer.Option(help=f"Look at the records of this root [of --diff: {ROOT}].")] = None,
    launchpad: LaunchpadOption = None,
    archive: ArchiveOption = None,
    cluster: ClassesOption = None,
) -> None:
    """Print the graph of a campaign's calculations, and with records of the same method the CPU-hours to be done.

    Without --root, --launchpad, --archive or --diff it opens no database. Example: sodiate plan wsse --root runs
    """
    from ..plan.planner import plan as plan_campaign
    from .cost_view import DRY, NO_RECORDS, cores_by_kind, cost_lines, cost_object, pack_lines
    from .plan_view import plan_objects, plan_tree

    graph = plan_campaign(campaign, engine)
    cluster_file = None if cluster is None else _load_cluster(cluster, graph)
    physical = is_physical(graph)
    found = None
    if diff or root is not None or launchpad is not None or archive is not None:
        cores = None if cluster_file is None else cores_by_kind(cluster_file)
        found = _compare(graph, (root or ROOT, launchpad, archive), cores)
    states = found.states if found is not None and diff else None
    if as_json:
        import json

        content = plan_objects(graph)
        if states is not None:
            for calculation in content["calculations"]:
                calculation["state"] = states[calculation["id"]]
        if found is not None and physical:
            content["cost"] = cost_object(found.outlook)
        print(json.dumps(content, indent=1))
        return
    console = make_console()
    console.print(plan_tree(graph, states))
    for sentence in (*graph.remarks, *graph.dropped, *graph.declaration.lines()):
        console.print(f"{sentence}.", markup=False, highlight=False)
    if graph.not_applicable:
        keys = ", ".join(graph.not_applicable)
        console.print(f"not applicable to {graph.campaign.spec.engine}: {keys}.", markup=False, highlight=False)
    if states is not None:
        new = sum(state != "done" for state in states.values())
        console.print(f"{len(states) - new} done, {new} new or to be done again.", highlight=False)
    lines = [NO_RECORDS] if found is None else cost_lines(found.outlook, cluster_file)
    packs = [] if cluster_file is None else pack_lines(cluster_file)
    for line in (*packs, *(lines if physical else [DRY])):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _load_cluster(path: Path, graph: Plan) -> ClusterFile:
    from ..clusters.cluster_file import load_cluster  # imports all engines, whose keys it may hold

    cluster = load_cluster(path)
    cluster.refuse_undivided(graph)
    return cluster


@dataclass(frozen=True)
class Comparison:
    """A plan beside what is recorded.

    Attributes
    ----------
    states
        ``done``, ``new`` or the reason why it has to be computed again, by calculation id.
    outlook
        What those that are not done may take.
    """

    states: dict[str, str]
    outlook: Outlook


def _compare(
    graph: Plan, place: tuple[Path, Path | None, Path | None], cores: Mapping[str, int] | None
) -> Comparison:
    """Compare a plan with the records of a root, a launchpad or an archive."""
    from ..database.standing import standing_of
    from ..results.cost import outlook

    root, launchpad, archive = place
    ids = [calculation.id for calculation in graph.calculations]
    if archive is None and not has_database(root, launchpad):
        return Comparison(dict.fromkeys(ids, "new"), outlook(None, graph.calculations, cores))
    with open_results(root, launchpad, archive) as results:
        reasons = standing_of(results.documents, ids).reasons
        missing = [calculation for calculation in graph.calculations if calculation.id in reasons]
        expected = outlook(results.documents, missing, cores)
    states = {i: reasons[i].replace("not yet run", "new") if i in reasons else "done" for i in ids}
    return Comparison(states, expected)


def structures(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
) -> None:
    """Write the start geometry of every host and site as POSCAR, CIF and extxyz; needs no database.

    Example: sodiate structures wsse --out structures
    """
    from ..plan.planner import plan as plan_campaign
    from ..plan.preview import write_structures

    graph = plan_campaign(campaign, engine)
    count = write_structures(graph, out)
    for sentence in graph.remarks:
        print(f"{sentence}.")
    print(f"{count} structures, each as POSCAR, CIF and extxyz, in {out}")


def protocol(
    name: Annotated[str, typer.Argument(help="A bundled protocol or campaign, or the file of one.")] = "paper",
) -> None:
    """Print a protocol: every key with its unit; that of a campaign, or of a file with a base, in full.

    Example: sodiate protocol paper
    """
    from ..campaign.load import protocol_text

    print(protocol_text(name), end="")


def new(
    name: Annotated[str, typer.Argument(help="Of the campaign and of its file.")],
    base: Annotated[str | None, typer.Option("--from", help="Begin as this bundled campaign.")] = None,
    host: Annotated[
        str | None, typer.Option(help="A bundled host (graphene, WSSe+VS) or a structure file [WSe2].")
    ] = None,
) -> None:
    """Write a commented campaign of your own, NAME.yaml, which plans and runs dry at once.

    Example: sodiate new mine --host my.vasp
    """
    from ..campaign.new import new_campaign

    path = new_campaign(name, base, host, Path())
    print(f"{path}: change it, look at it (sodiate plan {path}) and run it dry (sodiate run {path})")


def schema(
    output: Annotated[Path | None, typer.Option(help="Write it into this file instead of printing it.")] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Of cluster files instead.")] = False,
) -> None:
    """Print the JSON Schema of campaign files: every key with what it means, for editors that help while one types.

    `sodiate new` writes it beside a campaign. Example: sodiate schema --output campaign.schema.json; sodiate schema
    --cluster --output cluster.schema.json
    """
    from ..campaign.schema import schema_text

    if cluster:
        from ..clusters.schema import cluster_schema

        text = schema_text(cluster_schema())
    else:
        from ..campaign.schema import campaign_schema
        from ..engines import engine_names
        from ..quantities import quantities

        text = schema_text(campaign_schema(engine_names(), list(quantities())))
    if output is None:
        print(text, end="")
        return
    output.write_text(text, encoding="utf-8")
    print(f"{output}: editors find it by the line '# yaml-language-server: $schema={output}' above a file's keys")
