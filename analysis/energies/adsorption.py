"""Adsorption energies from records, for every site and the best site of each host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..campaign_entry import CampaignEntry, ModelEntry, SiteEntry
from ..elements import ground_state_moment
from ..records import Choice, Record
from .comparability import ProtocolMismatch, check_method, check_parent, check_sampling, element_of, symbols

_SPIN_MUB = 0.1
"""By how much the moment of an isolated atom may differ from that of its ground state: smearing takes a little."""

DESORBED = "desorbed"
"""Where an adsorbate ended that left the sheet."""

ANOTHER_START = "#"
"""Stands in a site's name before the number of its start, from the second."""

TIE_EV = 0.001
"""Sites closer in energy than this are tied; the first name wins."""


def lowest(energies_ev: Mapping[str, float], ignored: Mapping[str, str]) -> Choice:
    """Choose the site of lowest energy; ties under 1 meV are broken by the name of the site.

    Parameters
    ----------
    energies_ev
        Total energy by site name; at least one.
    ignored
        Reason by site name for each site without an energy.
    """
    least = min(energies_ev.values())
    site = min(name for name, energy in energies_ev.items() if energy - least < TIE_EV)
    return Choice(site=site, energies_ev=dict(energies_ev), ignored=dict(ignored))


def adsorption_energy(slab_with_adsorbate: Record, slab: Record, reference: Record) -> float:
    """Return ΔE_ads = E(*Na) − E(*) − E(Na) in eV; negative binds (Lei et al., Small 2023, 19, 2206340).

    Parameters
    ----------
    slab_with_adsorbate, slab
        Of the same host in the same cell: the first has one atom more and was computed from the second; method and
        sampling must be equal.
    reference
        The isolated atom, or the bulk metal, whose energy per atom is taken: of the adsorbate's element; the method
        must be equal, the sampling has rules of its own.

    Raises
    ------
    ProtocolMismatch
        If the subtraction would mean nothing.
    """
    _check_host_and_one(slab_with_adsorbate, slab, reference)
    check_method(slab_with_adsorbate, slab)
    check_method(slab_with_adsorbate, reference)
    check_sampling(slab_with_adsorbate, slab)
    check_spin(reference)
    energies = [record.energy_ev for record in (slab_with_adsorbate, slab, reference)]
    if energies[0] is None or energies[1] is None or energies[2] is None:
        raise ProtocolMismatch(f"{slab_with_adsorbate.label}: a record has no energy")
    return energies[0] - energies[1] - energies[2] / len(symbols(reference))


def _check_host_and_one(site: Record, host: Record, reference: Record) -> None:
    """Refuse what is not a host with one atom of a reference's element, and this host."""
    check_parent(site, "host", host)
    element = element_of(reference)
    own, expected = Counter(symbols(site)), Counter(symbols(host)) + Counter([element])
    if own != expected:
        raise ProtocolMismatch(
            f"{site.label} is not {host.label} with one {element} of {reference.label}: it has "
            f"{_counted(own)} atoms, not {_counted(expected)}"
        )


def _counted(count: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {element}" for element, number in sorted(count.items()))


def check_spin(atom: Record) -> None:
    """Refuse an isolated atom that is spin-polarised and not in its ground state.

    One that was computed without spin on purpose, as for a comparison, is taken.

    Raises
    ------
    ProtocolMismatch
        With both moments.
    """
    if atom.kind != "atom" or atom.geometry is None or atom.total_moment_mub is None:
        return
    wrong = wrong_spin(atom.geometry.symbols[0], atom.total_moment_mub)
    if wrong is not None:
        raise ProtocolMismatch(
            f"{wrong}: run the campaign again, which plans it with that; `sodiate redo {atom.label}` if it was "
            "planned so"
        )


def wrong_spin(element: str, moment_mub: float) -> str | None:
    """Say that an isolated atom with this moment (μB) is not in its ground state; None if it is."""
    own, expected = abs(moment_mub), ground_state_moment(element)
    if abs(own - expected) <= _SPIN_MUB:
        return None
    return f"the isolated {element} atom has {own:.2f} μB, its ground state {expected:g} μB"


@dataclass(frozen=True)
class SiteResult:
    """One Na site: where Na started, where it ended, and ΔE against the atom and the bulk metal (eV).

    ``total_moment_mub`` is that of the cell, ``adsorbate_moment_mub`` that of the adsorbate's own sphere.
    """

    site: str
    multiplicity: int
    end: str | None
    energy_ev: float | None
    adsorption_energy_ev: float | None
    adsorption_energy_bulk_ev: float | None
    total_moment_mub: float | None
    adsorbate_moment_mub: float | None
    reason: str | None
    same_as: str | None = None

    @property
    def desorbed(self) -> bool:
        """True if the adsorbate left the sheet: its energy is that of both far apart, and no site's."""
        return self.end is not None and self.end.startswith(DESORBED)


@dataclass(frozen=True)
class AdsorptionResult:
    """Adsorption energies of one host.

    Attributes
    ----------
    site, end
        The best site, and where its adsorbate ended.
    adsorption_energy_ev, adsorption_energy_bulk_ev
        Of the best site, against the isolated atom and the bulk metal.
    sites
        All sites.
    effect_ev
        ΔE minus that of the model it is compared with.
    reasons
        A sentence for each missing part.
    """

    site: str | None
    end: str | None
    adsorption_energy_ev: float | None
    adsorption_energy_bulk_ev: float | None
    sites: tuple[SiteResult, ...]
    effect_ev: float | None
    reasons: tuple[str, ...]

    @property
    def best(self) -> SiteResult | None:
        """The site of lowest ΔE at which the adsorbate stayed."""
        return next((site for site in self.sites if site.site == self.site), None)


def adsorption_result(
    entry: CampaignEntry,
    model: ModelEntry,
    records: Mapping[str, Record],
    missing: Callable[[str], str],
) -> AdsorptionResult:
    """Evaluate the sites of one host.

    Parameters
    ----------
    entry, model
        The campaign and the host.
    records
        Usable records by calculation id.
    missing
        Gives the reason why a calculation has none.

    Returns
    -------
    AdsorptionResult
        Complete as far as the records go; ``reasons`` names the missing parts.
    """
    sites = _sites(entry, model, records, missing)
    best = _best(sites)
    energy = best.adsorption_energy_ev if best else None
    baseline = None
    if model.compare_with is not None:
        baseline_site = _best(_sites(entry, entry.model(model.compare_with), records, missing))
        baseline = baseline_site.adsorption_energy_ev if baseline_site else None
    reasons = [f"host: {missing(model.host)}"] if model.host not in records else []
    reasons += [f"{site.site}: {site.reason}" for site in sites if site.reason]
    left = [site.site for site in sites if site.desorbed]
    if left and best is None:
        reasons.append(f"{entry.adsorbate} does not adsorb: it left the sheet from {', '.join(left)}")
    return AdsorptionResult(
        site=best.site if best else None,
        end=best.end if best else None,
        adsorption_energy_ev=energy,
        adsorption_energy_bulk_ev=best.adsorption_energy_bulk_ev if best else None,
        sites=tuple(sites),
        effect_ev=None if energy is None or baseline is None else energy - baseline,
        reasons=(*reasons, *_choice_reasons(model, records, missing, best)),
    )


def _sites(
    entry: CampaignEntry, model: ModelEntry, records: Mapping[str, Record], missing: Callable[[str], str]
) -> list[SiteResult]:
    return _mark_same([_site(entry, model, site, records, missing) for site in model.sites])


def _best(sites: Sequence[SiteResult]) -> SiteResult | None:
    """Return the site of lowest ΔE; against the metal if there is no isolated atom."""
    for key in ("adsorption_energy_ev", "adsorption_energy_bulk_ev"):
        values = {site.site: getattr(site, key) for site in sites if not site.desorbed}
        energies = {name: value for name, value in values.items() if value is not None}
        if energies:
            return next(site for site in sites if site.site == lowest(energies, {}).site)
    return None


def _choice_reasons(
    model: ModelEntry, records: Mapping[str, Record], missing: Callable[[str], str], best: SiteResult | None
) -> list[str]:
    """Return a reason if the graph's own choice of the best site is missing or differs."""
    record = records.get(model.lowest)
    if record is None or record.choice is None:
        return [f"lowest: {missing(model.lowest)}"]
    if best is not None and record.choice.site != best.site:
        return [f"lowest: the graph chose {record.choice.site}, the energies say {best.site}"]
    return []


def _site(
    entry: CampaignEntry,
    model: ModelEntry,
    site: SiteEntry,
    records: Mapping[str, Record],
    missing: Callable[[str], str],
) -> SiteResult:
    atom_id = model.quantities["adsorption_energy"].calculations["atom"]
    bulk_entry = model.quantities.get("bulk_reference")
    record, host, atom = records.get(site.calculation), records.get(model.host), records.get(atom_id)
    bulk = None if bulk_entry is None else records.get(bulk_entry.calculations["bulk"])
    value = bulk_value = reason = None
    if record is None:
        reason = missing(site.calculation)
    elif host is None:
        reason = f"no host: {missing(model.host)}"
    else:
        reason = None if atom is not None else f"no {entry.adsorbate} atom: {missing(atom_id)}"
        try:
            if atom is not None:
                _check_atom(atom, entry.adsorbate)
                value = adsorption_energy(record, host, atom)
            bulk_value = adsorption_energy(record, host, bulk) if bulk is not None else None
        except ProtocolMismatch as error:
            reason = str(error)
    moments = record.final_moments_mub if record is not None else None
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
        adsorbate_moment_mub=moments[-1] if moments else None,
        reason=reason,
    )


def _check_atom(atom: Record, adsorbate: str) -> None:
    """Refuse what is no isolated atom of the campaign's adsorbate."""
    if atom.kind != "atom" or symbols(atom) != (adsorbate,):
        raise ProtocolMismatch(f"{atom.label} is no isolated {adsorbate} atom, but {atom.kind} of {symbols(atom)}")


def _mark_same(sites: list[SiteResult]) -> list[SiteResult]:
    """Name in ``same_as`` the first earlier site that ended in the same place with the same energy (5 meV)."""
    marked: list[SiteResult] = []
    for site in sites:
        matches = [
            earlier.site
            for earlier in marked
            if site.energy_ev is not None
            and earlier.energy_ev is not None
            and earlier.end == site.end
            and abs(earlier.energy_ev - site.energy_ev) < 0.005
        ]
        marked.append(replace(site, same_as=matches[0]) if matches else site)
    return marked
