"""The contract of a quantity, and the values that it exchanges with plans and evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...analysis.columns import Column
from ...analysis.report.content import Panel
from ..calculation import HOST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...analysis.arrays import Density
    from ...analysis.model_result import HostRecords, ModelResult
    from ...structures.monolayers import Monolayer
    from ...structures.slabs import Slab
    from ...structures.stacks import Stack
    from ...structures.vacancies import Defect
    from ..calculation import Calculation
    from ..campaign.campaign_file import StartHeights
    from ..campaign.protocol import Protocol
    from ..database.documents import Documents
    from .declare import Declare

Figure = Callable[[Path, bool], None]
"""Draws into a file, in the format of its suffix; the second argument is True for mock values."""


@dataclass(frozen=True)
class PlannedHost:
    """A host of a campaign, planned with its sites.

    Attributes
    ----------
    name
        The campaign's name for it.
    layer
        The monolayer that it repeats; None for a structure file or a stack.
    origin, repeat, defects
        The monolayer, stack or slab, its repeats in the plane, and the atoms removed or replaced.
    protocol
        The protocol of its calculations.
    heights
        How high the adsorbate starts, by kind of site.
    calculation
        The relaxation of the host.
    sites, multiplicities
        The relaxations of the adsorbate at its sites, and how often each occurs in the cell, by name.
    lowest
        The choice of the best site; None for a host without sites.
    final_protocol, finals
        The protocol of the energies at relaxed geometries, and these single points: of the host, as ``host``, and of
        each site by its name. None, and nothing, where energies are those of the relaxations.
    larger
        The same host with one cell more along both axes, for the error bar that asks for it, or in words why there is
        none; None if nothing asks.
    """

    name: str
    layer: str | None
    origin: Monolayer | Slab | Stack
    repeat: tuple[int, int]
    defects: tuple[Defect, ...]
    protocol: Protocol
    heights: StartHeights
    calculation: Calculation
    sites: Mapping[str, Calculation]
    multiplicities: Mapping[str, int]
    lowest: Calculation | None
    final_protocol: Protocol | None = None
    finals: Mapping[str, Calculation] = field(default_factory=dict)
    larger: PlannedHost | str | None = None

    @property
    def extra_vacuum_a(self) -> float | None:
        """By how much the cell of the energies is higher than that of the relaxations."""
        extra: float | None = self.finals[HOST].structure.get("extra_vacuum_a") if self.finals else None
        return extra

    @property
    def relaxations(self) -> dict[str, Calculation]:
        """Its relaxation as ``host``, and those of its sites by their names."""
        return {HOST: self.calculation, **self.sites}

    @property
    def energies(self) -> dict[str, Calculation]:
        """What ΔE is formed from, by the same roles: single points if there are some, else the relaxations."""
        return dict(self.finals) or self.relaxations

    @property
    def energy_protocol(self) -> Protocol:
        """The protocol of what ΔE is formed from."""
        return self.final_protocol or self.protocol


@dataclass(frozen=True)
class HostPart:
    """The calculations of a quantity for one host.

    Attributes
    ----------
    calculations
        Its calculations by role, as `sodiate.analysis.campaign_entry.QuantityEntry` stores their ids.
    declared
        Plain values to store with them.
    references
        Calculations named by their label, or by HOST/LABEL if another calculation has that name.
    names
        Further calculations of the host by the campaign's names for them.
    """

    calculations: Mapping[str, Calculation]
    declared: Mapping[str, Any] = field(default_factory=dict)
    references: tuple[Calculation, ...] = ()
    names: Mapping[str, Calculation] = field(default_factory=dict)


@dataclass(frozen=True)
class QuantityPlan:
    """The calculations of a quantity: those that hosts share, by name, and a part for each host that has it.

    ``remarks`` are sentences about them for whoever plans.
    """

    shared: Mapping[str, Calculation] = field(default_factory=dict)
    hosts: Mapping[str, HostPart] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuantityContent:
    """The page's content for one quantity of one host: sentences, figures, a density around the drawn atoms.

    ``tracks`` are drawn on the map of the sites: positions (Å) along each by its name, shape (points, 3).
    """

    lines: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    surface: Density | None = None
    tracks: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Number:
    """A number of the tables with the ids of the records behind it; ``site`` is empty for a number of a host."""

    site: str
    key: str
    value: float
    records: tuple[str, ...]


class Quantity:
    """The contract of a quantity: derive from it, set its name, and override the methods that apply.

    Attributes
    ----------
    name
        As in campaign files.
    kinds
        Kinds of calculations that an engine must run for it.
    optional
        Whether a campaign has it only if its file lists it; False for what every campaign has.
    of_atoms
        Why there is none of a molecule, if only what an atom does can be computed.
    of_sites
        Whether it is of adsorption sites, so that hosts without any have none of it.
    of_some_hosts
        Whether it is refused where no host can have it: a study of the other hosts goes without.
    columns
        Its columns in tables.
    words
        Descriptions of its calculations in the plan, by role; of shared calculations by the last part of their names.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[bool] = True
    of_atoms: ClassVar[str] = ""
    of_sites: ClassVar[bool] = False
    of_some_hosts: ClassVar[bool] = False
    columns: ClassVar[tuple[Column, ...]] = ()
    words: ClassVar[Mapping[str, str]] = {}

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare its calculations.

        Raises
        ------
        InputError
            If the campaign lacks a key for it.
        """
        return QuantityPlan()

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> Any:
        """Evaluate a host.

        Parameters
        ----------
        host
            The records of the host.
        results
            Results of the quantities before it, by name.

        Returns
        -------
        Any
            A frozen result with units in its field names, and in ``reasons`` a sentence for each missing part; None
            if the quantity has no result for the host.
        """
        return None

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Return lines under the table."""
        return []

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Return its content for the page, beside the tables."""
        return QuantityContent()

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Return figures for a manuscript by their names."""
        return {}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Return its sentences in the methods paragraph, from the records alone."""
        return []

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return its numbers with the records behind them: those of its columns, from its calculations."""
        entry = result.host.model.quantities.get(self.name)
        if entry is None:
            return []
        values = {column.key: result.values[column.key] for column in self.columns if column.digits is not None}
        records = tuple(entry.calculations.values())
        return [Number("", key, value, records) for key, value in values.items() if value is not None]


def recorded(hosts: Sequence[HostRecords], quantity: str, *roles: str) -> list[Any]:
    """Return the records of a quantity's calculations, each once; by default those of all roles."""
    records: dict[str, Any] = {}
    for host in hosts:
        entry = host.model.quantities.get(quantity)
        for role, identifier in ({} if entry is None else entry.calculations).items():
            if identifier in host.records and role in (roles or (role,)):
                records[identifier] = host.records[identifier]
    return list(records.values())
