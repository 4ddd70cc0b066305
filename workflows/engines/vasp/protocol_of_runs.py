"""The protocol that finished runs had, in the words of a campaign; what these cannot say, as tags."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import EngineError
from .inputs import is_of_release
from .method import ELSEWHERE, default_of, described, first_of, species_of
from .tags import DISPERSIONS, FUNCTIONALS, known_tags, stages, with_user_tags

if TYPE_CHECKING:
    from .adopt import VaspRunOfUser

_RELEASES = ("PBE_54", "PBE_64", "PBE_52", "PBE", "LDA_54", "LDA_64", "LDA_52", "LDA")
"""As pymatgen lists them; PBE and LDA stand for data sets of several releases."""

_SCHEMES = ("gaussian", "fermi-dirac")

_NAMED = frozenset(ELSEWHERE["functional and dispersion have names"].split()) | {"ZAB_VDW", "PARAM1", "PARAM2"}
"""Tags that make a functional or a dispersion correction."""

_MOMENT_MUB = 1.0
"""Of each atom, where no MAGMOM is given."""

_FORCE_EV_PER_A = 0.02
"""The criterion where no run has one (EDIFFG by energy): the paper's."""


def protocol_of(runs: Mapping[str, Sequence[VaspRunOfUser]]) -> dict[str, Any]:
    """Return ``protocol`` and ``incar`` of a campaign whose calculations are these runs.

    Parameters
    ----------
    runs
        By kind (relax, dos, atom, bulk), of one method.

    Raises
    ------
    EngineError
        If a campaign cannot say what they have in common.
    """
    every = [run for those in runs.values() for run in those]
    slabs = runs.get("relax") or every
    first = slabs[0]
    protocol: dict[str, Any] = {
        **_named(first),
        "cutoff_ev": first.method.cutoff_ev,
        **_sampled(slabs),
        "max_force_ev_per_a": max(map(_criterion, slabs)) or _FORCE_EV_PER_A,
        "start_moments_mub": _moments(slabs),
        **_data_sets(every),
    }
    incar: dict[str, dict[str, Any]] = {"*": _tags(first, protocol) | _hubbard(every)}
    for kind, those in runs.items():
        if kind != "relax":
            protocol[kind] = _sampled(those)
        incar[kind] = _tags_of_kind(kind, those)
    return {"protocol": protocol, "incar": {pattern: tags for pattern, tags in incar.items() if tags}}


def _named(run: VaspRunOfUser) -> dict[str, Any]:
    """Return functional and dispersion where they have names here; tags say the others."""
    functional, dispersion = run.method.functional, run.method.dispersion
    return {
        "functional": functional if functional in FUNCTIONALS else "PBE",
        **({"dispersion": dispersion} if dispersion in DISPERSIONS else {}),
    }


def _sampled(runs: Sequence[VaspRunOfUser]) -> dict[str, Any]:
    """Return the keys of the sampling; the loosest criterion, which all of them keep."""
    first = runs[0].sampling
    return {
        "energy_convergence_ev": max(float(run.run.parameters["EDIFF"]) for run in runs),
        "smearing": {
            "kind": first.smearing if first.smearing in _SCHEMES else _SCHEMES[0],
            "width_ev": first.smearing_width_ev,
        },
        "spin_polarised": first.spin_polarised,
        "dipole_correction": first.dipole_correction,
    }


def _criterion(run: VaspRunOfUser) -> float:
    """Return the criterion of the forces, eV/Å; 0 without one."""
    return max(0.0, -float(run.run.parameters.get("EDIFFG", 0.0)))


def _moments(runs: Sequence[VaspRunOfUser]) -> dict[str, float]:
    """Return start moments: the usual one of an atom, and that of the element which the first run lacks."""
    host = set(runs[0].atoms.get_chemical_symbols())
    others, adsorbate = [_MOMENT_MUB], [_MOMENT_MUB]
    for run in runs:
        moments = run.run.parameters.get("MAGMOM")
        symbols = run.atoms.get_chemical_symbols()
        if np.shape(moments) == (len(symbols),):  # noncollinear ones are vectors
            for symbol, moment in zip(symbols, moments, strict=True):
                (others if symbol in host else adsorbate).append(float(moment))
    usual, own = (statistics.mode(values[1:] or values) for values in (others, adsorbate))
    return {"adsorbate": own, "next_to_defect": usual, "other": usual}


def _data_sets(runs: Iterable[VaspRunOfUser]) -> dict[str, Any]:
    titles = {symbol: " ".join(title.split()) for run in runs for symbol, title in run.method.paw.items()}
    kind = "LDA" if all(title.startswith("PAW ") for title in titles.values()) else "PBE"
    for release in (name for name in _RELEASES if name.startswith(kind)):
        if all(is_of_release(title, release) for title in titles.values()):
            return {"paw": {symbol: title.split(" ")[1] for symbol, title in titles.items()}, "paw_release": release}
    unknown = [title for title in titles.values() if not is_of_release(title, kind)]
    raise EngineError(f"no release of POTCARs that is known here has {', '.join(unknown or titles.values())}")


def _tags(run: VaspRunOfUser, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags with which this protocol has the method of a run."""
    where, method, symbols = str(run.folder), run.method, run.atoms.get_chemical_symbols()
    species = list(dict.fromkeys(symbols))
    planned = stages({**protocol, "dipole_correction": False}, "static", run.atoms, 0, True, where)[0]
    tags: dict[str, Any] = {}
    if method.functional not in FUNCTIONALS or method.dispersion not in (None, *DISPERSIONS):
        given = {tag.upper(): value for tag, value in run.run.incar.items()}
        tags = {tag: value for tag, value in given.items() if tag in _NAMED & known_tags().keys()}
    yours = method.settings or {}
    for tag, said in (("charge", "the cell is charged"), ("grid", "a grid is coarser than PREC makes it")):
        if tag in yours:
            raise EngineError(f"{where}: {said} ({yours[tag]}), which a campaign cannot say of all its cells")
    ours = described(with_user_tags(planned, tags, symbols), species, method.paw.values()).settings
    for tag in sorted(yours.keys() | ours.keys()):
        if yours.get(tag) != ours.get(tag):
            tags[tag] = yours.get(tag, default_of(tag))
    unknown = [f"{tag} = {value}" for tag, value in tags.items() if tag not in known_tags() or "(INCAR" in str(value)]
    if unknown:
        raise EngineError(f"{where}: {', '.join(unknown)}: no tag that sodiate can write into an INCAR of its own")
    found = described(with_user_tags(planned, tags, symbols), species, method.paw.values())
    if (found.functional, found.dispersion) != (method.functional, method.dispersion):
        raise EngineError(f"{where}: {method.functional} with {method.dispersion} cannot be said by tags")
    return {tag: _plain(value) for tag, value in tags.items()}


def _plain(value: Any) -> Any:
    """Return a value as YAML has it."""
    words = {"true": True, "false": False}
    return words.get(value, value) if isinstance(value, str) else value


def _hubbard(runs: Iterable[VaspRunOfUser]) -> dict[str, Any]:
    """Return the tags of the Hubbard corrections, by element."""
    tags: dict[str, Any] = {}
    for run in runs:
        corrected, incar = run.method.hubbard or {}, run.run.incar
        for index, symbol in enumerate(one.symbol for one in species_of(Path(run.run.filename))):
            if symbol in corrected:
                tags |= {"LDAU": True, "LDAUTYPE": first_of(incar.get("LDAUTYPE", 2))}
                for tag in ("LDAUL", "LDAUU", "LDAUJ"):
                    if tag in incar:
                        tags.setdefault(tag, {})[symbol] = incar[tag][index]
    return tags


def _tags_of_kind(kind: str, runs: Sequence[VaspRunOfUser]) -> dict[str, Any]:
    """Return the tags of the sampling that the protocol has no word for."""
    parameters = runs[0].run.parameters
    tags: dict[str, Any] = {}
    # A crystal that is relaxed shares the kind of the sheets, not their smearing.
    if kind == "bulk" or runs[0].sampling.smearing not in _SCHEMES:
        tags["ISMEAR"] = int(parameters["ISMEAR"])
    fixed = float(parameters.get("NUPDOWN", -1))
    if fixed >= 0 or (kind == "atom" and runs[0].sampling.spin_polarised):
        tags["NUPDOWN"] = fixed
    return tags
