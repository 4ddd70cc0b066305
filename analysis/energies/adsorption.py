"""Adsorption energies from records, for every site and the best site of each host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..adsorbates import atoms_of, composition, is_made_of, written
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

ORIENTATION = ":"
"""Stands in a site's name before the orientation of a molecule."""


def first_start(start: str) -> str:
    """Return the name of the first start with the same orientation: ``H@top:flat`` of ``H@top:flat#2``."""
    return start.partition(ANOTHER_START)[0]


def site_of(start: str) -> str:
    """Return the name of the site of a start: ``V_S@top`` of ``V_S@top#2``, of ``V_S@top:flat``, and of itself."""
    return first_start(start).partition(ORIENTATION)[0]


def start_of(start: str) -> str | None:
    """Return the orientation of a molecule's start, with its number if there is one; None for an atom."""
    return start.partition(ORIENTATION)[2] or None


_BETWEEN, _AND = "between ", " and "
"""How an end between two sites is named: ``between H@top and T_W@top``, the nearer one first."""

TIE_EV = 0.001
"""Sites closer in energy than this are tied; the first name wins."""


def sites_of_end(end: str) -> tuple[str, ...]:
    """Return the site or the two sites of an end, without its note in brackets.

    Of two the order is that of the names: which one is nearer by a hair makes no other place.
    """
    place = end.partition(" (")[0]
    return tuple(sorted(place.removeprefix(_BETWEEN).split(_AND))) if place.startswith(_BETWEEN) else (place,)


def named(end: str, names: Mapping[str, str]) -> str:
    """Return an end without its note, by the names that its sites have elsewhere.

    Parameters
    ----------
    end
        The end.
    names
        What sites are called in another cell; others keep their names.
    """
    sites = tuple(sorted(names.get(site, site) for site in sites_of_end(end)))
    return sites[0] if len(sites) == 1 else _BETWEEN + _AND.join(sites)


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


def adsorption_energy(
    slab_with_adsorbate: Record, slab: Record, reference: Record, molecule: str | None = None
) -> float:
    """Return ΔE_ads = E(*Na) − E(*) − E(Na) in eV; negative binds (Lei et al., Small 2023, 19, 2206340).

    Parameters
    ----------
    slab_with_adsorbate, slab
        Of the same host in the same cell: the first has one atom more and was computed from the second; method and
        sampling must be equal.
    reference
        The isolated atom, or the bulk metal, whose energy per atom is taken: of the adsorbate's element; the method
        must be equal, the sampling has rules of its own. Of a molecule it is the free one.
    molecule
        The formula of a molecule, ``Na2S``, which the first has more than the second; None for one atom.

    Raises
    ------
    ProtocolMismatch
        If the subtraction would mean nothing.
    """
    check_parent(slab_with_adsorbate, "host", slab)
    return _difference(slab_with_adsorbate, slab, reference, molecule)


def final_adsorption_energy(
    finals: tuple[Record, Record], relaxed: tuple[Record, Record], reference: Record, molecule: str | None = None
) -> float:
    """Return ΔE_ads in eV from energies at relaxed geometries, as `adsorption_energy` does from relaxations.

    Parameters
    ----------
    finals
        The single points of the host with the adsorbate and of the host alone; method and sampling must be equal.
    relaxed
        The relaxations of both, of which these are the ends.
    reference
        The isolated atom, or the bulk metal, of the method of the single points.
    molecule
        As for `adsorption_energy`.

    Raises
    ------
    ProtocolMismatch
        If the subtraction would mean nothing.
    """
    check_parent(relaxed[0], "host", relaxed[1])
    for final, relaxation in zip(finals, relaxed, strict=True):
        check_parent(final, "geometry", relaxation)
    return _difference(*finals, reference, molecule)


def _difference(slab_with_adsorbate: Record, slab: Record, reference: Record, molecule: str | None) -> float:
    parts = _parts(slab_with_adsorbate, slab, reference, molecule)
    check_method(slab_with_adsorbate, slab)
    check_method(slab_with_adsorbate, reference)
    check_sampling(slab_with_adsorbate, slab)
    check_spin(reference)
    energies = [record.energy_ev for record in (slab_with_adsorbate, slab, reference)]
    if energies[0] is None or energies[1] is None or energies[2] is None:
        raise ProtocolMismatch(f"{slab_with_adsorbate.label}: a record has no energy")
    return energies[0] - energies[1] - energies[2] / parts


def _parts(site: Record, host: Record, reference: Record, molecule: str | None) -> int:
    """Return into how many parts a reference divides, one of which a site has more than its host: a molecule is one.

    Raises
    ------
    ProtocolMismatch
        If the site is not the host with one atom of the reference's element, or with the molecule.
    """
    if molecule is not None and not is_made_of(molecule, symbols(reference)):
        raise ProtocolMismatch(f"{reference.label} is no {molecule}: it has {_counted(Counter(symbols(reference)))}")
    one = element_of(reference) if molecule is None else molecule
    own, expected = Counter(symbols(site)), Counter(symbols(host)) + composition(one)
    if own != expected:
        raise ProtocolMismatch(
            f"{site.label} is not {host.label} with one {one} of {reference.label}: it has "
            f"{_counted(own)} atoms, not {_counted(expected)}"
        )
    return 1 if molecule is not None else len(symbols(reference))


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

    ``energy_ev`` is that of the relaxation. Where energies were asked for at the relaxed geometries,
    ``final_energy_ev`` is the one that ΔE is formed from, and ``relaxed_adsorption_energy_ev`` is ΔE from the
    relaxations; otherwise both are None.
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
    final_energy_ev: float | None = None
    relaxed_adsorption_energy_ev: float | None = None

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
        reasons.append(f"{written(entry.adsorbate)} does not adsorb: it left the sheet from {', '.join(left)}")
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
    if model.lowest is None:
        return []
    record = records.get(model.lowest)
    if record is None or record.choice is None:
        return [f"lowest: {missing(model.lowest)}"]
    if best is not None and record.choice.site != best.site:
        return [f"lowest: the graph chose {record.choice.site}, the energies say {best.site}"]
    return []


FINAL = "final_energy"
"""The quantity of energies at relaxed geometries, in campaigns that ask for them."""

_ON_SITE = "site "


def point_role(role: str) -> str:
    """Return the role in that quantity of the single point of the host, or of a site by its name."""
    return role if role == "host" else _ON_SITE + role


@dataclass(frozen=True)
class Adsorbate:
    """What is adsorbed: an element, or the formula of a molecule with its unpaired electrons when it is free."""

    name: str
    unpaired_electrons: int | None = None

    @property
    def molecule(self) -> str | None:
        """Its formula if it is a molecule."""
        return self.name if atoms_of(self.name) > 1 else None


def adsorbate_of(entry: CampaignEntry, model: ModelEntry) -> Adsorbate:
    """Return the adsorbate of a host of a campaign."""
    declared = model.quantities["adsorption_energy"].declared
    return Adsorbate(entry.adsorbate, declared.get("unpaired_electrons"))


@dataclass(frozen=True)
class Terms:
    """Ids of the terms of ΔE: relaxations and their references, or single points and theirs.

    ``parents`` are the relaxations of which single points are the ends.
    """

    host: str
    site: str
    atom: str
    bulk: str | None
    parents: tuple[str, str] | None = None
    what: str = ""

    def adsorption_energy(self, records: Mapping[str, Record], reference: str, molecule: str | None = None) -> float:
        """Return ΔE against a reference, all of whose records are there."""
        site, host = records[self.site], records[self.host]
        if self.parents is None:
            return adsorption_energy(site, host, records[reference], molecule)
        relaxed = records[self.parents[0]], records[self.parents[1]]
        return final_adsorption_energy((site, host), relaxed, records[reference], molecule)


def _relaxed(model: ModelEntry, site: SiteEntry) -> Terms:
    bulk = model.quantities.get("bulk_reference")
    return Terms(
        model.host,
        site.calculation,
        model.quantities["adsorption_energy"].calculations["atom"],
        None if bulk is None else bulk.calculations["bulk"],
    )


def _final(model: ModelEntry, site: SiteEntry) -> Terms | None:
    """Return the single points of a site; None if the campaign asks for none."""
    entry = model.quantities.get(FINAL)
    if entry is None:
        return None
    ids = entry.calculations
    parents = site.calculation, model.host
    return Terms(ids["host"], ids[point_role(site.name)], ids["atom"], ids.get("bulk"), parents, "final energy: ")


def sources(model: ModelEntry, site: SiteEntry, bulk: bool = False) -> tuple[str, ...]:
    """Return the ids of the records that ΔE of a site is formed from: site, host and reference."""
    energies = _final(model, site) or _relaxed(model, site)
    return energies.site, energies.host, str(energies.bulk if bulk else energies.atom)


def energy_of_host(model: ModelEntry) -> str:
    """Return the id of the calculation whose energy is that of the host in ΔE."""
    entry = model.quantities.get(FINAL)
    return model.host if entry is None else entry.calculations["host"]


def relaxed_sources(model: ModelEntry, site: SiteEntry) -> tuple[str, ...]:
    """Return the ids of the relaxations that ΔE of a site is formed from, and of their atom."""
    energies = _relaxed(model, site)
    return energies.site, energies.host, energies.atom


def adsorption_values(
    energies: Terms, adsorbate: Adsorbate, records: Mapping[str, Record], missing: Callable[[str], str]
) -> tuple[float | None, float | None, str | None]:
    """Return ΔE against the free adsorbate and the bulk metal, and why one of them is missing."""
    needed = {energies.site: "", energies.host: "no host: "}
    needed |= dict.fromkeys(energies.parents or (), "no relaxation: ")
    for identifier, words in needed.items():
        if identifier not in records:
            return None, None, f"{energies.what}{words}{missing(identifier)}"
    atom, bulk = records.get(energies.atom), records.get(energies.bulk or "")
    value = bulk_value = None
    free = adsorbate.name if adsorbate.molecule else f"{adsorbate.name} atom"
    reason = None if atom is not None else f"{energies.what}no {free}: {missing(energies.atom)}"
    try:
        if atom is not None:
            _check_free(atom, adsorbate)
            value = energies.adsorption_energy(records, energies.atom, adsorbate.molecule)
        bulk_value = None if bulk is None else energies.adsorption_energy(records, bulk.calculation)
    except ProtocolMismatch as error:
        reason = f"{energies.what}{error}"
    return value, bulk_value, reason


def _site(
    entry: CampaignEntry,
    model: ModelEntry,
    site: SiteEntry,
    records: Mapping[str, Record],
    missing: Callable[[str], str],
) -> SiteResult:
    record, final = records.get(site.calculation), _final(model, site)
    value, bulk_value, reason = adsorption_values(_relaxed(model, site), adsorbate_of(entry, model), records, missing)
    relaxed_value = final_record = None
    if final is not None:
        relaxed_value, final_record = value, records.get(final.site)
        value, bulk_value, final_reason = adsorption_values(final, adsorbate_of(entry, model), records, missing)
        reason = reason if record is None else final_reason or reason
    moments = (final_record or record).final_moments_mub if record is not None else None
    note = record.site.note if record is not None and record.site is not None else None
    end = record.site.end if record is not None and record.site is not None else None
    return SiteResult(
        site=site.name,
        multiplicity=site.multiplicity,
        end=f"{end} ({note})" if end and note else end,
        energy_ev=record.energy_ev if record is not None else None,
        adsorption_energy_ev=value,
        adsorption_energy_bulk_ev=bulk_value,
        total_moment_mub=(final_record or record).total_moment_mub if record is not None else None,
        adsorbate_moment_mub=sum(moments[-atoms_of(entry.adsorbate) :]) if moments else None,
        reason=reason,
        final_energy_ev=final_record.energy_ev if final_record is not None else None,
        relaxed_adsorption_energy_ev=relaxed_value,
    )


def _check_free(atom: Record, adsorbate: Adsorbate) -> None:
    """Refuse what is no isolated atom of the campaign's adsorbate, or no free molecule in the state that it has."""
    if adsorbate.molecule is None:
        if atom.kind != "atom" or symbols(atom) != (adsorbate.name,):
            raise ProtocolMismatch(
                f"{atom.label} is no isolated {adsorbate.name} atom, but {atom.kind} of {symbols(atom)}"
            )
        return
    unpaired, own = adsorbate.unpaired_electrons, atom.total_moment_mub
    if unpaired is not None and own is not None and abs(abs(own) - unpaired) > _SPIN_MUB:
        raise ProtocolMismatch(
            f"the free molecule {atom.label} has {abs(own):.2f} μB, and with a multiplicity of {unpaired + 1} it has "
            f"{unpaired}: say the multiplicity that it has as adsorbate.multiplicity, or `sodiate redo {atom.label}`"
        )


def _mark_same(sites: list[SiteResult]) -> list[SiteResult]:
    """Name in ``same_as`` the first earlier site that ended in the same place with the same energy (5 meV)."""
    marked: list[SiteResult] = []
    for site in sites:
        matches = [
            earlier.site
            for earlier in marked
            if site.energy_ev is not None
            and earlier.energy_ev is not None
            and earlier.end is not None
            and site.end is not None
            and sites_of_end(earlier.end) == sites_of_end(site.end)
            and abs(earlier.energy_ev - site.energy_ev) < 0.005
        ]
        marked.append(replace(site, same_as=matches[0]) if matches else site)
    return marked
