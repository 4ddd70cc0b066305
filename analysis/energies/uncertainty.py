"""Error bars of adsorption energies, computed: how far ΔE moves if one setting is changed at the same geometry.

The bar of a part is the largest change among its variants. Numerical parts (all but the functional) are added in
quadrature: each is what one more step of convergence, more room or other data sets do, and they have little to do
with one another. The functional's is stated apart: it is no error of the computation but the spread between theories;
it mostly moves all sites and hosts together, and in quadrature it would hide whether a number is converged. A part
that is not known counts as such, never as zero, so that the numerical bar is of the known ones.

Differences of sites have bars of their own, from the differences in the same variants: what all sites share, as the
isolated atom, cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Any

from ..campaign_entry import CampaignEntry, ModelEntry
from ..records import Record
from ..words import listed
from .adsorption import (
    AdsorptionResult,
    SiteResult,
    Terms,
    adsorbate_of,
    adsorption_values,
    energy_of_host,
    named,
    point_role,
)
from .comparability import method_differences, sampling_differences

UNCERTAINTY = "uncertainty"
"""The quantity, in campaigns that ask for error bars."""

FUNCTIONAL = "functional"

PARTS = ("kmesh", "cutoff", "vacuum", "supercell", FUNCTIONAL, "potential")
"""The parts of an error bar, in the order of tables."""

NO_BAR = "not known: uncertainty is of ΔE alone"
"""What is said of numbers that error bars do not reach."""

NOT_ASKED = "not asked for"

Variants = Mapping[str, Mapping[str, Any]]
"""As declared, by name: the ``part`` of each and what is changed in ``words``; with ``ends`` in a larger cell, what
its sites are called in the campaign's."""

RELAXED = "relaxed"
"""Stands in the role of a relaxation at whose end a variant has a single point, if it is one of the variant's own."""


@dataclass(frozen=True)
class SiteUncertainty:
    """The error bar of ΔE of a site.

    Attributes
    ----------
    site
        Its name.
    numerical_ev, functional_ev
        The numerical parts in quadrature, and that of the functional; None if no part is known.
    parts_ev
        Each part that is known.
    shifts_ev
        By how much ΔE changes in each variant, by its words.
    not_known
        Why a part is not known, or why a variant of it is missing.
    """

    site: str
    numerical_ev: float | None
    functional_ev: float | None
    parts_ev: Mapping[str, float]
    shifts_ev: Mapping[str, float]
    not_known: Mapping[str, str]

    @property
    def lacking(self) -> tuple[str, ...]:
        """What was asked for and is not known."""
        return tuple(part for part, why in self.not_known.items() if why != NOT_ASKED)


@dataclass(frozen=True)
class UncertaintyResult:
    """The error bars of a host: of each site with a ΔE, what order of sites is undecided, and what is missing."""

    sites: tuple[SiteUncertainty, ...]
    best: SiteUncertainty | None
    undecided: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Shifts:
    """The changes of ΔE of a site by variant, and the reasons for those that are missing."""

    known: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def uncertainty_result(
    entry: CampaignEntry,
    model: ModelEntry,
    records: Mapping[str, Record],
    missing: Callable[[str], str],
    adsorption: AdsorptionResult,
) -> UncertaintyResult:
    """Evaluate the error bars of one host.

    Parameters
    ----------
    entry, model, records, missing
        As of `sodiate.analysis.energies.adsorption.adsorption_result`.
    adsorption
        Its result, of which these are the bars.
    """
    asked = model.quantities[UNCERTAINTY]
    variants: Variants = asked.declared["variants"]
    impossible: Mapping[str, str] = asked.declared["not_known"]
    shifts = {
        site.site: _shifts(entry, model, site, records, missing)
        for site in adsorption.sites
        if site.adsorption_energy_ev is not None
    }
    sites = tuple(_bars(name, found, variants, impossible) for name, found in shifts.items())
    best = next((site for site in sites if site.site == adsorption.site), None)
    reasons = {
        f"uncertainty, {name}: {why}": None for found in shifts.values() for name, why in found.missing.items()
    }
    return UncertaintyResult(sites, best, tuple(_undecided(adsorption, shifts, variants)), tuple(reasons))


def _shifts(
    entry: CampaignEntry,
    model: ModelEntry,
    site: SiteResult,
    records: Mapping[str, Record],
    missing: Callable[[str], str],
) -> _Shifts:
    shifts = _Shifts()
    variants: Variants = model.quantities[UNCERTAINTY].declared["variants"]
    # An archive keeps them in another order than a database.
    for name in sorted(variants, key=lambda name: (PARTS.index(variants[name]["part"]), name)):
        terms = _terms(model, name, site.site)
        if terms is None:
            shifts.missing[name] = "a further start of its site was not computed"
            continue
        value, _, reason = adsorption_values(terms, adsorbate_of(entry, model), records, missing)
        reason = reason or _more_than_varied(records, terms.host, energy_of_host(model), variants[name]["part"])
        elsewhere = _elsewhere(records, terms, site, variants[name].get("ends", {}))
        if value is None or site.adsorption_energy_ev is None or reason is not None or elsewhere is not None:
            shifts.missing[name] = reason or elsewhere or missing(terms.site)
        else:
            shifts.known[name] = value - site.adsorption_energy_ev
    return shifts


def _terms(model: ModelEntry, variant: str, site: str) -> Terms | None:
    """Return the terms of ΔE of a site in a variant; None if it was not asked for.

    Single points are at the ends of the campaign's relaxations, or of those of the variant's own cell; a cell of its
    own without single points has the energies of its relaxations.
    """
    ids = model.quantities[UNCERTAINTY].calculations
    names = "host", point_role(site)
    host, point = (ids.get(f"{variant} {name}") for name in names)
    if host is None or point is None:
        return None
    relaxed_host, relaxed = (ids.get(f"{variant} {RELAXED} {name}") for name in names)
    parents = None if relaxed is None or relaxed_host is None else (relaxed, relaxed_host)
    if parents is None and variant != "supercell":
        parents = {one.name: one.calculation for one in model.sites}[site], model.host
    return Terms(host, point, ids[f"{variant} atom"], None, parents)


_VARIED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kmesh": ((), ("kmesh", "kmesh_shift")),
    "cutoff": (("cutoff_ev",), ()),
    "vacuum": ((), ()),
    "supercell": ((), ("kmesh", "kmesh_shift")),
    FUNCTIONAL: (("functional", "dispersion", "paw"), ()),
    "potential": (("paw",), ()),
}
"""What each part changes of the method and of the sampling."""


def _more_than_varied(records: Mapping[str, Record], variant: str, own: str, part: str) -> str | None:
    """Say what differs between two hosts beside the setting that a part changes, as another release of the code.

    Single points may be added years after the relaxations, and what came between is no error of either.
    """
    if variant not in records or own not in records:
        return None
    ours, theirs = records[own], records[variant]
    of_method, of_sampling = _VARIED[part]
    apart: dict[str, Any] = {"settings": None, "numerics": None}
    apart |= {key: {} if key == "paw" else None for key in of_method}
    methods = [record.method.model_copy(update=apart) for record in (theirs, ours)]
    differences = method_differences(methods[0], methods[1], ours.method.paw.keys() & theirs.method.paw.keys())
    if ours.sampling is not None and theirs.sampling is not None:
        samplings = [one.model_copy(update={"settings": None}) for one in (theirs.sampling, ours.sampling)]
        differences += sampling_differences(samplings[0], samplings[1], *of_sampling)
    if not differences:
        return None
    return f"{theirs.label} differs from {ours.label} in more than what is varied: {', '.join(differences)}"


def _elsewhere(records: Mapping[str, Record], terms: Terms, site: SiteResult, names: Mapping[str, str]) -> str | None:
    """Say that an adsorbate relaxed to another place than that of the site; None if it did not, or is not there.

    ``names`` are what the sites of another cell are called in that of the site.
    """
    record = records.get(terms.site if terms.parents is None else terms.parents[0])
    if record is None or record.site is None or site.end is None:
        return None
    there, own = named(record.site.end, names), named(site.end, {})
    return None if there == own else f"the adsorbate ended at {there} there, not at {own}"


def _bars(site: str, shifts: _Shifts, variants: Variants, impossible: Mapping[str, str]) -> SiteUncertainty:
    parts = _parts(shifts.known, variants)
    not_known = dict(impossible)
    for name, why in shifts.missing.items():
        part = variants[name]["part"]
        not_known[part if name == part else f"{part} {name}"] = why
    for part in PARTS:
        if part not in parts and not any(key.split(" ")[0] == part for key in not_known):
            not_known[part] = NOT_ASKED
    return SiteUncertainty(
        site=site,
        numerical_ev=_quadrature(parts),
        functional_ev=parts.get(FUNCTIONAL),
        parts_ev=parts,
        shifts_ev={variants[name]["words"]: shift for name, shift in shifts.known.items()},
        not_known=not_known,
    )


def _parts(shifts: Mapping[str, float], variants: Variants) -> dict[str, float]:
    """Return the largest change of each part, in the order of `PARTS`."""
    found: dict[str, list[float]] = {}
    for name, shift in shifts.items():
        found.setdefault(variants[name]["part"], []).append(abs(shift))
    return {part: max(found[part]) for part in PARTS if part in found}


def _quadrature(parts: Mapping[str, float]) -> float | None:
    numerical = [value for part, value in parts.items() if part != FUNCTIONAL]
    return hypot(*numerical) if numerical else None


def _undecided(adsorption: AdsorptionResult, shifts: Mapping[str, _Shifts], variants: Variants) -> list[str]:
    """Return a sentence for each site whose distance from the best one is within the bar of their difference."""
    best = adsorption.best
    if best is None or best.site not in shifts or best.adsorption_energy_ev is None:
        return []
    sentences = []
    for site in _others(best, adsorption.sites):
        ours, theirs = shifts[best.site].known, shifts[site.site].known
        apart = {name: theirs[name] - ours[name] for name in ours if name in theirs}
        assert site.adsorption_energy_ev is not None  # has shifts
        distance = site.adsorption_energy_ev - best.adsorption_energy_ev
        why = _why_undecided(distance, apart, variants) or _why_not_known(distance, (ours, theirs), variants)
        if why is not None:
            sentences.append(f"{best.site} or {site.site}, {distance:.3f} eV apart: undecided, {why}")
    return sentences


def _others(best: SiteResult, sites: Sequence[SiteResult]) -> list[SiteResult]:
    """Return the sites with a ΔE that are other places than the best one."""
    same = {name for name in (best.site, best.same_as) if name is not None}
    return [
        site
        for site in sites
        if site.adsorption_energy_ev is not None
        and not site.desorbed
        and site.site != best.site
        and site.same_as not in same
        and site.site not in same
    ]


def _why_undecided(distance_ev: float, apart_ev: Mapping[str, float], variants: Variants) -> str | None:
    bar = _quadrature(_parts(apart_ev, variants))
    if bar is not None and distance_ev <= bar:
        return f"their difference is known to ± {bar:.3f} eV"
    turned = [
        variants[name]["words"]
        for name, shift in apart_ev.items()
        if variants[name]["part"] == FUNCTIONAL and distance_ev + shift < 0
    ]
    return f"the other is lower with {', '.join(turned)}" if turned else None


def _why_not_known(distance_ev: float, both_ev: Sequence[Mapping[str, float]], variants: Variants) -> str | None:
    """Say that a part is not known of one of two sites that are closer than the bar of the other."""
    lacking = {one["part"]: None for name, one in variants.items() if any(name not in known for known in both_ev)}
    numerical = [part for part in lacking if part != FUNCTIONAL]
    bar = max((_quadrature(_parts(known, variants)) or 0.0 for known in both_ev), default=0.0)
    if not numerical or distance_ev > bar:
        return None
    return f"{listed(numerical)} of their difference not known, and ΔE of one is known to ± {bar:.3f} eV alone"


def as_values(bars: SiteUncertainty | None) -> dict[str, Any] | None:
    """Return an error bar as plain values, for JSON."""
    if bars is None:
        return None
    return {
        "numerical_ev": bars.numerical_ev,
        "functional_ev": bars.functional_ev,
        "parts_ev": dict(bars.parts_ev),
        "shifts_ev": dict(bars.shifts_ev),
        "not_known": dict(bars.not_known),
    }
