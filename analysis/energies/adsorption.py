"""Adsorption energies from records: what may be subtracted, for every site and the best one of each host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..campaign_entry import CampaignEntry, ModelEntry, SiteEntry
from ..records import Choice, Record
from .comparability import ProtocolMismatch, check_method, check_sampling, edges_a
from .formation import FormationResult, formation_result
from .paper import paper_value

TIE_EV = 0.001
"""Sites closer in energy than this are tied; the first name wins."""


def lowest(energies_ev: Mapping[str, float], ignored: Mapping[str, str]) -> Choice:
    """Choose the site of lowest energy; ties under 1 meV are broken by the name of the site.

    Parameters
    ----------
    energies_ev
        Total energy by site name; at least one.
    ignored
        Reason by site name for those that could not take part.
    """
    least = min(energies_ev.values())
    site = min(name for name, energy in energies_ev.items() if energy - least < TIE_EV)
    return Choice(site=site, energies_ev=dict(energies_ev), ignored=dict(ignored))


def adsorption_energy(slab_with_adsorbate: Record, slab: Record, reference: Record) -> float:
    """Return ΔE_ads = E(*Na) − E(*) − E(Na) in eV; negative binds (Lei et al., Small 2023, 19, 2206340).

    Parameters
    ----------
    slab_with_adsorbate, slab
        Of one host in one cell: method and sampling must be equal.
    reference
        The isolated atom, or the bulk metal, of which the energy per atom is taken: the method must be equal, the
        sampling has rules of its own.

    Raises
    ------
    ProtocolMismatch
        If the subtraction would mean nothing.
    """
    check_method(slab_with_adsorbate, slab)
    check_method(slab_with_adsorbate, reference)
    check_sampling(slab_with_adsorbate, slab)
    energies = [record.energy_ev for record in (slab_with_adsorbate, slab, reference)]
    atoms = len(reference.geometry.symbols) if reference.geometry else 1
    if energies[0] is None or energies[1] is None or energies[2] is None:
        raise ProtocolMismatch(f"{slab_with_adsorbate.label}: a record has no energy")
    return energies[0] - energies[1] - energies[2] / atoms


@dataclass(frozen=True)
class SiteResult:
    """One Na site: where Na was put, where it ended, and ΔE against the atom and the bulk metal (eV)."""

    site: str
    multiplicity: int
    end: str | None
    energy_ev: float | None
    adsorption_energy_ev: float | None
    adsorption_energy_bulk_ev: float | None
    total_moment_mub: float | None
    reason: str | None
    same_as: str | None = None


@dataclass(frozen=True)
class ModelResult:
    """One host of one campaign with one engine and method.

    ``reasons`` says in words what is missing and why; ``converged`` is True only if nothing is. The lattice constants
    are those of the host's monolayer, if the campaign relaxes its cell: as declared, which the host has, and relaxed.
    ``formation`` is that of its vacancies, if the campaign asks for it.
    ``effect_ev`` is ΔE less that of the model ``compare_with``, from which ``changes`` tell this one.
    """

    campaign: str
    model: str
    supercell: str
    adsorbate: str
    engine: str
    method_id: str
    physical: bool
    site: str | None
    end: str | None
    adsorption_energy_ev: float | None
    adsorption_energy_bulk_ev: float | None
    paper_adsorption_energy_ev: float | None
    band_gap_ev: float | None
    gap_nature: Literal["direct", "indirect", "metal"] | None
    declared_lattice_a: float | None
    relaxed_lattice_a: float | None
    converged: bool
    reasons: tuple[str, ...]
    sites: tuple[SiteResult, ...]
    compare_with: str | None = None
    changes: tuple[str, ...] = ()
    effect_ev: float | None = None
    formation: FormationResult | None = None


def model_results(
    entry: CampaignEntry, records: Mapping[str, Record], reasons: Mapping[str, str], physical: bool
) -> list[ModelResult]:
    """Evaluate every host of a campaign.

    Parameters
    ----------
    entry
        The campaign.
    records
        Usable records by calculation id.
    reasons
        Why a calculation has none, by id (``stale: …``, ``failed: …``, ``not yet run``).
    physical
        False if the campaign's engine gives mock values.

    Returns
    -------
    list of ModelResult
        One a host; what lacks a part says which, and the rest stands.
    """
    results = [_model(entry, model, records, reasons, physical) for model in entry.models]
    energies = {result.model: result.adsorption_energy_ev for result in results}
    return [replace(result, effect_ev=_effect(result, energies)) for result in results]


def _effect(result: ModelResult, energies_ev: Mapping[str, float | None]) -> float | None:
    """Return how far ΔE is from that of the model that this one is compared with."""
    base = None if result.compare_with is None else energies_ev[result.compare_with]
    own = result.adsorption_energy_ev
    return None if base is None or own is None else own - base


def _model(
    entry: CampaignEntry,
    model: ModelEntry,
    records: Mapping[str, Record],
    reasons: Mapping[str, str],
    physical: bool,
) -> ModelResult:
    missing = {identifier: reasons.get(identifier, "not yet run") for identifier in entry.ids}
    sites = _mark_same([_site(entry, model, site, records, missing) for site in model.sites])
    known = {s.site: s.adsorption_energy_ev for s in sites if s.adsorption_energy_ev is not None}
    best = next(s for s in sites if s.site == lowest(known, {}).site) if known else None
    gap = records[model.dos].gap if model.dos is not None and model.dos in records else None
    complaints = [f"{s.site}: {s.reason}" for s in sites if s.reason]
    lattice = model.lattice
    relaxed = records.get(lattice.calculation) if lattice else None
    parts = [("host", model.host), ("gap", model.dos), ("lattice", lattice.calculation if lattice else None)]
    parts += zip((entry.adsorbate, "bulk"), entry.references(model), strict=True)
    parts += [(f"density/{part}", identifier) for part, identifier in model.densities.items()]
    for name, identifier in parts:
        if identifier is not None and identifier not in records:
            complaints.insert(0, f"{name}: {missing[identifier]}")
    formation = formation_result(model.formation, model.host, records, missing) if model.formation else None
    complaints += [*_choice_complaint(model, records, missing, best), *_formation_complaint(formation)]
    return ModelResult(
        campaign=entry.campaign,
        model=model.name,
        supercell=f"{model.supercell[0]}x{model.supercell[1]}",
        adsorbate=entry.adsorbate,
        engine=entry.engine,
        method_id=entry.method_id,
        physical=physical,
        site=best.site if best else None,
        end=best.end if best else None,
        adsorption_energy_ev=best.adsorption_energy_ev if best else None,
        adsorption_energy_bulk_ev=best.adsorption_energy_bulk_ev if best else None,
        paper_adsorption_energy_ev=paper_value(model.label, entry.adsorbate),
        band_gap_ev=gap.gap_ev if gap else None,
        gap_nature=gap.nature if gap else None,
        declared_lattice_a=lattice.declared_a if lattice else None,
        relaxed_lattice_a=edges_a(relaxed.sampling)[0] if relaxed and relaxed.sampling else None,
        converged=not complaints,
        reasons=tuple(complaints),
        sites=tuple(sites),
        compare_with=model.compare_with,
        changes=model.changes,
        formation=formation,
    )


def _formation_complaint(formation: FormationResult | None) -> list[str]:
    return [f"formation energy: {formation.reason}"] if formation is not None and formation.reason is not None else []


def _choice_complaint(
    model: ModelEntry, records: Mapping[str, Record], missing: Mapping[str, str], best: SiteResult | None
) -> list[str]:
    """Say so if the graph's own choice of the best site is missing or is another one."""
    record = records.get(model.lowest)
    if record is None or record.choice is None:
        return [f"lowest: {missing[model.lowest]}"]
    if best is not None and record.choice.site != best.site:
        return [f"lowest: the graph chose {record.choice.site}, the energies say {best.site}"]
    return []


def _site(
    entry: CampaignEntry,
    model: ModelEntry,
    site: SiteEntry,
    records: Mapping[str, Record],
    missing: Mapping[str, str],
) -> SiteResult:
    atom_id, bulk_id = entry.references(model)
    record, host, atom = records.get(site.calculation), records.get(model.host), records.get(atom_id)
    bulk = records.get(bulk_id or "")
    value = bulk_value = reason = None
    if record is None:
        reason = missing[site.calculation]
    elif host is None:
        reason = f"no host: {missing[model.host]}"
    elif atom is None:
        reason = f"no {entry.adsorbate} atom: {missing[atom_id]}"
    else:
        try:
            value = adsorption_energy(record, host, atom)
            bulk_value = adsorption_energy(record, host, bulk) if bulk is not None else None
        except ProtocolMismatch as error:
            reason = str(error)
    note = record.site.note if record is not None and record.site is not None else None
    end = record.site.end if record is not None and record.site is not None else None
    return SiteResult(
        site=site.name,
        multiplicity=site.multiplicity,
        end=f"{end} ({note})" if end and note else end,
        energy_ev=record.energy_ev if record is not None else None,
        adsorption_energy_ev=value,
        adsorption_energy_bulk_ev=bulk_value,
        total_moment_mub=record.total_moment_mub if record is not None else None,
        reason=reason,
    )


def _mark_same(sites: list[SiteResult]) -> list[SiteResult]:
    """Name for each start the first other one that ended in the same place with the same energy (5 meV)."""
    out: list[SiteResult] = []
    for site in sites:
        same = [
            other.site
            for other in out
            if site.energy_ev is not None
            and other.energy_ev is not None
            and other.end == site.end
            and abs(other.energy_ev - site.energy_ev) < 0.005
        ]
        out.append(replace(site, same_as=same[0]) if same else site)
    return out
