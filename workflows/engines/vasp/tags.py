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

HOW = frozenset(
    {
        *("ALGO", "AMIN", "AMIX", "AMIX_MAG", "BMIX", "BMIX_MAG", "EMAX", "EMIN", "IALGO", "IBRION", "IMIX"),
        "INIMIX",
        *("ISEARCH", "KBLOCK", "KPAR", "LAECHG", "LASYNC", "LCHARG", "LELF", "LORBIT", "LPLANE", "LSCAAWARE"),
        *("LSCALAPACK", "LSCALU", "LVHAR", "LVTOT", "LWAVE", "MAXMIX", "MIXPRE", "NCORE", "NEDOS", "NELM", "NELMDL"),
        *("NELMIN", "NPAR", "NSIM", "NWRITE", "POTIM", "SYSTEM", "TIME", "WC"),
    }
)
"""Tags that affect how a number is reached or what is written; all others may change it and enter the id."""

BY_ELEMENT = ("MAGMOM", "LDAUL", "LDAUU", "LDAUJ")
"""Tags that may be given by element; MAGMOM has a value for each atom, the others for each species."""

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

DISPERSIONS: Mapping[str, int] = {"d3zero": 11, "d3bj": 12, "d4": 13, "ts": 20}
"""IVDW of each dispersion correction."""

MOVES = (1, 2, 3)
"""IBRION of a relaxation: 0 would be molecular dynamics."""


@lru_cache
def known_tags() -> Mapping[str, str]:
    """Return the names of VASP's tags and the types of their values (``int``, ``bool`` …), as pymatgen lists them."""
    from pymatgen.io.vasp import inputs

    descriptions = json.loads((Path(inputs.__file__).parent / "incar_parameters.json").read_text(encoding="utf-8"))
    return {tag: str(description.get("type", "")) for tag, description in descriptions.items()}


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
        **FUNCTIONALS[functional],
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
        "LMAXMIX": mixed_shells(atoms.numbers),
    }
    if protocol["spin_polarised"]:
        tags |= {"MAGMOM": atoms.get_initial_magnetic_moments().tolist(), "LORBIT": 11}
    if protocol.get("dispersion") is not None:
        tags["IVDW"] = DISPERSIONS[protocol["dispersion"]]
    return tags


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
            names = symbols if tag == "MAGMOM" else species
            missing = -1 if tag == "LDAUL" else 0
            added[tag] = [value.get(symbol, missing) for symbol in names]
        else:
            added[tag] = value
    merged = {**tags, **added}
    if is_meta(added) and "METAGGA" in added and "GGA" not in added:
        merged.pop("GGA", None)  # beside METAGGA it would be added to the energy
    if is_noncollinear(merged) and np.shape(merged.get("MAGMOM") or ()) == (len(symbols),):
        merged["MAGMOM"] = [part for moment in merged["MAGMOM"] for part in (0.0, 0.0, moment)]  # along SAXIS
    return merged


def wrong_lengths(tags: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Say which list of a tag has another length than there are atoms or species; None if none."""
    species = len(dict.fromkeys(symbols))
    wanted = dict.fromkeys(("LDAUL", "LDAUU", "LDAUJ"), (species, "species"))
    wanted["MAGMOM"] = (
        (3 * len(symbols), "moments along x, y, z") if is_noncollinear(tags) else (len(symbols), "atoms")
    )
    for tag, (count, of_what) in wanted.items():
        if tag in tags and np.size(tags[tag]) != count:
            return f"{tag} has {np.size(tags[tag])} values for {count} {of_what}; give it by element, as {{W: 0.5}}"
    return None
