"""The protocol: the settings that define a number. Every key enters the id of the calculations that use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from ...analysis.records import Frozen
from ..kinds import KINDS, keys_of, sections
from .yaml import nearest


def _element(symbol: str) -> str:
    from ase.data import atomic_numbers

    known = [element for element in atomic_numbers if element != "X"]
    if symbol not in known:
        raise ValueError(f"{symbol!r} is no element{nearest(symbol, known)}.")
    return symbol


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is a truth value, not a number.")
    return value


def _absent(value: Any) -> Any:
    """Turn an empty mapping into None, as if the key were absent."""
    return None if value == {} else value


Finite = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
MeshLength = Annotated[NotNegative, Field(le=2000)]
"""Å. No mesh has more than some hundred points along an axis."""

Edge = Annotated[Positive, Field(le=200)]
"""Å, of a box or a vacuum that a code could compute."""

Count = Annotated[int, Field(strict=True, ge=1, le=2000)]
Truth = Annotated[bool, Field(strict=True)]
Element = Annotated[str, AfterValidator(_element)]
Dispersion = Literal["none", "d3zero", "d3bj", "d4", "ts"]


class Smearing(Frozen):
    """Smearing of the occupations; the scheme defines the meaning of ``width_ev``."""

    kind: Literal["gaussian", "fermi-dirac", "fixed"]
    """Scheme."""
    width_ev: NotNegative
    """Width, eV, in the sense of the scheme."""


class Mesh(Frozen):
    """A mesh that no length gives: its points along each axis, and by which part of a step it lies beside Γ."""

    points: tuple[Count, Count, Count]
    """Points along each axis."""
    shift: tuple[Finite, Finite, Finite] | None = None
    """Its distance from Γ, in steps along each axis."""


class StartMoments(Frozen):
    """Start moments in μB by role of the atom; ``elements`` go before the role.

    Those of V, Cr, Mn, Fe, Co and Ni in a host are `sodiate.analysis.elements.HIGH_SPIN_MUB` where nothing is said of
    them. An isolated atom has the moment of its ground state, and an adsorbate no less where nothing is said of it.
    """

    adsorbate: Finite
    """Of the adsorbate, μB; its free atom's if that is more."""
    next_to_defect: Finite
    """Of metal atoms next to a vacancy, μB."""
    other: Finite
    """Of all other atoms, μB."""
    elements: dict[Element, Finite] | None = None
    """By element, μB; they go before the others."""


def _one_shell(shells: dict[str, float]) -> dict[str, float]:
    if len(shells) != 1:
        raise ValueError("an element has one shell with a Hubbard correction, as {d: 3.0}.")
    return shells


class _Electrons(Frozen):
    """Common keys that sections and energies at relaxed geometries may both change."""

    functional: str | None = None
    """Exchange-correlation functional, by name: PBE, R2SCAN, HSE06 …; engines refuse those that they lack."""
    cutoff_ev: Positive | None = None
    """Plane-wave cutoff, eV."""
    energy_convergence_ev: Positive | None = None
    """SCF criterion for the total energy of the cell, eV."""
    density_convergence: Positive | None = None
    """SCF criterion for the density, electrons per valence electron."""
    eigenstate_convergence_ev2: Positive | None = None
    """SCF criterion for the residuals of the states, eV² per valence electron."""
    empty_bands: Positive | None = None
    """Empty bands as a share of the occupied ones."""
    kpoint_length_a: MeshLength | None = None
    """Length of the k mesh, Å: N = ceil(length / |a|) points, Γ-centred, one along the vacuum; 0 for Γ alone."""
    kpoint_mesh: Mesh | None = Field(None, examples=[{"points": [4, 4, 1]}])
    """A mesh that no length gives; it belongs to one cell."""
    smearing: Smearing | None = Field(None, examples=[{"kind": "gaussian", "width_ev": 0.05}])
    """Smearing of the occupations."""
    spin_polarised: Truth | None = None
    """Whether the electrons have spins."""
    dispersion: Dispersion | None = None
    """Correction for dispersion; none is without."""


class Overrides(_Electrons):
    """Keys that override the common keys for one kind of calculation."""

    max_force_ev_per_a: Positive | None = None
    """A relaxation ends when no force is larger, eV/Å."""
    start_moments_mub: StartMoments | None = None
    """Start moments by role of the atom, μB."""
    dipole_correction: Truth | None = None
    """Whether the potentials of both faces may differ."""
    paw: Annotated[dict[str, str] | None, AfterValidator(_absent)] = Field(None, examples=[{"W": "W_sv"}])
    """Data set of each element, by name; others are recommended ones."""
    paw_release: str | None = None
    """Release of the data sets."""
    dos_broadening_ev: Positive | None = None
    """Gaussian broadening of densities of states, eV."""
    band_points: Annotated[int, Field(strict=True, ge=4, le=10_000)] | None = None
    """k points along the path of the bands."""
    box_a: tuple[Edge, Edge, Edge] | None = Field(None, examples=[[12.0, 12.5, 13.0]])
    """Edges of the box of isolated atoms and molecules, Å."""


_SECTION = "Keys that are changed for calculations of the kind {}."
_fields: dict[str, Any] = {
    name: (Overrides, Field(Overrides(), description=_SECTION.format(name))) for name in sections()
}
_Sections: Any = create_model("_Sections", __base__=Overrides, **_fields)


Shells = Annotated[dict[Literal["s", "p", "d", "f"], Positive], AfterValidator(_one_shell)]


class FinalEnergy(_Electrons):
    """Keys that override the common keys for energies at relaxed geometries: of hosts, sites and their references.

    ``vacuum_a`` is no key of a protocol: the sheets are put into a cell of this vacuum as they are.
    """

    hubbard_u_ev: dict[Element, Shells] | None = Field(None, examples=[{"Mo": {"d": 3.0}}])
    """Effective U (U − J) by element and shell, eV: {Mo: {d: 3.0}}."""
    spin_orbit: Truth | None = None
    """Whether with spin–orbit coupling."""
    vacuum_a: Edge | None = None
    """Vacuum of these single points, Å, into which the sheets are put as they are."""

    @property
    def given(self) -> dict[str, Any]:
        """The keys that are there, as plain values."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def of_protocol(self) -> dict[str, Any]:
        """The keys that are there and change a protocol, as plain values."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"vacuum_a"})


def _or_off(value: Any) -> Any:
    """Turn false into a section without keys."""
    return {} if value is False else value


class Changes(_Sections):
    """Changes to a protocol: common keys, and sections for the kinds with rules of their own.

    ``hubbard_u_ev`` (effective U by element and shell, Dudarev's U − J) and ``spin_orbit`` belong to the Hamiltonian,
    so that no kind's section has them: energies with and without cannot be subtracted. ``final_energy`` is no kind's
    section: it asks for energies at the relaxed geometries; without keys, or false, it asks for none.
    """

    hubbard_u_ev: dict[Element, Shells] | None = Field(None, examples=[{"Mo": {"d": 3.0}}])
    """Effective U (U − J) by element and shell, eV: {Mo: {d: 3.0}}."""
    spin_orbit: Truth | None = None
    """Whether with spin–orbit coupling."""
    final_energy: Annotated[
        FinalEnergy | None, BeforeValidator(_or_off, json_schema_input_type=FinalEnergy | Literal[False] | None)
    ] = Field(None, examples=[{"cutoff_ev": 700.0}])
    """Keys that are changed in single points at the relaxed geometries, of which the energies are taken; false for
    none."""

    def section(self, name: str) -> Overrides:
        """Return the overrides of a section."""
        overrides: Overrides = getattr(self, name)
        return overrides


MUST_ACT = ("hubbard_u_ev", "spin_orbit")
"""Keys that an engine has or refuses; of others it is recorded that they did not act."""


class Protocol(Changes):
    """A protocol file: the common keys, and the sections."""

    functional: str
    """Exchange-correlation functional, by name: PBE, R2SCAN, HSE06 …; engines refuse those that they lack."""
    max_force_ev_per_a: Positive
    """A relaxation ends when no force is larger, eV/Å."""

    def changed(self, changes: Changes) -> Protocol:
        """Return this protocol with its keys overridden by ``changes``."""
        values, overrides = (protocol.model_dump(exclude_none=True) for protocol in (self, changes))
        return Protocol.model_validate(merged(values, overrides))

    def at_relaxed_geometries(self, changes: Mapping[str, Any]) -> Protocol:
        """Return the protocol of energies at relaxed geometries: this one, its common keys overridden.

        Parameters
        ----------
        changes
            Common keys. A length of the k mesh goes before a mesh that this protocol gives.
        """
        drop = {"final_energy"} | ({"kpoint_mesh"} if "kpoint_length_a" in changes else set())
        plain = Protocol.model_validate(self.model_dump(exclude_none=True, exclude=drop))
        return plain.changed(Changes.model_validate(changes))


_MAPS = ("smearing", "start_moments_mub")
"""Keys of several parts, of which some may be changed."""

_WHOLE = ("kpoint_mesh",)
"""Keys whose parts belong together: a shift is one of its points."""

_OFF_WHEN_EMPTY = ("hubbard_u_ev", "final_energy")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol's plain values with changes: maps merge, what is null stays, an empty map stays or is off."""
    values = dict(base)
    for key, change in changes.items():
        old = values.get(key)
        if change is None or (change == {} and key not in _OFF_WHEN_EMPTY and old is not None):
            continue
        if key in sections() and isinstance(change, Mapping):
            values[key] = merged(old or {}, _completed(change, {**base, **(old or {})}))
        elif isinstance(change, Mapping) and change and isinstance(old, Mapping) and key not in _WHOLE:
            # An element has one shell with a Hubbard correction, so that another one takes its place.
            values[key] = {**old, **change} if key == "hubbard_u_ev" else merged(old, change)
        else:
            values[key] = change
    return values


def completed(changes: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes to a protocol with the parts that a map leaves unsaid, from the protocol that they change."""
    return {
        key: _completed(change, {**base, **(base.get(key) or {})})
        if key in sections() and isinstance(change, Mapping)
        else change
        for key, change in _completed(changes, base).items()
    }


def _completed(changes: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {**base[key], **change} if key in _MAPS and isinstance(change, Mapping) and base.get(key) else change
        for key, change in changes.items()
    }


def flatten(protocol: Protocol, kind: str, section: str | None = None) -> dict[str, Any]:
    """Return the protocol of a kind of calculation: the common keys overridden by its section, without unused keys.

    Parameters
    ----------
    protocol
        The protocol file.
    kind
        Kind of calculation.
    section
        The section whose rules it follows, by default that of its kind.

    Returns
    -------
    dict
        Plain JSON-like values; absent keys mean none.
    """
    values = protocol.model_dump(mode="json", exclude_none=True, exclude={*sections(), "final_energy"})
    section = section or KINDS[kind].section
    if section is not None:
        values.pop("kpoint_mesh", None)  # it belongs to a cell, and other kinds have other cells
        values |= protocol.section(section).model_dump(mode="json", exclude_none=True)
    keys = keys_of(kind, values)
    return {key: value for key, value in values.items() if key in keys and not is_off(key, value)}


def is_off(key: str, value: Any) -> bool:
    """Tell whether a key is switched off, as for one model of a campaign: the same as a protocol without it."""
    return (key == "dispersion" and value == "none") or (key in MUST_ACT and not value)


def split(values: Mapping[str, Any], honoured: frozenset[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Divide flattened keys into the values that an engine honours and the names of the keys that it ignores."""
    return {key: value for key, value in values.items() if key in honoured}, tuple(sorted(values.keys() - honoured))
