"""Results from Python: open a root, a launchpad file or an archive, and read it.

import sodiate

with sodiate.Results.open("sodiate-runs") as results:
    print(results.adsorption())
    atoms = results["WSSe+VS/V_S@top"].atoms
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from html import escape
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
from .archive import open_archive
from .archive_checks import INDEX
from .evaluate import evaluated

if TYPE_CHECKING:
    from ase import Atoms
    from pandas import DataFrame
    from pymatgen.core.structure import Structure
    from pymatgen.electronic_structure.dos import Dos as PymatgenDos

    from ...analysis.report.page import Picture


@dataclass(frozen=True)
class Finished:
    """A recorded calculation.

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

    def _repr_html_(self) -> str:
        from ...analysis.report.markup import table

        record = self.record
        energy = None if record.energy_ev is None else f"{record.energy_ev:.6f}"
        values = {
            "kind": record.kind,
            "id": record.calculation,
            "energy / eV": energy,
            "largest force / (eV/Å)": record.max_force_ev_per_a,
            "moment / μB": record.total_moment_mub,
            "method": None if record.method is None else f"{record.method.engine} {record.method.functional or ''}",
            "notes": "; ".join(record.notes) or None,
        }
        heads = (self.name, "" if record.physical else MOCK)
        return table(heads, [row for row in values.items() if row[1] is not None])

    @property
    def atoms(self) -> Atoms:
        """Final geometry with energy and forces, as ASE atoms.

        Raises
        ------
        InputError
            If the calculation has no structure, such as ``lowest``.
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
        trajectory: Trajectory | None = self._load(self.record, "trajectory")
        return trajectory

    @property
    def bands(self) -> Bands | None:
        """Eigenvalues of this calculation, or of the host's DOS calculation."""
        bands: Bands | None = self._load(self._dos_record or self.record, "bands")
        return bands

    @property
    def density(self) -> Density | None:
        """Electron density of this calculation, in e/Å³, shape (nx, ny, nz); None if it has none.

        Raises
        ------
        SodiateError
            If the record is from an archive, which leaves the grid out.
        """
        density: Density | None = self._load(self.record, "density")
        return density

    @property
    def dos(self) -> PymatgenDos:
        """Density of states of this calculation, or of the host's DOS calculation, as pymatgen's.

        Its gap is the recorded one, of the eigenvalues.

        Raises
        ------
        InputError
            If none was computed.
        """
        from ...analysis.electrons.gap_and_dos import to_pymatgen_dos

        record = self._dos_record or self.record
        dos: Dos | None = self._load(record, "dos")
        if dos is None:
            raise InputError(f"{self.name} has no density of states; ask for that of a host.")
        return to_pymatgen_dos(dos, self.atoms, record.gap)


def with_energy(record: Record) -> Atoms:
    """Return the atoms of a record with a geometry, with its energy and forces."""
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
    """All results in a root, a database or an archive; open it with `Results.open`, close it when done."""

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
            If the path is none of these.
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
        """Close the database that `open` opened; a private server without other users ends."""
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

    def entries(
        self, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> list[CampaignEntry]:
        """Return the stored campaigns, an entry for each engine and method.

        Parameters
        ----------
        campaign, engine, method
            Only these, the method by its short hash (``method_id``); by default all.

        Raises
        ------
        InputError
            If there are campaigns, but none with this name, engine or method.
        """
        if self.documents.campaigns.find_one({}, {"_id": 1}) is None:
            return []
        entries = self.documents.matching_entries(campaign, engine, self.title)
        found = [entry for entry in entries if method in (None, entry.method_id)]
        if not found and entries:
            choices = [entry.method_id for entry in entries]
            raise InputError(
                f"{self.title} has no method {method!r}{nearest(str(method), choices)}; it has {_several(entries)}."
            )
        return found

    def models(
        self, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> list[ModelResult]:
        """Evaluate every host of every campaign: its quantities, and the reasons for missing parts."""
        return [result for entry in self.entries(campaign, engine, method) for result in self.of(entry)]

    def of(self, entry: CampaignEntry) -> list[ModelResult]:
        """Evaluate every host of one campaign."""
        standing = standing_of(self.documents, entry.ids)
        physical = is_physical(entry, standing.records)
        return evaluated(entry, standing.records, standing.reasons, physical)

    def adsorption(
        self, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> DataFrame:
        """Return a row for each host and Na site.

        Returns
        -------
        pandas.DataFrame
            Columns ``campaign, model, supercell, adsorbate, engine, method_id, physical`` and those of
            `SiteResult`; energies in eV. ``best`` marks the site of lowest ΔE; ``attrs["warning"]`` is set if values
            are mock.
        """
        from pandas import DataFrame

        shared = ("campaign", "model", "supercell", "adsorbate", "engine", "method_id", "physical")
        models = self.models(campaign, engine, method)
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

    def get(
        self, name: str, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> Finished:
        """Return a finished calculation by the campaign's name for it, such as ``WSSe+VS/V_S@top``.

        Raises
        ------
        InputError
            If no calculation, or more than one, has this name.
        SodiateError
            If it is not finished, with the reason.
        """
        entries = self.entries(campaign, engine, method)
        matches = {e.names[name]: e for e in entries if name in e.names}
        if not matches:
            names = {n for e in entries for n in e.names}
            raise InputError(f"{self.title} has no calculation {name!r}{nearest(name, names)}.")
        if len(matches) > 1:
            several = _several(matches.values())
            raise InputError(f"{name!r} is in {several}: say which, as campaign=…, engine=… or method=….")
        (identifier, entry), *_ = matches.items()
        parts = [m.quantities.get("dos") for m in entry.models if m.host == identifier]
        dos = next((part.calculations["dos"] for part in parts if part is not None), None)
        standing = standing_of(self.documents, [identifier, *([dos] if dos else [])])
        if identifier in standing.reasons:
            raise SodiateError(f"{name} has no result: {standing.reasons[identifier]}.")
        return Finished(name, standing.records[identifier], self.documents.arrays, standing.records.get(dos or ""))

    def _only(self, campaign: str | None, engine: str | None, method: str | None) -> CampaignEntry:
        """Return the entry that is meant, which has to be a single one."""
        entries = self.entries(campaign, engine, method)
        if len(entries) != 1:
            several = _several(entries) or "nothing recorded"
            raise InputError(f"{self.title} has {several}: say which, as campaign=…, engine=… or method=….")
        return entries[0]

    def plot_adsorption(
        self, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> Picture:
        """Return the bars of ΔE of a campaign's hosts, as the page draws them, for a notebook.

        Raises
        ------
        InputError
            If there are several campaigns, engines or methods, and it is not said which.
        """
        from ...analysis.report.page import adsorption_picture
        from .rows import as_objects

        models = self.of(self._only(campaign, engine, method))
        return adsorption_picture(as_objects(models), all(model.physical for model in models))

    def view(
        self, name: str, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> Picture:
        """Return the final atoms of a calculation, such as ``WSSe+VS/V_S@top``, to be turned in a notebook.

        Raises
        ------
        InputError
            If there is no such calculation, or it has no atoms.
        """
        from ...analysis.report.content import Panel
        from ...analysis.report.page import panel_picture
        from ...analysis.report.panels import atoms_payload
        from ...structures.geometry import bonded

        calculation = self.get(name, campaign, engine, method)
        atoms = calculation.atoms
        payload = {**atoms_payload(atoms, bonded(atoms)), "isosurfaces": None}
        panel = Panel("atoms", payload, f"{name} in three dimensions", name)
        return panel_picture(panel, calculation.record.physical)

    def _repr_html_(self) -> str:
        from ...analysis.report.sections import summary
        from .rows import columns

        parts = []
        for entry in self.entries():
            models = self.of(entry)
            physical = all(model.physical for model in models)
            heading = (
                f"{escape(entry.title or entry.campaign)} ({escape(entry.engine)}{'' if physical else ', mock'})"
            )
            parts.append(f"<h4>{heading}</h4>{summary(models, columns(), physical)}")
        return "".join(parts) or "<p>Nothing is recorded here yet.</p>"

    def density_difference(
        self, model: str, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> Density:
        """Return Δρ of a host's best site: its density minus those of the host and of the adsorbate alone.

        Raises
        ------
        InputError
            If no campaign here has density differences of this host, or the campaign is ambiguous.
        SodiateError
            If one of the three densities is missing, with the reason, or was run differently from the others, or if
            the adsorbate's electrons are in another state than in the relaxation of the site.
        """
        return self.density_terms(model, campaign, engine, method).difference

    def charge_transfer(
        self, model: str, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> ChargeTransfer:
        """Return the electrons that a host's adsorbate gave to it, by integration of Δρ and by its basin.

        Raises
        ------
        SodiateError
            As `density_difference` does.
        """
        return charge_transfer(self.density_terms(model, campaign, engine, method))

    def density_terms(
        self, model: str, campaign: str | None = None, engine: str | None = None, method: str | None = None
    ) -> DensityTerms:
        """Return the terms of Δρ, checked against one another.

        Raises
        ------
        SodiateError
            As `density_difference` does.
        """
        quantity = DensityDifference.name
        candidates = [
            (m, e) for e in self.entries(campaign, engine, method) for m in e.models if quantity in m.quantities
        ]
        matches = [(m, e) for m, e in candidates if m.name == model]
        if not matches:
            hint = nearest(model, [m.name for m, _ in candidates])
            raise InputError(f"{self.title} has no density difference of {model!r}{hint}.")
        adsorbates = sorted({e.adsorbate for _, e in matches})
        if len(adsorbates) > 1:
            raise InputError(f"{model!r} is in campaigns with {', '.join(adsorbates)}: say which, with campaign=….")
        if len({tuple(m.quantities[quantity].calculations.values()) for m, _ in matches}) > 1:
            several = _several(entry for _, entry in matches)
            raise InputError(f"{model!r} is in {several}: say which, as campaign=…, engine=… or method=….")
        ((host, entry), *_) = matches
        standing = standing_of(self.documents, entry.ids)
        physical = is_physical(entry, standing.records)
        records = HostRecords(entry, host, standing.records, standing.reasons, physical)
        return density_terms(records, self.documents)


def _several(entries: Iterable[CampaignEntry]) -> str:
    """Return the campaigns, engines and methods to choose from, in words."""
    return "; ".join(f"campaign {e.campaign}, engine {e.engine}, method {e.method_id}" for e in entries)


def is_physical(entry: CampaignEntry, records: Mapping[str, Record]) -> bool:
    """Tell whether a campaign's numbers are physical: by its engine, or by its records without that engine."""
    engine = find_engine(entry.engine)
    return all(record.physical for record in records.values()) if engine is None else engine.physical
