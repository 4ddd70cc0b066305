"""Results from Python: open a root, a launchpad file or an archive, and ask.

from sodiate.workflows.results.results import Results

with Results.open("sodiate-runs") as results:
    print(results.adsorption())
    atoms = results["WSSe+VS/V_S@top"].atoms
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ...analysis.arrays import Bands, Density, Dos, Trajectory
from ...analysis.campaign_entry import CampaignEntry
from ...analysis.electrons.bader import ChargeTransfer, charge_transfer
from ...analysis.electrons.density import DensityTerms
from ...analysis.energies.adsorption import SiteResult
from ...analysis.model_result import HostRecords, ModelResult
from ...analysis.records import MOCK, Record
from ...errors import SodiateError
from ..campaign.yaml import InputError, nearest
from ..database.documents import Documents
from ..database.standing import standing_of
from ..engines import find_engine
from ..quantities.density_difference import DensityDifference, density_terms
from .archive import INDEX, open_archive
from .evaluate import evaluated

if TYPE_CHECKING:
    from ase import Atoms
    from pandas import DataFrame
    from pymatgen.core.structure import Structure
    from pymatgen.electronic_structure.dos import Dos as PymatgenDos


@dataclass(frozen=True)
class Finished:
    """One recorded calculation.

    Attributes
    ----------
    name
        The campaign's name for it.
    record
        Its record: energies in eV, forces in eV/Å.
    """

    name: str
    record: Record
    _load: Callable[[Record, str], Any]
    _dos_record: Record | None

    @property
    def atoms(self) -> Atoms:
        """Final geometry with energy and forces, as ASE atoms.

        Raises
        ------
        InputError
            For a calculation without a structure, such as ``lowest``.
        """
        if self.record.geometry is None:
            raise InputError(f"{self.name} compares energies; it has no atoms of its own.")
        return with_energy(self.record)

    @property
    def structure(self) -> Structure:
        """Final geometry as a pymatgen structure."""
        from pymatgen.io.ase import AseAtomsAdaptor

        return AseAtomsAdaptor.get_structure(self.atoms)

    @property
    def trajectory(self) -> Trajectory | None:
        """Steps of the relaxation."""
        found: Trajectory | None = self._load(self.record, "trajectory")
        return found

    @property
    def bands(self) -> Bands | None:
        """Eigenvalues of this calculation, or of the host's DOS calculation."""
        found: Bands | None = self._load(self._dos_record or self.record, "bands")
        return found

    @property
    def density(self) -> Density | None:
        """Electron density of this calculation, in e/Å³ on the points of its cell; None if it has none.

        Raises
        ------
        SodiateError
            If it came in an archive, which leaves such grids out.
        """
        found: Density | None = self._load(self.record, "density")
        return found

    @property
    def dos(self) -> PymatgenDos:
        """Density of states of this calculation, or of the host's DOS calculation, as pymatgen's.

        Raises
        ------
        InputError
            If none was computed.
        """
        from ...analysis.electrons.gap_and_dos import to_pymatgen_dos

        record = self._dos_record or self.record
        found: Dos | None = self._load(record, "dos")
        if found is None:
            raise InputError(f"{self.name} has no density of states; ask for that of a host.")
        return to_pymatgen_dos(found, self.atoms)


def with_energy(record: Record) -> Atoms:
    """Return the atoms of a record that has some, with its energy and forces."""
    from ase.calculators.singlepoint import SinglePointCalculator

    assert record.geometry is not None
    atoms = record.geometry.atoms()
    if record.energy_ev is not None:
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=record.energy_ev,
            free_energy=record.free_energy_ev,
            forces=record.forces_ev_per_a,
        )
    return atoms


class Results:
    """Everything recorded in one place; open it with `Results.open`, close it when done."""

    def __init__(self, documents: Documents, title: str) -> None:
        self.documents = documents
        self.title = title
        self._close: Callable[[], None] | None = None

    @classmethod
    def open(cls, where: str | Path) -> Results:
        """Open a root directory, a FireWorks launchpad file or an archive.

        Parameters
        ----------
        where
            A folder with ``archive.json`` is an archive, another folder a root (its private server is started
            and ends with `close`), a file a launchpad.

        Raises
        ------
        SodiateError
            If there is nothing of the kind.
        """
        path = Path(where)
        if (path / INDEX).exists():
            return cls(open_archive(path), str(path))
        from ..database.connection import open_launchpad, open_root

        if not path.is_file() and not (path / "mongod").is_dir():
            raise InputError(f"{path}: no root of sodiate, no archive and no launchpad file; nothing to read.")
        with ExitStack() as stack:
            database = stack.enter_context(open_launchpad(path) if path.is_file() else open_root(path))
            results = cls(Documents(database.db), database.title)
            results._close = stack.pop_all().close
        return results

    def close(self) -> None:
        """Close what `open` opened; a private server that nobody else uses ends."""
        if self._close is not None:
            self._close()
            self._close = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- tables

    def entries(self, campaign: str | None = None, engine: str | None = None) -> list[CampaignEntry]:
        """Return the campaigns, each with each engine and method, that are stored here.

        Raises
        ------
        InputError
            If one is asked for that is not here.
        """
        everything = self.documents.entries()
        for wanted, known, what in (
            (campaign, sorted({e.campaign for e in everything}), "campaign"),
            (engine, sorted({e.engine for e in everything}), "engine"),
        ):
            if wanted is not None and everything and wanted not in known:
                raise InputError(
                    f"{self.title} has no {what} {wanted!r}{nearest(wanted, known)}; it has {', '.join(known)}."
                )
        return [e for e in everything if campaign in (None, e.campaign) and engine in (None, e.engine)]

    def models(self, campaign: str | None = None, engine: str | None = None) -> list[ModelResult]:
        """Evaluate every host of every campaign: adsorption energies, gap, and what is missing and why."""
        return [result for entry in self.entries(campaign, engine) for result in self.of(entry)]

    def of(self, entry: CampaignEntry) -> list[ModelResult]:
        """Evaluate every host of one campaign."""
        standing = standing_of(self.documents, entry.ids)
        physical = is_physical(entry, standing.records)
        return evaluated(entry, standing.records, standing.reasons, physical)

    def adsorption(self, campaign: str | None = None, engine: str | None = None) -> DataFrame:
        """Return one row a host and Na site.

        Returns
        -------
        pandas.DataFrame
            Columns ``campaign, model, supercell, adsorbate, engine, method_id, physical`` and those of
            `SiteResult`; energies in eV. ``best`` marks the site of lowest ΔE; ``attrs["warning"]`` says so if
            values are mock.
        """
        from pandas import DataFrame

        shared = ("campaign", "model", "supercell", "adsorbate", "engine", "method_id", "physical")
        models = self.models(campaign, engine)
        rows = [
            {name: getattr(model, name) for name in shared} | asdict(site) | {"best": site.site == model.site}
            for model in models
            for site in model.adsorption.sites
        ]
        columns = [*shared, *(f.name for f in fields(SiteResult)), "best"]
        frame = DataFrame(rows, columns=columns)
        if not all(model.physical for model in models):
            frame.attrs["warning"] = MOCK
        return frame

    # -- single calculations

    def __getitem__(self, name: str) -> Finished:
        return self.get(name)

    def get(self, name: str, campaign: str | None = None, engine: str | None = None) -> Finished:
        """Return one finished calculation by the campaign's name for it, such as ``WSSe+VS/V_S@top``.

        Raises
        ------
        InputError
            If there is none, or several campaigns or engines have one of that name.
        SodiateError
            If it is not finished, with the reason.
        """
        entries = self.entries(campaign, engine)
        found = {e.names[name]: e for e in entries if name in e.names}
        if not found:
            known = {n for e in entries for n in e.names}
            raise InputError(f"{self.title} has no calculation {name!r}{nearest(name, known)}.")
        if len(found) > 1:
            several = "; ".join(f"campaign {e.campaign}, engine {e.engine}" for e in found.values())
            raise InputError(f"{name!r} is in {several}: say which, with get(name, campaign=…, engine=…).")
        (identifier, entry), *_ = found.items()
        parts = [m.quantities.get("dos") for m in entry.models if m.host == identifier]
        dos = next((part.calculations["dos"] for part in parts if part is not None), None)
        wanted = [identifier, *([dos] if dos else [])]
        standing = standing_of(self.documents, wanted)
        if identifier in standing.reasons:
            raise SodiateError(f"{name} has no result: {standing.reasons[identifier]}.")
        return Finished(name, standing.records[identifier], self.documents.arrays, standing.records.get(dos or ""))

    def density_difference(self, model: str, campaign: str | None = None, engine: str | None = None) -> Density:
        """Return Δρ of a host's best site: its density less those of the host and of the adsorbate alone.

        Raises
        ------
        InputError
            If no campaign here has such a host, or none of its density differences.
        SodiateError
            If one of the three densities is missing, with the reason, or was run in another way than the others, or
            if the adsorbate's electrons are in another state than where the site was relaxed.
        """
        return self.density_terms(model, campaign, engine).difference

    def charge_transfer(self, model: str, campaign: str | None = None, engine: str | None = None) -> ChargeTransfer:
        """Return the electrons that a host's adsorbate gave to it, by integration of Δρ and by its basin.

        Raises
        ------
        SodiateError
            As `density_difference` does.
        """
        return charge_transfer(self.density_terms(model, campaign, engine))

    def density_terms(self, model: str, campaign: str | None = None, engine: str | None = None) -> DensityTerms:
        """Return the terms of Δρ, checked against one another.

        Raises
        ------
        SodiateError
            As `density_difference` does.
        """
        quantity = DensityDifference.name
        found = [(m, e) for e in self.entries(campaign, engine) for m in e.models if quantity in m.quantities]
        matches = [(m, e) for m, e in found if m.name == model]
        if not matches:
            near = nearest(model, [m.name for m, _ in found])
            raise InputError(f"{self.title} has no density difference of {model!r}{near}.")
        adsorbates = sorted({e.adsorbate for _, e in matches})
        if len(adsorbates) > 1:
            raise InputError(f"{model!r} is in campaigns with {', '.join(adsorbates)}: say which, with campaign=….")
        if len({tuple(m.quantities[quantity].calculations.values()) for m, _ in matches}) > 1:
            several = "; ".join(f"campaign {e.campaign}, engine {e.engine}" for _, e in matches)
            raise InputError(f"{model!r} is in {several}: say which, with campaign=… and engine=….")
        ((host, entry), *_) = matches
        standing = standing_of(self.documents, entry.ids)
        physical = is_physical(entry, standing.records)
        records = HostRecords(entry, host, standing.records, standing.reasons, physical)
        return density_terms(records, self.documents)


def is_physical(entry: CampaignEntry, records: Mapping[str, Record]) -> bool:
    """Tell whether a campaign's numbers are real ones, by its engine, or by its records if that is not here."""
    engine = find_engine(entry.engine)
    return all(record.physical for record in records.values()) if engine is None else engine.physical
