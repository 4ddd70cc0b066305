"""The calculation that chooses the best Na site: it compares its parents' records and runs no code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...analysis.energies.adsorption import DESORBED, lowest
from ...analysis.energies.comparability import ProtocolMismatch, check_method, check_parent, check_sampling
from ...analysis.records import Geometry, Method
from ...version import __version__
from ..calculation import HOST, final_role
from ..stop import Stop
from .base import Artefacts, Demand, Engine, EngineError, Limits, Outcome, PlainEngine, Settings

if TYPE_CHECKING:
    from ase import Atoms

    from ...analysis.records import Record
    from ..calculation import Calculation

NOT_ADSORBED = "does not adsorb: the adsorbate left the sheet"


class LowestEngine(PlainEngine):
    """Chooses the site of lowest energy among those that were computed, and names the others.

    Parameters
    ----------
    failures
        Why each site without a record failed.
    """

    name = "lowest"
    physical = True
    capabilities = frozenset({"lowest"})
    protocol_keys: frozenset[str] = frozenset()

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__(Settings())
        self.failures = dict(failures)

    def check(self, atoms: Atoms) -> None:
        """Accept any element."""

    def demand(self, calculation: Calculation) -> Demand:
        """Return a single core: it reads some records."""
        return Demand(ranks=(1,))

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, Artefacts]
    ) -> None:
        """Write the energies and geometries of the sites into ``sites.json``.

        Where there are energies at the relaxed geometries, these choose, and those of the relaxations do not.
        """
        finals = final_role(HOST) in (*calculation.parents, *parents)
        energies, geometries, ignored = {}, {}, {}
        for role in self._sites(parents):
            energy_role = final_role(role) if finals else role
            missing = next((one for one in (role, energy_role) if one in self.failures), None)
            if missing is not None:
                ignored[role] = (
                    self.failures[missing] if missing == role else f"final energy {self.failures[missing]}"
                )
                continue
            site, record = parents[role].record, parents[energy_role].record
            try:
                _check(record, parents[final_role(HOST) if finals else HOST].record)
                if finals:
                    check_parent(record, "geometry", site)
            except ProtocolMismatch as error:
                ignored[role] = str(error)
                continue
            if site.site is not None and site.site.end.startswith(DESORBED):
                ignored[role] = NOT_ADSORBED
                continue
            energies[role], geometries[role] = record.energy_ev, site.geometry
        content = {
            "engine": calculation.engine,
            "energies_ev": energies,
            "geometries": {
                role: geometry.model_dump(mode="json")
                for role, geometry in geometries.items()
                if geometry is not None
            },
            "ignored": ignored,
        }
        (directory / "sites.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _sites(self, parents: Mapping[str, Artefacts]) -> list[str]:
        """Return the names of all sites, those without a record too."""
        finals = {final_role(role) for role in parents} | {final_role(role) for role in self.failures}
        return [role for role in (*parents, *self.failures) if role != HOST and role not in finals]

    def run(self, directory: Path, limits: Limits, stop: Stop) -> None:
        """Do nothing: the choice is made where the energies are read."""

    def collect(self, directory: Path) -> Outcome:
        """Return the choice, with the geometry of the chosen site.

        Raises
        ------
        EngineError
            If no site was computed.
        """
        content = json.loads((directory / "sites.json").read_text(encoding="utf-8"))
        if not content["energies_ev"] and NOT_ADSORBED in content["ignored"].values():
            left = ", ".join(role for role, why in content["ignored"].items() if why == NOT_ADSORBED)
            raise EngineError(f"{directory}: there is no best site: the adsorbate left the sheet from {left}.")
        if not content["energies_ev"]:
            raise EngineError(f"{directory}: none of the sites has a record: {', '.join(content['ignored'])}.")
        choice = lowest(content["energies_ev"], content["ignored"])
        return Outcome(
            atoms=Geometry.model_validate(content["geometries"][choice.site]).atoms(),
            energy_ev=None,
            free_energy_ev=None,
            forces_ev_per_a=None,
            converged=True,
            method=Method(engine=content["engine"], engine_version=""),
            sampling=None,
            versions={"sodiate": __version__},
            choice=choice,
        )


def _check(record: Record, host: Record) -> None:
    """Refuse an energy that may not be compared with those of the other sites, as it differs from the host's."""
    check_method(record, host)
    check_sampling(record, host)


# mypy checks the class against the contract here.
_contract: Callable[[Mapping[str, str]], Engine] = LowestEngine
