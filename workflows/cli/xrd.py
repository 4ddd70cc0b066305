"""`sodiate xrd`: where the peaks of crystals lie, and which cell measured ones give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import make_console

if TYPE_CHECKING:
    from ase import Atoms
    from rich.table import Table

    from ...analysis.diffraction import CellFit, Index

_CU_KA_A = 1.54184
"""As `sodiate.analysis.diffraction.CU_KA_A`, which loads numpy; a test holds them together."""


def xrd(
    crystals: Annotated[
        list[str], typer.Argument(help="Structure files of crystals, or a campaign for those of its bulk_references.")
    ],
    peaks: Annotated[str | None, typer.Option(help='Measured peaks, 2θ in degrees: "13.9 32.4 38.3 56.7".')] = None,
    indexes: Annotated[
        str | None, typer.Option(help='Their indexes, instead of the best ones: "002 100 103 110" or "0.0.12".')
    ] = None,
    wavelength: Annotated[float, typer.Option(min=0.01, help="In Å; by default Cu Kα.")] = _CU_KA_A,
) -> None:
    """Print the powder diffraction peaks of crystals; with measured peaks, which these are and the cell they give.

    Example: sodiate xrd wsse-conversion --peaks "13.9 32.4 38.3 56.7"
    """
    from ...analysis.diffraction import DiffractionError
    from ..campaign.yaml import InputError

    measured = None if peaks is None else _angles(peaks)
    given = None if indexes is None else _indexes(indexes)
    if given is not None and (measured is None or len(given) != len(measured)):
        raise InputError(f"--indexes: {len(given)} are not one for each of {len(measured or [])} peaks.")
    console = make_console()
    for name, atoms in _crystals(crystals).items():
        try:
            if measured is None:
                console.print(_pattern(name, atoms, wavelength))
                continue
            fit = _fit(atoms, measured, given, wavelength)
        except DiffractionError as error:
            console.print(f"{name}: {error}", markup=False, highlight=False, soft_wrap=True)
            continue
        console.print(_indexed(name, atoms, measured, fit, wavelength))
        console.print(f"  {_in_words(fit)}", markup=False, highlight=False, soft_wrap=True)


def _fit(atoms: Atoms, measured: list[float], given: list[Index] | None, wavelength: float) -> CellFit:
    from ...analysis.diffraction import fit_cell, indexed

    return indexed(atoms, measured, wavelength) if given is None else fit_cell(atoms, measured, given, wavelength)


def _crystals(names: list[str]) -> dict[str, Atoms]:
    """Return the atoms of structure files, and of the crystals of campaigns, by what they are called."""
    from ...structures.elemental import crystal_atoms
    from ...structures.errors import StructureError
    from ..campaign.load import bundled_campaigns, load_campaign
    from ..campaign.yaml import InputError

    found = {}
    for name in names:
        if name not in bundled_campaigns() and Path(name).suffix not in (".yaml", ".yml"):
            try:
                found[name] = crystal_atoms(Path(name))
            except StructureError as error:
                raise InputError(str(error)) from None
            continue
        campaign = load_campaign(name)
        own = {
            f"{name}: {substance}": campaign.substances[substance].atoms()
            for substance, reference in campaign.spec.bulk_references.items()
            if reference.crystal is not None
        }
        if not own:
            raise InputError(f"campaign {name}: bulk_references has no {{crystal: FILE}}; name structure files.")
        found |= own
    return found


def _angles(text: str) -> list[float]:
    from ..campaign.yaml import InputError

    try:
        angles = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        angles = []
    if not angles or not all(0 < angle < 180 for angle in angles):
        raise InputError(f'--peaks: {text!r} should be angles 2θ between 0 and 180°, as "13.9 32.4".')
    return angles


def _indexes(text: str) -> list[Index]:
    from ..campaign.yaml import InputError

    found: list[Index] = []
    for word in text.replace(",", " ").split():
        numbers = word.split(".") if "." in word else re.findall(r"-?\d", word)
        if len(numbers) != 3 or "".join(numbers) != word.replace(".", "") or not all(_is_whole(n) for n in numbers):
            raise InputError(f"--indexes: {word!r} should be three indexes, as 103 or 1.0.12.")
        h, k, l_ = map(int, numbers)
        if (h, k, l_) == (0, 0, 0):
            raise InputError("--indexes: 000 is no reflection.")
        found.append((h, k, l_))
    return found


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d+", text) is not None


def _pattern(name: str, atoms: Atoms, wavelength: float) -> Table:
    from rich.table import Table

    from ...analysis.diffraction import LEAST_PERCENT, in_words, reflections, spacing_of

    table = Table(title=_title(name, atoms), title_justify="left")
    for head in ("2θ (°)", "d (Å)", "reflection", "intensity (%)"):
        table.add_column(head, justify="right")
    for one in reflections(atoms, wavelength):
        if one.intensity >= LEAST_PERCENT:
            spacing = spacing_of(one.two_theta_deg, wavelength)
            table.add_row(f"{one.two_theta_deg:.2f}", f"{spacing:.3f}", in_words(one.index), f"{one.intensity:.0f}")
    return table


def _indexed(name: str, atoms: Atoms, measured: list[float], fit: CellFit, wavelength: float) -> Table:
    from rich.table import Table

    from ...analysis.diffraction import in_words, reflections, spacing_of

    own = {one.index: one for one in reflections(atoms, wavelength, (0.5, 179.0))}
    table = Table(title=_title(name, atoms), title_justify="left")
    heads = ("peak (°)", "d (Å)", "reflection", "intensity (%)", "of the crystal (°)", "fitted (°)", "less peak (°)")
    for head in heads:
        table.add_column(head, justify="right")
    for peak, index, fitted in zip(measured, fit.indices, fit.two_theta_deg, strict=True):
        there = own.get(index)
        table.add_row(
            f"{peak:g}",
            f"{spacing_of(peak, wavelength):.3f}",
            in_words(index),
            "" if there is None else f"{there.intensity:.0f}",
            "" if there is None else f"{there.two_theta_deg:.2f}",
            f"{fitted:.2f}",
            f"{fitted - peak:+.2f}",
        )
    return table


def _title(name: str, atoms: Atoms) -> str:
    return f"{name}, {_cell(atoms.cell.lengths(), atoms.cell.angles())}"


def _in_words(fit: CellFit) -> str:
    return (
        f"least squares over {len(fit.indices)} peaks, {fit.free} numbers free: "
        f"{_cell(fit.lengths_a, fit.angles_deg)}; calculated less measured 2θ {fit.rms_deg:.3f}° root mean square"
    )


def _cell(lengths_a: tuple[float, ...], angles_deg: tuple[float, ...]) -> str:
    """Say a cell: the lengths that differ, and the angles that are neither 90° nor 120°."""
    lengths: dict[str, float] = {}
    for name, length in zip("abc", lengths_a, strict=True):
        if not any(abs(length - other) < 1e-4 for other in lengths.values()):
            lengths[name] = length
    angles = {
        name: angle
        for name, angle in zip("αβγ", angles_deg, strict=True)
        if min(abs(angle - 90), abs(angle - 120)) > 1e-3
    }
    said = [f"{name} = {length:.3f} Å" for name, length in lengths.items()]
    return ", ".join([*said, *(f"{name} = {angle:.2f}°" for name, angle in angles.items())])
