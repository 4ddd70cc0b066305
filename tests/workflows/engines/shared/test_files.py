"""Structure files of calculations: read as ASE reads them, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from sodiate.workflows.engines.shared.files import DAMAGE, exact_xyz, read_xyz

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("count", [1, 5, 112])
def test_what_is_read_is_what_was_written_and_what_ase_reads(tmp_path: Path, count: int) -> None:
    atoms = Atoms(
        RNG.choice(["W", "S", "Na"], count),
        positions=RNG.normal(scale=1e3, size=(count, 3)) * 10.0 ** RNG.integers(-20, 3, (count, 3)),
        cell=RNG.normal(size=(3, 3)),
        pbc=(True, True, False),
    )
    path = tmp_path / "start.extxyz"
    path.write_text(exact_xyz(atoms))
    assert read_xyz(path) == atoms
    assert read_xyz(path) == read(path, format="extxyz")


def test_part_of_a_file_is_none(tmp_path: Path) -> None:
    """Cut anywhere; what lacks the last line's end alone is whole, unless a digit is cut off with it."""
    path = tmp_path / "start.extxyz"
    atoms = Atoms("WS2", [[0.0, 0.0, 1.5], [0.0, 1.84, 3.0], [0.0, 1.84, 0.0]], cell=[3, 3, 9], pbc=True)
    text = exact_xyz(atoms)
    for cut in range(len(text) - 4):
        path.write_text(text[:cut])
        with pytest.raises(DAMAGE):
            read_xyz(path)
    path.write_text(text.replace("W ", "Qq "))
    with pytest.raises(DAMAGE):
        read_xyz(path)
