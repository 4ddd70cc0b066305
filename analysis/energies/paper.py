"""The numbers of the reproduced paper, read from ``configs/paper.yaml``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import ValidationError

from ...errors import SodiateError
from ..records import Frozen


class PaperError(SodiateError):
    """The bundled file of published numbers is damaged."""


class PaperMethod(Frozen):
    """The method as the paper states it: energies in eV, forces in eV/Å, the vacuum layer in Å."""

    functional: str
    core: str
    cutoff_ev: float
    energy_convergence_ev: float
    force_convergence_ev_per_a: float
    vacuum_a: float


class Paper(Frozen):
    """Published numbers.

    ``adsorption_energy_ev`` maps adsorbate and model to E(*adsorbate) - E(*) - E(isolated atom).
    """

    doi: str
    citation: str
    short_citation: str
    adsorption_energy_ev: dict[str, dict[str, float]]
    method: PaperMethod


@cache
def paper() -> Paper:
    """Return the published numbers; the file is read once.

    Raises
    ------
    PaperError
        If the file is missing or no YAML, lacks a key, or has an unknown key.
    """
    source = files(__package__.partition(".")[0]) / "configs" / "paper.yaml"
    try:
        return Paper.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise PaperError(f"{source} cannot be read: {error}. Reinstall sodiate.") from error


def paper_value(model: str, adsorbate: str) -> float | None:
    """Return the published adsorption energy.

    Parameters
    ----------
    model
        Host as the paper names it, such as ``WSSe+VS``.
    adsorbate
        Element, such as ``Na``.

    Returns
    -------
    float or None
        E(*adsorbate) - E(*) - E(isolated atom) in eV, negative for binding; None if the paper has none.
    """
    return paper().adsorption_energy_ev.get(adsorbate, {}).get(model)
