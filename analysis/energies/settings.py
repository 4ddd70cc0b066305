"""The settings of a record in words, as far as they differ from those of another."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot

from ..records import Record
from .comparability import UNSET


def differing_settings(record: Record, other: Record) -> tuple[str, ...]:
    """Return the settings of a record that differ from those of another, in words.

    Parameters
    ----------
    record
        The record.
    other
        One of the same atoms, such as the relaxation at whose end the first is a single point.

    Returns
    -------
    tuple of str
        As ``("the HSE06 functional", "plane waves up to 600 eV", "a 4×4×1 k mesh")``.
    """
    mine, theirs = _said(record), _said(other)
    words = [text for key, text in mine.items() if text != theirs.get(key)]
    for ours, others in (
        (record.method.settings, other.method.settings),
        (record.method.paw, other.method.paw),
    ):
        words += _changed(ours or {}, others or {})
    return tuple(words)


def _said(record: Record) -> dict[str, str]:
    method, sampling = record.method, record.sampling
    corrections = [f"{element} ({words})" for element, words in sorted((method.hubbard or {}).items())]
    said = {
        "functional": f"the {method.functional} functional",
        "cutoff": "no cutoff" if method.cutoff_ev is None else f"plane waves up to {method.cutoff_ev:g} eV",
        "dispersion": f"dispersion {method.dispersion}" if method.dispersion else "no dispersion correction",
        "hubbard": f"Hubbard corrections of {', '.join(corrections) or 'none'}",
    }
    if sampling is None:
        return said
    mesh = "×".join(map(str, sampling.kmesh or ()))
    beside = "" if sampling.kmesh_shift is None else " beside Γ"
    width = "" if sampling.smearing_width_ev is None else f" of {sampling.smearing_width_ev:g} eV"
    return said | {
        "height": f"a cell of {hypot(*sampling.cell_a[2]):.2f} Å along its normal",
        "mesh": f"a {mesh} k mesh{beside}" if mesh else "no k mesh",
        "smearing": f"{sampling.smearing or 'no'} smearing{width}",
        "spin": "spin polarisation" if sampling.spin_polarised else "no spin polarisation",
    }


def _changed(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    return [f"{key} {ours.get(key, UNSET)}" for key in keys]
