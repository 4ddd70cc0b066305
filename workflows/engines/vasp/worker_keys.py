"""The part of a cluster file that is for VASP: commands, the library of POTCARs, tags, files to keep."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from ....analysis.records import Frozen
from ...campaign.yaml import nearest
from ..shared.commands import mistake
from .tags import HOW


def _how(tags: dict[str, Any]) -> dict[str, Any]:
    for tag in tags:
        if tag not in HOW:
            raise ValueError(
                f"{tag} may change a number{nearest(tag, HOW)}; write it into the campaign's incar, which every "
                "machine reads. Here belong NCORE, KPAR and the like."
            )
    return tags


def _command(command: str) -> str:
    found = mistake(command)
    if found is not None:
        raise ValueError(found)
    return command


Command = Annotated[str, AfterValidator(_command)]


class VaspWorkerKeys(Frozen):
    """Settings of a worker: commands, the library of POTCARs, INCAR tags, which large files to keep."""

    vasp_std: Command | None = None
    """Command of VASP's standard build: srun vasp_std."""
    vasp_gam: Command | None = None
    """Command of its build for Γ alone."""
    vasp_ncl: Command | None = None
    """Command of its noncollinear build."""
    potcars: str | None = None
    """Folder of the POTCARs, which has POT_GGA_PAW_PBE_54 or potpaw_PBE.54."""
    incar: Annotated[dict[str, Any], AfterValidator(_how)] | None = None
    """INCAR tags that move no number, such as NCORE and KPAR."""
    keep: tuple[Literal["WAVECAR", "CHGCAR", "CHG"], ...] | None = None
    """Large files that stay once a calculation is done."""
