"""Tags and protocol keys that VASP takes and that mean something else than what is asked for, refused by `plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...campaign.yaml import InputError
from ...kinds import KINDS
from .method import dispersion_of, functional_of
from .tags import CHAIN, MOVES, is_meta, is_noncollinear, wrong_lengths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...calculation import Calculation

_HUBBARD = ("LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ")

_MOVES_OF_CHAINS = (1, 3)

_FIXED = 10
"""ICHARG from which on a density is held fixed."""

_DAMPED: Mapping[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "d3zero": (frozenset({"PBE", "RPBE", "revPBE", "PBEsol", "SCAN", "PBE0"}), ("VDW_S8", "VDW_SR")),
    "d3bj": (frozenset({"PBE", "RPBE", "revPBE", "PBEsol", "SCAN", "PBE0"}), ("VDW_S8", "VDW_A1", "VDW_A2")),
    "ts": (frozenset({"PBE"}), ("VDW_SR",)),
}
"""Functionals of which VASP has a dispersion correction's damping parameters, and the tags that give those of others.
D4 is a package that chooses its own and ends without."""


def refuse_nonsense(
    calculation: Calculation, given: Mapping[str, Any], tags: Mapping[str, Any], symbols: Sequence[str], where: str
) -> None:
    """Raise `InputError` for the first thing that cannot be meant.

    Parameters
    ----------
    calculation
        Of the plan.
    given
        The user's tags.
    tags
        Those of the Hamiltonian, the user's included and expanded.
    symbols
        The element of each atom, in VASP's order.
    where
        The campaign, for the message.
    """
    said = f"{where}: incar: {calculation.label}: "
    for reason in (
        *_of_the_protocol(calculation.protocol, given, tags),
        *_of_the_kind(calculation.kind, given, tags),
        *_of_the_chain(calculation, given),
    ):
        raise InputError(f"{where}: {reason}" if reason.startswith("protocol.") else f"{said}{reason}")
    wrong = wrong_lengths(tags, symbols)
    if wrong is not None:
        raise InputError(f"{said}{wrong}.")


def _of_the_protocol(protocol: Mapping[str, Any], given: Mapping[str, Any], tags: Mapping[str, Any]) -> Iterator[str]:
    functional, release = functional_of(tags, ["PAW_PBE"]), str(protocol.get("paw_release"))
    if protocol.get("functional") == "LDA" and not release.startswith("LDA"):
        yield f"protocol.functional LDA needs data sets of LDA; paw_release is {release}, say LDA_54."
    twice = [tag for tag in _HUBBARD if tag in given]
    if protocol.get("hubbard_u_ev") and twice:
        yield f"{', '.join(twice)} would undo protocol.hubbard_u_ev; give one of both."
    if protocol.get("spin_orbit") and not (tags["LSORBIT"] and tags.get("LNONCOLLINEAR", True)):
        yield "LSORBIT and LNONCOLLINEAR would undo protocol.spin_orbit; leave them out."
    loose, criterion = given.get("EDIFF"), protocol.get("energy_convergence_ev")
    if loose is not None and criterion is not None and float(loose) > criterion:
        yield (
            f"EDIFF {loose:g} is above protocol.energy_convergence_ev, {criterion:g} eV, which a run has to reach; "
            "give that."
        )
    place = "" if "IVDW" in given else "protocol.dispersion: "
    yield from (f"{place}{reason}" for reason in _of_the_dispersion(functional, tags))


def _of_the_dispersion(functional: str, tags: Mapping[str, Any]) -> Iterator[str]:
    name = dispersion_of(tags)
    if name is None:
        return
    if tags.get("LUSE_VDW"):
        yield f"{functional} has dispersion; {name} would add it a second time."
    known, needed = _DAMPED.get(name, (frozenset([functional]), ()))
    missing = [tag for tag in needed if tag not in tags]
    if functional not in known and missing:
        yield (
            f"VASP has no damping of {name} for {functional} (it has that of "
            f"{', '.join(sorted(known))}); give {', '.join(missing)} in incar, for all kinds."
        )


def _of_the_chain(calculation: Calculation, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a chain of images."""
    tags = sorted(CHAIN & given.keys())
    if not KINDS[calculation.kind].searches:
        yield from (f"{tag} is of a chain of images, which only paths have; give it under path." for tag in tags)
        return
    if tags and "IMAGES" not in given:
        yield f"{tags[0]} does nothing without IMAGES, which asks for VASP's own chain of images."
        return
    images = calculation.structure.get("images")
    if "IMAGES" in given and given["IMAGES"] != images:
        yield f"IMAGES {given['IMAGES']} is another number than barrier.images, {images}; give the same."
    if "IMAGES" in given and given.get("IBRION", 1) not in _MOVES_OF_CHAINS:
        yield (
            f"IBRION {given['IBRION']} moves no chain of images, which has no energy to go down in; it may be "
            f"{' or '.join(map(str, _MOVES_OF_CHAINS))}."
        )


def _of_the_kind(name: str, given: Mapping[str, Any], tags: Mapping[str, Any]) -> Iterator[str]:
    kind = KINDS[name]
    if "METAGGA" in tags and "GGA" in given:
        yield "GGA beside METAGGA would be added to its energy; leave GGA out."
    if kind.relaxes and given.get("IBRION", MOVES[0]) not in MOVES:
        yield (
            f"IBRION {given['IBRION']} relaxes nothing (0 is molecular dynamics); it may be "
            f"{', '.join(map(str, MOVES))}."
        )
    if kind.relaxes and not kind.relaxes_cell and given.get("ISIF", 2) not in (0, 1, 2):
        yield f"ISIF {given['ISIF']} changes the cell, which stays; it may be 2."
    yield from (
        f"{tag} does nothing beside the KPOINTS that is written; give protocol.kpoint_length_a or kpoint_mesh."
        for tag in ("KSPACING", "KGAMMA")
        if tag in given
    )
    if kind.relaxes and int(given.get("NSW", 1)) < 1:
        yield f"NSW {given['NSW']} relaxes nothing; leave it out."
    if not kind.fixed_density and int(given.get("ICHARG", 2)) >= _FIXED:
        yield f"ICHARG {given['ICHARG']} holds the density fixed, and no ground state has its energy; leave it out."
    if not kind.fixed_density and "NELECT" in given:
        yield "NELECT gives the cell a charge, and energies of charged cells are not subtracted; leave it out."
    if name == "bands" and is_meta(tags):
        yield (
            "bands come from a fixed density, which hybrids and meta-GGA do not have; leave bands out of "
            "quantities, or compute them with another functional. A DOS is self-consistent."
        )
    if kind.fixed_density and is_noncollinear(tags):
        yield (
            "noncollinear bands and DOS cannot be read yet, and spin–orbit coupling makes them so; leave "
            f"{name} out of quantities, and what follows from it."
        )
