"""Record types: what a finished calculation leaves behind, shared by the workflows and the analysis.

Units stand in the field names. A record holds settings and values as they were **run** (parsed from a code's
outputs), never as they were planned. Large arrays (eigenvalues, DOS, trajectories) are kept beside the record, under
the names in ``arrays``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    from ase import Atoms

SCHEMA_VERSION = 1
"""Version of the record layout; a reader refuses any that it does not know."""

IMPORTED = "imported:"
"""How the note of a record begins whose run was not made by sodiate."""

MOCK = "mock (dry run, not physical)"
"""The mark that every table, figure and page puts on the numbers of a dry run."""

Vector = tuple[float, float, float]
Stress = tuple[float, float, float, float, float, float]


class Frozen(BaseModel):
    """Base of all declared and stored values: immutable, unknown keys and numbers that are none refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


LONGEST_LINE = 500
"""Of names and labels: what a table, a folder's name or the first line of an input holds."""


def one_line(text: str) -> str:
    """Refuse a name or label that would not stay in its line of a table, or of a code's input.

    Raises
    ------
    ValueError
        If it has control characters (a newline and a tag behind it), or is very long.
    """
    if not text.isprintable():
        raise ValueError(f"{text[:60]!r} is no name: it has a line break or another character that does not print.")
    if len(text) > LONGEST_LINE:
        raise ValueError(f"{text[:60]!r}… is no name: it has {len(text)} characters, at most {LONGEST_LINE} go.")
    return text


def plain_name(text: str) -> str:
    """Refuse a name that leads elsewhere if it becomes a file's or folder's.

    Raises
    ------
    ValueError
        As `one_line` does, or if a part between slashes is empty, ``.`` or ``..``, or if it has a backslash.
    """
    if "\\" in text or any(part.strip() in ("", ".", "..") for part in text.split("/")):
        raise ValueError(f"{text[:60]!r} is no name: it would lead to another folder.")
    return one_line(text)


Line = Annotated[str, AfterValidator(one_line)]
"""A label: printable, in one line."""

Plain = Annotated[str, AfterValidator(plain_name)]
"""A name that may become a file's."""


def digest(value: Any) -> str:
    """Hash a JSON-like value.

    Parameters
    ----------
    value
        Nested dicts, lists, strings, numbers, booleans and None.

    Returns
    -------
    str
        The first 16 hexadecimal digits of the SHA-256 of its canonical JSON: sorted keys, ``repr`` of floats. So 500
        and 500.0 differ unless they are typed before.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Geometry(Frozen):
    """Atoms at rest: symbols, positions (n, 3) and cell (3, 3) in Å, periodicity of the three axes."""

    symbols: tuple[str, ...]
    positions_a: tuple[Vector, ...]
    cell_a: tuple[Vector, Vector, Vector]
    pbc: tuple[bool, bool, bool]

    @model_validator(mode="after")
    def _one_position_an_atom(self) -> Self:
        if len(self.symbols) != len(self.positions_a):
            raise ValueError(f"{len(self.symbols)} symbols have {len(self.positions_a)} positions.")
        return self

    @classmethod
    def of(cls, atoms: Atoms) -> Geometry:
        """Return the geometry of ASE atoms."""
        return cls.model_validate(
            {
                "symbols": tuple(atoms.get_chemical_symbols()),
                "positions_a": atoms.get_positions().tolist(),
                "cell_a": atoms.cell.tolist(),
                "pbc": [bool(p) for p in atoms.pbc],
            }
        )

    def atoms(self) -> Atoms:
        """Return ASE atoms."""
        from ase import Atoms

        return Atoms(self.symbols, positions=self.positions_a, cell=self.cell_a, pbc=self.pbc)


class Method(Frozen):
    """First fingerprint of a run: equal in every term of an energy difference.

    ``paw`` names the data set of each element, ``hubbard`` its Hubbard correction in words; only elements that two
    runs share are compared. ``numerics`` are a code's further settings that move energies. ``settings`` are all that
    differ from the code's own and can move a converged energy, by the code's words; None in records of engines and
    releases that did not look. A field that is None is no part of a digest.
    """

    engine: str
    engine_version: str
    functional: str | None = None
    cutoff_ev: float | None = None
    dispersion: str | None = None
    paw: dict[str, str] = {}
    numerics: dict[str, str] | None = None
    settings: dict[str, str] | None = None
    hubbard: dict[str, str] | None = None


class Sampling(Frozen):
    """Second fingerprint of a run: equal in E(*Na) and E(*).

    The references (Na atom, bulk Na) have sampling rules of their own. ``kmesh_shift`` are the steps of the mesh by
    which it lies beside Γ, None if Γ is on it; ``settings`` what else is out of the ordinary, by the code's words.
    """

    cell_a: tuple[Vector, Vector, Vector]
    kmesh: tuple[int, int, int] | None = None
    smearing: str | None = None
    smearing_width_ev: float | None = None
    spin_polarised: bool | None = None
    dipole_correction: bool | None = None
    kmesh_shift: Vector | None = None
    settings: dict[str, str] | None = None


class BandGap(Frozen):
    """Band gap from eigenvalues; ``gap_ev`` is 0.0 for a metal, whose edges are None.

    ``reason`` says why it is a metal, ``note`` what is odd about a gap that stands.
    """

    gap_ev: float
    nature: Literal["direct", "indirect", "metal"]
    vbm_ev: float | None = None
    cbm_ev: float | None = None
    vbm_k: Vector | None = None
    cbm_k: Vector | None = None
    fermi_ev: float
    reason: str | None = None
    note: str | None = None


class Choice(Frozen):
    """The choice of a ``lowest`` calculation: the best Na site, and the reason for each site it had to leave out."""

    site: str
    energies_ev: dict[str, float]
    ignored: dict[str, str] = {}


class Saddle(Frozen):
    """What a search along a path found.

    ``between`` is False if the energy rises all the way to an end, whose geometry and energy the record then has.
    ``start_hz`` and ``saddle_hz`` are the modes of the adsorbate and its neighbours at both places, imaginary ones
    negative; None where they were not asked for.
    """

    between: bool
    start_hz: tuple[float, ...] | None = None
    saddle_hz: tuple[float, ...] | None = None


class Vibrations(Frozen):
    """Modes of an adsorbate and the atoms that moved with it, the rest at rest; imaginary ones are negative.

    ``modes_hz`` are those of all ``moved`` atoms, ``ion_hz`` those of the adsorbate alone, both ascending.
    """

    moved: tuple[int, ...]
    modes_hz: tuple[float, ...]
    ion_hz: tuple[float, ...]


class SiteChange(Frozen):
    """Where the adsorbate was put and where the relaxation left it (names such as ``T_W@top``)."""

    start: str
    end: str
    moved: bool
    note: str | None = None


class ParentRef(Frozen):
    """A parent's calculation id and the digest of the record that was used."""

    calculation: str
    digest: str


class Provenance(Frozen):
    """Who computed a record, where and how; none of it defines the numbers.

    ``started``, ``finished`` and ``wall_time_s`` are of the last of its ``launches``, which ended with the record.
    """

    versions: dict[str, str]
    host: str
    directory: str
    firework_id: int | None
    command: str | None
    execution: dict[str, Any]
    started: str
    finished: str
    wall_time_s: float
    launches: int
    ionic_steps: int | None
    scf_steps: int | None
    corrections: tuple[str, ...] = ()


class Record(Frozen):
    """The result of one calculation.

    ``energy_ev`` is extrapolated to zero smearing; the forces belong to ``free_energy_ev``.
    ``physical`` is False for a dry run, whose numbers are mock values. An unconverged run leaves no record. Only a
    relaxation of the cell has a stress (xx, yy, zz, yz, xz, xy); a ``lowest`` has the geometry of the site it chose.
    ``vacuum_ev`` are the vacuum levels below and above a slab, on the scale of its eigenvalues; ``basin_electrons``
    those in the basin of each atom (Bader) of a density, None in older records.
    """

    schema_version: int = SCHEMA_VERSION
    calculation: str
    label: Line
    kind: str
    engine: str
    physical: bool
    converged: Literal[True] = True
    energy_ev: float | None
    free_energy_ev: float | None
    max_force_ev_per_a: float | None
    geometry: Geometry | None
    forces_ev_per_a: tuple[Vector, ...] | None = None
    stress_ev_per_a3: Stress | None = None
    start_moments_mub: tuple[float, ...] | None = None
    final_moments_mub: tuple[float, ...] | None = None
    total_moment_mub: float | None = None
    method: Method
    sampling: Sampling | None
    not_applicable: tuple[str, ...] = ()
    gap: BandGap | None = None
    vacuum_ev: tuple[float, float] | None = None
    basin_electrons: tuple[float, ...] | None = None
    site: SiteChange | None = None
    choice: Choice | None = None
    saddle: Saddle | None = None
    vibrations: Vibrations | None = None
    notes: tuple[str, ...] = ()
    input_digest: str
    parents: dict[str, ParentRef]
    arrays: dict[str, str] = {}
    provenance: Provenance

    @cached_property
    def digest(self) -> str:
        """Hash of the scientific content: a record names its parents' records by it.

        It covers an explicit list of fields and skips absent values, so that a field added later changes no digest.
        """
        return digest(self.model_dump(mode="json", include=SCIENCE, exclude_none=True))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with other values if some are given; its digest is its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("digest", None)
        return copied


SCIENCE = {
    *("calculation", "physical", "energy_ev", "free_energy_ev", "geometry", "forces_ev_per_a", "stress_ev_per_a3"),
    *("start_moments_mub", "final_moments_mub", "total_moment_mub", "method", "sampling", "gap", "vacuum_ev"),
    *("choice", "saddle", "vibrations", "input_digest", "parents"),
}
"""The fields that a record's digest covers."""
