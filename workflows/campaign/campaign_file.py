"""The keys of a campaign file, validated; unknown keys refused.

What stands below a key is its description in the schema and on the site (`schema`).
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ...analysis.records import Frozen
from ...structures.elemental import formula_of
from ...structures.errors import StructureError
from ...structures.host_names import vacancies_label
from ...structures.molecules import POSES
from ...structures.monolayers import Monolayer
from ...structures.site_candidates import BRIDGE
from ..calculation import HOST
from .protocol import Changes, Edge, Element, Finite, MeshLength, NotNegative, Positive, Protocol, Truth
from .yaml import nearest

Repeat = tuple[Annotated[int, Field(strict=True, ge=1)], Annotated[int, Field(strict=True, ge=1)]]

_LONGEST_NAME = 100
"""Names become those of folders and files, with something before and behind."""

_NAME = re.compile(r"[\w+@.\-]+")


def name_of(name: str) -> str:
    """Return a name that a folder and a file may have; raise ValueError for another one."""
    if not _NAME.fullmatch(name) or name.strip(".") == "":
        raise ValueError(f"{name!r} is no name: letters, digits and + @ . - _ only.")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"{name[:30]!r}… is no name: it has {len(name)} characters, at most {_LONGEST_NAME} go.")
    return name


def _pair(value: Any) -> Any:
    """Take ``pair: 4.58`` (a YAML number) for the name ``"4.58"``."""
    return f"{value:.2f}" if isinstance(value, int | float) and not isinstance(value, bool) else value


def _sites(value: Any) -> Any:
    if isinstance(value, str) and value not in ("near-defect", "all"):
        raise ValueError(f"{value!r} should be near-defect, all, or a list of site names.")
    return value


Sites = Literal["near-defect", "all"] | tuple[str, ...]


Name = Annotated[str, AfterValidator(name_of)]

Uncertainty = Literal["kmesh", "cutoff", "vacuum", "supercell", "functional", "potential"]
"""The parts of an error bar, as `sodiate.analysis.energies.uncertainty.PARTS`."""

Pose = Literal["flat", "upright", "inverted"]
"""An orientation of a molecule by name, as `sodiate.structures.molecules.POSES`."""

Vector = tuple[Finite, Finite, Finite]

Starts = Annotated[int, Field(strict=True, ge=1, le=20)]
"""How many starts a site has."""


_MOST_COVERAGE = 20
"""Ions per formula unit: beyond any electrode's, so that a slip of the pen plans no thousand ions."""


def _coverage(value: Any) -> str:
    """Return ``1/9``, 0.5 or 1 as a fraction in lowest terms."""
    try:
        if isinstance(value, bool):
            raise TypeError
        fraction = Fraction(str(value))
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is no coverage: ions per formula unit, such as 1/9, 0.5 or 2.") from None
    if not 0 < fraction <= _MOST_COVERAGE:
        raise ValueError(f"{value} ions per formula unit: give more than 0 and at most {_MOST_COVERAGE}.")
    return str(fraction)


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


Temperature = Annotated[Positive, Field(le=5000)]
"""K."""


Coverage = Annotated[str, BeforeValidator(_coverage, json_schema_input_type=float | str)]
"""Ions per formula unit of the host, as a fraction."""


def _substance(name: str) -> str:
    try:
        formula_of(name)
    except StructureError as error:
        raise ValueError(str(error)) from None
    return name


Substance = Annotated[str, AfterValidator(_substance)]
"""An element, or a compound by its formula."""


class Layer(Frozen):
    """A 2H monolayer: elements, lattice constant and bond lengths in Å; ``top`` is the chalcogen at +z."""

    metal: Element
    """Element in the middle."""
    top: Element
    """Element of the face at +z."""
    bottom: Element
    """Element of the face at -z."""
    a: Positive
    """Lattice constant, Å."""
    bond_top: Positive
    """From the metal to the element on top, Å."""
    bond_bottom: Positive
    """From the metal to the element at the bottom, Å."""

    def monolayer(self) -> Monolayer:
        """Return the monolayer of `structures`."""
        return Monolayer(self.metal, self.top, self.bottom, self.a, self.bond_top, self.bond_bottom)


Height = Annotated[Positive, Field(le=20)]


class StartHeights(Frozen):
    """Height of the adsorbate above the face at the start, by kind of site, in Å.

    That of a bridge is the mean of ``T_X`` and ``H`` where it is not given.
    """

    T_M: Height
    """On top of a metal atom, Å."""
    T_X: Height
    """On top of an atom of the face that is no metal, Å."""
    H: Height
    """Above a hollow, Å."""
    B: Height | None = None
    """Above a bridge, Å; by default the mean of T_X and H."""
    V: Annotated[NotNegative, Field(le=20)]
    """Above a vacancy, Å."""

    def of(self, kind: str) -> float:
        """Return the height for a kind of site such as ``T_W``, ``T_X``, ``H``, ``V_S``, ``B``."""
        if kind == BRIDGE:
            return float((self.T_X + self.H) / 2 if self.B is None else self.B)
        if kind in ("T_X", "H"):
            return float(getattr(self, kind))
        return float(self.V if kind.startswith("V_") else self.T_M)

    @property
    def highest(self) -> float:
        """The largest height, which sets the cell of a host and all its sites."""
        return float(max(self.T_M, self.T_X, self.H, self.V, self.B or 0.0))

    def changed(self, own: OwnHeights | None) -> StartHeights:
        """Return these heights with those that a model has of its own."""
        changes = {} if own is None else own.model_dump(exclude_none=True)
        return self.model_copy(update=changes)


class OwnHeights(Frozen):
    """Heights at the start that a model changes, by kind of site, in Å; the others are the campaign's."""

    T_M: Height | None = None
    """On top of a metal atom, Å."""
    T_X: Height | None = None
    """On top of an atom of the face that is no metal, Å."""
    H: Height | None = None
    """Above a hollow, Å."""
    B: Height | None = None
    """Above a bridge, Å."""
    V: Annotated[NotNegative, Field(le=20)] | None = None
    """Above a vacancy, Å."""


class OwnAdsorbate(Frozen):
    """What a model changes of the adsorbate: where it starts. What is adsorbed is the same for all models."""

    start_heights_a: OwnHeights = OwnHeights()
    """Height above the face at the start by kind of site, Å; kinds that are left out are the campaign's."""


class OwnOrientation(Frozen):
    """An orientation of a molecule by numbers, or one by name that is turned about the sheet's normal.

    ``up`` is the direction in the molecule's file that is to point away from the sheet, ``euler_deg`` are φ, θ and ψ
    about its z, new x and new z; ``turn_deg`` turns about the normal after all.
    """

    name: Name
    """A name of your own for the orientation; it becomes part of labels."""
    pose: Pose | None = None
    """An orientation by rule, to be turned by turn_deg."""
    up: Vector | None = None
    """Direction in the molecule's file that points away from the sheet."""
    euler_deg: Vector | None = None
    """φ, θ and ψ about z, the new x and the new z, degrees."""
    turn_deg: Finite | None = None
    """Turn about the sheet's normal after all, degrees."""

    @model_validator(mode="after")
    def _one_form(self) -> OwnOrientation:
        if sum(form is not None for form in (self.pose, self.up, self.euler_deg)) != 1:
            raise ValueError("an orientation has one of pose, up and euler_deg, as in {name: tilted, up: [0, 1, 1]}.")
        if self.up is not None and not any(self.up):
            raise ValueError("up: [0, 0, 0] is no direction.")
        if self.name in POSES:
            raise ValueError(f"{self.name} is what it is by rule; give another name.")
        return self

    @property
    def declared(self) -> dict[str, Any]:
        """The values that say how the molecule lies, without its name."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"name"})


class Adsorbate(Frozen):
    """What is adsorbed: an element, with the charge of its ion if that is not the only one; or a molecule by file.

    The ``anchor`` of a molecule lies over the site: ``centre``, an element of which it has one atom, or an atom such
    as ``O@3``. ``multiplicity`` is that of its spin, by default the lowest, and 3 of O2 and its like.
    """

    element: Element | None = None
    """What is adsorbed, as a single atom: Na, Li, K, Mg …"""
    molecule: str | None = None
    """What is adsorbed, as a molecule: its structure file, beside the campaign."""
    charge: Annotated[int, Field(strict=True, ge=1, le=8)] | None = None
    """Charge of the ion in units of e, where an element has several; voltages go by it."""
    orientations: Annotated[tuple[Pose | OwnOrientation, ...] | None, Field(min_length=1, max_length=20)] = None
    """How a molecule lies at the start: by rule, or by numbers; by default all that have a rule."""
    anchor: str | None = None
    """What of a molecule lies over the site: centre, an element of which it has one atom, or an atom such as
    O@3."""
    multiplicity: Annotated[int, Field(strict=True, ge=1, le=20)] | None = None
    """Spin multiplicity of a molecule; by default the lowest, and 3 of O2 and its like."""
    start_heights_a: StartHeights = Field(examples=[{"T_M": 2.1, "H": 1.8}])
    """Height above the face at the start by kind of site, Å; kinds that are left out keep their default."""

    @model_validator(mode="after")
    def _one_form(self) -> Adsorbate:
        if (self.element is None) == (self.molecule is None):
            raise ValueError("give an element, or a molecule by its file, not both.")
        for key in ("orientations", "anchor", "multiplicity"):
            if self.molecule is None and getattr(self, key) is not None:
                raise ValueError(f"{key}: one {self.element} atom has none; it is for a molecule: FILE.")
        if self.molecule is not None and self.charge is not None:
            raise ValueError("charge: a molecule is no ion; the charge is for an element, by which voltages go.")
        doubles = [name for name, count in Counter(self.named_orientations).items() if count > 1]
        if doubles:
            raise ValueError(f"orientations: {doubles[0]} is given twice.")
        return self

    @property
    def named_orientations(self) -> list[str]:
        """The names of a molecule's orientations, by default all that have one by rule."""
        return [one if isinstance(one, str) else one.name for one in self.orientations or POSES]

    @property
    def declared_orientations(self) -> dict[str, dict[str, Any]]:
        """The values of each orientation by its name."""
        given = self.orientations or POSES
        values = [{"pose": one} if isinstance(one, str) else one.declared for one in given]
        return dict(zip(self.named_orientations, values, strict=True))


class ReferenceKeys(Frozen):
    """An element in its reference state, or a compound: by lattice and its constants (Å), a crystal or a molecule.

    What a lattice gives (of a compound antifluorite, as Na2S has it) is computed as declared, one of hexagonal close
    packing with both its edges. The atoms of a file are relaxed: a crystal in the cell of the file, a molecule in the
    box of the isolated atom. ``kpoint_length_a`` is its own instead of the protocol's for ``bulk``: metals need dense
    meshes, and other crystals none.
    """

    lattice: Literal["bcc", "fcc", "hcp", "antifluorite"] | None = None
    """Lattice of an element, or antifluorite (as Na2S) of a compound; its constants are not relaxed."""
    a: Positive | None = None
    """Lattice constant, Å; with lattice."""
    c: Positive | None = None
    """Second lattice constant, Å; with lattice: hcp."""
    crystal: str | None = None
    """Structure file of a crystal, beside the campaign; its atoms are relaxed in its cell."""
    molecule: str | None = None
    """Structure file of a molecule, beside the campaign; it is relaxed in the isolated atom's box."""
    kpoint_length_a: MeshLength | None = None
    """Length of the k mesh for this reference, Å, in place of the protocol's."""

    @model_validator(mode="after")
    def _one_form(self) -> ReferenceKeys:
        forms = sum(form is not None for form in (self.lattice, self.crystal, self.molecule))
        if forms != 1 or (self.lattice is None) != (self.a is None):
            raise ValueError("a reference is {lattice, a}, or {crystal: FILE}, or {molecule: FILE}.")
        if (self.lattice == "hcp") != (self.c is not None):
            raise ValueError(
                "hcp has two lattice constants, as in {lattice: hcp, a: 3.19, c: 5.18}; others have a alone."
            )
        if self.molecule is not None and self.kpoint_length_a is not None:
            raise ValueError("a molecule is computed at Γ; leave kpoint_length_a out.")
        return self

    @property
    def form(self) -> str:
        """The part after the element or formula in the name of the calculation."""
        return self.lattice or ("crystal" if self.crystal is not None else "molecule")


class Coarse(Frozen):
    """Protocol keys of a cheaper relaxation before the real relaxation, for engines that support it."""

    cutoff_ev: Positive | None = None
    """Plane-wave cutoff of the cheaper relaxation, eV."""
    kpoint_length_a: MeshLength | None = None
    """Length of its k mesh, Å: N = ceil(length / |a|)."""
    spin_polarised: Truth | None = None
    """Whether it has spins."""
    max_force_ev_per_a: Positive | None = None
    """It ends when no force is larger, eV/Å."""


class Execution(Frozen):
    """How a number is reached: optimizer, steps in all launches, length of a step in Å; no part of an id.

    ``start_stiffness_ev_per_a2`` is the diagonal of the initial Hessian, by element and ``other``. ``coarse`` is a
    cheaper relaxation whose end and curvature the real relaxation starts from. ``start_potential`` places the
    adsorbate before either. ``cell`` finds a lattice constant by the stress or by a scan of E(a). Each engine
    declares which of them act.
    """

    optimizer: Literal["bfgs"]
    """Optimizer of relaxations."""
    max_steps: Annotated[int, Field(strict=True, ge=1)]
    """Ionic steps of a relaxation, in all its launches together."""
    max_step_a: Positive
    """The farthest that an atom moves in a step, Å."""
    start_stiffness_ev_per_a2: dict[str, Positive] | None = None
    """Diagonal of the first Hessian by element and other, eV/Å²."""
    coarse: Coarse | None = None
    """A cheaper relaxation beforehand, with these keys of the protocol changed."""
    start_potential: str | None = None
    """A potential that places the adsorbate beforehand, by name."""
    cell: Literal["stress", "scan"] | None = None
    """How a lattice constant is found: by the stress, or by a scan of E(a)."""

    @field_validator("start_stiffness_ev_per_a2")
    @classmethod
    def _with_other(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and "other" not in value:
            raise ValueError("it needs 'other', the stiffness of elements that it does not name.")
        return value


class OwnSite(Frozen):
    """A site that no rule gives, in one of three ways.

    ``at`` along a and b of the ideal host (fractional), with its ``face`` and the height above it; or a point in the
    cell of the ideal host, as `sodiate structures` writes it: ``fractional``, or ``cartesian_a`` in Å.
    """

    at: tuple[Finite, Finite] | None = None
    """Fractions along a and b of the ideal host; with face and height_a."""
    face: Literal["top", "bottom"] | None = None
    """The face above which it lies."""
    height_a: Annotated[NotNegative, Field(le=20)] | None = None
    """Height above that face, Å."""
    fractional: tuple[Finite, Finite, Finite] | None = None
    """A point in the cell of the ideal host, in fractions of its edges."""
    cartesian_a: tuple[Finite, Finite, Finite] | None = None
    """A point in the cell of the ideal host, Å."""

    @model_validator(mode="after")
    def _one_way(self) -> OwnSite:
        ways = sum(way is not None for way in (self.at, self.fractional, self.cartesian_a))
        above = [part is not None for part in (self.face, self.height_a)]
        if ways != 1 or (any(above) if self.at is None else not all(above)):
            raise ValueError(
                "a site is {at: [u, v], face, height_a}, or {fractional: [u, v, w]}, or {cartesian_a: [x, y, z]}."
            )
        return self

    @property
    def point(self) -> tuple[str, tuple[float, float, float]] | None:
        """The name of its coordinates and these, of a point in the cell; None of one on a face."""
        if self.fractional is not None:
            return "fractional", self.fractional
        return None if self.cartesian_a is None else ("cartesian_a", self.cartesian_a)


def _by_name(value: Any) -> Any:
    """Take a list of sites, each with its ``name``, for the same by name."""
    if not isinstance(value, list):
        return value
    found: dict[str, Any] = {}
    for site in value:
        if not isinstance(site, dict) or not isinstance(site.get("name"), str):
            raise ValueError("each site of the list needs a name, as in {name: X, fractional: [0.1, 0.2, 0.6]}.")
        if site["name"] in found:
            raise ValueError(f"two sites are called {site['name']}.")
        found[site["name"]] = {key: part for key, part in site.items() if key != "name"}
    return found


class BarrierKeys(Frozen):
    """What is asked of barriers: pairs of sites, by default all neighbours; images between them; modes of saddles."""

    paths: tuple[tuple[str, str], ...] | None = Field(default=None, min_length=1, examples=[[["T_W@top", "H@top"]]])
    """Pairs of sites between which the adsorbate hops; by default all neighbours."""
    images: Annotated[int, Field(strict=True, ge=3, le=15)] = 3
    """Images between the two ends."""
    modes: Truth = False
    """Whether the modes of each saddle are computed, for attempt frequencies and a proof that it is one."""


class ConversionKeys(Frozen):
    """What the conversion of each host gives: elements and compounds that ``bulk_references`` has."""

    products: Annotated[tuple[Substance, ...], AfterValidator(_each_once), Field(min_length=1, max_length=20)]
    """What a host and its ions become, by formula; each needs an entry of bulk_references."""


def _with_host(values: tuple[str, ...]) -> tuple[str, ...]:
    if HOST not in values:
        raise ValueError("it lacks host, beside which the others are shown: [host, best].")
    return _each_once(values)


class DosKeys(Frozen):
    """Of what densities of states are asked for: of each host, and of it with the adsorbate at its best site."""

    of: Annotated[tuple[Literal["host", "best"], ...], AfterValidator(_with_host)] = ("host",)
    """host alone, or host and best: with the adsorbate at its best site too."""


class VibrationKeys(Frozen):
    """Where the adsorbate vibrates: at the best site or named ones; temperatures; how near atoms move with it (Å)."""

    of: Annotated[tuple[str, ...], AfterValidator(_each_once)] = Field(
        default=("best",), min_length=1, examples=[["best"]]
    )
    """Sites by name, or best."""
    around_a: Annotated[Positive, Field(le=6)] | None = None
    """Atoms this near to the adsorbate vibrate with it, Å; by default it vibrates alone."""
    temperatures_k: Annotated[tuple[Temperature, ...], AfterValidator(_each_once)] = Field(
        default=(300.0,), min_length=1, max_length=100
    )
    """Temperatures of the free energies, K."""


class CampaignModel(Frozen):
    """One host: a named model (``WSSe+VS``, ``host: graphene``) or a structure file, with defects by atom.

    Its own supercell, vacuum, sites, starts and protocol keys override the campaign's. ``own_sites`` are beside
    these, by name. ``vacancies`` counts them by element; each lies as near to those before as it goes, and ``pair``
    chooses other two. ``stack`` puts layers of a named monolayer above each other, ``interlayer_a`` from metal to
    metal: as many ``layers`` in vacuum, or without that key a crystal that is periodic along c. ``ordering`` mixes
    the chalcogens of a Janus layer (`sodiate.structures.orderings.mix`); ``compare_with`` names the model against
    which the effect of the differences is shown.
    """

    model: str | None = None
    """A bundled host or one of monolayers, with vacancies by name: WSSe, WSSe+VS, graphene."""
    file: str | None = None
    """Structure file of the host (POSCAR, CIF, extxyz), beside the campaign; it needs a name."""
    name: Name | None = None
    """A name of your own; by default that of the model."""
    vacancies: dict[Element, Annotated[int, Field(strict=True, ge=1, le=100)]] = Field({}, examples=[{"S": 1}])
    """How many atoms of each element are taken out, as near to each other as they go."""
    pair: Annotated[str, BeforeValidator(_pair, json_schema_input_type=float | str)] | None = None
    """Which pair of vacancies, by their distance in Å as the plan prints it."""
    ordering: str | None = None
    """How a Janus layer mixes its two face elements: 1+1, 2+2a …"""
    stack: Literal["2H", "AA", "AB"] | None = None
    """Layers of the monolayer above each other, in this order."""
    layers: Annotated[int, Field(strict=True)] | None = None
    """How many layers in vacuum; without it the stack is a crystal, periodic along c."""
    interlayer_a: Positive | None = None
    """From metal to metal of neighbouring layers, Å."""
    remove: tuple[str, ...] = Field((), examples=[["S@7"]])
    """Atoms to take out, by element and number from 0, cell by cell in the order of the file: S@7."""
    replace: dict[str, Element] = Field({}, examples=[{"Mo@12": "W"}])
    """Atoms to replace, each with its new element: {Mo@12: W}."""
    supercell: Repeat | None = None
    """Cells along a and b, in place of the campaign's."""
    vacuum_a: Edge | None = None
    """Empty space above the highest adsorbate, Å, in place of the campaign's."""
    sites: Annotated[Sites | None, BeforeValidator(_sites)] = None
    """Sites in place of the campaign's: near-defect, all, or a list of names such as T_W@top."""
    own_sites: Annotated[
        dict[Name, OwnSite],
        BeforeValidator(_by_name, json_schema_input_type=dict[str, OwnSite] | list[dict[str, Any]]),
    ] = Field({}, examples=[[{"name": "X", "fractional": [0.1, 0.2, 0.6]}]])
    """Further sites by coordinates, by name or as a list with names."""
    starts: Starts | None = None
    """How many starts each of this host's sites has."""
    protocol: Changes = Changes()
    """Protocol keys that are changed for this host alone; maps merge."""
    adsorbate: OwnAdsorbate | None = None
    """Start heights that are changed for this host alone; maps merge."""
    compare_with: str | None = None
    """The name of the model against which the effect of the differences is shown."""

    other_names: ClassVar[tuple[str, ...]] = ("host",)
    """Further names of its keys: `_from_text` takes ``host`` for ``model``."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"model": value}
        if isinstance(value, dict) and "host" in value:
            if value.keys() & {"model", "file"}:
                raise ValueError("a model has one of 'host: NAME', 'model: NAME' and 'file: STRUCTURE FILE'.")
            return {"model": value["host"], **{key: kept for key, kept in value.items() if key != "host"}}
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> CampaignModel:
        if (self.model is None) == (self.file is None):
            raise ValueError("a model has either 'model: NAME' or 'file: STRUCTURE FILE'.")
        if self.file is not None and self.name is None:
            raise ValueError(f"the host from {self.file} needs a 'name'.")
        return self

    @model_validator(mode="after")
    def _whole_stack(self) -> CampaignModel:
        if self.stack is None:
            if self.layers is not None or self.interlayer_a is not None:
                raise ValueError("layers and interlayer_a are of a stack; give stack: 2H, AA or AB with them.")
            return self
        if self.file is not None:
            raise ValueError("stack is of a named monolayer; a file holds all layers of its host itself.")
        if self.ordering is not None:
            raise ValueError("ordering mixes the chalcogens of a single layer; leave it or stack out.")
        if self.interlayer_a is None:
            raise ValueError(
                "a stack needs interlayer_a, from metal to metal of neighbouring layers (Å): 6.15 in MoS2, 6.48 in "
                "WSe2."
            )
        if self.layers is None and self.vacuum_a is not None:
            raise ValueError("a stack without layers is periodic along c and has no vacuum; leave vacuum_a out.")
        return self

    @property
    def own_heights(self) -> OwnHeights | None:
        """The start heights that it changes."""
        return None if self.adsorbate is None else self.adsorbate.start_heights_a

    @property
    def title(self) -> str:
        """Its name in the campaign."""
        return self.name or f"{self.model or ''}{vacancies_label(self.vacancies)}"


class CampaignFile(Frozen):
    """The keys of a campaign file, defaults filled in."""

    campaign: Name
    """The campaign's name: letters, digits and + @ . - _."""
    title: str = ""
    """One line for tables, figures and the page."""
    engine: str
    """The code that computes; sodiate run --engine overrides it."""
    protocol: str | Protocol = Field(examples=[{"base": "paper", "cutoff_ev": 450.0}])
    """Settings that define the numbers: a bundled protocol or a file by name; {base: NAME, KEY: …} changes some of
    its keys; or all keys here."""
    supercell: Repeat = Field(examples=[[3, 3]])
    """Cells along a and b."""
    vacuum_a: Edge
    """Empty space above the highest adsorbate, Å."""
    symmetry_breaking_a: NotNegative
    """Standard deviation of the random displacements that a host with a vacancy starts with, Å; 0 for none."""
    monolayers: dict[Name, Layer] = {}
    """Monolayers of your own by name; they go before bundled hosts of that name."""
    models: tuple[CampaignModel, ...] = Field(
        min_length=1, max_length=1000, examples=[["graphene", {"host": "h-BN", "vacancies": {"N": 1}}]]
    )
    """The hosts: bundled ones by name (WSSe+VS), or maps with more keys."""
    adsorbate: Adsorbate = Field(examples=[{"element": "Li"}])
    """What is adsorbed."""
    sites: Annotated[Sites, BeforeValidator(_sites)] = Field(examples=[["T_W@top", "H@top"]])
    """Where: near-defect, all, or a list of names such as T_W@top; an empty list computes hosts alone."""
    starts: Starts = 1
    """How many starts each site next to a vacancy or on a magnetic host has."""
    quantities: tuple[str, ...] = Field(examples=[["dos", "bands"]])
    """What is computed beside the energies at the sites."""
    uncertainty: tuple[Uncertainty, ...] = Field((), examples=[["kmesh", "cutoff"]])
    """Parts of the error bars of adsorption energies that are computed."""
    coverage: Annotated[
        tuple[Coverage, ...], AfterValidator(_each_once), Field(max_length=100, examples=[["1/9", 0.5]])
    ] = ()
    """Numbers of ions per formula unit of a host, as fractions or numbers: [1/9, 0.5, 2]."""
    sides: Literal["one", "both"]
    """Of coverage: ions on both faces, or on that of the first site alone."""
    most: Annotated[int, Field(strict=True, ge=1, le=1000)]
    """Of coverage: how many arrangements of each number of ions are relaxed."""
    barrier: BarrierKeys = Field(BarrierKeys(), examples=[{"images": 5}])
    """What the quantity barrier computes."""
    dos: DosKeys = Field(DosKeys(), examples=[{"of": ["host", "best"]}])
    """What the quantity dos computes."""
    vibrations: VibrationKeys = Field(VibrationKeys(), examples=[{"of": ["best"]}])
    """What the quantity vibrations computes."""
    conversion: ConversionKeys | None = None
    """What all of a host and its ions become, for the quantity conversion."""
    bulk_references: dict[Substance, ReferenceKeys] = Field({}, examples=[{"Li": {"lattice": "bcc", "a": 3.44}}])
    """Elements in their reference state and compounds, by symbol or formula."""
    incar: dict[str, dict[str, Any]] = {}
    """Tags for one code, by kind of calculation (relax) or by a pattern of labels (WSSe+VS*); its engine reads
    them."""
    execution: Execution
    """How numbers are reached; recorded, no part of an id."""

    @property
    def for_one_code(self) -> tuple[str, ...]:
        """The keys that address a single code."""
        return ("incar",) if self.incar else ()

    @model_validator(mode="after")
    def _names_differ(self) -> CampaignFile:
        titles = [model.title for model in self.models]
        doubles = sorted(title for title, count in Counter(titles).items() if count > 1)
        if doubles:
            raise ValueError(f"two models are called {', '.join(doubles)}; give each a 'name' of its own.")
        for model in self.models:
            baseline = model.compare_with
            if baseline is not None and (baseline not in titles or baseline == model.title):
                raise ValueError(
                    f"model {model.title}: compare_with: no other model {baseline!r}{nearest(baseline, titles)}."
                )
        return self
