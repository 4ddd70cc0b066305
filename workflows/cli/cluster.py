"""Commands for clusters: add a campaign, keep jobs in the queue, work in a job, and mend states after kills."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import (
    ROOT,
    CampaignArgument,
    ClassesOption,
    EngineOption,
    LaunchpadOption,
    RootOption,
    YesOption,
    is_physical,
    open_workbench,
)

if TYPE_CHECKING:
    from ..clusters.cluster_file import ClusterFile

ClusterOption = Annotated[Path, typer.Option(help="The cluster file: configs/clusters/slurm.yaml shows one.")]
LaunchpadFileOption = Annotated[Path, typer.Option(help="FireWorks' launchpad file (my_launchpad.yaml).")]

_MOST_NAMES = 10
"""Failed calculations that are named at the end of `queue`."""


def submit(
    campaign: CampaignArgument,
    launchpad: LaunchpadFileOption,
    engine: EngineOption = None,
    root: RootOption = ROOT,
    cluster: ClassesOption = None,
    yes: YesOption = False,
) -> None:
    """Plan a campaign and add it to a launchpad, and say the CPU-hours to be done; runs nothing.

    Example: sodiate submit wsse --engine vasp --launchpad my_launchpad.yaml --cluster slurm.yaml
    """
    from ..clusters.cluster_file import load_cluster
    from ..plan.planner import plan as plan_campaign
    from .cost_view import DRY, cores_by_kind, cost_lines, pack_lines

    plan = plan_campaign(campaign, engine)
    cluster_file = None if cluster is None else load_cluster(cluster)
    if cluster_file is not None:
        cluster_file.refuse_undivided(plan)
    lines, packs = [DRY], [] if cluster_file is None else pack_lines(cluster_file)
    with open_workbench(root, launchpad, create=True) as bench:
        from ..launch.ownership import refuse_foreign_name
        from ..launch.submit import submit as submit_plan
        from ..results.cost import outlook

        refuse_foreign_name(bench.documents, plan.campaign.spec.campaign, yes)
        bench.initialise()
        count = len(submit_plan(plan, bench).added)
        if is_physical(plan):
            missing = bench.standing([calculation.id for calculation in plan.calculations]).reasons
            cores = None if cluster_file is None else cores_by_kind(cluster_file)
            to_do = [calculation for calculation in plan.calculations if calculation.id in missing]
            lines = cost_lines(outlook(bench.documents, to_do, cores), cluster_file)
    print(f"{plan.campaign.spec.campaign}: {count} of {len(plan.calculations)} calculations added")
    for line in (*packs, *lines):
        print(line)


def queue(
    cluster: ClusterOption,
    launchpad: LaunchpadFileOption,
    root: RootOption = ROOT,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign; without it, all that are yours.")] = None,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="Instead of the cluster file's.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Submit ready calculations and end, for cron.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 60.0,
    offline: Annotated[
        bool, typer.Option("--offline", help="Jobs reach no database: what they compute is collected here.")
    ] = False,
) -> None:
    """Keep jobs in the cluster's queue until everything is recorded, failed or cancelled; Ctrl-C ends it.

    Jobs in the queue continue without it. A scheduler or a database that does not answer is waited for, an hour long.
    The exit code is 1 if calculations failed.

    Example: sodiate queue --cluster slurm.yaml --launchpad my_launchpad.yaml
    """
    from ..clusters.cluster_file import load_cluster

    cluster_file = load_cluster(cluster)
    if offline:
        _refuse_packs(cluster, cluster_file)
    with open_workbench(root, launchpad) as bench:
        from ..clusters.keep import keep
        from ..clusters.queue import Queue

        limit = max_jobs or cluster_file.max_jobs
        kept = Queue(bench, cluster_file, cluster.resolve(), launchpad.resolve(), limit, campaign, offline)
        summary = keep(kept, once, every, partial(print, flush=True), partial(print, file=sys.stderr, flush=True))
    print(", ".join(f"{number} {word}" for word, number in summary.counts.items()) or "no calculation")
    if summary.failed:
        names = ", ".join(summary.failed[:_MOST_NAMES]) + (", …" if len(summary.failed) > _MOST_NAMES else "")
        print(f"Failed: {names}; `sodiate show LABEL` tells why, `sodiate retry` queues them again.", file=sys.stderr)
        raise typer.Exit(1)


def _refuse_packs(path: Path, cluster: ClusterFile) -> None:
    """Refuse classes whose jobs compute several calculations: those take the next ones from the database."""
    from ..campaign.yaml import InputError

    packed = [name for name, resources in cluster.classes.items() if resources.pack > 1]
    if packed:
        raise InputError(
            f"cluster {path}: classes.{packed[0]}: pack: its jobs take calculations from the database, which they do "
            "not reach with --offline; leave pack out of the file that you queue offline with."
        )


def worker(
    cluster: ClusterOption,
    launchpad: LaunchpadFileOption,
    class_: Annotated[str, typer.Option("--class", help="The resource class of the job.")],
    root: RootOption = ROOT,
    fw_id: Annotated[int | None, typer.Option(help="The firework that is reserved to the job.")] = None,
    job: Annotated[str | None, typer.Option(help="The tag at the end of the job's name.")] = None,
    until: Annotated[
        float | None, typer.Option(help="Compute only the reserved firework, and end before this time (Unix).")
    ] = None,
) -> None:
    """Compute in a job of the cluster: its reserved calculation, then others of its class while there is time.

    In a job of a class with `pack` it starts a process for each calculation, with --until.

    `sodiate queue` writes the job that runs it. USR1 and TERM end it cleanly; the next job continues. A database that
    does not answer is waited for, ten minutes long.

    Example: sodiate worker --cluster slurm.yaml --class large --launchpad my_launchpad.yaml
    """
    from ..clusters.cluster_file import load_cluster

    cluster_file = load_cluster(cluster)
    resources = cluster_file.resources(class_)
    from ..clusters.job import Assignment, worker_command
    from ..clusters.pack import packed, work_alone
    from ..clusters.worker import work, work_through_outages

    assignment = Assignment(class_, fw_id, job)
    tell = partial(print, file=sys.stderr, flush=True)
    if until is not None:
        with open_workbench(root, launchpad) as bench:
            work_alone(bench, cluster_file, assignment, until, sys.stdin)
        return
    if resources.pack > 1:
        paths = (cluster.resolve(), launchpad.resolve(), root.resolve())

        def command(fw_id: int, until: float) -> list[str]:
            return [*worker_command(*paths, Assignment(class_, fw_id, job)), "--until", f"{until:.0f}"]

        with packed(cluster_file, assignment, command, tell) as pack:
            report = work_through_outages(lambda: open_workbench(root, launchpad), pack.work, tell, pack.pause)
    else:
        report = work_through_outages(
            lambda: open_workbench(root, launchpad), lambda bench: work(bench, cluster_file, assignment), tell
        )
    print(f"{report.launches} launches; ended because: {report.ended}")


def compute(
    folder: Annotated[Path, typer.Argument(help="The folder that `sodiate queue --offline` made for this job.")],
    cluster: ClusterOption,
    class_: Annotated[str, typer.Option("--class", help="The resource class of the job.")],
) -> None:
    """Compute in a job that reaches no database; `sodiate queue` collects what comes back in its folder.

    `sodiate queue --offline` writes the job that runs it. USR1 and TERM end it cleanly; the next job continues.

    Example: sodiate compute runs/offline/sd4k2xq-17 --cluster slurm.yaml --class large
    """
    from ..clusters.cluster_file import load_cluster

    cluster_file = load_cluster(cluster)
    cluster_file.resources(class_)
    from ..clusters.worker import work_offline

    print(work_offline(folder, cluster_file, class_))


def recover(
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    cluster: Annotated[
        Path | None, typer.Option(help="The cluster file, whose scheduler is asked for its jobs.")
    ] = None,
) -> None:
    """Mend FireWorks' states from the records after kills, cancelled jobs and lost nodes.

    Checkpoints stay. `run` and `queue` do the same on their own. Example: sodiate recover --cluster slurm.yaml
    """
    from ..clusters.cluster_file import load_cluster
    from ..clusters.jobs import JobBook
    from ..clusters.queue import recover as recover_all

    cluster_file = None if cluster is None else load_cluster(cluster)
    with open_workbench(root, launchpad) as bench:
        book = None if cluster_file is None else JobBook.open(bench, cluster_file)
        labels = recover_all(bench, book, partial(print, file=sys.stderr))
    print(f"{len(labels)} queued again" + "".join(f"\n  {label}" for label in labels))
