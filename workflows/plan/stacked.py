"""What a plan says of layers above each other: how a crystal is computed, and that dispersion holds them together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...structures.errors import StructureError
from ..campaign.protocol import Changes, Protocol, flatten
from ..engines.shared.grids import kpoint_mesh

if TYPE_CHECKING:
    from ..campaign.campaign_file import CampaignModel
    from ..start_structures import Host

_WITH_DISPERSION = ("vdw", "rvv10", "beef")
"""Parts of the names of functionals that have dispersion of their own."""


def of_crystal(protocol: Protocol, model: CampaignModel) -> Protocol:
    """Return the protocol of a host that is periodic along c, which has no dipole correction.

    Raises
    ------
    StructureError
        If the model asks for one.
    """
    if model.protocol.dipole_correction:
        raise StructureError("protocol.dipole_correction: a stack that is periodic along c has none; leave it out.")
    return protocol.changed(Changes(dipole_correction=False))


def told_of_layers(ideal: Host, protocol: Protocol) -> Iterator[str]:
    """Say how a crystal is computed, and of sheets above each other that they are computed without dispersion."""
    values = flatten(protocol, "relax")
    if ideal.periodic and ideal.stack is not None:
        height, layers = float(ideal.pristine.cell[2, 2]), ideal.stack.in_a_cell
        yield (
            f"periodic along c, {layers} layer{'' if layers == 1 else 's'} in {height:.2f} Å: no vacuum, no dipole "
            f"correction{_mesh(ideal, values)}"
        )
    functional = str(values.get("functional", ""))
    has_dispersion = values.get("dispersion") or any(part in functional.lower() for part in _WITH_DISPERSION)
    if ideal.galleries and not has_dispersion:
        yield (
            "WARNING: its layers are held together by dispersion, and the protocol has none, so that their distance "
            "and what binds between them mean little; give protocol: {base: paper, dispersion: d3bj}"
        )


def _mesh(ideal: Host, values: dict[str, Any]) -> str:
    if "kpoint_mesh" in values:
        points = values["kpoint_mesh"]["points"]
    elif "kpoint_length_a" in values:
        points = kpoint_mesh(ideal.pristine, values["kpoint_length_a"])
    else:
        return ""
    return f", k mesh {'×'.join(map(str, points))}"
