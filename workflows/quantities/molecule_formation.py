"""The formation energy of an adsorbed molecule from isolated atoms, when it is free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.adsorbates import composition, written
from ...analysis.columns import Column
from ...analysis.energies.comparability import ProtocolMismatch
from ...analysis.energies.formation import formation_from_atoms
from ...analysis.records import MOCK
from ..campaign.yaml import InputError
from .base import HostPart, PlannedHost, Quantity, QuantityPlan, recorded
from .statics import free_adsorbate, isolated_atom

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from .declare import Declare

_MOLECULE = "molecule"
"""The role of the free molecule; atoms have their elements' symbols."""


@dataclass(frozen=True)
class MoleculeResult:
    """Formation energy of the free molecule from isolated atoms, eV per molecule; negative if it holds together."""

    molecule_formation_ev: float | None
    reasons: tuple[str, ...]


class MoleculeFormation(Quantity):
    """E(molecule) − Σ E(atom); ΔE against the atoms is the sum of it and ΔE."""

    name = "molecule_formation"
    kinds = frozenset({"relax", "atom"})
    words = {_MOLECULE: "free molecule", "": "isolated atom"}
    columns = (
        Column(
            "molecule_formation_ev",
            lambda r: r.molecule_formation_ev,
            page="formation of the molecule{mock} / eV",
            manuscript="E, molecule from atoms (eV)",
            only_with_values=True,
        ),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the isolated atoms of the molecule's elements, with the protocol of each host.

        Raises
        ------
        InputError
            If what is adsorbed is an atom.
        """
        if declare.campaign.molecule is None:
            name = declare.campaign.adsorbate
            raise InputError(
                f"{declare.where}: quantities: {self.name}: {name} is an atom, this is for molecules; leave it out."
            )
        parts = {}
        for host in hosts:
            atoms = {
                element: isolated_atom(declare, element, host.protocol)
                for element in composition(declare.campaign.adsorbate)
            }
            free = free_adsorbate(declare, host.protocol)
            parts[host.name] = HostPart({_MOLECULE: free, **atoms}, references=tuple(atoms.values()))
        return QuantityPlan(hosts=parts)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> MoleculeResult:
        """Form it from the records; each atom has to be in its ground state."""
        lacking = host.lacking(self.name, {_MOLECULE: host.campaign.adsorbate})
        if lacking:
            return MoleculeResult(None, tuple(f"formation of the molecule: {reason}" for reason in lacking))
        entry = host.model.quantities[self.name]
        records = {role: host.records[identifier] for role, identifier in entry.calculations.items()}
        molecule = records.pop(_MOLECULE)
        try:
            return MoleculeResult(formation_from_atoms(molecule, records), ())
        except ProtocolMismatch as error:
            return MoleculeResult(None, (f"formation of the molecule: {error}",))

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say it once for all hosts with the same."""
        said: dict[str, None] = {}
        for result in results:
            found: MoleculeResult | None = result.quantities.get(self.name)
            if found is not None and found.molecule_formation_ev is not None:
                mock = "" if result.physical else f", {MOCK}"
                name, energy = written(result.adsorbate), found.molecule_formation_ev
                said[f"{name}: formation from its isolated atoms {energy:.3f} eV{mock}"] = None
        return list(said)

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say what it is against."""
        if not recorded(hosts, self.name, _MOLECULE):
            return []
        name = written(hosts[0].campaign.adsorbate)
        return [f"The formation energy of {name} is that of the free molecule less those of its isolated atoms."]
