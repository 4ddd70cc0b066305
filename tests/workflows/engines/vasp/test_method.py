"""What a run was, by all that VASP says of itself: one tag at a time is changed in a finished run, and is seen.

The runs are real ones (tests/data/vasp/real/README.md).
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sodiate.analysis.energies.comparability import ProtocolMismatch, check_method, check_sampling
from sodiate.analysis.functionals import corrections, functionals
from sodiate.analysis.records import Method, Provenance, Record
from sodiate.workflows.engines.base import EngineError
from sodiate.workflows.engines.vasp.engine import tags_in_words
from sodiate.workflows.engines.vasp.method import (
    charge_of,
    functional_of,
    hubbard_of,
    settings_of,
    species_of,
    tags_of,
    word,
)
from sodiate.workflows.engines.vasp.results import (
    check_electrons,
    electrons_missing,
    method_of,
    read_vasprun,
    sampling_of,
)
from support import DATA

REAL = DATA / "vasp" / "real"
PLAIN = REAL / "pbe_6.4.2.xml.gz"


def text_of(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def item(tag: str, value: Any) -> str:
    """A tag as vasprun.xml has it."""
    if isinstance(value, list):
        kind = ' type="int"' if isinstance(value[0], int) else ""
        return f'<v{kind} name="{tag}">{" ".join(map(str, value))}</v>'
    kind = {bool: ' type="logical"', int: ' type="int"', str: ' type="string"'}.get(type(value), "")
    return f'<i{kind} name="{tag}">{"TF"[not value] if isinstance(value, bool) else value}</i>'


def changed(path: Path, tags: dict[str, Any], folder: Path) -> Record:
    """The record of a run with some tags changed: in the parameters if they are there, else in the INCAR."""
    text = text_of(path)
    head, middle, tail = re.split(r"(?=<parameters>)|(?<=</parameters>)", text, maxsplit=2)
    for tag, value in tags.items():
        place = re.compile(rf'<([iv])( type="\w+")? name="{tag}">[^<]*</\1>')
        if place.search(head):
            head = place.sub(item(tag, value), head)
        if place.search(middle):
            middle = place.sub(item(tag, value), middle)
        elif not place.search(head):
            head = head.replace("<incar>", f"<incar>\n{item(tag, value)}", 1)
    return record(head + middle + tail, folder)


def record(text: str, folder: Path) -> Record:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vasprun.xml").write_text(text)
    run = read_vasprun(folder / "vasprun.xml")
    return Record(
        calculation="0" * 16,
        label=folder.name,
        kind="static",
        engine="vasp",
        physical=True,
        energy_ev=float(run.final_energy),
        free_energy_ev=None,
        max_force_ev_per_a=None,
        geometry=None,
        method=method_of(run, "vasp"),
        sampling=sampling_of(run),
        input_digest="0" * 16,
        parents={},
        provenance=Provenance(
            versions={"vasp": "6.4.2"}, host="", directory="", firework_id=None, command=None, execution={},
            started="", finished="", wall_time_s=0.0, launches=1, ionic_steps=None, scf_steps=None,
        ),
    )  # fmt: skip


HYBRID = {"LHFCALC": True, "AEXX": 0.25, "AGGAX": 0.75, "ALDAX": 0.75, "LMAXFOCK": 4, "NMAXFOCKAE": 1}

METHOD: list[tuple[dict[str, Any], str]] = [
    ({"GGA": "PS"}, "functional PBE ≠ PBEsol"),
    ({"GGA": "RP"}, "functional PBE ≠ RPBE"),
    ({"GGA": "RE"}, "functional PBE ≠ revPBE"),
    ({"GGA": "AM"}, "functional PBE ≠ AM05"),
    ({"GGA": "CA"}, "functional PBE ≠ LDA"),
    ({"METAGGA": "SCAN"}, "functional PBE ≠ SCAN"),
    ({"METAGGA": "R2SCAN"}, "functional PBE ≠ r2SCAN"),
    ({"METAGGA": "HLE17"}, "functional PBE ≠ HLE17"),
    ({"METAGGA": "SCAN", "GGA": "PE"}, "functional PBE ≠ SCAN beside GGA PE"),
    ({**HYBRID, "HFSCREEN": 0.2}, "functional PBE ≠ HSE06"),
    (HYBRID, "functional PBE ≠ PBE0"),
    ({**HYBRID, "AEXX": 0.3, "AGGAX": 0.7, "ALDAX": 0.7}, "PBE hybrid with 30 % exact exchange"),
    ({**HYBRID, "HFSCREEN": 0.2, "AGGAC": 0.5}, r"PBE hybrid .* screened by 0.2 1/Å \(AGGAC 0.5\)"),
    ({"LUSE_VDW": True, "GGA": "RE", "AGGAC": 0.0}, "functional PBE ≠ vdW-DF"),
    ({"LUSE_VDW": True, "GGA": "MK", "AGGAC": 0.0}, "functional PBE ≠ optB86b-vdW"),
    ({"LUSE_VDW": True, "GGA": "BO", "PARAM1": 0.18333333, "PARAM2": 0.22}, "functional PBE ≠ optB88-vdW"),
    ({"LUSE_VDW": True, "GGA": "ML", "Zab_VDW": -1.8867}, "functional PBE ≠ vdW-DF2"),
    ({"LUSE_VDW": True, "GGA": "MK", "Zab_VDW": -1.8867}, "functional PBE ≠ rev-vdW-DF2"),
    ({"LUSE_VDW": True, "METAGGA": "SCAN"}, r"functional PBE ≠ SCAN\+rVV10"),
    ({"AGGAC": 0.0}, r"functional PBE ≠ PBE \(AGGAC 0\)"),
    ({"ALDAX": 0.5}, r"functional PBE ≠ PBE \(ALDAX 0.5\)"),
    ({"METAGGA": "SCAN", "AMGGAX": 0.5}, r"functional PBE ≠ SCAN \(AMGGAX 0.5\)"),
    ({"LUSE_VDW": True, "GGA": "MK", "AGGAC": 1.0}, r"functional PBE ≠ optB86b-vdW \(AGGAC 1\)"),
    ({**HYBRID, "HFSCREENC": 0.2}, r"25 % exact exchange \(HFSCREENC 0.2\)"),
    ({**HYBRID, "LRHFCALC": True}, "LRHFCALC not set ≠ true"),
    ({**HYBRID, "HFALPHA": 6.0}, "HFALPHA not set ≠ 6"),
    ({**HYBRID, "HFRCUT": 5.0}, "HFRCUT not set ≠ 5"),
    ({"LIBXC1": "GGA_X_PBE_SOL", "GGA": "LIBXC"}, "functional PBE ≠ GGA LIBXC; LIBXC1"),
    ({"LREAL": "On"}, "LREAL auto ≠ on"),
    ({"ROPT": [-0.01]}, "ROPT not set ≠ -0.01"),
    ({"ALGO": "ACFDT"}, "ALGO not set ≠ acfdt"),
    ({"ALGO": "Eigenval"}, "ALGO not set ≠ eigenval"),
    ({"EFERMI": 3.0}, "EFERMI not set ≠ 3"),
    ({"FERWE": [1.0, 1.0, 1.0, 0.0]}, "FERWE"),
    ({"LVDW_EWALD": True}, "LVDW_EWALD"),
    ({"VDW_A1": 0.4}, "VDW_A1"),
    ({"LFXC": True}, "LFXC"),
    ({"NLSPLINE": True}, "NLSPLINE"),
    ({"BEXT": 0.1}, "BEXT"),
    ({"EXXOEP": 1}, "EXXOEP"),
    ({"IVDW": 1}, "dispersion None ≠ d2"),
    ({"IVDW": 11}, "dispersion None ≠ d3zero"),
    ({"IVDW": 12}, "dispersion None ≠ d3bj"),
    ({"IVDW": 13}, "dispersion None ≠ d4"),
    ({"IVDW": 20}, "dispersion None ≠ ts"),
    ({"IVDW": 99}, "dispersion None ≠ IVDW 99"),
    ({"VDW_S8": 0.7}, "VDW_S8 not set ≠ 0.7"),
    ({"VDW_RADIUS": 40.0}, "VDW_RADIUS"),
    ({"LDAU": True, "LDAUL": [2], "LDAUU": [3.0], "LDAUJ": [0.0]}, "Hubbard correction of Si none ≠ d, U = 3 eV"),
    ({"LDAU": True, "LDAUTYPE": 1, "LDAUL": [1], "LDAUU": [3.0], "LDAUJ": [0.5]}, "p, U = 3 eV, J = 0.5 eV .Liech"),
    ({"LSORBIT": True, "LNONCOLLINEAR": True}, "LSORBIT not set ≠ true"),
    ({"LNONCOLLINEAR": True}, "LNONCOLLINEAR"),
    ({"SAXIS": [1.0, 0.0, 0.0]}, "SAXIS not set ≠ 1 0 0"),
    ({"LSOL": True}, "LSOL"),
    ({"EB_K": 40.0}, "EB_K"),
    ({"EFIELD": 0.1}, "EFIELD not set ≠ 0.1"),
    ({"EFIELD_PEAD": [0.0, 0.0, 0.05]}, "EFIELD_PEAD"),
    ({"NELECT": 7.5}, r"charge not set ≠ \+0.5 e"),
    ({"ML_LMLFF": True}, "ML_LMLFF"),
    ({"NGX": 16}, "grid not set ≠ NGX 16 where PREC makes"),
    ({"NGZF": 30}, "grid not set ≠ NGZF 30"),
    ({"GGA_COMPAT": False}, "GGA_COMPAT"),
    ({"VOSKOWN": 1}, "VOSKOWN"),
    ({"I_CONSTRAINED_M": 1}, "I_CONSTRAINED_M"),
    ({"LAMBDA": 10.0}, "LAMBDA"),
    ({"ENMAX": 450.0}, "cutoff_ev 520.0 ≠ 450.0"),
    ({"PREC": "Normal"}, "PREC accurate ≠ not set"),
    ({"PREC": "SingleN"}, "PREC accurate ≠ singlen"),
    ({"LASPH": False}, "LASPH true ≠ not set"),
    ({"ADDGRID": True}, "ADDGRID"),
    ({"PRECFOCK": "Fast"}, "PRECFOCK"),
    ({"ENCUTFOCK": 100.0}, "ENCUTFOCK"),
    ({"NKREDX": 2}, "NKREDX"),
    ({"LMAXFOCKAE": 4}, "LMAXFOCKAE"),
    ({"LFOCKAEDFT": True}, "LFOCKAEDFT"),
    ({"LMAXPAW": 0}, "LMAXPAW"),
    ({"LMAXTAU": 4}, "LMAXTAU"),
    ({"PSTRESS": 50.0}, "PSTRESS"),
    ({"SCISSOR": 0.5}, "SCISSOR"),
    ({"ICORELEVEL": 2}, "ICORELEVEL"),
    ({"LCOMPAT": True}, "LCOMPAT"),
    ({"LTHOMAS": True}, "LTHOMAS"),
    ({"LMONO": True}, "LMONO"),
    ({"EPSILON": 4.0}, "EPSILON"),
    ({"LSPIRAL": True}, "LSPIRAL"),
    ({"QSPIRAL": [0.5, 0.0, 0.0]}, "QSPIRAL"),
    ({"ISYM": -1}, "ISYM"),
    ({"SYMPREC": 0.1}, "SYMPREC"),
    ({"LHARTREE": False}, "LHARTREE"),
    ({"CMBJ": 1.2}, "CMBJ"),
    ({"SHINY_NEW": 3}, "SHINY_NEW not set ≠ 3"),
]

SAMPLED: list[tuple[dict[str, Any], str]] = [
    ({"ISMEAR": 1}, "smearing gaussian ≠ ISMEAR 1"),
    ({"SIGMA": 0.2}, "smearing_width_ev"),
    ({"ISPIN": 1}, "spin_polarised True ≠ False"),
    ({"LDIPOL": True, "IDIPOL": 3}, "dipole_correction False ≠ True"),
    ({"IDIPOL": 3}, "IDIPOL not set ≠ 3 without LDIPOL: the energy alone is corrected"),
    ({"NUPDOWN": 1.0}, "NUPDOWN not set ≠ the total moment is fixed"),
]

CANNOT = {
    **{"NPAR": 4, "NCORE": 8, "KPAR": 2, "NSIM": 8, "LPLANE": False, "LSCALAPACK": False, "SYSTEM": "other"},
    **{"LWAVE": True, "LCHARG": True, "LORBIT": 0, "NEDOS": 3001, "LELF": True, "LVHAR": True, "NWRITE": 3},
    **{"LHYPERFINE": True, "LCALCPOL": True, "ENINI": 100.0, "LDIAG": False, "POMASS": [1.0], "TEBEG": 500.0},
    **{"EFERMI": "MIDGAP"},
    **{"ALGO": "All", "IALGO": 58, "NELM": 300, "NELMIN": 6, "NELMDL": -9, "TIME": 0.1, "ISTART": 1, "INIWAV": 0},
    **{"AMIX": 0.1, "BMIX": 0.001, "AMIX_MAG": 0.4, "MAXMIX": 80, "LMAXMIX": 6, "IMIX": 1, "NBANDS": 40},
    **{"IBRION": 1, "POTIM": 0.1, "NSW": 7, "EDIFFG": -0.001, "EDIFF": 1e-7, "RWIGS": [1.1], "MAGMOM": [1.0, 1.0]},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return record(text_of(PLAIN), tmp_path_factory.mktemp("plain") / "plain")


@pytest.mark.parametrize(
    ("tags", "words"), METHOD, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_what_moves_an_energy_is_seen_and_named(
    tags: dict[str, Any], words: str, plain: Record, tmp_path: Path
) -> None:
    check_method(plain, plain)
    with pytest.raises(ProtocolMismatch, match=words):
        check_method(plain, changed(PLAIN, tags, tmp_path / "changed"))


@pytest.mark.parametrize(("tags", "words"), SAMPLED)
def test_what_two_runs_of_a_cell_must_share(tags: dict[str, Any], words: str, plain: Record, tmp_path: Path) -> None:
    other = changed(PLAIN, tags, tmp_path / "changed")
    check_method(plain, other)  # an isolated atom may differ in it
    with pytest.raises(ProtocolMismatch, match=words):
        check_sampling(plain, other)


@pytest.mark.parametrize("tag", CANNOT)
def test_what_cannot_move_a_converged_energy_is_no_difference(tag: str, plain: Record, tmp_path: Path) -> None:
    other = changed(PLAIN, {tag: CANNOT[tag]}, tmp_path / "changed")
    check_method(plain, other)
    check_sampling(plain, other)


def test_a_cut_word_is_the_whole_one() -> None:
    """VASP reads the first letters of ALGO; a word that it does not end in the ground state with stays."""
    assert [word("ALGO", text) for text in ("N", "Normal", "VeryFast", "Very_Fast", "a", "Damped")] == ["scf"] * 6
    assert word("ALGO", "G0W0") == "g0w0"
    # Where projectors are reciprocal, ROPT says nothing.
    assert settings_of({"LREAL": False, "ROPT": [-0.01]}) == {}
    assert settings_of({"LREAL": "A", "PREC": "Normal", "ROPT": [-5e-4, -5e-4]}) == {"LREAL": "auto"}
    assert settings_of({"LREAL": "A", "PREC": "Acc", "ROPT": [-5e-4, -1e-4]})["ROPT"] == "-0.0001 -0.0005"


def test_a_dipole_correction_about_another_point(tmp_path: Path) -> None:
    """Within 1 Å of the middle of the atoms it is about it; along z the two atoms lie at 0.875 and 0.125: 0."""
    tags = {"LDIPOL": True, "IDIPOL": 3}
    middle, near, far = (
        changed(PLAIN, {**tags, "DIPOL": [0.5, 0.5, z]}, tmp_path / f"{z}") for z in (0.0, 0.02, 0.5)
    )
    assert middle.sampling == near.sampling
    with pytest.raises(ProtocolMismatch, match=r"DIPOL not set ≠ .* Å from the middle of the sheet"):
        check_sampling(middle, far)


@pytest.mark.parametrize(
    ("found", "put", "shift"),
    [
        ('param="Gamma"', 'param="Monkhorst-Pack"', None),  # 7×7×7: an odd mesh has Γ
        ('name="divisions">       7        7        7', 'name="divisions"> 6 6 6', None),
        ('name="usershift">      0.00000000', 'name="usershift"> 0.5', (0.5, 0.0, 0.0)),
    ],
)
def test_a_mesh_beside_gamma(found: str, put: str, shift: Any, plain: Record, tmp_path: Path) -> None:
    text = text_of(PLAIN)
    assert found in text
    other = record(text.replace(found, put), tmp_path / "a")
    assert other.sampling is not None
    assert other.sampling.kmesh_shift == shift
    if 'divisions"> 6' in put:
        other = record(text.replace(found, put).replace('param="Gamma"', 'param="Monkhorst-Pack"'), tmp_path / "b")
        assert other.sampling is not None
        assert other.sampling.kmesh_shift == (0.5, 0.5, 0.5)
        with pytest.raises(ProtocolMismatch, match="kmesh_shift None ≠"):
            check_sampling(plain, other)


def listed_points(points: list[tuple[float, float, float]], folder: Path) -> Record:
    """The record of a run whose k points were given one by one, as pymatgen reads it: no generation, a list."""
    rows = "".join(f"<v>{x:16.8f} {y:16.8f} {z:16.8f} </v>\n" for x, y, z in points)
    weights = "".join(f"<v>{1 / len(points):16.8f} </v>\n" for _ in points)
    block = (
        f'<kpoints>\n<varray name="kpointlist" >\n{rows}</varray>\n<varray name="weights" >\n{weights}</varray>\n'
        "</kpoints>"
    )
    return record(re.sub(r"<kpoints>.*?</kpoints>", block, text_of(PLAIN), count=1, flags=re.DOTALL), folder)


def test_k_points_given_one_by_one(plain: Record, tmp_path: Path) -> None:
    """They are no mesh, so that a run on one differs; two lists are the same if their points and weights are."""
    points = [(0.0, 0.0, 0.0), (0.25, 0.0, 0.0), (0.5, 0.5, 0.0)]
    first, same = listed_points(points, tmp_path / "a"), listed_points(points, tmp_path / "b")
    moved = listed_points([*points[:2], (0.5, 0.5, 0.01)], tmp_path / "c")
    assert first.sampling is not None
    assert (first.sampling.kmesh, first.sampling.kmesh_shift) == (None, None)
    assert (first.sampling.settings or {})["k points"].startswith("3 given one by one (")
    check_sampling(first, same)
    check_method(plain, first)  # a reference has a sampling of its own
    with pytest.raises(ProtocolMismatch, match=r"kmesh \(7, 7, 7\) ≠ None; k points not set ≠ 3 given one by one"):
        check_sampling(plain, first)
    with pytest.raises(ProtocolMismatch, match=r"k points 3 given one by one \(\w+\) ≠ 3 given one by one"):
        check_sampling(first, moved)


@pytest.mark.parametrize("title", ["PAW_PBE Si 01Jan2011", "PAW Si 02Apr1999", "PAW_PBE Si_sv_GW 31Mar2010"])
def test_another_data_set_by_its_whole_title(title: str, plain: Record, tmp_path: Path) -> None:
    other = record(text_of(PLAIN).replace("PAW_PBE Si 05Jan2001", title), tmp_path / "other")
    with pytest.raises(ProtocolMismatch, match=f"PAW of Si PAW_PBE Si 05Jan2001 ≠ {title}"):
        check_method(plain, other)
    assert other.method.functional == ("LDA" if title.startswith("PAW ") else "PBE")


def test_a_tag_that_vasprun_keeps_to_itself_is_read_from_incar(plain: Record, tmp_path: Path) -> None:
    """As those of VASPsol, which is a patch."""
    folder = tmp_path / "solvated"
    record(text_of(PLAIN), folder)
    (folder / "INCAR").write_text("PREC = Accurate\nLSOL = .TRUE.\nEB_K = 37.5\n")
    method = method_of(read_vasprun(folder / "vasprun.xml"), "vasp")
    assert method.settings is not None
    assert method.settings["LSOL"] == "true"
    assert method.settings["EB_K"] == "37.5"


def test_a_tag_of_which_vasprun_says_two_things_is_told_as_both(plain: Record, tmp_path: Path) -> None:
    text = text_of(PLAIN)
    (other,) = re.findall(r'<i type="logical" name="LASPH"> *T *</i>', text.partition("</incar>")[2])
    head, end, rest = text.partition("</incar>")
    torn = record(head + end + rest.replace(other, item("LASPH", False)), tmp_path / "a")
    with pytest.raises(ProtocolMismatch, match=r"LASPH true ≠ false .INCAR: true."):
        check_method(plain, torn)


# Terms of one energy that are of different systems.


def test_a_term_without_the_element_needs_no_hubbard_correction(plain: Record) -> None:
    """E(Na) has no V: its run has LDAU off."""
    host = method_of(read_vasprun(REAL / "pbe_u_V2O5_6.4.1.xml.gz"), "vasp")
    sodium = host.model_copy(update={"hubbard": None, "paw": {"Na": "PAW_PBE Na_pv 19Sep2006"}})
    check_method(plain.model_copy(update={"method": host}), plain.model_copy(update={"method": sodium}))
    without = plain.model_copy(update={"method": host.model_copy(update={"hubbard": None})})
    with pytest.raises(ProtocolMismatch, match=r"Hubbard correction of V d, U = 3.25 eV .Dudarev. ≠ none"):
        check_method(plain.model_copy(update={"method": host}), without)


def test_cells_of_another_size_are_of_one_method() -> None:
    """Of six real runs none is called charged or coarse: NELECT, NBANDS and grids follow from the system."""
    for path in sorted(REAL.glob("*.xml.gz")):
        if path.name.startswith("unfinished"):
            continue
        run = read_vasprun(path)
        settings = method_of(run, "vasp").settings
        assert settings is not None
        assert not {"charge", "grid"} & settings.keys(), path
        assert charge_of(tags_of(run), species_of(path)) == pytest.approx(0.0, abs=1e-6)


def test_records_of_older_releases_are_held_against_what_they_say(plain: Record) -> None:
    """And a field that they lack is no part of a digest."""
    old = plain.method.model_copy(update={"settings": None})
    assert "settings" not in old.model_dump(exclude_none=True)
    before = plain.model_copy(update={"method": old})
    check_method(plain, before)
    other = old.model_copy(update={"numerics": {**(old.numerics or {}), "ADDGRID": "true"}})
    with pytest.raises(ProtocolMismatch, match="ADDGRID"):
        check_method(plain, plain.model_copy(update={"method": other}))
    assert Method(engine="emt", engine_version="1").model_dump(exclude_none=True).keys() == {
        *("engine", "engine_version", "paw")
    }


# Real runs, in words.

NAMES = {
    "hse06_SrTiO3_6.3.0": ("the HSE06 functional [@Krukau2006]", ""),
    "hse06_d3_Sb2Se3_6.2.0": ("the HSE06 functional", "Dispersion was added by D3(0) [@Grimme2010]."),
    "pbe_u_V2O5_6.4.1": (
        "the PBEsol+U functional",
        "Hubbard corrections (+U) were applied to V (d, U = 3.25 eV (Dudarev))",
    ),
    "r2scan_6.4.1": ("the r2SCAN functional [@Furness2020]", ""),
    "pbe_6.4.2": ("the PBE functional [@Perdew1996]", ""),
    "soc_O2_ncl_6.4.1": ("the PBE functional", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_manuscript_names_what_ran(name: str) -> None:
    method = method_of(read_vasprun(REAL / f"{name}.xml.gz"), "vasp")
    functional, correction = NAMES[name]
    assert functionals([method]).startswith(functional)
    assert correction in " ".join(corrections([method]))
    assert ("Spin–orbit coupling was included." in tags_in_words([method])) is name.startswith("soc")
    assert "PREC = accurate" in tags_in_words([method])


def test_spin_orbit_coupling_is_a_difference() -> None:
    with_, without = (
        method_of(read_vasprun(REAL / f"{n}_6.4.1.xml.gz"), "vasp") for n in ("soc_O2_ncl", "spin_O2_std")
    )
    assert with_.settings is not None
    assert without.settings is not None
    assert with_.settings.items() - without.settings.items() == {("LSORBIT", "true"), ("LNONCOLLINEAR", "true")}


@pytest.mark.parametrize("path", sorted(REAL.glob("*.xml.gz")), ids=lambda path: path.name)
def test_electrons_of_real_runs(path: Path) -> None:
    """The noncollinear O2 ran into NELM, and says so; what is truncated is told apart by its reader."""
    if path.name.startswith("unfinished"):
        with pytest.raises(ValueError, match=r"."):
            read_vasprun(path)
        return
    reason = electrons_missing(read_vasprun(path))
    assert (reason is None) is not path.name.startswith("soc"), reason


RUNS = sorted(path for path in DATA.glob("vasp/**/*.xml.gz") if not path.name.startswith("unfinished"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_a_run_cut_within_its_scf_cycle_is_refused_unless_it_was_converged(path: Path) -> None:
    """As LABORT cuts it, after each of its iterations: what is taken is within EDIFF of where the cycle ended."""
    run = read_vasprun(path)
    iterations = run.ionic_steps[-1]["electronic_steps"]
    taken = []
    for count in range(1, len(iterations)):
        cut: Any = SimpleNamespace(ionic_steps=[{"electronic_steps": iterations[:count]}], parameters=run.parameters)
        if electrons_missing(cut) is None:
            taken.append(abs(iterations[count - 1]["e_fr_energy"] - iterations[-1]["e_fr_energy"]))
    assert len(taken) <= 2  # of 184 cuts three are taken
    assert all(away <= 2.01 * run.parameters["EDIFF"] for away in taken)


def test_a_fixed_density_has_no_energy(tmp_path: Path) -> None:
    """A static run with ICHARG = 11 in INCAR ends by its criterion, at an energy that is no ground state's."""
    run = read_vasprun(PLAIN)
    static: Any = SimpleNamespace(directory=tmp_path, kind="static", protocol={"energy_convergence_ev": 1e-4})
    check_electrons(run, static)
    run.parameters["ICHARG"] = 11
    with pytest.raises(EngineError, match="ran with ICHARG = 11: a fixed density has no energy of a ground state"):
        check_electrons(run, static)
    check_electrons(run, SimpleNamespace(**vars(static) | {"kind": "dos"}))  # type: ignore[arg-type]


def test_functionals_by_name() -> None:
    """From tags as a campaign gives them, where VASP has not filled in its defaults."""
    assert functional_of({"GGA": "PE", "LHFCALC": True, "HFSCREEN": 0.2}, []) == "HSE06"
    assert functional_of({"GGA": "PE", "LHFCALC": True}, []) == "PBE0"
    assert functional_of({}, ["PAW_PBE Na_pv 19Sep2006"]) == "PBE"
    assert functional_of({}, ["PAW_GGA Na 05Jan2001"]) == "PW91"
    assert functional_of({}, ["PAW Na 24Mar1998"]) == "LDA"
    assert functional_of({"LHFCALC": True, "AEXX": 1.0, "ALDAC": 0.0, "AGGAC": 0.0}, ["PAW_PBE H"]) == "Hartree–Fock"
    assert hubbard_of({"LDAU": True, "LDAUL": [2, -1], "LDAUU": [3, 0]}, ["Mo", "S"]) == {
        "Mo": "d, U = 3 eV (Dudarev)"
    }
