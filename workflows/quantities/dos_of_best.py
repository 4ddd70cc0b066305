"""The electrons of each host with the adsorbate at its best site, beside those of the host alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...analysis.adsorbates import atoms_of
from ...analysis.arrays import Dos
from ...analysis.columns import Column
from ...analysis.electrons.density import term_names
from ...analysis.energies.with_adsorbate import (
    Behind,
    CommonZero,
    Spectrum,
    WithAdsorbate,
    common_zero,
    spectra,
    with_adsorbate,
)
from ...analysis.records import MOCK
from ...analysis.report.content import Panel
from ...analysis.report.panels import rounded
from ..campaign.yaml import InputError
from .base import Figure, HostPart, Number, PlannedHost, Quantity, QuantityContent, QuantityPlan
from .density_difference import DensityDifference
from .dos import DensityOfStates, best_dos

if TYPE_CHECKING:
    from pathlib import Path

    from ...analysis.model_result import HostRecords, ModelResult
    from ...analysis.records import BandGap, Record
    from ..database.documents import Documents
    from .declare import Declare


class DosOfBest(Quantity):
    """Planned by ``dos.of``, not by a list of quantities."""

    name = "dos_of_best"
    optional = False
    of_sites = True
    words = {"best": "DOS and gap of the best site"}
    columns = (
        Column(
            "gap_change",
            lambda r: r.gap_change,
            table="gap, with {adsorbate} (eV){mock}",
            page="gap → with the adsorbate{mock} / eV",
            manuscript="gap → with adsorbate (eV)",
            digits=None,
            in_csv=None,
            in_json=False,
            only_with_values=True,
        ),
        Column("best_gap_ev", lambda r: r.best_gap_ev),
        Column("best_gap_nature", lambda r: r.best_gap_nature, digits=None),
        Column(
            "best_work_function_bottom_ev",
            lambda r: r.best_work_function_bottom_ev,
            page="with the adsorbate: work function, bottom{mock} / eV",
            only_with_values=True,
        ),
        Column(
            "best_work_function_top_ev",
            lambda r: r.best_work_function_top_ev,
            page="with the adsorbate: work function, top{mock} / eV",
            only_with_values=True,
        ),
        Column("host_moment_mub", lambda r: r.host_moment_mub),
        Column("best_moment_mub", lambda r: r.best_moment_mub),
        Column(
            "ion_moment_mub",
            lambda r: r.ion_moment_mub,
            page="moment of the ion / μB",
            digits=2,
            only_with_values=True,
        ),
        Column(
            "ion_charge_e",
            lambda r: r.ion_charge_e,
            table="charge {adsorbate} (e)",
            page="charge of the ion (Bader) / e",
            manuscript="charge of the ion, Bader (e)",
            digits=2,
            only_with_values=True,
        ),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare a DOS at the geometry of the best site, on the mesh of the host's.

        Raises
        ------
        InputError
            If the campaign asks for it and not for that of the host.
        """
        spec = declare.campaign.spec
        if "best" not in spec.dos.of:
            return QuantityPlan()
        if DensityOfStates.name not in spec.quantities:
            raise InputError(f"{declare.where}: dos.of: quantities have no dos; add it there, or leave dos.of out.")
        if "dos" not in declare.engine.capabilities:  # said of the host's
            return QuantityPlan()
        found = {host.name: best_dos(declare, host) for host in hosts}
        return QuantityPlan(
            hosts={name: HostPart({"best": dos}, names={f"{name}/dos/best": dos}) for name, dos in found.items()}
        )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> WithAdsorbate | None:
        """Hold the records of the best site against those of the host; None for a host without."""
        if self.name not in host.model.quantities:
            return None
        lacking = host.lacking(self.name, {"best": "DOS of the best site"})
        return with_adsorbate(_behind(host, host.chosen), host.chosen, lacking, atoms_of(host.campaign.adsorbate))

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say of each host what the adsorbate changes."""
        lines = []
        for result in results:
            found: WithAdsorbate | None = result.quantities.get(self.name)
            if found is None or found.best_gap_ev is None:
                continue
            mock = "" if result.physical else f", {MOCK}"
            lines.append(f"{result.model}: {_words(result, found)}{mock}")
        if lines and not any(DensityDifference.name in one.host.model.quantities for one in results):
            lines.append("charge of the ion: none without the densities of the quantity density_difference")
        return lines

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Draw both DOS from one zero, with their Fermi levels where they are not that zero."""
        found: WithAdsorbate | None = result.quantities.get(self.name)
        drawn = _spectra(result.host, documents)
        lines = [] if found is None or found.best_gap_ev is None else [_words(result, found)]
        if drawn is None:
            return QuantityContent(lines)
        zero, pair = drawn
        words = f"Density of states of {result.model} alone and with {result.adsorbate} at its best site"
        apart = [spectrum for spectrum in pair if abs(spectrum.fermi_ev) > 0.001]
        levels = ", vertical lines are Fermi levels" if apart else ""
        caption = f"{words}; zero is {zero.words}{levels}, spin down below zero."
        data = {"x": "E / eV", "y": "states / (eV cell)", "curves": [*_curves(pair), *_fermi_levels(pair, apart)]}
        return QuantityContent(lines, [Panel("curves-dos-of-best", data, words, caption)])

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw both DOS of each host, one below the other."""
        found = {result.model: _spectra(result.host, documents) for result in results}
        drawn = {model: one for model, one in found.items() if one is not None}
        if not drawn:
            return {}
        from ...analysis.figures.with_adsorbate import dos_beside

        def draw(path: Path, mock: bool) -> None:
            dos_beside(drawn, path, mock)

        return {"dos-of-best": draw}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say what the densities of the best sites are of, and how charges were counted."""
        if not any(host.record(self.name, "best") is not None for host in hosts):
            return []
        said = ["Those of the best sites are at their relaxed geometries, on the meshes of the hosts."]
        behind = [_behind(host, None) for host in hosts if self.name in host.model.quantities]
        if any(one.together is not None and one.together.basin_electrons is not None for one in behind):
            said.append(
                "The ion's charge is its electrons alone less those in its Bader basin of the density on the sheet."
            )
        return said

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return each number with the records that it is from."""
        found: WithAdsorbate | None = result.quantities.get(self.name)
        if found is None:
            return []
        behind = _behind(result.host, found.site)
        sources = {
            **dict.fromkeys(
                ("best_gap_ev", "best_work_function_bottom_ev", "best_work_function_top_ev"), (behind.best_dos,)
            ),
            "host_moment_mub": (behind.host,),
            "best_moment_mub": (behind.site,),
            "ion_moment_mub": (behind.site,),
            "ion_charge_e": (behind.together, behind.alone),
        }
        return [
            Number("", key, value, tuple(record.calculation for record in records if record is not None))
            for key, records in sources.items()
            if (value := getattr(found, key)) is not None
        ]


def _behind(host: HostRecords, site: str | None) -> Behind:
    together, _, alone = term_names(host.campaign.adsorbate)
    return Behind(
        host_dos=host.record(DensityOfStates.name, "dos"),
        best_dos=host.record(DosOfBest.name, "best"),
        host=host.records.get(host.model.host),
        site=host.of_site(site),
        together=host.record(DensityDifference.name, together),
        alone=host.record(DensityDifference.name, alone),
    )


def _words(result: ModelResult, found: WithAdsorbate) -> str:
    """Say what an adsorbate changes, in one line."""
    parts = [f"gap {found.gap_change} eV" if found.gap_change else f"gap {found.best_gap_ev:.3f} eV"]
    below, above = found.best_work_function_bottom_ev, found.best_work_function_top_ev
    if below is not None and above is not None:
        name = "work function" if found.best_gap_nature == "metal" else "ionisation energy"
        parts.append(f"{name} {below:.2f} eV through the bottom, {above:.2f} eV through the top")
    elif not result.physical:
        parts.append("no work function, for a dry run has no vacuum levels")
    if found.best_moment_mub is not None:
        before = "" if found.host_moment_mub is None else f"{found.host_moment_mub:z.2f} → "
        parts.append(f"moment of the cell {before}{found.best_moment_mub:z.2f} μB")
    if found.ion_moment_mub is not None:
        parts.append(f"{found.ion_moment_mub:z.2f} μB of it in the sphere of {result.adsorbate}")
    if found.ion_charge_e is not None:
        parts.append(f"charge of {result.adsorbate} {found.ion_charge_e:+.2f} e by its basin (Bader)")
    return f"with {result.adsorbate} at {found.site}: {'; '.join(parts)}"


def _spectra(host: HostRecords, documents: Documents) -> tuple[CommonZero, tuple[Spectrum, Spectrum]] | None:
    """Return the DOS of a host alone and with the adsorbate from one zero; None if one is missing."""
    records = host.record(DensityOfStates.name, "dos"), host.record(DosOfBest.name, "best")
    if records[0] is None or records[1] is None:
        return None
    zero = common_zero(records[0], records[1], atoms_of(host.campaign.adsorbate))
    if zero is None:
        return None
    names = host.model.name, f"{host.model.name} + {host.campaign.adsorbate}"
    bare, best = _dos(records[0], documents), _dos(records[1], documents)
    return None if bare is None or best is None else (zero, spectra(names, (bare, best), zero))


def _dos(record: Record, documents: Documents) -> tuple[Dos, BandGap] | None:
    dos = documents.arrays(record, "dos")
    return (dos, record.gap) if isinstance(dos, Dos) and record.gap is not None else None


def _curves(pair: tuple[Spectrum, Spectrum]) -> list[dict[str, Any]]:
    """Return the curves of both DOS; spin down is below zero, after a gap in the line."""
    curves: list[dict[str, Any]] = []
    for spectrum in pair:
        energies, *spins = (rounded(line, 3) for line in (spectrum.energies_ev, *spectrum.total))
        x, y = list(energies), list(spins[0])
        for down in spins[1:]:
            x, y = [*x, None, *energies], [*y, None, *(-value for value in down)]
        curves.append({"name": f"{spectrum.name}, {spectrum.gap}", "x": x, "y": y, "mode": "lines"})
    return curves


def _fermi_levels(pair: tuple[Spectrum, Spectrum], shown: list[Spectrum]) -> list[dict[str, Any]]:
    """Return a vertical line for each Fermi level shown, as high as the highest DOS."""
    top = max(float(spectrum.total.max(initial=0.0)) for spectrum in pair)
    curves = []
    for spectrum in shown:
        level, foot = round(spectrum.fermi_ev, 3), -top if len(spectrum.total) == 2 else 0.0
        name = f"Fermi level of {spectrum.name}"
        curves.append({"name": name, "x": [level, level], "y": [foot, top], "mode": "lines"})
    return curves
