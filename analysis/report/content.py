"""The content of the page, campaign by campaign: typed values between the results and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..columns import Column
from ..model_result import ModelResult


@dataclass(frozen=True)
class Panel:
    """A figure of the page: data for the script of its ``kind``, a description for screen readers, a caption.

    ``curves-NAME`` is the kind of a plain plot: ``{"x": TITLE, "y": TITLE, "curves": [{"name", "x", "y"}, …]}``; a
    curve may have a ``mode`` of Plotly's, such as ``markers``.
    """

    kind: str
    data: Mapping[str, Any]
    words: str
    caption: str


@dataclass(frozen=True)
class HostContent:
    """The figures and sentences of a host.

    Attributes
    ----------
    name
        The campaign's name for it.
    shown
        The label of the calculation whose atoms are drawn; None without any.
    poscar
        These atoms as POSCAR.
    lines
        Sentences of its quantities.
    panels
        Its figures, in the order of the page.
    """

    name: str
    shown: str | None
    poscar: str | None
    lines: Sequence[str]
    panels: Sequence[Panel]


@dataclass(frozen=True)
class RelaxationContent:
    """A relaxation.

    Attributes
    ----------
    name
        The campaign's name for it.
    energies, forces
        For each step its energy minus the last energy (eV), and the largest force (eV/Å).
    atoms
        What is drawn: symbols, colours, radii, cell and bonds at the end.
    positions, vectors
        Of each step that is drawn: positions (Å) and forces (eV/Å), both steps × atoms × 3.
    drawn
        The numbers of these steps.
    """

    name: str
    energies: Sequence[float]
    forces: Sequence[float]
    atoms: Mapping[str, Any]
    positions: Sequence[Any]
    vectors: Sequence[Any]
    drawn: Sequence[int]


@dataclass(frozen=True)
class CostRow:
    """The cost and the origin of a calculation.

    ``minutes`` of wall time and ``cpu_hours`` are of all its ``launches`` but for the ``untimed`` ones, which were
    killed without leaving a time; None where they are not known.
    """

    label: str
    identifier: str
    minutes: float | None
    cpu_hours: float | None
    launches: int | None
    untimed: int
    steps: int | None
    scf: int | None
    finished: str
    versions: str
    remarks: Sequence[str]


@dataclass(frozen=True)
class CampaignContent:
    """A campaign with one engine and method.

    Attributes
    ----------
    campaign, title, engine, method_id
        As stored.
    physical
        False if any of its values is mock.
    how
        A sentence on code, functional and sampling.
    method
        The settings as they ran, in words.
    results, columns
        The evaluated hosts, and the columns of their tables.
    remarks
        Lines under the table.
    hosts, relaxations, costs
        The figures, and the costs of the calculations.
    missing
        Calculations without a record, and why.
    objects, csv, json, yaml
        The results for programs, and the campaign file.
    """

    campaign: str
    title: str
    engine: str
    method_id: str
    physical: bool
    how: str
    method: Sequence[tuple[str, str]]
    results: Sequence[ModelResult]
    columns: Sequence[Column]
    remarks: Sequence[str]
    hosts: Sequence[HostContent]
    relaxations: Sequence[RelaxationContent]
    costs: Sequence[CostRow]
    missing: Sequence[tuple[str, str]]
    objects: Sequence[Mapping[str, Any]]
    csv: str
    json: str
    yaml: str
