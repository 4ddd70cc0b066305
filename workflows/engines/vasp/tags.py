"""INCAR tags: the protocol in VASP's terms, and the tags that the user adds.

Their meaning is that of the VASP wiki, https://www.vasp.at/wiki; the reason for each choice is in configs/protocols.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kinds import KINDS
from ..base import EngineError, Unsupported

if TYPE_CHECKING:
    from ase import Atoms

Tags = dict[str, Any]

CHAIN = frozenset({"IMAGES", "SPRING", "LCLIMB", "IOPT"})
"""Tags of a chain of images, with which the band of a path is relaxed."""

_VTST: Mapping[str, str] = {"LCLIMB": "bool", "IOPT": "int"}
"""Tags that VASP has with the VTST tools alone."""

HOW = frozenset(
    {
        *CHAIN,
        *("ALGO", "AMIN", "AMIX", "AMIX_MAG", "BMIX", "BMIX_MAG", "EMAX", "EMIN", "IALGO", "IBRION", "IMIX"),
        "INIMIX",
        *("ISEARCH", "KBLOCK", "KPAR", "LAECHG", "LASYNC", "LCHARG", "LELF", "LORBIT", "LPLANE", "LSCAAWARE"),
        *("LSCALAPACK", "LSCALU", "LVHAR", "LVTOT", "LWAVE", "MAXMIX", "MIXPRE", "NCORE", "NEDOS", "NELM", "NELMDL"),
        *("NELMIN", "NPAR", "NSIM", "NWRITE", "POTIM", "SYSTEM", "TIME", "WC"),
    }
)
"""Tags that affect how a number is reached or what is written; all others may change it and enter the id."""

PER_ATOM: Mapping[str, float] = {"MAGMOM": 0.0, "M_CONSTR": 0.0}
PER_SPECIES: Mapping[str, float | None] = {
    **{"LDAUL": -1, "LDAUU": 0.0, "LDAUJ": 0.0, "LANGEVIN_GAMMA": 0.0},
    **dict.fromkeys(("RWIGS", "ROPT", "VDW_C6", "VDW_R0", "POMASS", "ZVAL", "QUAD_EFG", "NGYROMAG")),
}
BY_ELEMENT: Mapping[str, float | None] = {**{"MAGMOM": 0.0}, **PER_SPECIES, **PER_ATOM}
"""Tags with a value for each atom or each species, which may be given by element: with the value of elements that are
not named, None where VASP has none."""

VECTORS = ("DIPOL", "SAXIS", "QSPIRAL", "EFIELD_PEAD", "LATTICE_CONSTRAINTS")
"""Tags with three values."""

_HYBRID: Tags = {"GGA": "PE", "LHFCALC": True}
_NONLOCAL: Tags = {"LUSE_VDW": True, "AGGAC": 0.0}

FUNCTIONALS: Mapping[str, Tags] = {
    **{"PBE": {"GGA": "PE"}, "PBEsol": {"GGA": "PS"}, "RPBE": {"GGA": "RP"}, "revPBE": {"GGA": "RE"}},
    **{"AM05": {"GGA": "AM"}, "LDA": {"GGA": "CA"}, "SCAN": {"METAGGA": "SCAN"}, "r2SCAN": {"METAGGA": "R2SCAN"}},
    **{"HSE06": {**_HYBRID, "HFSCREEN": 0.2}, "PBE0": _HYBRID},
    "optB86b-vdW": {"GGA": "MK", "PARAM1": 0.1234, "PARAM2": 1.0, **_NONLOCAL},
    "optB88-vdW": {"GGA": "BO", "PARAM1": 0.1833333333, "PARAM2": 0.22, **_NONLOCAL},
    "vdW-DF2": {"GGA": "ML", "ZAB_VDW": -1.8867, **_NONLOCAL},
    "rev-vdW-DF2": {"GGA": "MK", "PARAM1": 0.1234, "PARAM2": 0.711357, "ZAB_VDW": -1.8867, **_NONLOCAL},
}
"""INCAR of each functional, as VASP's wiki has it."""

SHELLS = ("s", "p", "d", "f")
"""Shells in the order of LDAUL."""

_SPIN_ORBIT: Tags = {"LSORBIT": True, "ISYM": -1, "GGA_COMPAT": False}
"""Without symmetry, since that of moments with directions depends on SAXIS; the gradients as the wiki asks for."""

DISPERSIONS: Mapping[str, int] = {"d3zero": 11, "d3bj": 12, "d4": 13, "ts": 20}
"""IVDW of each dispersion correction."""

MOVES = (1, 2, 3)
"""IBRION of a relaxation: 0 would be molecular dynamics."""


@lru_cache
def known_tags() -> Mapping[str, str]:
    """Return the names of VASP's tags and the types of their values (``int``, ``bool`` …), as pymatgen lists them."""
    from pymatgen.io.vasp import inputs

    descriptions = json.loads((Path(inputs.__file__).parent / "incar_parameters.json").read_text(encoding="utf-8"))
    return {tag: str(description.get("type", "")) for tag, description in descriptions.items()} | dict(_VTST)


def stages(
    protocol: Mapping[str, Any], kind: str, atoms: Atoms, max_steps: int, self_consistent: bool, where: str
) -> list[Tags]:
    """Return the INCAR tags of each stage of a calculation, with a MAGMOM for each atom.

    A slab with dipole correction converges badly from scratch, so a stage without comes first. A relaxation of the
    cell has two stages, since each run keeps the plane waves of its start cell. Bands are the last stage, from the
    charge density of the stage before.

    Parameters
    ----------
    protocol
        Flattened for the kind.
    kind
        Kind of calculation.
    atoms
        Start geometry in VASP's order, with its start moments.
    max_steps
        Ionic steps.
    self_consistent
        False for a DOS from the host's charge density.
    where
        Directory, for messages.
    """
    tags = _electronic(protocol, atoms, where) | _kind(protocol, kind, atoms, max_steps)
    dipole: Tags = _dipole(atoms) | {"LDIPOL": True} if protocol["dipole_correction"] else {}
    if kind == "bands":
        density = stages(protocol, "static", atoms, max_steps, True, where)
        # The wave functions of the stage before are of other k points.
        return [*density, tags | dipole | {"ICHARG": 11, "ISTART": 0}]
    if kind == "dos" and not self_consistent:
        return [tags | dipole | {"ICHARG": 11}]
    if dipole:
        return [tags, tags | dipole]
    return [tags, tags] if KINDS[kind].relaxes_cell else [tags]


def _electronic(protocol: Mapping[str, Any], atoms: Atoms, where: str) -> Tags:
    functional = protocol["functional"]
    if functional not in FUNCTIONALS:
        raise EngineError(f"{where}: functional {functional!r}: the engine vasp has {', '.join(FUNCTIONALS)}.")
    tags: Tags = {
        **method_tags(protocol, atoms.get_chemical_symbols()),
        "PREC": "Accurate",
        "ENCUT": protocol["cutoff_ev"],
        "EDIFF": protocol["energy_convergence_ev"],
        "ALGO": "Normal",
        "NELM": 200,
        "LASPH": True,
        "LREAL": False,
        "LWAVE": True,
        "LCHARG": True,
        **_smearing(protocol["smearing"], where),
        "ISPIN": 2 if protocol["spin_polarised"] else 1,
    }
    tags["LMAXMIX"] = max([mixed_shells(atoms.numbers), *(2 * shell for shell in tags.get("LDAUL", []))])
    if protocol["spin_polarised"]:
        tags |= {"MAGMOM": atoms.get_initial_magnetic_moments().tolist(), "LORBIT": 11}
    return tags


def method_tags(protocol: Mapping[str, Any], symbols: Sequence[str]) -> Tags:
    """Return the tags of the Hamiltonian: functional, dispersion, Hubbard corrections, spin–orbit coupling.

    Parameters
    ----------
    protocol
        Of a calculation; names that VASP does not have are left out.
    symbols
        Of its atoms, in VASP's order.
    """
    tags: Tags = dict(FUNCTIONALS.get(protocol.get("functional", ""), {}))
    if protocol.get("dispersion") in DISPERSIONS:
        tags["IVDW"] = DISPERSIONS[protocol["dispersion"]]
    species = list(dict.fromkeys(symbols))
    shells = {e: next(iter(u.items())) for e, u in (protocol.get("hubbard_u_ev") or {}).items() if e in species}
    if shells:
        tags |= {
            "LDAU": True,
            "LDAUTYPE": 2,  # of Dudarev, in which U − J acts
            "LDAUL": [SHELLS.index(shells[element][0]) if element in shells else -1 for element in species],
            "LDAUU": [float(shells[element][1]) if element in shells else 0.0 for element in species],
            "LDAUJ": [0.0] * len(species),
        }
    return tags | (_SPIN_ORBIT if protocol.get("spin_orbit") else {})


def number_of_bands(protocol: Mapping[str, Any], electrons: float, moment_mub: float) -> int | None:
    """Return NBANDS: the occupied bands and, of them, the protocol's share of empty ones; None without that key.

    Parameters
    ----------
    protocol
        Of the calculation.
    electrons, moment_mub
        Valence electrons, and the sum of the start moments: the majority spin has more bands occupied than half the
        electrons.
    """
    share = protocol.get("empty_bands")
    return None if share is None else int(np.ceil((electrons + abs(moment_mub)) / 2 * (1 + share) - 1e-9))


def mixed_shells(numbers: Iterable[int]) -> int:
    """Return LMAXMIX: 6 with f electrons, 4 with d, else 2, for on-site densities that CHGCAR then has whole.

    A fixed density (ICHARG = 11) and Hubbard corrections need it; no converged energy depends on it.
    """
    every = [int(number) for number in numbers]
    if any(57 <= number <= 71 or number >= 89 for number in every):
        return 6
    return 4 if any(21 <= n <= 31 or 39 <= n <= 50 or 72 <= n <= 83 for n in every) else 2


def is_meta(tags: Mapping[str, Any]) -> bool:
    """Tell whether the functional needs more than a density, so that none can be held fixed: hybrids, meta-GGA."""
    return bool(tags.get("LHFCALC")) or str(tags.get("METAGGA", "--")).strip().upper() not in ("--", "NONE", "")


def is_noncollinear(tags: Mapping[str, Any]) -> bool:
    """Tell whether moments have directions."""
    return bool(tags.get("LSORBIT")) or bool(tags.get("LNONCOLLINEAR"))


def _smearing(smearing: Mapping[str, Any], where: str) -> Tags:
    schemes = {"gaussian": 0, "fermi-dirac": -1}
    if smearing["kind"] not in schemes:
        raise Unsupported(f"{where}: smearing {smearing['kind']!r}: the engine vasp has {', '.join(schemes)}.")
    return {"ISMEAR": schemes[smearing["kind"]], "SIGMA": smearing["width_ev"]}


def _kind(protocol: Mapping[str, Any], kind: str, atoms: Atoms, max_steps: int) -> Tags:
    """Return the tags of a kind."""
    if KINDS[kind].relaxes:
        relaxed: Tags = {"IBRION": 2, "NSW": max_steps, "EDIFFG": -protocol["max_force_ev_per_a"], "ISIF": 2}
        # c, which contains the vacuum, is fixed by VASP 6.4 and newer; the result is checked.
        # Half the criterion, since VASP measures the forces on the cell differently.
        cell = {"ISIF": 3, "LATTICE_CONSTRAINTS": [True, True, False], "EDIFFG": relaxed["EDIFFG"] / 2}
        return relaxed | (cell if KINDS[kind].relaxes_cell else {})
    tags: Tags = {"IBRION": -1, "NSW": 0}
    if kind == "atom" and protocol["spin_polarised"]:
        tags |= {"NUPDOWN": round(float(atoms.get_initial_magnetic_moments().sum()))}
    if KINDS[kind].fixed_density:  # at the charge density of the host
        tags |= {"LORBIT": 11, "LCHARG": False, "LWAVE": False, "LVHAR": True}
    if kind == "dos":
        tags["NEDOS"] = 3001
    if kind == "density":
        names = ("NGXF", "NGYF", "NGZF")
        tags |= dict(zip(names, fine_grid(atoms.cell.array, protocol["cutoff_ev"]), strict=True))
    return tags


def _dipole(atoms: Atoms) -> Tags:
    """Return the correction along z about the middle of the slab, in fractions of the cell."""
    return {"IDIPOL": 3, "DIPOL": [0.5, 0.5, round(middle_of(atoms.get_scaled_positions()[:, 2]), 6)]}


def middle_of(fractions: Any) -> float:
    """Return the middle of atoms along an axis, as fractions of the cell, wherever its boundary lies."""
    return float(np.angle(np.exp(2j * np.pi * np.asarray(fractions)).mean()) / (2 * np.pi) % 1.0)


def fine_grid(cell_a: Any, cutoff_ev: float) -> tuple[int, int, int]:
    """Return the number of grid points of a density along each cell vector, as fine as with PREC = Accurate.

    It depends on cell and cutoff alone.

    Twice the grid that holds every wave up to twice the cutoff's wave vector, N = 2 · 2·G·|a|/π, then the next
    even number without a prime factor above 7.

    Parameters
    ----------
    cell_a
        Shape (3, 3), vectors as rows.
    cutoff_ev
        Plane-wave cutoff.
    """
    from ase.units import Bohr, Hartree

    from ..shared.grids import smooth

    wave = np.sqrt(2 * cutoff_ev / Hartree) / Bohr
    first, second, third = (
        2 * smooth(int(np.ceil(2 * wave * length / np.pi + 1e-6))) for length in np.linalg.norm(cell_a, axis=1)
    )
    return first, second, third


def with_user_tags(tags: Tags, user_tags: Mapping[str, Any], symbols: Sequence[str]) -> Tags:
    """Return the tags updated with the user's; those by element are expanded to VASP's order of atoms or species."""
    species = list(dict.fromkeys(symbols))
    added: Tags = {}
    for tag, value in user_tags.items():
        if isinstance(value, Mapping):
            names = symbols if tag in PER_ATOM else species
            added[tag] = [value.get(symbol, BY_ELEMENT[tag]) for symbol in names]
        else:
            added[tag] = value
    merged = {**tags, **added}
    if is_meta(added) and "METAGGA" in added and "GGA" not in added:
        merged.pop("GGA", None)  # beside METAGGA it would be added to the energy
    return _with_directions(merged, added, len(symbols)) if is_noncollinear(merged) else merged


def _with_directions(tags: Tags, added: Tags, count: int) -> Tags:
    """Return the tags of noncollinear moments: along SAXIS, and without a number of up less down, unless added."""
    tags = {"MAGMOM": [0.0] * count, **tags}  # VASP would begin with 1 μB along each axis
    if "NUPDOWN" not in added:
        tags.pop("NUPDOWN", None)
    for tag in PER_ATOM:
        if np.shape(tags.get(tag) or ()) == (count,):
            tags[tag] = [part for moment in tags[tag] for part in (0.0, 0.0, moment)]
    return tags


def without_chain(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return tags without those of a chain of images, for what is no chain."""
    return {tag: value for tag, value in tags.items() if tag not in CHAIN}


def images_of(execution: Mapping[str, Any]) -> int | None:
    """Return the number of images of a chain that is asked for; None if none is."""
    images = (execution.get("incar") or {}).get("IMAGES")
    return None if images is None else int(images)


def wrong_lengths(tags: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Say which list of a tag has another length than there are atoms or species, or a gap; None if none."""
    species = list(dict.fromkeys(symbols))
    atoms = (3 * len(symbols), "moments along x, y, z") if is_noncollinear(tags) else (len(symbols), "atoms")
    wanted = dict.fromkeys(PER_SPECIES, (len(species), "species")) | dict.fromkeys(PER_ATOM, atoms)
    for tag, (count, of_what) in wanted.items():
        if tag not in tags:
            continue
        if np.size(tags[tag]) != count:
            return f"{tag} has {np.size(tags[tag])} values for {count} {of_what}; give it by element, as {{W: 0.5}}"
        if count == len(species) and None in np.ravel(np.array(tags[tag], dtype=object)):
            missing = [symbol for symbol, value in zip(species, tags[tag], strict=True) if value is None]
            return f"{tag} has no value for {', '.join(missing)}; VASP needs one for each element"
    for tag in VECTORS:
        if tag in tags and np.size(tags[tag]) != 3:
            return f"{tag} has {np.size(tags[tag])} values; VASP reads three"
    return None
