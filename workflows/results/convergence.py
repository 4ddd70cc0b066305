"""What a study of convergence says: which settings reach the tolerance, and what to write into the campaign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from ...analysis.energies.convergence import LEAST, Verdict
from ..plan.convergence_study import Study, Variant

if TYPE_CHECKING:
    from ..campaign.load import Campaign

_NOTHING_EV = 1e-6
"""Less is the noise of energies: what was varied does not act."""

_LISTED = 4
"""Sites that a sentence names."""


def sentences(study: Study, verdict: Verdict) -> list[str]:
    """Return what a study found: a sentence on the tolerance, and one for each thing that stands beside it."""
    unit, name = study.varied.unit, study.quantity
    tried = f"{', '.join(f'{value:g}' for value in verdict.reached or verdict.whole[-LEAST:])}{unit}"
    found = [f"{name}: {_judgement(study, verdict, tried)}"]
    lacking: dict[tuple[str, ...], list[str]] = {}
    for value, sites in verdict.gaps.items():
        lacking.setdefault(sites, []).append(f"{value:g}")
    found += [
        f"{name}: no ΔE of {_few(sites)} at {', '.join(values)}{unit}; a setting without a site does not count"
        for sites, values in lacking.items()
    ]
    if verdict.moved:
        found.append(
            f"{name}: {_few(verdict.moved)}: the adsorbate ended at different places; such changes are no convergence"
        )
    return found


def _few(sites: Sequence[str]) -> str:
    """Return the first sites by name, and how many there are beside them."""
    more = len(sites) - _LISTED
    return ", ".join(sites[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _judgement(study: Study, verdict: Verdict, tried: str) -> str:
    limit = f"{verdict.tolerance_ev:g} eV"
    if verdict.spread_ev is None:
        return f"nothing is known: {len(verdict.whole) or 'no'} setting has ΔE of every site"
    widest = f"{verdict.spread_ev:.4f} eV ({verdict.site})"
    if verdict.reached:
        if verdict.spread_ev < _NOTHING_EV:
            return f"no ΔE depends on it: the same for {tried}"
        cheapest = f"{verdict.reached[0]:g}{study.varied.unit}"
        own = "" if study.own is None else f"; the campaign has {study.own:g}{study.varied.unit}"
        return f"{cheapest} reaches {limit}: over {tried} no ΔE varies by more than {widest}{own}"
    if len(verdict.whole) < LEAST:
        return f"two settings show nothing, give {LEAST} or more: {tried} differ by {widest}"
    return f"no setting is shown to reach {limit}: over {tried} ΔE varies by {widest}; go on with dearer ones"


def suggestion(campaign: Campaign, found: Sequence[tuple[Study, Verdict]]) -> str | None:
    """Return what to write into a campaign, as YAML: the cheapest setting that reaches the tolerance, of each study.

    None if no study shows one, or all say what the campaign says.
    """
    protocol: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    final = campaign.protocol.final_energy
    for study, verdict in found:
        variant = _cheapest(study, verdict)
        if variant is None or variant.value == study.own:
            continue
        if not study.fixed:
            (protocol if study.varied.in_protocol else keys)[study.varied.key] = variant.key
        elif study.own is None or not study.varied.dearer(study.own, variant.value):
            # Cheaper energies than the relaxations have are of no use.
            protocol.setdefault("final_energy", {} if final is None else final.given)[study.varied.key] = variant.key
    if protocol:
        given: Any = yaml.safe_load(campaign.text).get("protocol") or campaign.spec.protocol
        keys["protocol"] = ({"base": given} if isinstance(given, str) else given) | protocol
    return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, default_flow_style=None) if keys else None


def _cheapest(study: Study, verdict: Verdict) -> Variant | None:
    if verdict.spread_ev is None or verdict.spread_ev < _NOTHING_EV:
        return None
    return next((variant for variant in study.variants if variant.value in verdict.reached[:1]), None)
