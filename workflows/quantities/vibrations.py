"""Vibrations of the adsorbate at the best site or named ones: modes, free energies, ΔG, attempt frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.adsorption import AdsorptionResult
from ...analysis.energies.barrier import BarrierResult
from ...analysis.energies.vibrations import Asked, SiteVibrations, lowest_free_energies, site_vibrations
from ...analysis.records import MOCK
from ...analysis.report.content import Panel
from .. import start_structures
from ..calculation import GEOMETRY, LOWEST, Calculation
from ..campaign.yaml import InputError, nearest
from .base import HostPart, Number, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from ...analysis.records import Saddle
    from ..database.documents import Documents
    from .declare import Declare

BEST = "best"


@dataclass(frozen=True)
class VibrationsResult:
    """The vibrations on one host.

    Attributes
    ----------
    sites
        Those that were computed.
    zero_point_ev, adsorption_free_energy_ev, free_energy_temperature_k
        Of the first site: zero-point energy, ΔG against the gas of atoms at the first temperature, and that.
    reasons
        What is missing, in words.
    """

    sites: tuple[SiteVibrations, ...]
    reasons: tuple[str, ...]

    @property
    def zero_point_ev(self) -> float | None:
        """Of the first site."""
        return self.sites[0].zero_point_ev if self.sites else None

    @property
    def adsorption_free_energy_ev(self) -> float | None:
        """ΔG of the first site at the first temperature."""
        found = self.sites[0].adsorption_free_energies_ev if self.sites else None
        return None if found is None else found[0]

    @property
    def free_energy_temperature_k(self) -> float | None:
        """The first temperature."""
        return self.sites[0].temperatures_k[0] if self.sites else None


class VibrationsOfIon(Quantity):
    """Finite differences of forces over the adsorbate, and its neighbours if the campaign says so."""

    name = "vibrations"
    kinds = frozenset({"vibrations"})
    of_atoms = "the modes are those of one atom, and ΔG is against a gas of atoms"
    of_sites = True
    words = {"": "modes of the adsorbate"}
    columns = (
        Column(
            "zero_point_ev",
            lambda r: r.zero_point_ev,
            page="zero-point energy{mock} / eV",
            only_with_values=True,
        ),
        Column(
            "adsorption_free_energy_ev",
            lambda r: r.adsorption_free_energy_ev,
            table="ΔG (eV){mock}",
            page="ΔG{mock} / eV",
            manuscript="ΔG (eV)",
            only_with_values=True,
        ),
        Column("free_energy_temperature_k", lambda r: r.free_energy_temperature_k, digits=0),
        Column("vibrations", lambda r: [asdict(site) for site in r.sites], digits=None, in_csv=None),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the vibrations at the best site of each host, or at those that the campaign names.

        Raises
        ------
        InputError
            If a named site is not one that the campaign relaxes.
        """
        asked = declare.campaign.spec.vibrations
        found: dict[str, dict[str, Calculation]] = {}
        for name in asked.of:
            for host, site in _places(declare, hosts, name):
                calculation = _declared(declare, host, site, asked.around_a)
                found.setdefault(host.name, {})[site] = calculation
        declared = {"temperatures_k": list(asked.temperatures_k)}
        return QuantityPlan(
            hosts={
                host: HostPart(
                    calculations,
                    declared,
                    names={f"{host}/vibrations/{site}": one for site, one in calculations.items()},
                )
                for host, calculations in found.items()
            }
        )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> VibrationsResult | None:
        """Return modes and energies at each site; None for a host without."""
        entry = host.model.quantities.get(self.name)
        if entry is None:
            return None
        adsorption: AdsorptionResult = results["adsorption_energy"]
        paths = _paths(host, results.get("barrier"))
        sites: list[SiteVibrations] = []
        reasons: list[str] = []
        for role, identifier in entry.calculations.items():
            record = host.records.get(identifier)
            if record is None or record.vibrations is None:
                reasons.append(f"vibrations at {role}: {host.missing(identifier)}")
                continue
            name = host.chosen or role if role == BEST else role
            if name in (one.site for one in sites):  # the best one, named too
                continue
            site = next((one for one in adsorption.sites if one.site == name), None)
            about = Asked(
                site=name,
                best=role == BEST,
                element=host.campaign.adsorbate,
                temperatures_k=tuple(entry.declared["temperatures_k"]),
                energy_ev=None if site is None else site.adsorption_energy_ev,
                energy_bulk_ev=None if site is None else site.adsorption_energy_bulk_ev,
                paths=paths,
            )
            one = site_vibrations(record, about)
            sites.append(one)
            if one.imaginary:
                reasons.append(
                    f"free energy at {name}: not a minimum: {one.imaginary} of its modes "
                    f"{'is' if one.imaginary == 1 else 'are'} imaginary"
                )
        return VibrationsResult(tuple(sites), tuple(reasons))

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """State modes, energies and attempt frequencies of each site."""
        lines = []
        for result in results:
            found: VibrationsResult | None = result.quantities.get(self.name)
            mock = "" if result.physical else f", {MOCK}"
            for site in found.sites if found else ():
                lines.append(f"{result.model}/{site.site}: {_words(site, result.adsorbate)}{mock}")
                lines += [
                    f"{result.model}/{site.site} towards {hop.towards}: {hop.rate_hz:.1e} hops/s at 300 K, "
                    f"ν = {hop.attempt_hz / 1e12:.1f} THz ({hop.origin}){mock}"
                    for hop in site.hops
                ]
            lowest = lowest_free_energies(found.sites) if found else {}
            if len(set(lowest.values())) > 1:
                told = ", ".join(f"{site} at {temperature:g} K" for temperature, site in lowest.items())
                lines.append(f"{result.model}: the site of lowest ΔG changes with temperature: {told}{mock}")
        return lines

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """State the modes, and draw ΔG over temperature where there are several."""
        found: VibrationsResult | None = result.quantities.get(self.name)
        if found is None or not found.sites:
            return QuantityContent()
        lines = [f"{site.site}: {_words(site, result.adsorbate)}" for site in found.sites]
        curves = [
            {"name": site.site, "x": list(site.temperatures_k), "y": [round(value, 4) for value in energies]}
            for site in found.sites
            if (energies := site.adsorption_free_energies_ev) is not None and len(energies) > 1
        ]
        if not curves:
            return QuantityContent(lines)
        words = f"ΔG of adsorption on {result.model} over temperature"
        caption = f"{words}, against the gas of {result.adsorbate} atoms at 1 bar; harmonic modes, the sheet at rest."
        return QuantityContent(
            lines, [Panel("curves-vibrations", {"x": "T / K", "y": "ΔG / eV", "curves": curves}, words, caption)]
        )

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say what moved, and what the free energies hold."""
        records = [record for record in recorded(hosts, self.name) if record.vibrations is not None]
        if not records:
            return []
        element = hosts[0].campaign.adsorbate
        alone = all(len(record.vibrations.moved) == 1 for record in records)
        what = "the sheet at rest" if alone else "its neighbours moving too, the rest at rest"
        return [
            f"Vibrations of {element} are from central differences of forces (±0.02 Å), {what}. Free energies are "
            f"those of its own harmonic modes; ΔG is against an ideal gas of {element} atoms at 1 bar."
        ]

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return zero-point energy and ΔG of each site."""
        found: VibrationsResult | None = result.quantities.get(self.name)
        numbers = []
        for site in found.sites if found else ():
            if site.zero_point_ev is not None:
                numbers.append(Number(site.site, "zero_point_ev", site.zero_point_ev, site.records))
            for temperature, energy in zip(site.temperatures_k, site.adsorption_free_energies_ev or (), strict=False):
                numbers.append(
                    Number(site.site, f"adsorption_free_energy_ev at {temperature:g} K", energy, site.records)
                )
        return numbers


def _places(declare: Declare, hosts: Sequence[PlannedHost], name: str) -> list[tuple[PlannedHost, str]]:
    """Return the hosts and sites that a name in a campaign means: ``best``, ``SITE`` or ``MODEL/SITE``."""
    where = f"{declare.where}: vibrations.of: {name}"
    model, _, site = name.rpartition("/")
    names = [host.name for host in hosts]
    if model and model not in names:
        raise InputError(f"{where}: no model {model!r}{nearest(model, names)}; models: {', '.join(names)}.")
    those = [host for host in hosts if model in ("", host.name)]
    found = [(host, site) for host in those if site == BEST or site in host.sites]
    if not found:
        known = list(dict.fromkeys(site for host in those for site in host.sites))
        raise InputError(
            f"{where}: the campaign relaxes no site {site!r}{nearest(site, [*known, BEST])}; its sites: "
            f"{', '.join(known)}, or {BEST}."
        )
    return found


def _declared(declare: Declare, host: PlannedHost, site: str, around_a: float | None) -> Calculation:
    assert host.lowest is not None  # the planner leaves out hosts without sites
    parents = {LOWEST: host.lowest} if site == BEST else {GEOMETRY: host.sites[site]}
    structure = start_structures.vibrating(around_a, site == BEST)
    label = f"{host.calculation.label}/vibrations/{site}"
    return declare("vibrations", structure, parents, label, host.protocol)


def _paths(host: HostRecords, barriers: BarrierResult | None) -> list[tuple[Any, Saddle | None]]:
    """Return the barriers of a host with their saddles."""
    found = [] if barriers is None else list(barriers.paths)
    return [(path, host.records[path.records[0]].saddle) for path in found]


def _words(site: SiteVibrations, element: str) -> str:
    """Say modes and energies of a site in one line."""
    modes = ", ".join(f"{-v:.0f}i" if v < 0 else f"{v:.0f}" for v in site.wavenumbers_per_cm)
    with_them = f" with {site.neighbours} neighbours" if site.neighbours else ""
    best = " (best site)" if site.best else ""
    text = f"modes of {element}{with_them}{best} {modes} cm⁻¹"
    if site.imaginary or site.zero_point_ev is None or site.free_energies_ev is None:
        return f"{text}: not a minimum, so that there is no free energy"
    if site.neighbours:
        own = ", ".join(f"{value:.0f}" for value in site.ion_wavenumbers_per_cm)
        text += f", of it alone {own}"
    text += f"; zero-point energy {site.zero_point_ev:.4f} eV"
    for number, temperature in enumerate(site.temperatures_k):
        text += f"; at {temperature:g} K F = {site.free_energies_ev[number]:.3f} eV"
        if site.adsorption_free_energies_ev is not None:
            text += f", ΔG = {site.adsorption_free_energies_ev[number]:.3f} eV against the gas at 1 bar"
        if site.adsorption_free_energies_bulk_ev is not None:
            bulk = site.adsorption_free_energies_bulk_ev[number]
            text += f", {bulk:.3f} eV against the metal at rest"
    return f"{text}; a mode is so soft that harmonic free energies are doubtful" if site.soft else text
