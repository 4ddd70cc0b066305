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
    vasp_gam: Command | None = None
    vasp_ncl: Command | None = None
    potcars: str | None = None
    incar: Annotated[dict[str, Any], AfterValidator(_how)] | None = None
    keep: tuple[Literal["WAVECAR", "CHGCAR", "CHG"], ...] | None = None
