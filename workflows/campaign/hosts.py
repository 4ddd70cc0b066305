"""The bundled hosts, ``configs/hosts.yaml``: sheets by name, each with the source of its lengths."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from ...analysis.records import Frozen
from ...structures.monolayers import Monolayer
from ...structures.slabs import Slab, sheet
from .campaign_file import Layer
from .protocol import Element, Finite, Positive
from .yaml import CONFIGS, load_yaml, validate


class _LayerHost(Layer):
    source: str


class _SheetHost(Frozen):
    """A sheet by its cell and atoms: lengths in Å, an angle in degrees, atoms as element, fractions and height."""

    a: Positive
    b: Positive | None = None
    angle_deg: Positive = 120.0
    atoms: tuple[tuple[Element, Finite, Finite, Finite], ...] = Field(min_length=1)
    source: str

    def slab(self) -> Slab:
        """Return the slab of `structures`."""
        second = self.a if self.b is None else self.b
        angle = np.radians(self.angle_deg)
        cell = np.array([[self.a, 0.0], [second * np.cos(angle), second * np.sin(angle)]])
        symbols = [str(atom[0]) for atom in self.atoms]
        return sheet(symbols, cell, np.array([atom[1:] for atom in self.atoms]))


def _entry(value: Any) -> Any:
    is_sheet = isinstance(value, dict) and "atoms" in value
    return (_SheetHost if is_sheet else _LayerHost).model_validate(value)


class _Library(Frozen):
    hosts: dict[str, Annotated[_LayerHost | _SheetHost, BeforeValidator(_entry)]]


@lru_cache(maxsize=1)
def bundled_hosts() -> dict[str, Monolayer | Slab]:
    """Return the bundled hosts by name."""
    path = CONFIGS / "hosts.yaml"
    library = validate(_Library, load_yaml(path, "host file"), f"host file {path}")
    return {
        name: entry.slab() if isinstance(entry, _SheetHost) else entry.monolayer()
        for name, entry in library.hosts.items()
    }
