"""Quantities: one file each, with all that sodiate knows about it, behind the contract in `base`.

Imports `engines`, `database`, `campaign`, `start_structures` and `analysis`. Plans, tables, pages and manuscripts
follow from the table here; another package adds a quantity with an entry point of the group ``sodiate.quantities``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from ...errors import SodiateError
from .adsorption_energy import AdsorptionEnergy
from .bands import BandStructure
from .barrier import Barrier
from .base import Quantity
from .bulk_reference import BulkReference
from .conversion import Conversion
from .coverage import Coverage
from .density_difference import DensityDifference
from .dos import DensityOfStates
from .dos_of_best import DosOfBest
from .final_energy import FinalEnergy
from .interlayer import Interlayer
from .lattice import LatticeConstant
from .molecule_formation import MoleculeFormation
from .published import PublishedValue
from .uncertainty import Uncertainty
from .vacancy_formation import VacancyFormation
from .vibrations import VibrationsOfIon
from .work_function import WorkFunction

_OWN: tuple[type[Quantity], ...] = (
    AdsorptionEnergy,
    FinalEnergy,
    Uncertainty,
    BulkReference,
    MoleculeFormation,
    Coverage,
    Conversion,
    PublishedValue,
    BandStructure,
    DensityOfStates,
    LatticeConstant,
    Interlayer,
    VacancyFormation,
    DensityDifference,
    WorkFunction,
    DosOfBest,
    Barrier,
    VibrationsOfIon,
)
"""In the order of tables and texts."""


@cache
def quantities() -> dict[str, Quantity]:
    """Return every quantity by its name: sodiate's own, then those of installed packages.

    Raises
    ------
    SodiateError
        If an installed package registers an object that is no quantity, or a name that exists already.
    """
    table = {kind.name: kind() for kind in _OWN}
    for entry_point in sorted(entry_points(group="sodiate.quantities"), key=lambda point: point.name):
        quantity = _loaded(entry_point)
        if quantity.name in table:
            raise SodiateError(f"{_origin(entry_point)}: a quantity {quantity.name!r} is there already; rename it.")
        table[quantity.name] = quantity
    return table


def _loaded(entry_point: EntryPoint) -> Quantity:
    try:
        quantity = entry_point.load()()
    except Exception as error:  # another package may raise anything
        raise SodiateError(
            f"{_origin(entry_point)} cannot be loaded: {type(error).__name__}: {error}. Mend or uninstall it."
        ) from error
    if not isinstance(quantity, Quantity):
        raise SodiateError(f"{_origin(entry_point)} is no sodiate.workflows.quantities.base.Quantity.")
    return quantity


def _origin(entry_point: EntryPoint) -> str:
    package = entry_point.dist.name if entry_point.dist is not None else "a package"
    return f"the quantity {entry_point.name!r} of {package} ({entry_point.value})"
