"""What calculations may take, in words: the lines of `sodiate plan`, `submit` and `status`, and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...analysis.words import listed
from ..kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...analysis.cost import Estimate
    from ..clusters.cluster_file import ClusterFile
    from ..clusters.scheduler import Share as JobShare
    from ..results.cost import Outlook, Pace, Share

NO_RECORDS = "CPU-hours: nothing is known without records; --root, --launchpad or --archive name some"

DRY = "CPU-hours: none are estimated, it is a dry run"

_MUCH_LARGER = 1.5
"""From how many times the size of the largest record on an estimate reaches too far."""


def cores_by_kind(cluster: ClusterFile) -> dict[str, int]:
    """Return on how many cores a cluster's jobs run calculations of each kind: of a packed job, on their share."""
    return {kind: cluster.resources(cluster.class_of(kind)).share.cores for kind in KINDS}


def pack_lines(cluster: ClusterFile) -> list[str]:
    """Return a line for each class whose jobs run several calculations side by side."""
    return [
        f"class {name}: {resources.pack} calculations side by side in a job, {_each(resources.share)}"
        for name, resources in cluster.classes.items()
        if resources.pack > 1
    ]


def _each(share: JobShare) -> str:
    """Return what each calculation of a packed job has."""
    nodes = f" on {share.nodes} nodes" if share.nodes > 1 else ""
    gpus = (share.gpus or 0) * share.nodes
    more = f" and {gpus} GPU{'s' * (gpus > 1)}" if gpus else ""
    return f"{share.cores} core{'s' * (share.cores > 1)}{nodes}{more} for each"


def cost_lines(outlook: Outlook, cluster: ClusterFile | None = None) -> list[str]:
    """Return what is to be done by kind and, with a cluster file, by class, and what its ranges do not hold for."""
    if not outlook.items:
        return ["CPU-hours: none to be done, everything is recorded."]
    if not outlook.models:
        return [
            f"CPU-hours: nothing is known: there is no record of {_methods(outlook)} that says on how many cores."
        ]
    low, high = outlook.cores
    cores = f"{low} core{'s' * (low > 1)}" if low == high else f"{low} to {high} cores"
    lines = [
        f"CPU-hours to be done, by {_records(len(outlook.history))} with {listed(outlook.models)} "
        f"({cores}, on {listed(outlook.hosts)}):"
    ]
    rows = [(share.name, share) for share in outlook.shares(lambda calculation: calculation.kind)]
    if cluster is not None:
        rows += [
            (f"class {share.name}", share)
            for share in outlook.shares(lambda calculation: cluster.class_of(calculation.kind))
        ]
    rows.append(("total", outlook.total))
    width = max(len(name) for name, _ in rows)
    lines += [f"  {name:<{width}}{_amount(share)}" for name, share in rows]
    return [*lines, *(f"  {remark}" for remark in _remarks(outlook))]


def _methods(outlook: Outlook) -> str:
    return listed(outlook.methods) or "such calculations"


def _records(count: int) -> str:
    return f"{count} record{'s' * (count > 1)}"


def _amount(share: Share) -> str:
    unknown = f"; nothing is known of {share.unknown}" if share.estimate and share.unknown else ""
    told = "nothing is known" if share.estimate is None else in_words(share.estimate)
    return f"{share.count:>4}  {told}{unknown}"


def in_words(estimate: Estimate, factor: float = 1 / 3600) -> str:
    """Return a time, by default in hours, with its range: ``38 (14 to 66)``."""
    if estimate.low_s is None or estimate.high_s is None:
        return f"{_number(estimate.cpu_s * factor)} (too few records for a range)"
    low, high = _number(estimate.low_s * factor), _number(estimate.high_s * factor)
    return f"{_number(estimate.cpu_s * factor)} ({low} to {high})"


def _number(hours: float) -> str:
    return f"{hours:.2f}" if hours < 0.95 else f"{hours:.1f}" if hours < 9.95 else f"{hours:.0f}"


def _remarks(outlook: Outlook) -> list[str]:
    remarks = []
    if outlook.total.estimate is not None and outlook.total.estimate.low_s is not None:
        remarks.append(
            "In brackets: where eight of ten records lay when each was estimated from the others; sums as if all "
            "were off to the same side."
        )
    if outlook.times_the_largest > _MUCH_LARGER:
        remarks.append(
            f"The largest calculation has {outlook.times_the_largest:.1f} times the size of the largest recorded "
            "one: ranges do not reach so far."
        )
    most = outlook.cores[1]
    if outlook.most_cores > most:
        remarks.append(
            f"No record is of more than {most} cores, and up to {outlook.most_cores} are to be used: what these lose "
            "to one another is not in the ranges."
        )
    return remarks


def to_do_lines(outlook: Outlook, started_s: float, pace: Pace | None) -> list[str]:
    """Return what is left of a campaign, for `sodiate status`; none if nothing is.

    Parameters
    ----------
    outlook
        Of the calculations without a usable record.
    started_s
        CPU time of their launches so far, s.
    pace
        Of the last launches; None if it is not known.
    """
    total = outlook.total
    if not total.count:
        return []
    if total.estimate is None:
        return [
            f"  to do: {total.count}; nothing is known of their CPU-hours: no record of {_methods(outlook)} is alike"
        ]
    line = f"  to do: {total.count}, {in_words(total.estimate)} CPU-hours"
    if total.unknown:
        line += f" without {total.unknown} of which nothing is known"
    if started_s > 0:
        line += f", of which earlier launches have done {_number(started_s / 3600)}"
    if pace is not None:
        wall = in_words(total.estimate, 1 / pace.cores / 3600)
        line += f"; {wall} hours of running at the rate of the last {pace.launches} launches ({pace.cores:.1f} cores)"
    return [line]


def cost_object(outlook: Outlook) -> dict[str, Any]:
    """Return what is to be done as a JSON-like object, CPU-hours; None where nothing is known."""

    def amounts(shares: Iterable[Share]) -> Mapping[str, Any]:
        return {
            share.name: {
                "calculations": share.count,
                "unknown": share.unknown,
                **_hours(share.estimate),
            }
            for share in shares
        }

    return {
        "methods": list(outlook.models),
        "records": len(outlook.history),
        "kinds": amounts(outlook.shares(lambda calculation: calculation.kind)),
        **amounts([outlook.total]),
    }


def _hours(estimate: Estimate | None) -> dict[str, float | None]:
    times = (None,) * 3 if estimate is None else (estimate.cpu_s, estimate.low_s, estimate.high_s)
    keys = ("cpu_hours", "cpu_hours_low", "cpu_hours_high")
    return {key: None if time is None else round(time / 3600, 3) for key, time in zip(keys, times, strict=True)}
