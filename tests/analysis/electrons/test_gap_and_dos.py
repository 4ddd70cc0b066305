"""Band gaps, held against pymatgen, ASE and models with an analytic gap."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.dft.bandgap import bandgap as ase_bandgap
from scipy.optimize import brentq
from scipy.special import erfc, expit
from sodiate import SodiateError
from sodiate.analysis.arrays import Bands
from sodiate.analysis.electrons.gap_and_dos import ElectronicError, band_gap
from sodiate.analysis.records import BandGap
from support import DATA, present

if TYPE_CHECKING:
    from pymatgen.io.vasp.outputs import Vasprun

VASP = DATA / "vasp"

Recorded = dict[str, tuple["Vasprun", Bands]]
Smearing = Callable[[np.ndarray, float], np.ndarray]


def fermi_dirac(x: np.ndarray, width: float) -> np.ndarray:
    return expit(-x / width)


def gaussian(x: np.ndarray, width: float) -> np.ndarray:
    return 0.5 * erfc(x / width)


def smeared(
    energies: np.ndarray,
    electrons: float,
    width: float,
    smearing: Smearing = fermi_dirac,
    kpoints: np.ndarray | None = None,
) -> Bands:
    """Fill levels (spins, k points, bands), equal weights, at the Fermi level that holds the electrons."""
    energies = np.asarray(energies, float)
    spins, nk, _ = energies.shape
    capacity = 3 - spins

    def excess(fermi: float) -> float:
        return capacity * smearing(energies - fermi, width).sum() / nk - electrons

    fermi = brentq(excess, energies.min() - 5, energies.max() + 5, xtol=1e-14)
    kpoints = np.linspace(0, 0.5, nk)[:, None] * [1, 0, 0] if kpoints is None else kpoints
    occupations = capacity * smearing(energies - fermi, width)
    return Bands(energies, occupations, kpoints, np.full(nk, 1 / nk), fermi)


def cosine_bands(nk: int = 21, gap: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Cosine bands, direct gap at k = 0; a ``shift`` below -0.5 moves the conduction minimum to k = 1/2."""
    k = np.linspace(0, 0.5, nk)
    valence = 0.5 * np.cos(2 * np.pi * k) - 0.5
    conduction = gap + 0.5 - (0.5 + shift) * np.cos(2 * np.pi * k) + shift
    return np.stack([valence - 5, valence, conduction, conduction + 5], axis=1)[None]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """Real VASP outputs: pymatgen's parser, and Bands built from it."""
    from pymatgen.io.vasp.outputs import Vasprun

    out = {}
    for name in ("Si_indirect_bands", "NaCl_insulator_static", "Al_metal_spin_static"):
        run = Vasprun(VASP / f"vasprun_{name}.xml.gz", parse_potcar_file=False)
        eigenvalues = present(run.eigenvalues)
        data = np.array([eigenvalues[spin] for spin in sorted(eigenvalues, key=lambda s: -s.value)])
        weights = np.array(run.actual_kpoints_weights)
        capacity = 3 - len(data)  # vasprun.xml holds 0 to 1 also without spin polarisation
        bands = Bands(
            data[..., 0],
            data[..., 1] * capacity,
            np.array(run.actual_kpoints),
            weights / weights.sum(),
            present(run.efermi),
        )
        out[name.split("_")[0]] = run, bands
    return out


@pytest.mark.parametrize(("name", "pinned", "nature"), [("Si", 0.6119, "indirect"), ("NaCl", 4.9979, "direct")])
def test_recorded_semiconductors_agree_with_pymatgen_and_ase(
    recorded: Recorded, name: str, pinned: float, nature: str
) -> None:
    run, bands = recorded[name]
    gap = band_gap(bands)
    theirs, cbm, vbm, direct = run.eigenvalue_band_properties
    assert gap.gap_ev == pytest.approx(theirs, abs=1e-9)
    assert (gap.vbm_ev, gap.cbm_ev) == pytest.approx((vbm, cbm), abs=1e-9)
    assert (gap.nature == "direct") == direct
    ase_gap, (_, k_vbm, _), (_, k_cbm, _) = ase_bandgap(
        eigenvalues=bands.energies_ev, efermi=bands.fermi_ev, kpts=bands.kpoints
    )
    assert gap.gap_ev == pytest.approx(ase_gap, abs=1e-9)
    if nature == "indirect":
        np.testing.assert_allclose(present(gap.vbm_k), bands.kpoints[k_vbm], atol=1e-9)
        np.testing.assert_allclose(present(gap.cbm_k), bands.kpoints[k_cbm], atol=1e-9)
    assert gap.gap_ev == pytest.approx(pinned, abs=1e-4)  # pinned: eigenvalues in the file, by eye
    assert gap.nature == nature
    assert gap.reason is None


def test_indirect_gap_of_silicon_lies_between_gamma_and_x(recorded: Recorded) -> None:
    gap = band_gap(recorded["Si"][1])
    np.testing.assert_allclose(present(gap.vbm_k), 0, atol=1e-8)
    zero, x, same = np.sort(present(gap.cbm_k))
    assert zero == pytest.approx(0, abs=1e-8)
    assert x == pytest.approx(same, abs=1e-8)
    assert x == pytest.approx(0.85 / 2, abs=0.03)  # experiment: 0.85 of the way to X = (1/2, 0, 1/2)


def test_recorded_aluminium_is_a_metal(recorded: Recorded) -> None:
    run, bands = recorded["Al"]
    assert run.eigenvalue_band_properties[0] == 0
    assert ase_bandgap(eigenvalues=bands.energies_ev, efermi=bands.fermi_ev)[0] == 0
    gap = band_gap(bands)
    assert (gap.gap_ev, gap.nature) == (0.0, "metal")
    assert (gap.vbm_ev, gap.cbm_ev, gap.vbm_k, gap.cbm_k) == (None, None, None, None)
    assert "1.500 electrons of spin up" in present(gap.reason)


def test_occupations_of_one_per_state_without_spin_are_refused(recorded: Recorded) -> None:
    _, bands = recorded["Si"]
    with pytest.raises(ElectronicError, match="double them"):
        band_gap(replace(bands, occupations=bands.occupations / 2))


@pytest.mark.parametrize("spins", [1, 2])
def test_random_insulators_agree_with_ase(spins: int) -> None:
    rng = np.random.default_rng(7)
    natures = set()
    for _ in range(60):
        filled = rng.integers(1, 4, size=spins)
        levels = np.empty((spins, 6, 5))
        for spin, n in enumerate(filled):
            levels[spin, :, :n] = rng.uniform(-5, -0.05, (6, n))
            levels[spin, :, n:] = rng.uniform(0.05, 5, (6, 5 - n))
        # Unsorted on purpose: a code may hand bands over in any order.
        bands = Bands(levels, np.where(levels < 0, 2.0 / spins, 0.0), rng.random((6, 3)), np.full(6, 1 / 6), 0.0)
        gap = band_gap(bands)
        expected, (_, k1, _), (_, k2, _) = ase_bandgap(eigenvalues=np.sort(levels, axis=2), efermi=0.0)
        assert gap.gap_ev == pytest.approx(expected, abs=1e-12)
        np.testing.assert_array_equal(gap.vbm_k, bands.kpoints[k1])
        np.testing.assert_array_equal(gap.cbm_k, bands.kpoints[k2])
        assert gap.nature == ("direct" if k1 == k2 else "indirect")
        natures.add(gap.nature)
    assert natures == {"direct", "indirect"}


def test_odd_electron_at_gamma_only_is_a_metal_though_other_routines_report_a_gap() -> None:
    levels = np.array([-8.0, -6.0, -5.0, -4.0, -0.5, 1.0, 3.0])[None, None]
    occupations = np.array([2, 2, 2, 2, 1, 0, 0], float)[None, None]
    bands = Bands(levels, occupations, np.zeros((1, 3)), np.ones(1), -0.499)
    from pymatgen.io.vasp.outputs import Vasprun

    stand_in = SimpleNamespace(
        eigenvalues={1: np.stack([levels[0], occupations[0] / 2], axis=-1)},
        occu_tol=1e-8,
        separate_spins=False,
    )
    assert vars(Vasprun)["eigenvalue_band_properties"].fget(stand_in)[0] == pytest.approx(1.5)  # the trap
    assert ase_bandgap(eigenvalues=levels, efermi=bands.fermi_ev)[0] == pytest.approx(1.5)  # the trap
    gap = band_gap(bands)
    assert (gap.gap_ev, gap.nature) == (0.0, "metal")
    assert "4.500 electrons" in present(gap.reason)


def test_odd_electron_with_spin_has_a_gap() -> None:
    levels = np.array([[-5.0, -1.0, 2.0], [-4.9, 0.5, 2.2]])[:, None]
    bands = Bands(levels, np.array([[1.0, 1, 0], [1, 0, 0]])[:, None], np.zeros((1, 3)), np.ones(1), 0.0)
    gap = band_gap(bands)
    assert gap.gap_ev == pytest.approx(1.5)  # analytic: highest filled is up, lowest empty is down
    assert gap.nature == "direct"


def test_one_spin_without_electrons() -> None:
    levels = np.array([[-3.0, 1.0], [-0.5, 1.5]])[:, None]  # a hydrogen atom
    bands = Bands(levels, np.array([[1.0, 0], [0, 0]])[:, None], np.zeros((1, 3)), np.ones(1), -1.0)
    assert band_gap(bands).gap_ev == pytest.approx(2.5)


@pytest.mark.parametrize("split", [0.0, 0.005])
def test_half_filled_doublet_is_a_metal_though_its_electrons_are_even(split: float) -> None:
    levels = np.broadcast_to([-5.0, 0.0, split, 4.0], (1, 4, 4))
    gap = band_gap(smeared(levels, 4, 0.05))
    assert gap.nature == "metal"
    assert "partially occupied" in present(gap.reason)


@pytest.mark.parametrize(("smearing", "width"), [(fermi_dirac, 0.05), (gaussian, 0.05), (gaussian, 0.1)])
def test_tail_of_a_smearing_at_a_band_edge_is_no_metal(smearing: Smearing, width: float) -> None:
    bands = smeared(cosine_bands(gap=0.4), 4, width, smearing)
    assert 0 < bands.occupations[0, :, 2].max() < 0.1  # there is a tail
    gap = band_gap(bands)
    assert gap.nature == "direct"
    assert gap.gap_ev == pytest.approx(0.4)


def test_gap_narrower_than_the_smearing_is_not_told_from_a_metal() -> None:
    gap = band_gap(smeared(cosine_bands(gap=0.02), 4, 0.05))
    assert gap.gap_ev == 0.0
    assert "narrower than the smearing" in present(gap.reason)


@pytest.mark.parametrize("electrons", [3.9, 4.1])
def test_doped_semiconductor_is_a_metal(electrons: float) -> None:
    gap = band_gap(smeared(cosine_bands(gap=1.0), electrons, 0.02))
    assert gap.nature == "metal"
    assert f"{electrons / 2:.3f} electrons" in present(gap.reason)


def test_half_metal() -> None:
    up, down = cosine_bands(nk=41, gap=2.0)[0], cosine_bands(nk=41, gap=2.0)[0]
    down[:, 2] = 1.0 + 0.5 * np.cos(np.linspace(0, np.pi, 41))  # half filled; spin up has its gap there
    levels = np.stack([up, down])
    bands = Bands(levels, fermi_dirac(levels - 1.0, 0.01), np.zeros((41, 3)), np.full(41, 1 / 41), 1.0)
    alone = replace(bands, energies_ev=levels[:1], occupations=2 * bands.occupations[:1])
    assert band_gap(alone).gap_ev == pytest.approx(2.0)
    gap = band_gap(bands)
    assert (gap.gap_ev, gap.nature) == (0.0, "metal")
    assert "spin down" in present(gap.reason)


def test_semimetal_overlaps_across_k_though_every_k_point_has_a_gap() -> None:
    levels = cosine_bands(gap=0.3, shift=-0.9)
    assert (levels[0, :, 2] > levels[0, :, 1]).all()
    occupations = np.broadcast_to([2.0, 2, 0, 0], levels.shape)
    bands = Bands(levels, occupations, np.zeros((21, 3)), np.full(21, 1 / 21), 0.0)
    gap = band_gap(bands)
    assert gap.nature == "metal"
    overlap = levels[0, :, 1].max() - levels[0, :, 2].min()
    assert f"lies {overlap:.3f} eV below" in present(gap.reason)


def test_flat_band_at_the_fermi_level() -> None:
    levels = cosine_bands(gap=2.0)
    levels[0, :, 2] = 1.0
    assert band_gap(smeared(levels, 5, 0.05)).nature == "metal"
    assert band_gap(smeared(levels, 4, 0.05)).gap_ev == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fermi", "words"),
    [
        (-0.002, "0.002 eV below the valence band maximum"),
        (-0.1, "0.100 eV below the valence band maximum"),
        (1.1, "0.100 eV above the conduction band minimum"),
        (0.0, None),
        (0.4, None),
    ],
)
def test_whole_bands_and_a_gap_are_an_insulator_wherever_the_fermi_level_was_put(
    fermi: float, words: str | None
) -> None:
    """Tetrahedra, fixed moments and older codes leave it inside an edge; edges are counted from the electrons."""
    levels = cosine_bands()
    occupations = np.broadcast_to([2.0, 2, 0, 0], levels.shape)
    gap = band_gap(Bands(levels, occupations, np.zeros((21, 3)), np.full(21, 1 / 21), fermi))
    assert gap.gap_ev == pytest.approx(1.0)
    assert gap.vbm_ev == pytest.approx(0.0)
    assert gap.nature == "direct"
    assert gap.note is None if words is None else words in present(gap.note)


@pytest.mark.parametrize(
    ("levels", "occupations", "words"),
    [
        ([[-1.0, 1.0], [-0.5, 0.5]], [[0, 2], [0, 2]], "band 1 of either spin at -1.000 eV holds 0.00"),
        ([[-1.0, 1.0], [0.5, 2.0]], [[2, 2], [0, 0]], "at 1.000 eV is filled and one at 0.500 eV at another"),
    ],
)
def test_occupations_of_no_ground_state_are_refused(
    levels: list[Any], occupations: list[Any], words: str | None
) -> None:
    bands = Bands(np.array([levels]), np.array([occupations], float), np.eye(3)[:2], np.full(2, 0.5), 3.0)
    with pytest.raises(ElectronicError, match=words):
        band_gap(bands)


def test_a_metal_that_is_filled_up_to_its_fermi_level_is_no_excited_state() -> None:
    levels = np.array([[[-1.0, 0.2], [0.5, 2.0]]])
    occupations = np.array([[[2.0, 2.0], [0.0, 0.0]]])
    assert band_gap(Bands(levels, occupations, np.eye(3)[:2], np.full(2, 0.5), 0.3)).nature == "metal"
    levels = np.array([[[-1.0, 0.0, 0.0004, 2.0]]])  # degenerate: either of the two may come first
    assert band_gap(Bands(levels, np.array([[[2.0, 0, 2, 0]]]), np.zeros((1, 3)), np.ones(1), 0.0)).nature == "metal"


def test_degenerate_edges_are_direct_if_any_k_point_holds_both() -> None:
    levels = np.array([[0.0, 2.0], [-0.0005, 1.5005], [-1.0, 1.5]])[None]
    bands = Bands(levels, np.tile([2.0, 0.0], (1, 3, 1)), np.eye(3), np.full(3, 1 / 3), 0.5)
    gap = band_gap(bands)
    assert gap.nature == "direct"
    assert gap.vbm_k == gap.cbm_k == (0.0, 1.0, 0.0)
    assert gap.gap_ev == pytest.approx(1.5)
    levels[0, 1] = [-0.0015, 1.5005]
    gap = band_gap(bands)
    assert (gap.nature, gap.vbm_k, gap.cbm_k) == ("indirect", (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))


def folded_honeycomb(n: int, mesh: int, gap: float, hopping: float = 1.1) -> Bands:
    """Bands of a gapped honeycomb in an n×n supercell on a mesh×mesh Γ-centred mesh.

    The minimal model of a 2H monolayer: ε = ±sqrt((gap/2)² + t²|f|²), whose smallest gap is ``gap``, at K.
    The supercell's bands at a k point are the primitive cell's at the n² points that fold onto it.
    """
    supercell = np.array([(i / mesh, j / mesh, 0) for i in range(mesh) for j in range(mesh)])
    shifts = np.array([(i, j, 0) for i in range(n) for j in range(n)])
    k = (supercell[:, None] + shifts) / n
    f = 1 + np.exp(2j * np.pi * k[..., 0]) + np.exp(2j * np.pi * k[..., 1])
    upper = np.sqrt((gap / 2) ** 2 + hopping**2 * abs(f) ** 2)
    levels = np.sort(np.concatenate([-upper, upper], axis=1), axis=1)[None]
    nk = len(supercell)
    return Bands(levels, np.where(levels < 0, 2.0, 0.0), supercell, np.full(nk, 1 / nk), 0.0)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("mesh", [1, 2, 3, 4, 6])
def test_only_meshes_that_hold_k_see_the_true_gap(n: int, mesh: int) -> None:
    gap = band_gap(folded_honeycomb(n, mesh, gap=1.6))
    if n * mesh % 3 == 0:
        assert gap.gap_ev == pytest.approx(1.6, abs=1e-12)
        assert gap.nature == "direct"
        expected = {tuple(np.round(n * np.array(k) % 1, 6) % 1) for k in ((1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0))}
        assert tuple(np.round(present(gap.vbm_k), 6) % 1) in expected
    else:
        assert gap.gap_ev > 1.65


@pytest.mark.parametrize(("n", "mesh"), [(1, 6), (3, 2)])
def test_graphene_is_a_metal_where_the_mesh_holds_k(n: int, mesh: int) -> None:
    bands = folded_honeycomb(n, mesh, gap=0.0)
    gap = band_gap(replace(bands, occupations=1.0 + np.sign(-np.round(bands.energies_ev, 9))))
    assert (gap.gap_ev, gap.nature) == (0.0, "metal")
    touching = replace(bands, occupations=np.tile([2.0] * n**2 + [0.0] * n**2, (1, mesh**2, 1)))
    assert "touch" in present(band_gap(touching).reason)


def test_light_k_point_weights_do_not_make_a_metal() -> None:
    levels = np.sort(np.random.default_rng(1).uniform(-9, -1, (1, 3, 300)), axis=2)
    levels = np.concatenate([levels, levels + 9.5], axis=2)
    bands = Bands(levels, np.where(levels < 0, 2.0, 0.0), np.zeros((3, 3)), np.full(3, 0.33332), 0.0)  # as if rounded
    assert band_gap(bands).nature != "metal"


def good() -> Bands:
    return smeared(cosine_bands(), 4, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energies_ev": np.zeros((3, 21, 4))}, "1 or 2 spins"),
        ({"occupations": np.zeros((1, 21, 3))}, "one shape"),
        ({"kpoints": np.zeros((20, 3))}, "21 k points"),
        ({"weights": np.full(21, 1.0)}, "21.0"),
        ({"fermi_ev": float("nan")}, "not finite"),
        ({"occupations": np.zeros((1, 21, 4)), "fermi_ev": -9.0}, "no electrons"),
    ],
)
def test_damaged_eigenvalues_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ElectronicError, match=message):
        band_gap(replace(good(), **change))
    assert issubclass(ElectronicError, SodiateError)


@pytest.mark.parametrize("spins", [1, 2])
def test_no_empty_band_is_an_error_that_says_what_to_do(spins: int) -> None:
    bands = good()
    levels = np.repeat(bands.energies_ev[..., :2], spins, axis=0)
    full = replace(bands, energies_ev=levels, occupations=np.full_like(levels, 2.0 / spins))
    with pytest.raises(ElectronicError, match="compute more bands"):
        band_gap(full)


def test_gap_is_an_immutable_record_in_python_types() -> None:
    gap = band_gap(good())
    assert isinstance(gap, BandGap)
    assert BandGap.model_validate_json(gap.model_dump_json()) == gap
