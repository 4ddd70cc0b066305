"""The kinds of calculations."""

from __future__ import annotations

from collections.abc import Mapping

RECIPES: Mapping[str, int] = {
    "relax": 1,
    "relax_cell": 1,
    "static": 1,
    "atom": 1,
    "bulk": 1,
    "dos": 1,
    "bands": 1,
    "density": 1,
    "lowest": 2,  # 2: the record holds the geometry of the site that was chosen
}
"""Version of what each kind means; raised when a fix changes what the same words mean."""


RELAXATIONS = ("relax", "relax_cell")
"""Kinds that take ionic steps."""


SPECTRA = ("dos", "bands")
"""Kinds whose eigenvalues are those of a fixed density."""


PRIORITY = {"lowest": 0, "dos": 1, "bands": 1, "density": 1, "relax": 2, "bulk": 3, "atom": 3, "relax_cell": 3}


_ONLY_FOR = {
    "max_force_ev_per_a": frozenset({"relax", "relax_cell"}),
    "dos_broadening_ev": frozenset({"dos"}),
    "band_points": frozenset({"bands"}),
    "box_a": frozenset({"atom"}),
}


SECTIONS = ("dos", "bands", "atom", "bulk")
"""Kinds with sampling rules of their own."""
