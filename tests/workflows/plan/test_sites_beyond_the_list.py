"""Bridges, sites between layers and sites by coordinates in a campaign: planned, told, refused; run dry."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sodiate.structures.sites import EndSite, Site
from sodiate.workflows import start_structures
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import read_host, site_reached
from support.campaigns import small_campaign
from support.cli import Cli

MOS2 = {"metal": "Mo", "top": "S", "bottom": "S", "a": 3.184, "bond_top": 2.413, "bond_bottom": 2.413}
BILAYER = {"model": "MoS2", "name": "two", "stack": "2H", "layers": 2, "interlayer_a": 6.15}
CRYSTAL = {"model": "MoS2", "name": "crystal", "stack": "2H", "interlayer_a": 6.15}
D3 = {"base": "paper", "dispersion": "d3bj"}


def campaign(folder: Path, *models: Any, **changes: Any) -> Path:
    given = {"monolayers": {"MoS2": MOS2}, "models": list(models), "sites": "near-defect", "protocol": D3}
    return small_campaign(folder, **given | changes)


def janus(folder: Path, **changes: Any) -> Path:
    return small_campaign(folder, **{"models": ["WSSe"], "sites": ["T_W@top", "H@top"]} | changes)


# Bridges.


def test_a_bridge_is_a_site_for_those_who_name_it(tmp_path: Path) -> None:
    plain = plan(janus(tmp_path, sites="all"))
    assert not [name for name in plain if "/B@" in name]
    named = plan(janus(tmp_path, sites=["T_W@top", "H@top", "B@top"]))
    atoms = named["WSSe/B@top"].atoms()
    chalcogens = [index for index, symbol in enumerate(atoms.symbols) if symbol == "S"]
    near = np.sort(atoms.get_distances(len(atoms) - 1, chalcogens, mic=True))
    assert near[:2] == pytest.approx([math.hypot(3.252 / 2, 2.4)] * 2)  # 2.4 Å: between those of T_X and H
    own = {"element": "Na", "start_heights_a": {"B": 2.9}}
    higher = plan(janus(tmp_path, sites=["B@top"], adsorbate=own))["WSSe/B@top"].atoms()
    assert higher.positions[-1, 2] - higher.positions[chalcogens, 2].max() == pytest.approx(2.9)
    # The others are the calculations that they were.
    for name in ("WSSe", "WSSe/T_W@top", "WSSe/H@top"):
        assert named.names[name].id == plain.names[name].id


def test_sheets_are_told_apart_without_scipy(tmp_path: Path) -> None:
    """Loading it takes longer than such a plan."""
    file = campaign(tmp_path, {"host": "graphene"}, BILAYER, supercell=[2, 2])
    code = (
        "import sys; from pathlib import Path; from sodiate.workflows.plan.planner import plan\n"
        f"print(len(plan(Path({str(file)!r})).hosts), 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_bridges_are_looked_for_only_where_some_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take as long as all other sites, which a plan, and each relaxation's end, would wait for."""
    # Of other tests' hosts bridges may be known, and those of this one are none for them.
    monkeypatch.setattr(start_structures, "_read_host", lru_cache(start_structures._read_host.__wrapped__))
    choices: list[Any] = ["all", "near-defect", []]
    asked: list[str] = []

    def no_bridges(host: Atoms, defects: Any) -> tuple[Site, ...]:
        asked.append(str(host.symbols))
        return ()

    monkeypatch.setattr(start_structures, "bridge_sites", no_bridges)
    for sites in choices:
        planned = plan(janus(tmp_path, models=["WSSe", "WSSe+VS"], sites=sites))
        for name, calculation in planned.names.items():
            if calculation.structure["op"] == "adsorbate":
                assert site_reached(calculation, planned[name].atoms()) is not None
    assert not asked
    with pytest.raises(InputError, match=r"none of B@top"):
        plan(janus(tmp_path, sites=["B@top"]))
    assert asked


def test_a_bridge_that_no_model_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of B@tip.*B@top, B@bottom"):
        plan(janus(tmp_path, sites=["B@tip"]))


def test_paths_lead_over_bridges_and_to_them(tmp_path: Path) -> None:
    """By default from T_W to H over the bridge, whose name is told; to it by name."""
    sites = ["T_W@top", "H@top", "B@top"]
    whole = plan(janus(tmp_path, sites=sites, quantities=["barrier"]))
    paths = [name for name in whole if ".." in name]
    assert paths == ["WSSe/T_W@top..H@top"]
    assert whole.quantities["barrier"].hosts["WSSe"].declared["over"] == {"T_W@top..H@top": "B@top"}
    alone = plan(janus(tmp_path, quantities=["barrier"]))
    assert whole.names[paths[0]].id == alone.names[paths[0]].id
    asked = {"paths": [["T_W@top", "B@top"]]}
    half = plan(janus(tmp_path, sites=sites, quantities=["barrier"], barrier=asked))
    assert [name for name in half if ".." in name] == ["WSSe/T_W@top..B@top"]


def test_a_path_to_a_bridge_ends_where_the_bridge_is(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """Half as long as that from T_W to H: a/√3/2 on WSe2, by what the calculation itself is given."""
    from sodiate.workflows.start_structures import path_ends

    changes = {"models": ["WSe2"], "sites": ["T_W@top", "B@top"], "quantities": ["barrier"]}
    planned = plan(janus(tmp_path, barrier={"paths": [["B@top", "T_W@top"]]}, **changes))
    (name,) = (name for name in planned if ".." in name)
    start, end = (planned[f"WSe2/{site}"].atoms() for site in ("B@top", "T_W@top"))
    if name.startswith("WSe2/T_W@top"):
        start, end = end, start
    ends = path_ends(planned.names[name], start, end)
    step = (ends.end.positions - ends.start.positions)[-1]
    assert np.linalg.norm(step[:2]) == pytest.approx(3.319 / 3**0.5 / 2, abs=1e-6)


# Sites by coordinates.


def test_coordinates_in_three_forms_are_one_place(tmp_path: Path) -> None:
    host = plan(janus(tmp_path))["WSSe"].atoms()
    plane = max(host.positions[:, 2])
    point = np.array([0.02, 0.1]) @ np.asarray(host.cell)[:2, :2]
    cartesian = [float(point[0]), float(point[1]), float(plane + 2.0)]
    fractional = np.linalg.solve(np.asarray(host.cell).T, cartesian).tolist()
    own = [
        {"name": "a", "at": [0.02, 0.1], "face": "top", "height_a": 2.0},
        {"name": "b", "fractional": fractional},
        {"name": "c", "cartesian_a": cartesian},
    ]
    planned = plan(janus(tmp_path, models=[{"model": "WSSe", "own_sites": own}]))
    for name in "abc":
        assert planned[f"WSSe/{name}"].atoms().positions[-1] == pytest.approx(cartesian, abs=1e-6)
    assert len({planned.names[f"WSSe/{name}"].id for name in "abc"}) == 3
    assert [line for line in planned.remarks if "own_sites" in line] == [
        "WSSe: own_sites: b is by symmetry a, but for its start",
        "WSSe: own_sites: c is by symmetry a, but for its start",
    ]


def test_an_own_site_that_a_rule_gives_is_told(tmp_path: Path) -> None:
    own = {"mine": {"at": [0.5, 0.5], "face": "top", "height_a": 2.0}}  # over W in a 2×2 cell
    planned = plan(janus(tmp_path, models=[{"model": "WSSe", "own_sites": own}]))
    assert "WSSe: own_sites: mine is by symmetry T_W@top, but for its start" in planned.remarks
    other = {"mine": {"at": [0.5, 0.5], "face": "bottom", "height_a": 2.0}}
    planned = plan(janus(tmp_path, models=[{"model": "WSSe", "own_sites": other}]))
    assert "WSSe: own_sites: mine is by symmetry T_W@bottom, but for its start" in planned.remarks


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"x": {"fractional": [0.5, 0.5, 1.4]}}, "x: 1.4 along c is outside of the cell of the sheet and its vacuum"),
        ({"x": {"cartesian_a": [1.0, 1.0, 500.0]}}, r"x: lies \d+\.\d+ Å above the top face .* further than 4.5 Å"),
        ({"x": {"cartesian_a": [1.0, 1.0, -3.0]}}, "above the bottom face"),
        ({"x": {"at": [0.1, 0.2], "face": "top", "height_a": 9.0}}, "x: lies 9.00 Å above the top face"),
        ({"x": {"at": [1 / 3, 1 / 6], "face": "top", "height_a": 0.3}}, "x: Na would be 0.30 Å from S"),
        ({"x": {"fractional": [0.0, 0.0, 0.5]}}, r"x: Na would be \d\.\d\d Å from W"),
        ({"x": {"fractional": [0.1, 0.2]}}, "fractional"),
        ({"x": {"fractional": [0.1, 0.2, 0.3], "cartesian_a": [1, 1, 1]}}, "a site is {at:"),
        ({"x": {"fractional": [0.1, 0.2, 0.3], "height_a": 2.0}}, "a site is {at:"),
        ({"x": {"at": [0.1, 0.2]}}, "a site is {at:"),
        ({"x": {"fractional": [0.1, 0.2, ".nan"]}}, "fractional"),
        ([{"fractional": [0.1, 0.2, 0.6]}], "each site of the list needs a name"),
        (
            [{"name": "x", "fractional": [0, 0, 0.6]}, {"name": "x", "fractional": [0, 0, 0.6]}],
            "two sites are called x",
        ),
        ({"B@top": {"fractional": [0.1, 0.2, 0.6]}}, "own_sites: model WSSe has a site B@top of its own"),
    ],
)
def test_coordinates_that_are_no_site_are_refused(own: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        plan(janus(tmp_path, models=[{"model": "WSSe", "own_sites": own}]))


# Layers above each other.


def test_layers_have_faces_and_a_crystal_has_galleries_alone(tmp_path: Path) -> None:
    planned = plan(campaign(tmp_path, BILAYER, CRYSTAL))
    names = Counter(name.partition("/")[0] for name in planned if "@" in name)
    assert names == {"two": 5, "crystal": 2}
    assert {"two/Oct@gallery", "two/T_Mo@top", "crystal/Tet@gallery"} <= set(planned)
    host, atoms = planned["crystal"].atoms(), planned["two"].atoms()
    assert host.pbc.all()
    assert host.cell.lengths() == pytest.approx([2 * 3.184, 2 * 3.184, 12.30])
    assert atoms.pbc.tolist() == [True, True, False]
    thickness = 6.15 + 2 * math.sqrt(2.413**2 - 3.184**2 / 3)
    assert atoms.cell[2, 2] == pytest.approx(thickness + 2.7 + 15.0)
    assert (
        "crystal: periodic along c, 2 layers in 12.30 Å: no vacuum, no dipole correction, k mesh 4×4×2"
        in planned.remarks
    )


def test_layers_without_dispersion_are_warned_of(tmp_path: Path) -> None:
    warned = plan(campaign(tmp_path, "MoS2", BILAYER, CRYSTAL, protocol="paper")).remarks
    assert [line.partition(":")[0] for line in warned if "WARNING" in line and "dispersion" in line] == [
        "two",
        "crystal",
    ]
    assert not [line for line in plan(campaign(tmp_path, "MoS2", BILAYER, CRYSTAL)).remarks if "WARNING" in line]


def test_a_gallery_with_no_room_is_left_out_or_refused(tmp_path: Path) -> None:
    narrow = CRYSTAL | {"stack": "AA", "interlayer_a": 5.9}
    planned = plan(campaign(tmp_path, narrow))
    assert "crystal/Top@gallery" not in planned
    (line,) = (line for line in planned.remarks if "Top@gallery" in line)
    assert line.startswith("crystal: Top@gallery has no room: Na would be 1.39 Å from S")
    with pytest.raises(InputError, match=r"sites: Top@gallery has no room: Na would be 1\.39 Å"):
        plan(campaign(tmp_path, narrow | {"sites": ["Top@gallery"]}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"stack": "3R", "interlayer_a": 6.15}, "'3R' should be '2H', 'AA' or 'AB'"),
        ({"stack": "2H"}, "a stack needs interlayer_a, from metal to metal"),
        ({"layers": 2}, "layers and interlayer_a are of a stack"),
        ({"stack": "2H", "interlayer_a": 6.15, "layers": 1}, "a stack of 1 layers; give 2 to 6"),
        ({"stack": "2H", "interlayer_a": 61.5}, "layers 61.5 Å apart"),
        ({"stack": "2H", "interlayer_a": 6.15, "vacuum_a": 10.0}, "periodic along c and has no vacuum"),
        (
            {"stack": "2H", "interlayer_a": 6.15, "ordering": "random"},
            "ordering mixes the chalcogens of a single layer",
        ),
        ({"stack": "2H", "interlayer_a": 6.15, "protocol": {"dipole_correction": True}}, "periodic along c has none"),
        (
            {"stack": "2H", "interlayer_a": 6.15, "protocol": {"final_energy": {"vacuum_a": 20.0}}},
            "final_energy.vacuum_a: a stack that is periodic along c has no vacuum",
        ),
        ({"stack": "2H", "interlayer_a": 6.15, "sites": ["T_Mo@top"]}, "has none of T_Mo@top.*Oct@gallery"),
        (
            {"stack": "2H", "interlayer_a": 6.15, "own_sites": {"x": {"at": [0, 0], "face": "top", "height_a": 2.0}}},
            "a stack that is periodic along c has no faces",
        ),
    ],
)
def test_layers_that_cannot_be_are_refused(model: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        plan(campaign(tmp_path, {"model": "MoS2", **model}))


def test_a_file_is_no_layer_of_a_stack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a file holds all layers of its host itself"):
        plan(campaign(tmp_path, {"file": "x.cif", "name": "x", "stack": "2H", "interlayer_a": 6.0}))


def test_own_points_of_a_crystal_are_checked_by_its_symmetry(tmp_path: Path) -> None:
    octahedral = plan(campaign(tmp_path, CRYSTAL))["crystal/Oct@gallery"].atoms().get_scaled_positions()[-1]
    own = {
        "same": {"fractional": octahedral.tolist()},
        "beside": {"fractional": [*(octahedral[:2] + 0.08).tolist(), 0.5]},
    }
    planned = plan(campaign(tmp_path, CRYSTAL | {"own_sites": own}))
    told = [line for line in planned.remarks if "own_sites" in line]
    assert told == ["crystal: own_sites: same is by symmetry Oct@gallery, but for its start"]


def test_coverage_and_barriers_say_what_they_leave_out(tmp_path: Path) -> None:
    """Ions and paths are those of faces; where there is none, it is refused."""
    keys: dict[str, Any] = {"coverage": ["1/4"], "quantities": ["bulk_reference"]}
    planned = plan(campaign(tmp_path, BILAYER, sites=["T_Mo@top", "Oct@gallery", "B@top"], **keys))
    (line,) = (line for line in planned.remarks if "coverage" in line)
    assert line == "two: coverage: Oct@gallery, B@top takes no part; ions are distributed over the sites of faces"
    with pytest.raises(InputError, match="coverage: model crystal: is periodic along c, and ions"):
        plan(campaign(tmp_path, CRYSTAL, **keys))
    barrier: dict[str, Any] = {"quantities": ["barrier"]}
    paths = [name for name in plan(campaign(tmp_path, BILAYER, **barrier)) if ".." in name]
    assert paths
    assert not [name for name in paths if "gallery" in name]
    with pytest.raises(InputError, match="no two of the campaign's sites are neighbours on a face"):
        plan(campaign(tmp_path, CRYSTAL, **barrier))
    asked = {"paths": [["Oct@gallery", "Tet@gallery"]]}
    with pytest.raises(InputError, match="Oct@gallery lies between two sheets or within one, and paths lead along"):
        plan(campaign(tmp_path, CRYSTAL, barrier=asked, **barrier))
    bars = plan(campaign(tmp_path, CRYSTAL, uncertainty=["vacuum"]))
    assert any("vacuum will not be known: a stack that is periodic" in sentence for sentence in bars.dropped)


def test_interlayer_needs_layers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="quantities: interlayer: no model has layers above each other"):
        plan(campaign(tmp_path, "MoS2", quantities=["interlayer"]))
    scan = [name for name in plan(campaign(tmp_path, CRYSTAL, quantities=["interlayer"])) if "interlayer" in name]
    assert scan == [f"crystal/interlayer-{distance:g}" for distance in (5.904, 6.027, 6.15, 6.273, 6.396)]


# Dry.


def test_layers_run_dry(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """In 1×1 cells; ends have names of the gallery, and the distance is that of the relaxed planes of metal."""
    own = {"mine@top": {"fractional": [0.1, 0.2, 0.745]}}
    path = campaign(
        tmp_path, BILAYER | {"own_sites": own}, CRYSTAL, supercell=[1, 1], quantities=["interlayer"], sites="all"
    )
    done = cli("run", path, "--launchpad", launchpad, "--root", "root")
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        two, crystal = results.models()
        found = {site.site: site.end for site in (*two.sites, *crystal.sites)}
        assert found["Oct@gallery"] is not None
        assert found["Oct@gallery"].startswith("Oct@gallery")
        assert all(end is not None for end in found.values())
        planes = results["two"].atoms.positions[[0, 3], 2]
        assert two.interlayer_a == pytest.approx(planes[1] - planes[0], abs=1e-3)
        assert "layers" in done.stdout
        # The dry potential attracts layers at every distance of the scan, and no number is made of that.
        assert crystal.interlayer_a is None
        assert any("the energy is least at an end of 5.90 to 6.40 Å" in reason for reason in crystal.reasons)
    place = ("--launchpad", launchpad, "--root", "root")
    assert cli("si", "--campaign", "small", *place, "--out", "si").returncode == 0
    methods = (tmp_path / "si" / "methods.md").read_text(encoding="utf-8")
    assert "and crystals of layers, periodic along c, in 1×1 cells 12.30 Å high" in methods
    assert "with at least 1" in methods  # of the two layers in vacuum, not of the crystal
    assert cli("report", *place, "--out", "page.html").returncode == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Oct@gallery" in page
    assert "interlayer distance" in page


# Molecules, and what is computed with the ion.


def test_a_molecule_lies_on_bridges_and_points_over_faces_in_each_orientation(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "campaigns" / "Na2S.xyz", tmp_path)
    adsorbate = {"molecule": "Na2S.xyz", "anchor": "S", "orientations": ["flat", "upright"]}
    changes = {"supercell": [3, 3], "adsorbate": adsorbate, "bulk_references": {}}
    host = plan(campaign(tmp_path, BILAYER, **changes))["two"].atoms()
    point = [*(np.array([0.02, 0.1]) @ np.asarray(host.cell)[:2, :2]), max(host.positions[:, 2]) + 3.0]
    own = {"mine": {"cartesian_a": [float(part) for part in point]}}
    planned = plan(campaign(tmp_path, BILAYER | {"sites": ["B@top"], "own_sites": own}, **changes))
    names = [f"two/{site}:{pose}" for site in ("B@top", "mine") for pose in ("flat", "upright")]
    assert [name for name in planned.names if ":" in name] == names
    for name in names[2:]:
        sulphur, *sodium = planned[name].atoms().positions[-3:]
        assert sulphur[:2] == pytest.approx(point[:2])
        assert min(sulphur[2], *(z for *_, z in sodium)) == pytest.approx(point[2])  # its lowest atom is there
    bridge, chalcogens = planned[names[0]].atoms(), [i for i, symbol in enumerate(host.symbols) if symbol == "S"]
    near = np.sort(bridge.get_distances(len(bridge) - 3, chalcogens, mic=True))
    assert near[0] == pytest.approx(near[1])
    assert site_reached(planned.names[names[0]], bridge) == EndSite("B@top", False, None, "B@top")


def test_a_molecule_is_not_put_between_sheets(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "campaigns" / "Na2S.xyz", tmp_path)
    changes = {"supercell": [3, 3], "adsorbate": {"molecule": "Na2S.xyz"}, "bulk_references": {}}
    planned = plan(campaign(tmp_path, BILAYER, **changes))
    words = "lies between sheets, and Na2S, a molecule, is put on faces alone"
    assert f"two: Oct@gallery {words}; left out" in planned.remarks
    assert not [name for name in planned.names if "gallery" in name]
    with pytest.raises(InputError, match=rf"two: sites: Oct@gallery {words}; leave it out"):
        plan(campaign(tmp_path, BILAYER | {"sites": ["Oct@gallery"]}, **changes))
    own = {"mine": {"fractional": [0.1, 0.1, 0.5]}}
    with pytest.raises(InputError, match=r"own_sites: mine: lies within the host, and a molecule is put on faces"):
        plan(campaign(tmp_path, BILAYER | {"own_sites": own}, **changes))
    with pytest.raises(InputError, match=r"crystal: has no site with room for Na2S: .*faces alone"):
        plan(campaign(tmp_path, CRYSTAL, **changes))


def test_a_part_of_a_molecule_between_sheets_is_told(tmp_path: Path) -> None:
    """Na2S over a bilayer, whose second Na went into the gallery."""
    shutil.copy(CONFIGS / "campaigns" / "Na2S.xyz", tmp_path)
    adsorbate = {"molecule": "Na2S.xyz", "anchor": "S", "orientations": ["upright"]}
    changes = {"supercell": [3, 3], "adsorbate": adsorbate, "bulk_references": {}}
    planned = plan(campaign(tmp_path, BILAYER | {"sites": ["H@top"]}, **changes))
    calculation = planned.names["two/H@top:upright"]
    atoms = planned["two/H@top:upright"].atoms()
    inner = read_host(planned.names["two"].structure).inner
    atoms.positions[-1] = inner.position(inner.sites["Oct@gallery"])
    reached = site_reached(calculation, atoms)
    assert reached is not None
    assert reached.label == "H@top"
    assert "Na at Oct@gallery" in (reached.note or "")


def test_dos_and_vibrations_at_the_best_site_of_layers(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    asked = {"quantities": ["dos", "vibrations"], "dos": {"of": ["host", "best"]}, "supercell": [1, 1]}
    campaign(tmp_path, BILAYER, CRYSTAL, **asked, sites=["Oct@gallery"])
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        for model in results.models():
            assert model.quantities["vibrations"].sites[0].site == "Oct@gallery"
            assert model.quantities["dos_of_best"].best_gap_ev is not None
    assert cli("report", *place, "--out", "page.html").returncode == 0
    assert cli("si", *place, "--out", "si").returncode == 0
