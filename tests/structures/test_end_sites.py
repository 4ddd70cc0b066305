"""Putting Na on a site of a relaxed, drifted or wrapped host, and naming where it ended."""

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from sodiate.structures.errors import StructureError
from sodiate.structures.host_names import parse_model, resolve_vacancies
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import EndSite, Site, end_site, find_sites, place
from sodiate.structures.vacancies import Defect, apply_defects

LAYERS = {
    "WSe2": Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546),
    "WSSe": Monolayer("W", "S", "Se", 3.252, 2.42, 2.54),
}
MODELS = ["WSe2", "WSSe", "WSSe+VS", "WSSe+VSe", "WSSe+VS+VSe"]
HEIGHTS = {"V": 1.0, "H": 2.1, "T_W": 2.1, "T_X": 2.7}


def model(name: str, repeat: tuple[int, int] = (3, 3)) -> tuple[Atoms, tuple[Defect, ...]]:
    """A boxed complete host and the defects of a model."""
    layer, vacancies = parse_model(name)
    host = box(build_monolayer(LAYERS[layer], repeat), vacuum=15.0, headroom=2.7)
    return host, resolve_vacancies(host, vacancies, None)


def relaxed(host: Atoms, seed: int, drift: tuple[float, float] = (0.0, 0.0)) -> Atoms:
    """The host with its atoms moved by up to 0.035 Å, and together by a lateral drift (Å), then wrapped."""
    atoms = host.copy()
    atoms.positions += np.random.default_rng(seed).uniform(-0.02, 0.02, atoms.positions.shape)
    atoms.positions[:, :2] += drift
    atoms.wrap()
    return atoms


def start_height(site: Site) -> float:
    return HEIGHTS["V"] if site.kind.startswith("V_") else HEIGHTS.get(site.kind, 2.1)


@pytest.mark.parametrize("name", MODELS)
def test_place_on_the_ideal_host(name: str) -> None:
    pristine, defects = model(name)
    host = apply_defects(pristine, defects)
    top, bottom = pristine.positions[:, 2].max(), pristine.positions[:, 2].min()
    for site in find_sites(pristine, defects):
        placed = place(host, site, "Na", 2.5)
        assert placed.symbols[-1] == "Na"
        assert len(placed) == len(host) + 1
        np.testing.assert_array_equal(placed.positions[:-1], host.positions)
        x, y, z = placed.positions[-1]
        assert z == pytest.approx(top + 2.5 if site.face == "top" else bottom - 2.5)
        np.testing.assert_allclose([x, y], site.fractional @ pristine.cell[:2, :2], atol=1e-9)
        if site.kind == "T_X":
            below = placed.get_distances(-1, range(len(host)), mic=True).min()
            assert below == pytest.approx(2.5)
        assert len(host) == len(pristine) - len(defects), "the host is left alone"


@pytest.mark.parametrize("drift", [(0.0, 0.0), (0.8, -0.5), (-4.0, 7.3)])
def test_place_follows_a_drifted_and_wrapped_host(drift: tuple[float, float]) -> None:
    pristine, defects = model("WSSe+VS")
    host = relaxed(apply_defects(pristine, defects), 1, drift)
    cell = pristine.cell[:2, :2]
    for site in find_sites(pristine, defects):
        fractional = np.linalg.solve(cell.T, place(host, site, "Na", 2.0).positions[-1, :2] - np.array(drift))
        offset = fractional - site.fractional
        assert np.linalg.norm((offset - offset.round()) @ cell) < 0.02


def test_place_uses_the_local_face_plane() -> None:
    """The mean z of the three nearest atoms of that face: computed here from ASE's distances."""
    pristine, defects = model("WSSe+VS")
    host = relaxed(apply_defects(pristine, defects), 2)
    (site,) = (s for s in find_sites(pristine, defects) if s.name == "H@top")
    host.positions[[i for i, s in enumerate(host.symbols) if s == "S"], 2] += np.linspace(0, 0.4, 8)
    placed = place(host, site, "Na", 2.1)
    sulfur = [i for i, s in enumerate(host.symbols) if s == "S"]
    flat = placed.copy()
    flat.positions[:, 2] = 0
    nearest = np.array(sulfur)[np.argsort(flat.get_distances(-1, sulfur, mic=True))[:3]]
    assert placed.positions[-1, 2] == pytest.approx(host.positions[nearest, 2].mean() + 2.1)


def test_place_in_a_cell_of_one_unit() -> None:
    """One chalcogen a face: the three nearest are images of it; with none left the next layer counts."""
    host, defects = model("WSSe", (1, 1))
    for site in find_sites(host, defects):
        z = place(host, site, "Na", 2.0).positions[-1, 2]
        plane = host.positions[1 if site.face == "top" else 2, 2]
        assert abs(z - plane) == pytest.approx(2.0)
    host, defects = model("WSSe+VS", (1, 1))
    (site,) = (s for s in find_sites(host, defects) if s.kind == "V_S")
    placed = place(apply_defects(host, defects), site, "Na", 2.0)
    assert placed.positions[-1, 2] == pytest.approx(host.positions[0, 2] + 2.0)


def test_place_keeps_the_moments_of_the_host() -> None:
    host, defects = model("WSSe", (1, 1))
    host.set_initial_magnetic_moments([0.5, 0.1, 0.1])
    site = find_sites(host, defects)[0]
    assert place(host, site, "Na", 2.0).get_initial_magnetic_moments().tolist() == [0.5, 0.1, 0.1, 0.0]


def test_place_refuses_the_wrong_host() -> None:
    pristine, defects = model("WSSe+VS")
    site = find_sites(pristine, defects)[0]
    with pytest.raises(StructureError, match=r"V_S@top.*27 atoms.*expected.*26 atoms"):
        place(pristine, site, "Na", 1.0)
    with pytest.raises(StructureError, match="'Nax' is not an element"):
        place(apply_defects(pristine, defects), site, "Nax", 1.0)


@pytest.mark.parametrize("name", [*MODELS, "WSe2+VSe"])
@pytest.mark.parametrize(("seed", "drift"), [(0, (0.0, 0.0)), (1, (0.9, -1.4))])
def test_what_stays_on_its_site_is_named_so(name: str, seed: int, drift: tuple[float, float]) -> None:
    pristine, defects = model(name)
    sites = find_sites(pristine, defects)
    host = relaxed(apply_defects(pristine, defects), seed, drift)
    for site in sites:
        end = end_site(pristine, defects, sites, place(host, site, "Na", start_height(site)), site)
        assert (end.label, end.moved, end.note) == (site.name, False, None)
        assert str(end) == site.name


def ended(
    name: str, at: str, offset: Sequence[float] | np.ndarray = (0.0, 0.0), height: float = 2.1, start: str = "H@top"
) -> EndSite:
    pristine, defects = model(name)
    sites = {s.name: s for s in find_sites(pristine, defects)}
    final = place(apply_defects(pristine, defects), sites[at], "Na", height)
    final.positions[-1, :2] += offset
    return end_site(pristine, defects, tuple(sites.values()), final, sites[start])


def test_moving_to_another_site() -> None:
    end = ended("WSSe+VS", "T_W@top", (0.2, -0.1))
    assert (end.label, end.moved, end.note) == ("T_W@top", True, None)
    assert str(end) == "H@top → T_W@top"
    assert str(ended("WSSe+VS", "V_S@top", (0.1, 0.4), height=-0.3)) == "H@top → V_S@top"


def test_between_two_sites() -> None:
    """Half way from H to T_W, a/√3 = 1.88 Å apart, is 0.94 Å from both; 0.55 Å from one is on it."""
    toward = np.array([0.0, -1.0])
    end = ended("WSSe", "H@top", toward * 0.8, start="H@top")
    assert end.label == "between H@top and T_W@top"
    assert end.moved
    assert ended("WSSe", "H@top", toward * 0.55).label == "H@top"
    assert ended("WSSe", "H@top", toward * 0.65).label != "H@top"
    assert ended("WSSe", "H@top", toward * (3.252 / np.sqrt(3) - 0.55)).label == "T_W@top"


def test_desorbed() -> None:
    end = ended("WSSe", "T_W@top", height=4.6, start="T_W@top")
    assert (end.label, end.moved) == ("desorbed", True)
    assert str(end) == "T_W@top → desorbed"
    assert ended("WSSe", "T_W@top", height=4.4, start="T_W@top").label == "T_W@top"
    assert ended("WSSe", "T_W@bottom", height=4.6, start="T_W@bottom").label == "desorbed"


def test_through_the_sheet() -> None:
    end = ended("WSSe+VS+VSe", "V_Se@bottom", height=1.0, start="V_S@top")
    assert (end.label, end.moved, end.note) == ("V_Se@bottom", True, "went through")
    assert str(end) == "V_S@top → V_Se@bottom (went through)"
    assert ended("WSSe+VS+VSe", "V_S@top", height=1.0, start="V_Se@bottom").note == "went through"


def test_through_a_symmetric_sheet_keeps_the_name_of_the_class() -> None:
    pristine, defects = model("WSe2")
    sites = find_sites(pristine, defects)
    final = place(pristine, sites[0], "Na", 2.1)
    final.positions[-1, 2] = pristine.cell[2, 2] - final.positions[-1, 2]
    end = end_site(pristine, defects, sites, final, sites[0])
    assert (end.label, end.moved, end.note) == ("T_W@top", True, "went through")
    assert str(end) == "T_W@top → T_W@top (went through)"


def test_in_the_middle_of_the_sheet_it_stays_on_its_face() -> None:
    """Na in a carbon vacancy: 0.05 Å on either side of the sheet is no passage, 0.5 Å is."""
    flake, defects = graphene(size=(3, 3, 1), vacuum=8.0), [Defect("C", 0)]
    sites = find_sites(flake, defects)
    (site,) = (s for s in sites if s.kind == "V_C")
    for height, note in ((0.05, None), (-0.05, None), (-0.5, "went through")):
        final = place(apply_defects(flake, defects), site, "Na", height)
        end = end_site(flake, defects, sites, final, site)
        assert (end.label, end.note) == ("V_C@top", note)


def test_hopping_to_an_equivalent_site_is_noted() -> None:
    pristine, defects = model("WSSe")
    sites = find_sites(pristine, defects)
    final = place(pristine, sites[0], "Na", 2.1)
    final.positions[-1] += pristine.cell[0] / 3
    end = end_site(pristine, defects, sites, final, sites[0])
    assert (end.label, end.moved, end.note) == ("T_W@top", False, "moved to an equivalent site")


def test_end_site_refuses_what_it_cannot_compare() -> None:
    pristine, defects = model("WSSe+VS")
    sites = find_sites(pristine, defects)
    with pytest.raises(StructureError, match="expected"):
        end_site(pristine, defects, sites, place(pristine, find_sites(pristine, ())[0], "Na", 2.0), sites[0])
    final = place(apply_defects(pristine, defects), sites[0], "Na", 1.0)
    with pytest.raises(StructureError, match="no sites"):
        end_site(pristine, defects, (), final, sites[0])
    only_top = [s for s in sites if s.face == "top"]
    final.positions[-1, 2] = pristine.positions[:, 2].min() - 2.0
    with pytest.raises(StructureError, match="none of the sites lies on the bottom face"):
        end_site(pristine, defects, only_top, final, sites[0])


def test_a_host_atom_that_moved_is_told() -> None:
    """An S that fell into the vacancy on its face: the site's name alone would hide it."""
    pristine, defects = model("WSSe+VS")
    ideal = apply_defects(pristine, defects)
    sites = find_sites(pristine, defects)
    start = next(site for site in sites if site.name == "T_W@bottom")
    final = place(relaxed(ideal, 3, (0.8, -0.5)), start, "Na", 2.1)
    assert end_site(pristine, defects, sites, final, start).note is None
    vacancy = pristine.positions[defects[0].index]
    moved = next(i for i in range(len(ideal)) if ideal.symbols[i] == "S")
    final.positions[moved, :2] = vacancy[:2] + np.array([0.8, -0.5])
    ended = end_site(pristine, defects, sites, final, start)
    assert ended.label == "T_W@bottom"
    assert ended.note == f"host atom moved: S {moved} by 3.3 Å"
    assert str(ended) == f"T_W@bottom (host atom moved: S {moved} by 3.3 Å)"


def test_a_layer_that_slid_is_told() -> None:
    layer = build_monolayer(LAYERS["WSe2"], (2, 2))
    upper = layer.copy()
    upper.positions[:, 2] += 6.5
    pristine = box(layer + upper, vacuum=15.0, headroom=2.7)
    sites = find_sites(pristine, ())
    start = next(site for site in sites if site.face == "top")
    final = place(pristine, start, "Na", 2.1)
    final.positions[12:, 0] += 1.5  # the upper layer, and Na with it
    note = end_site(pristine, (), sites, final, start).note
    assert note is not None
    assert "12 of the 24 host atoms moved by 1.5 to 1.5 Å" in note
