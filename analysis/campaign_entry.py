"""What is stored of a campaign: its names, and the ids of its calculations by what they are to each host."""

from __future__ import annotations

from .records import SCHEMA_VERSION, Frozen


class SiteEntry(Frozen):
    """One adsorption site of a host: its name, how often it occurs in the cell, and its calculation's id."""

    name: str
    multiplicity: int
    calculation: str


class LatticeEntry(Frozen):
    """A monolayer's declared lattice constant (Å), and the id of the relaxation of its 1×1 cell."""

    layer: str
    declared_a: float
    calculation: str


class FormationEntry(Frozen):
    """What the formation energy of a host's vacancies is held against, by the ids of calculations.

    ``pristine`` is the same cell without vacancies, ``removed`` counts the missing atoms of each element, ``unit``
    those of the formula unit; ``elements`` are the references. ``metal`` is the element of the unit that is none of
    the chalcogens; the order of a mapping does not last, so older entries, without it, cannot be evaluated.
    """

    pristine: str
    removed: dict[str, int]
    unit: dict[str, int]
    elements: dict[str, str]
    metal: str | None = None


class ModelEntry(Frozen):
    """One host of a campaign: its name there, what it is (the host's label), and ids of its calculations.

    ``densities`` has the ids of the terms of Δρ by part: ``Na-on-host``, ``host``, ``Na``. ``atom`` and ``bulk`` are
    its references, None where they are those of the campaign (`CampaignEntry.references`); ``changes`` says what is
    different from ``compare_with``.
    """

    name: str
    label: str
    supercell: tuple[int, int]
    host: str
    dos: str | None = None
    sites: tuple[SiteEntry, ...]
    lowest: str
    densities: dict[str, str] = {}
    lattice: LatticeEntry | None = None
    bands: str | None = None
    atom: str | None = None
    bulk: str | None = None
    compare_with: str | None = None
    changes: tuple[str, ...] = ()
    formation: FormationEntry | None = None


class Named(Frozen):
    """A calculation's id under the name that a campaign gives it."""

    name: str
    calculation: str


class CampaignEntry(Frozen):
    """One revision of a campaign with one engine and method, as stored: names, and ids of calculations."""

    schema_version: int = SCHEMA_VERSION
    campaign: str
    engine: str
    method_id: str
    revision: int = 1
    title: str
    yaml: str
    adsorbate: str
    models: tuple[ModelEntry, ...]
    atom: str
    bulk: str | None = None
    calculations: tuple[Named, ...]
    dropped: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Every calculation of the campaign once, in its order."""
        return tuple(dict.fromkeys(named.calculation for named in self.calculations))

    def references(self, model: ModelEntry) -> tuple[str, str | None]:
        """Return the ids of the isolated atom and of the bulk metal that a host's adsorption is held against."""
        return model.atom or self.atom, model.bulk or self.bulk

    @property
    def names(self) -> dict[str, str]:
        """Ids by the campaign's names."""
        return {named.name: named.calculation for named in self.calculations}
