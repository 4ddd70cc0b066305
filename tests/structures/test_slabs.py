"""Users' own hosts: one content from any format and orientation, with the file's distances."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, make_supercell, molecule
from ase.io import iread, write
from sodiate.structures.errors import StructureError
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.slabs import build_slab, read_slab

WSSE = Monolayer("W", "S", "Se", 3.252, 2.42, 2.54)

FORMATS = [("POSCAR", "vasp"), ("host.vasp", "vasp"), ("host.cif", "cif"), ("host.xyz", "extxyz")]

PARTIAL = """data_alloy
_cell_length_a 3.25
_cell_length_b 3.25
_cell_length_c 20
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
W1 W 1.0 0 0 0.5
S1 S 0.5 0.6666667 0.3333333 0.58
Se1 Se 0.5 0.6666667 0.3333333 0.58
Se2 Se 1.0 0.6666667 0.3333333 0.42
"""


def janus(repeat: tuple[int, int] = (1, 1)) -> Atoms:
    """A Janus layer in a periodic box, moved off the origin so that in-plane positions are general."""
    atoms = box(build_monolayer(WSSE, repeat), vacuum=15.0, headroom=0.0)
    atoms.pbc = True
    atoms.positions += 0.1 * atoms.cell[0] + 0.2 * atoms.cell[1]
    return atoms


def saved(atoms: Atoms, directory: Path, name: str = "host.xyz", kind: str = "extxyz") -> Path:
    path = directory / name
    write(path, atoms, format=kind)
    return path


def distances(atoms: Atoms) -> np.ndarray:
    return atoms.get_all_distances(mic=True)


@pytest.mark.parametrize(("name", "kind"), FORMATS)
def test_formats_give_one_content(tmp_path: Path, name: str, kind: str) -> None:
    atoms = janus((2, 1))
    reference = read_slab(saved(atoms, tmp_path, "reference.extxyz"))
    slab = read_slab(saved(atoms, tmp_path, name, kind))
    assert slab.symbols == reference.symbols == tuple(atoms.symbols)
    # CIF keeps no orientation and a POSCAR no exact digits; 1e-6 is what the content is rounded to.
    np.testing.assert_allclose(slab.cell, reference.cell, atol=1.1e-6)
    np.testing.assert_allclose(slab.positions, reference.positions, atol=1.1e-6)
    assert slab == reference
    assert hash(slab) == hash(reference)


@pytest.mark.parametrize("repeat", [(1, 1), (2, 3)])
def test_build_slab_is_the_file_again(tmp_path: Path, repeat: tuple[int, int]) -> None:
    """Also shows that `build_monolayer` and `build_slab` number a supercell alike."""
    built = build_slab(read_slab(saved(janus(), tmp_path)), repeat)
    expected = build_monolayer(WSSE, repeat)
    assert list(built.symbols) == list(expected.symbols)
    np.testing.assert_allclose(built.cell, expected.cell, atol=1e-5)
    np.testing.assert_allclose(distances(built), distances(expected), atol=1e-5)
    assert built.pbc.tolist() == [True, True, False]
    assert built.positions[:, 2].min() == pytest.approx(0)


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.24, 7.5, 9.12, -7.5914, 24.3])
def test_slab_across_the_boundary(tmp_path: Path, shift: float) -> None:
    atoms = janus()
    reference = read_slab(saved(atoms, tmp_path, "reference.xyz"))
    atoms.positions[:, 2] += shift
    atoms.wrap()
    assert read_slab(saved(atoms, tmp_path)) == reference


def test_third_axis_that_leans(tmp_path: Path) -> None:
    atoms = janus()
    reference = read_slab(saved(atoms, tmp_path, "reference.xyz"))
    leaning = atoms.copy()
    leaning.cell[2] += 0.3 * leaning.cell[0] - 0.45 * leaning.cell[1]
    leaning.positions[:, 2] += 8.5
    leaning.wrap()
    assert np.ptp(leaning.positions[:, 2]) > 10, "straddles, so that unwrapping needs the leaning axis"
    slab = read_slab(saved(leaning, tmp_path))
    assert slab.cell == reference.cell
    # Which image of an atom lies in the cell may differ, and with it the numbering of a supercell.
    ours, expected = (np.sort(distances(build_slab(s, (3, 3)))[:3]) for s in (slab, reference))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_vacuum_along_another_axis(tmp_path: Path, order: tuple[int, int, int]) -> None:
    atoms = janus((1, 2))
    reference = read_slab(saved(atoms, tmp_path, "reference.xyz"))
    turned = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell[list(order)], pbc=True)
    assert read_slab(saved(turned, tmp_path)) == reference
    axes = np.eye(3)[list(order)].T
    turned = Atoms(atoms.symbols, positions=atoms.positions @ axes, cell=atoms.cell[list(order)] @ axes, pbc=True)
    assert read_slab(saved(turned, tmp_path)) == reference


def test_any_orientation(tmp_path: Path) -> None:
    atoms = janus((1, 2))
    reference = read_slab(saved(atoms, tmp_path, "reference.xyz"))
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    slab = read_slab(saved(atoms, tmp_path))
    np.testing.assert_allclose(slab.cell, reference.cell, atol=2e-6)
    np.testing.assert_allclose(slab.positions, reference.positions, atol=2e-6)


@pytest.mark.parametrize("change", ["swap a and b", "reverse c"])
def test_left_handed_lattices_are_turned_not_mirrored(tmp_path: Path, change: str) -> None:
    """A chiral host keeps its handedness, and the face that c points to is the top."""
    atoms = janus((2, 2))
    atoms.symbols[1], atoms.symbols[7] = "Te", "O"  # W 0 has S, Te, O and Se neighbours: chiral
    cell = atoms.cell[:].copy()
    cell = cell[[1, 0, 2]] if change == "swap a and b" else cell * np.array([[1], [1], [-1]])
    changed = Atoms(atoms.symbols, positions=atoms.positions, cell=cell, pbc=True)
    built = build_slab(read_slab(saved(changed, tmp_path)), (1, 1))
    assert np.linalg.det(built.cell[:2, :2]) > 0
    np.testing.assert_allclose(distances(built), distances(changed), atol=1e-5)

    def volume(a: Atoms) -> float:
        """Signed volume spanned by Te, O and Se as W sees them: changes sign in a mirror."""
        return float(np.linalg.det(a.get_distances(0, [1, 7, 2], mic=True, vector=True)))

    assert volume(built) == pytest.approx(volume(changed), abs=1e-4)
    assert abs(volume(built)) > 1
    selenium_on_top = built.positions[2, 2] > built.positions[1, 2]
    assert selenium_on_top == (change == "reverse c")


def test_lattice_of_two_vectors(tmp_path: Path) -> None:
    atoms = graphene(size=(1, 1, 1), vacuum=None)
    assert np.allclose(atoms.cell[2], 0)
    flat = read_slab(saved(atoms, tmp_path))
    boxed = graphene(size=(1, 1, 1), vacuum=8.0)
    boxed.pbc = True
    assert flat == read_slab(saved(boxed, tmp_path, "POSCAR", "vasp"))
    assert [z for _, _, z in flat.positions] == [0, 0]


def test_axis_declared_aperiodic_needs_no_gap(tmp_path: Path) -> None:
    atoms = janus()
    reference = read_slab(saved(atoms, tmp_path, "reference.xyz"))
    atoms.cell[2, 2] = 4.0
    atoms.pbc = (True, True, False)
    assert read_slab(saved(atoms, tmp_path)) == reference


def test_last_structure_of_several(tmp_path: Path) -> None:
    first, last = janus(), janus((2, 1))
    write(tmp_path / "steps.xyz", [first, last], format="extxyz")
    assert len(read_slab(tmp_path / "steps.xyz").symbols) == 6


def test_path_with_an_at_sign(tmp_path: Path) -> None:
    assert len(read_slab(saved(janus(), tmp_path, "host@2.vasp", "vasp")).symbols) == 3


def test_content_holds_plain_floats_without_minus_zero(tmp_path: Path) -> None:
    atoms = janus()
    atoms.positions -= atoms.positions[0] + 1e-9  # wraps to 0.9999999997, which rounds to 1
    path = tmp_path / "host.vasp"
    write(path, atoms, format="vasp", direct=True)
    slab = read_slab(path)
    assert slab.positions[0][:2] == (0, 0)
    values = [x for row in (*slab.cell, *slab.positions) for x in row]
    assert {type(x) for x in values} == {float}
    assert not any(x == 0 and np.signbit(x) for x in values)
    assert all(0 <= u < 1 and 0 <= v < 1 for u, v, _ in slab.positions)


def refusal(path: Path) -> str:
    with pytest.raises(StructureError) as error:
        read_slab(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert "no such structure file" in refusal(tmp_path / "nothing.cif")
    assert "directory" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["POSCAR", "host.cif", "host.xyz", "notes.txt"])
def test_unreadable(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("these are\nnot atoms\n")
    assert "ASE cannot read it" in refusal(path)


def test_no_atoms(tmp_path: Path) -> None:
    path = tmp_path / "empty.xyz"
    path.write_text('0\nLattice="3 0 0 0 3 0 0 0 20" Properties=species:S:1:pos:R:3 pbc="T T T"\n')
    assert "holds no atoms" in refusal(path)


def test_no_lattice(tmp_path: Path) -> None:
    assert "lattice" in refusal(saved(molecule("H2O"), tmp_path))


@pytest.mark.parametrize("crystal", [bulk("NaCl", "rocksalt", a=5.64), bulk("W", cubic=True), bulk("Cu")])
def test_bulk_is_no_host(tmp_path: Path, crystal: Atoms) -> None:
    message = refusal(saved(crystal, tmp_path, "POSCAR", "vasp"))
    assert "is not a 2D host: no vacuum gap" in message


def test_layered_bulk_is_no_host(tmp_path: Path) -> None:
    """2H WSe2: interlayer spacing 6.5 Å [exp], so a gap of 3.1 Å between selenium planes."""
    layer = janus()
    layer.cell[2, 2] = 6.5
    stacked = make_supercell(layer, np.diag([1, 1, 2]))
    message = refusal(saved(stacked, tmp_path, "host.cif", "cif"))
    assert "3.26" in message


def test_wire_is_no_host(tmp_path: Path) -> None:
    wire = Atoms("C2", positions=[(0, 0, 0), (1.3, 0, 0)], cell=(2.6, 12, 12), pbc=True)
    assert "several axes" in refusal(saved(wire, tmp_path))


def test_partial_occupancy(tmp_path: Path) -> None:
    path = tmp_path / "alloy.cif"
    path.write_text(PARTIAL)
    message = refusal(path)
    assert "partially occupied" in message
    assert "S 0.5, Se 0.5" in message
    ordered = PARTIAL.replace("S1 S 0.5", "S1 S 1.0").replace("Se1 Se 0.5 0.6666667 0.3333333 0.58\n", "")
    path.write_text(ordered)
    assert read_slab(path).symbols == ("W", "S", "Se")


def test_overlapping_atoms_are_named(tmp_path: Path) -> None:
    atoms = janus((2, 2))
    atoms.positions[7] = atoms.positions[4] + (0.5, 0, 0)
    message = refusal(saved(atoms, tmp_path))
    assert "S 4 and S 7 are 0.50 Å apart" in message


def test_overlap_through_the_boundary(tmp_path: Path) -> None:
    atoms = Atoms("C2", positions=[(0.1, 0, 5), (2.3, 0, 5)], cell=(2.46, 2.5, 15), pbc=True)
    assert "C 0 and C 1 are 0.26 Å apart" in refusal(saved(atoms, tmp_path))
    atoms = Atoms("W", positions=[(0, 0, 5)], cell=(1.5, 3.0, 15), pbc=True)
    assert "W 0 and its own periodic image are 1.50 Å apart" in refusal(saved(atoms, tmp_path))


def test_unknown_element(tmp_path: Path) -> None:
    path = saved(janus(), tmp_path)
    path.write_text(path.read_text().replace("Se ", "X  "))
    assert (next(iread(path)).numbers == 0).any()
    assert "no known element" in refusal(path)


def nudged(atoms: Atoms, cell: Any = None, pbc: Any = None) -> Atoms:
    changed = atoms.copy()
    if cell is not None:
        changed.set_cell(cell)
    if pbc is not None:
        changed.pbc = pbc
    return changed


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("declared", [True, False])
def test_a_split_sheet_is_put_together_along_any_axis(tmp_path: Path, axis: int, declared: bool) -> None:
    """Half of it at the bottom of the cell and half at the top: 3.24 Å thick, whatever pbc says of that axis."""
    atoms = janus((1, 2))
    atoms.positions[:, 2] += atoms.cell[2, 2] / 2
    atoms.wrap()
    assert np.ptp(atoms.positions[:, 2]) > 10
    order = np.roll([0, 1, 2], axis + 1)
    turned = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell[list(order)], pbc=True)
    if declared:
        turned.pbc = [k != list(order).index(2) for k in range(3)]
    slab = read_slab(saved(turned, tmp_path))
    assert max(z for _, _, z in slab.positions) == pytest.approx(np.ptp(janus().positions[:, 2]), abs=1e-5)


def ribbon() -> Atoms:
    atoms = janus((1, 3))
    cell = atoms.cell.copy()
    cell[1] *= 2.0
    return nudged(atoms, cell)


def two_sheets(apart: float) -> Atoms:
    atoms = janus()
    upper = atoms.copy()
    upper.positions[:, 2] += np.ptp(atoms.positions[:, 2]) + apart
    both = atoms + upper
    both.cell[2, 2] = 45.0
    return both


def with_far_atom(height: float) -> Atoms:
    atoms = janus((2, 2))
    atoms.cell[2, 2] = 40.0
    atoms.append("Na")
    atoms.positions[-1] = (1.0, 1.0, atoms.positions[:-1, 2].max() + height)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (nudged(ribbon(), pbc=(True, True, False)), "extends along one direction alone, as a ribbon does"),
        (nudged(two_sheets(8.0), pbc=(True, True, False)), "8.00 Å are empty"),
        (nudged(with_far_atom(7.0), pbc=(True, True, False)), "Na 12 above it 7.00 Å are empty"),
        (two_sheets(4.5), "4.50 Å are empty"),
        (nudged(janus(), pbc=(True, True, False)) * (1, 1, 1), None),
        (two_sheets(3.1), None),
        (two_sheets(3.9), None),
        (with_far_atom(2.0), None),
    ],
    ids=["ribbon", "8 Å apart", "far atom", "4.5 Å apart", "sheet", "bilayer", "wide bilayer", "adatom"],
)  # fmt: skip
def test_a_host_is_one_sheet(tmp_path: Path, atoms: Atoms, words: str | None) -> None:
    path = saved(atoms, tmp_path)
    if words is None:
        assert len(read_slab(path).symbols) == len(atoms)
    else:
        assert words in refusal(path)


def test_lengths_in_bohr_are_told(tmp_path: Path) -> None:
    atoms = janus((2, 2))
    atoms.set_cell(atoms.cell / 0.529177, scale_atoms=True)
    assert "are its lengths in Bohr?" in refusal(saved(atoms, tmp_path))


def test_selective_dynamics_is_refused(tmp_path: Path) -> None:
    from ase.constraints import FixAtoms

    atoms = janus((2, 2))
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    message = refusal(saved(atoms, tmp_path, "POSCAR", "vasp"))
    assert "holds 3 of its atoms fixed" in message
    assert "relaxes all atoms" in message


@pytest.mark.parametrize("flags", ["T T F", "t t f", ".TRUE. .TRUE. .FALSE.", "T T .F."])
def test_selective_dynamics_is_refused_in_any_spelling(tmp_path: Path, flags: str) -> None:
    """As VASP reads them, Fortran's logical values."""
    atoms = janus((2, 2))
    atoms = atoms[np.argsort(atoms.symbols)]  # S first: the line of elements begins with the same letter
    lines = saved(atoms, tmp_path, "POSCAR", "vasp").read_text().splitlines()
    at = next(k for k, line in enumerate(lines) if line.strip().lower().startswith(("cart", "dir")))
    rows = [f"{line} T T T" for line in lines[at + 1 :] if line.strip()]
    path = tmp_path / "host.vasp"
    path.write_text("\n".join([*lines[:at], "Selective dynamics", lines[at], *rows]) + "\n")
    assert len(read_slab(path).symbols) == 12
    rows[3] = rows[3].replace("T T T", flags)
    path.write_text("\n".join([*lines[:at], "selective", lines[at], *rows]) + "\n")
    assert "holds 1 of its atoms fixed" in refusal(path)


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    for change in ("position", "cell"):
        atoms = janus()
        if change == "position":
            atoms.positions[1, 2] = np.nan
        else:
            atoms.cell[0, 0] = np.inf
        assert "is not a finite number" in refusal(saved(atoms, tmp_path))


@pytest.mark.parametrize("change", ["cell", "position", "tiny"])
def test_lengths_that_neighbours_cannot_be_looked_for_in_are_refused(tmp_path: Path, change: str) -> None:
    """ASE's list of neighbours ends in a traceback for these, or takes for ever."""
    atoms = janus()
    atoms.pbc = (True, True, False)
    if change == "cell":
        atoms.cell[1, 1] = 1e9
    elif change == "position":
        atoms.positions[2, 2] = -1e9
    else:
        atoms.set_cell(atoms.cell * [[1e-9], [1.0], [1.0]], scale_atoms=True)
    assert "Å long" in refusal(saved(atoms, tmp_path))


def test_a_flat_cell_and_a_count_beyond_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "flat.cif"
    path.write_text(CIF.format(x="2/3", y="1/3", occupancy="1.0").replace("gamma 120", "gamma 1"))
    assert "nearly in one plane" in refusal(path)
    path = saved(janus(), tmp_path, "POSCAR", "vasp")
    lines = path.read_text().splitlines()
    lines[6] = "999999999 1 1"
    path.write_text("\n".join(lines) + "\n")
    assert "says to have 1000000001 atoms, and has 11 lines" in refusal(path)


CIF = """data_MoS2
_cell_length_a 3.184
_cell_length_b 3.184
_cell_length_c 20
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_Int_Tables_number 187
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Mo1 Mo {occupancy} 0 0 0.5
S1 S {occupancy} {x} {y} 0.58
"""


@pytest.mark.parametrize(
    ("x", "y", "occupancy"),
    [
        ("0.667", "0.333", "1.0"),
        ("0.6667", "0.3333(2)", "1.0"),
        (".6667", ".3333", "1.0"),
        ("2/3", "1/3", "1.0"),
        ("0.6666667", "0.3333333", "?"),
        ("0.6666667", "0.3333333", "."),
        ("0.666", "0.333", "1.0"),
        ("0.67", "0.33", "1.0"),
        ("0.66", "0.33", "1.0"),
        ("-0.333", "0.333", "1.0"),
    ],
)
def test_a_cif_as_people_write_it(tmp_path: Path, x: str, y: str, occupancy: str) -> None:
    """P-6m2 with S at 2/3, 1/3: three atoms, where ASE makes five of 0.667."""
    path = tmp_path / "host.cif"
    path.write_text(CIF.format(x=x, y=y, occupancy=occupancy))
    slab = read_slab(path)
    assert slab.symbols == ("Mo", "S", "S")
    np.testing.assert_allclose([p[:2] for p in slab.positions[1:]], [[2 / 3, 1 / 3]] * 2, atol=2e-6)


def test_an_mmcif_is_read_and_what_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "host.cif"
    text = CIF.format(x="0.667", y="0.333", occupancy="1.0")
    path.write_text(text.replace("_atom_site_", "_atom_site.").replace("_cell_", "_cell."))
    assert read_slab(path).symbols == ("Mo", "S", "S")
    path.write_text(CIF.format(x="?", y="0.333", occupancy="1.0"))
    assert "line 17: _atom_site_fract_x is ?, which is no number" in refusal(path)
    path.write_text(text.replace("fract", "Cartn").replace("_atom_site_", "_atom_site."))
    assert "an mmCIF with Cartesian coordinates alone" in refusal(path)


OPERATIONS = """loop_
_symmetry_equiv_pos_as_xyz
x,y,z
-y,x-y,z
-x+y,-x,z
x,y,-z
-y,x-y,-z
-x+y,-x,-z
"""


def test_symmetry_operations_without_the_name_of_their_group_are_used(tmp_path: Path) -> None:
    path = tmp_path / "host.cif"
    text = CIF.format(x="0.667", y="0.333", occupancy="1.0")
    path.write_text(text.replace("_symmetry_Int_Tables_number 187\n", OPERATIONS))
    assert read_slab(path).symbols == ("Mo", "S", "S")


def test_a_row_that_goes_on_in_the_next_line_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "host.cif"
    path.write_text(CIF.format(x="0.667 # by hand\n", y="0.333", occupancy="1.0"))
    assert read_slab(path).positions[1][:2] == (0.666667, 0.333333)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2/3", "2 /3", "line 17: 7 values in a table of 6 columns"),
        ("_cell_length_c 20", "_cell_length_c ?", "line 4: _cell_length_c is ?, which is no number"),
        ("_cell_angle_gamma 120", "_cell_angle_gamma 120deg", "_cell_angle_gamma is 120deg"),
        ("_atom_site_fract_y\n", "_atom_site_y\n", "its table of atoms has no _atom_site_fract_y"),
        ("0.58", "0.497", "two S lie almost on each other"),  # beside the mirror plane: 0.12 Å apart
        ("data_MoS2", "MoS2", "ASE cannot read it as a structure (no line begins with data_)"),
    ],
)
def test_what_a_cif_does_not_say_is_refused_in_words(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "host.cif"
    text = CIF.format(x="2/3", y="1/3", occupancy="1.0")
    assert old in text
    path.write_text(text.replace(old, new))
    assert words in refusal(path)
