"""The characters of bands: by hand, of the dry model against its matrix, in arrays, on page and figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene, mx2
from pymatgen.electronic_structure.core import Spin
from sodiate.analysis.arrays import Bands, from_arrays, to_arrays
from sodiate.analysis.electrons.bandpath import path_points
from sodiate.analysis.electrons.characters import characters
from sodiate.analysis.figures.plots import BandsDrawn, bands_plot
from sodiate.analysis.records import Geometry
from sodiate.analysis.report.panels import bands_payload
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.tight_binding import Hamiltonian, band_structure
from sodiate.workflows.engines.vasp.arrays import with_shells
from support import present


def janus() -> Atoms:
    """WSSe, its sulphur on top."""
    atoms = mx2("WSe2", "2H", a=3.252, thickness=3.25, vacuum=9.0)
    atoms.symbols[int(np.argmax(atoms.positions[:, 2]))] = "S"
    return atoms


def bands(by_shell: Any = None) -> Bands:
    levels = np.array([[[-1.0, 1.0], [-0.5, 1.5]]])
    return Bands(levels, np.array([[[2.0, 0.0]] * 2]), np.zeros((2, 3)), np.full(2, 0.5), 0.0, by_shell=by_shell)


def test_groups_of_a_janus_sheet_by_hand() -> None:
    atoms = janus()
    weights = np.zeros((1, 2, 2, 3, 3))
    metal, top, bottom = (list(atoms.symbols).index(symbol) for symbol in ("W", "S", "Se"))
    weights[0, 0, 0, metal] = [0.1, 0.0, 0.6]
    weights[0, 0, 0, top] = [0.05, 0.2, 0.0]
    weights[0, 1, 1, bottom] = [0.0, 0.7, 0.0]
    found = characters(bands(weights), Geometry.of(atoms))
    assert list(found) == ["W d", "S p, top", "Se p, bottom"]
    assert found["W d"].tolist() == [[[0.6, 0.0], [0.0, 0.0]]]
    assert found["S p, top"].tolist() == [[[0.2, 0.0], [0.0, 0.0]]]
    assert found["Se p, bottom"].tolist() == [[[0.0, 0.0], [0.0, 0.7]]]


def test_a_flat_sheet_has_no_faces_and_old_records_no_characters() -> None:
    atoms = graphene(vacuum=8.0)
    assert list(characters(bands(np.ones((1, 2, 2, 2, 3))), Geometry.of(atoms))) == ["C p"]
    assert characters(bands(), Geometry.of(atoms)) == {}


def test_arrays_keep_them_and_those_of_older_records_are_read() -> None:
    weights = np.arange(36.0).reshape(1, 2, 2, 3, 3)
    again = from_arrays("bands", to_arrays(bands(weights)))
    assert isinstance(again, Bands)
    assert np.array_equal(present(again.by_shell), weights)
    old = from_arrays("bands", to_arrays(bands()))
    assert isinstance(old, Bands)
    assert old.by_shell is None


def test_those_of_the_dry_model_are_the_trace_of_its_matrix() -> None:
    """Over all states, Σ weight × energy of an atom's shell is the trace of its block; a state's add up to 1."""
    atoms, parameters = janus(), load_parameters()
    kpoints = path_points(atoms.cell.array, 7)
    found = band_structure(atoms, parameters, 13.0, kpoints)
    weights = present(found.by_shell).astype(float)
    np.testing.assert_allclose(weights.sum(axis=(-1, -2)), 1.0, atol=5e-3)
    hamiltonian = Hamiltonian(atoms, parameters)
    shells = {"W": 2, "S": 1, "Se": 1}
    for number, kpoint in enumerate(kpoints):
        diagonal = np.diag(hamiltonian.at(kpoint)).real
        for atom, symbol in enumerate(atoms.symbols):
            block = diagonal[hamiltonian.first_orbital[atom] : hamiltonian.first_orbital[atom + 1]].sum()
            by_states = (weights[0, number, :, atom, shells[symbol]] * found.energies_ev[0, number]).sum()
            assert by_states == pytest.approx(block, abs=0.05)  # weights have three digits
    np.testing.assert_allclose(present(found.by_atom), weights.sum(axis=-1), atol=1e-3)


def test_columns_of_a_projected_run_are_summed_by_shell() -> None:
    """With LORBIT = 11: s, three p, five d; the weights of all ions and states stay apart."""
    columns = np.random.default_rng(1).random((2, 2, 3, 9))
    run: Any = SimpleNamespace(projected_eigenvalues={Spin.up: columns})
    found = present(with_shells(run, bands()).by_shell).astype(float)
    expected = np.stack([columns[..., :1].sum(-1), columns[..., 1:4].sum(-1), columns[..., 4:].sum(-1)], axis=-1)
    np.testing.assert_allclose(found[0], expected, rtol=2e-3)
    run.projected_eigenvalues = None
    assert with_shells(run, bands()).by_shell is None


def test_page_and_figure_have_them(tmp_path: Path) -> None:
    atoms = janus()
    found = band_structure(atoms, load_parameters(), 13.0, path_points(atoms.cell.array, 9))
    weights = characters(found, Geometry.of(atoms))
    payload = bands_payload(found, atoms.cell.array, weights)
    assert list(payload["characters"]) == ["W d", "S p, top", "Se p, bottom"]
    shape = np.shape(payload["spins"])
    assert all(np.shape(one) == shape for one in payload["characters"].values())
    # The first band at Γ is a chalcogen's in one list, and so it is in the other.
    first = int(np.argmin(np.array(payload["spins"])[0, :, 0]))
    share = sum(payload["characters"][name][0][first][0] for name in payload["characters"])
    assert share == pytest.approx(1.0, abs=0.02)
    figure = bands_plot(BandsDrawn(found, atoms.cell.array, "WSSe", weights), tmp_path / "bands.png", mock=True)
    (axes,) = figure.axes
    assert [text.get_text() for text in present(axes.get_legend()).get_texts()] == list(weights)
    assert bands_payload(replace(found, by_shell=None), atoms.cell.array, {})["characters"] == {}
