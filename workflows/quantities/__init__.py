"""Quantities: one file each, with all that sodiate knows of it, behind the contract in `base`.

Imports `engines`, `database`, `campaign`, `start_structures` and `analysis`. What plans, tables, pages and
manuscripts hold follows from the table here; a quantity of a group's own joins it by an entry point of the group
``sodiate.quantities``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from ...errors import SodiateError
from .adsorption_energy import AdsorptionEnergy
from .bands import BandStructure
from .base import Quantity
from .bulk_reference import BulkReference
from .density_difference import DensityDifference
from .dos import DensityOfStates
from .lattice import LatticeConstant
from .published import PublishedValue
from .vacancy_formation import VacancyFormation

_OWN: tuple[type[Quantity], ...] = (
    AdsorptionEnergy,
    BulkReference,
    PublishedValue,
    DensityOfStates,
    LatticeConstant,
    BandStructure,
    VacancyFormation,
    DensityDifference,
)
"""In the order in which tables and texts have them."""


@cache
def quantities() -> dict[str, Quantity]:
    """Return every quantity by its name: sodiate's own, then those that installed packages register.

    Raises
    ------
    SodiateError
        If an installed package registers something that is no quantity, or under a name that is taken.
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
    except Exception as error:  # whatever a package that is not ours raises
        raise SodiateError(
            f"{_origin(entry_point)} cannot be loaded: {type(error).__name__}: {error}. Mend or uninstall it."
        ) from error
    if not isinstance(quantity, Quantity):
        raise SodiateError(f"{_origin(entry_point)} is no sodiate.workflows.quantities.base.Quantity.")
    return quantity


def _origin(entry_point: EntryPoint) -> str:
    package = entry_point.dist.name if entry_point.dist is not None else "a package"
    return f"the quantity {entry_point.name!r} of {package} ({entry_point.value})"
