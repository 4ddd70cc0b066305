"""Δρ of the best site: its electron density minus those of the host and of the adsorbate alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.adsorbates import written
from ...analysis.arrays import Density
from ...analysis.electrons.bader import charge_transfer
from ...analysis.electrons.density import DensityTerms, check_state, integral, term_names
from ...analysis.energies.comparability import check_atoms, check_method, check_parent, check_sampling, symbols
from ...analysis.report.content import Panel
from ...analysis.report.panels import profile_payload
from ...errors import SodiateError
from ...structures.geometry import layers
from .. import start_structures
from .base import HostPart, PlannedHost, Quantity, QuantityContent, QuantityPlan

if TYPE_CHECKING:
    from ase import Atoms

    from ...analysis.model_result import HostRecords, ModelResult
    from ..database.documents import Documents
    from .declare import Declare


@dataclass(frozen=True)
class TermsMissing:
    """The reasons why densities have no record; Δρ itself is not a number of a table."""

    reasons: tuple[str, ...]


class DensityDifference(Quantity):
    """Three densities for each host, on the same grid, with the atoms of the relaxed best site."""

    name = "density_difference"
    kinds = frozenset({"density"})
    of_sites = True
    words = {"": "density of the best site's atoms"}

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the three terms: same cell, grid and sampling, with the atoms of the relaxed chosen site."""
        parts: tuple[start_structures.Part, ...] = ("all", "host", "adsorbate")
        names = term_names(declare.campaign.adsorbate)
        host_parts = {}
        for host in hosts:
            assert host.lowest is not None  # the planner leaves out hosts without sites
            label = host.calculation.label
            terms = {
                name: declare(
                    "density",
                    start_structures.chosen(part),
                    {"lowest": host.lowest},
                    f"{label}/density/{name}",
                    host.protocol,
                )
                for name, part in zip(names, parts, strict=True)
            }
            full_names = {f"{host.name}/density/{name}": calculation for name, calculation in terms.items()}
            host_parts[host.name] = HostPart(terms, names=full_names)
        return QuantityPlan({}, host_parts)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> TermsMissing:
        """Name the missing terms; a table does not read the grids."""
        return TermsMissing(tuple(f"density/{reason}" for reason in host.lacking(self.name, {})))

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Draw Δρ around the atoms and along the normal, and state the transferred electrons."""
        try:
            terms = density_terms(result.host, documents)
        except SodiateError:  # not computed yet, or in an archive, which leaves the grids out
            return QuantityContent()
        adsorbate, difference = written(result.adsorbate), terms.difference
        charge = charge_transfer(terms)
        line = (
            f"{adsorbate} gave {charge.by_plane:.2f} electrons to the sheet (integral of Δρ up to the plane between "
            f"them; ∫Δρ is {integral(difference):.0e} e), {charge.by_basin:.2f} by its basin (Bader)"
        )
        words = f"Charge-density difference of {result.model}/{result.site} along the normal, summed over planes"
        caption = f"{words}, and the electrons gained below each height; dotted: layers of atoms."
        data = {**profile_payload(difference), "layers": _layers(terms.atoms)}
        return QuantityContent([line], [Panel("profile", data, words, caption)], difference)


def _layers(atoms: Atoms) -> list[list[object]]:
    """Return the mean height (Å) of each layer of an element."""
    marks: list[list[object]] = []
    for symbol in dict.fromkeys(atoms.get_chemical_symbols()):
        heights = atoms.positions[atoms.symbols == symbol, 2]
        marks += [[symbol, round(float(heights[layer].mean()), 3)] for layer in layers(heights)]
    return marks


def density_terms(host: HostRecords, documents: Documents) -> DensityTerms:
    """Return the terms of Δρ of a host, checked against one another.

    Raises
    ------
    SodiateError
        If one of the three densities is missing, with the reason, or was run differently from the others, or if the
        adsorbate's electrons are in another state than in the relaxation of the site.
    """
    terms = []
    for name in term_names(host.campaign.adsorbate):
        identifier = host.identifier(DensityDifference.name, name) or ""
        record = host.records.get(identifier)
        if record is None:
            raise SodiateError(f"{host.model.name}/density/{name} has no result: {host.missing(identifier)}.")
        density = documents.arrays(record, "density")
        if not isinstance(density, Density):
            raise SodiateError(f"{host.model.name}/density/{name}: a record of a density has none.")
        terms.append((record, density))
    (together, whole), (host_alone, sheet), (atom_alone, alone) = terms
    check_atoms(together, (host_alone, atom_alone), "density difference")
    for record, _ in terms[1:]:
        check_method(together, record)
        check_sampling(together, record)
    chosen_by = str(host.model.lowest)
    lowest = host.records.get(chosen_by)
    if lowest is None:
        raise SodiateError(f"{host.model.name}/lowest has no result: {host.missing(chosen_by)}.")
    for term, _ in terms:
        check_parent(term, "lowest", lowest)
    check_state(together, lowest)
    assert together.geometry is not None  # a density is that of atoms
    return DensityTerms(whole, sheet, alone, together.geometry.atoms(), len(symbols(atom_alone)))
