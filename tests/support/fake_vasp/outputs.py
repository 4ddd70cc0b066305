"""VASP's output files, as far as pymatgen, custodian and sodiate read them; vasprun.xml grows step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

VERSION = "6.4.3.19Mar24"

FULL = {
    **{
        "PREC": "normal",
        "ENMAX": 0.0,
        "EDIFF": 1e-4,
        "ISMEAR": 1,
        "SIGMA": 0.2,
        "ISPIN": 1,
        "NELM": 60,
        "IBRION": -1,
    },
    **{
        "NSW": 0,
        "ISIF": 2,
        "EDIFFG": 1e-3,
        "LASPH": False,
        "LREAL": False,
        "LDIPOL": False,
        "IDIPOL": 0,
        "LORBIT": 0,
    },
    **{"ADDGRID": False, "NUPDOWN": -1.0, "ICHARG": 2, "ISTART": 0, "GGA": "--", "ISYM": 2, "LWAVE": True},
    **{"LCHARG": True, "NEDOS": 301, "NBANDS": 8, "LNONCOLLINEAR": False},
}
"""Parameters with their defaults."""


def _item(name: str, value: Any) -> str:
    if isinstance(value, list):
        kind = {bool: ' type="logical"', int: ' type="int"'}.get(type(value[0]), "")
        return f'<v{kind} name="{name}">{"".join(_word(one) for one in value)}</v>'
    kind = {bool: ' type="logical"', int: ' type="int"', str: ' type="string"'}.get(type(value), "")
    return f'<i{kind} name="{name}">{_word(value)}</i>'


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return " T  " if value else " F  "
    if isinstance(value, int):
        return f"{value:6d}"
    return f"{value:16.8f}" if isinstance(value, float) else f"{value}"


def _rows(name: str, rows: Any, form: str = "16.8f") -> str:
    lines = "".join(f"<v>{' '.join(format(x, form) for x in np.atleast_1d(row))}</v>\n" for row in rows)
    return f'<varray name="{name}" >\n{lines}</varray>\n'


def _structure(atoms: Atoms, name: str = "") -> str:
    head = f'<structure name="{name}" >' if name else "<structure>"
    inverse = atoms.cell.reciprocal()
    return (
        f"{head}\n<crystal>\n{_rows('basis', atoms.cell.array)}"
        f'<i name="volume">{atoms.get_volume():16.8f} </i>\n{_rows("rec_basis", inverse)}</crystal>\n'
        f"{_rows('positions', atoms.get_scaled_positions(), '20.14f')}</structure>\n"
    )


def _energy(free: float, zero: float, entropy: float) -> str:
    words = [("e_fr_energy", free), ("e_wo_entrp", free - entropy), ("e_0_energy", zero)]
    return "<energy>\n" + "".join(f'<i name="{name}">{value:20.12f} </i>\n' for name, value in words) + "</energy>\n"


class VaspRunXml:
    """vasprun.xml, written as far as the run has come."""

    def __init__(
        self, atoms: Atoms, tags: dict[str, Any], sets: Sequence[Any], mesh: Sequence[int] | None, kpoints: Any
    ) -> None:
        self.file = Path("vasprun.xml").open("w")  # noqa: SIM115
        parameters = FULL | {tag: value for tag, value in tags.items() if tag in FULL}
        parameters["ENMAX"] = float(tags.get("ENCUT", max(one.enmax for one in sets)))
        if tags.get("LSORBIT") or tags.get("LNONCOLLINEAR"):
            parameters |= {"ISPIN": 1, "LNONCOLLINEAR": True, "LSORBIT": bool(tags.get("LSORBIT"))}
        parameters["GGA"] = str(tags.get("GGA", "--"))[:2].upper()
        parameters["PREC"] = str(parameters["PREC"]).lower()[:6]
        symbols = atoms.get_chemical_symbols()
        species = list(dict.fromkeys(symbols))
        ions = "".join(f"<rc><c>{s:2}</c><c>{species.index(s) + 1:4d}</c></rc>\n" for s in symbols)
        types = "".join(
            f"<rc><c>{symbols.count(one.element):4d}</c><c>{one.element:2}</c><c>1.0</c><c>{one.valence:16.8f}</c>"
            f"<c>  {one.title:40}</c></rc>\n"
            for one in sets
        )
        points, weights = kpoints
        incar = "".join(_item(tag, value) + "\n" for tag, value in tags.items())
        self.put(
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>\n'
            '<i name="program" type="string">vasp </i>\n'
            f'<i name="version" type="string">{VERSION}  </i>\n'
            '<i name="subversion" type="string">(a stand-in for tests) </i>\n'
            '<i name="platform" type="string">none </i>\n<i name="date" type="string">2026 01 01 </i>\n'
            f'<i name="time" type="string">00:00:00 </i>\n</generator>\n<incar>\n{incar}</incar>\n'
            f"<kpoints>\n{_generation(mesh)}{_rows('kpointlist', points)}{_rows('weights', weights[:, None])}"
            "</kpoints>\n<parameters>\n"
            '<separator name="electronic" >\n'
            + "".join(_item(k, v) + "\n" for k, v in parameters.items())
            + f"</separator>\n</parameters>\n<atominfo>\n<atoms> {len(atoms):6d} </atoms>\n"
            f"<types> {len(sets):6d} </types>\n"
            '<array name="atoms" >\n<dimension dim="1">ion</dimension>\n<field type="string">element</field>\n'
            f'<field type="int">atomtype</field>\n<set>\n{ions}</set>\n</array>\n<array name="atomtypes" >\n'
            '<dimension dim="1">type</dimension>\n<field type="int">atomspertype</field>\n'
            '<field type="string">element</field>\n<field>mass</field>\n<field>valence</field>\n'
            f'<field type="string">pseudopotential</field>\n<set>\n{types}</set>\n</array>\n</atominfo>\n'
            + _structure(atoms, "initialpos")
        )

    def put(self, text: str) -> None:
        self.file.write(text)
        self.file.flush()

    def step(
        self, atoms: Atoms, free: float, zero: float, forces: Any, stress: Any, above: Sequence[float], rest: str = ""
    ) -> None:
        """Write one ionic step; ``above`` are the energies of its SCF iterations, ``rest`` what the last one has."""
        entropy = 2 * (free - zero)
        loops = "".join(
            f'<scstep>\n<time name="total"> 0.01 0.01</time>\n{_energy(free + one, zero + one, entropy)}</scstep>\n'
            for one in above
        )
        self.put(
            f"<calculation>\n{loops}{_structure(atoms)}{_rows('forces', forces, '20.12f')}"
            f"{_rows('stress', stress)}{_energy(free, zero, entropy)}"
            f'<time name="totalsc"> 0.01 0.01</time>\n{rest}</calculation>\n'
        )

    def end(self, atoms: Atoms) -> None:
        self.put(f"{_structure(atoms, 'finalpos')}</modeling>\n")
        self.file.close()


def _generation(mesh: Sequence[int] | None) -> str:
    """How a mesh was made; real files have nothing of the kind for points given one by one."""
    if mesh is None:
        return ""
    return (
        '<generation param="Gamma">\n<v type="int" name="divisions">'
        f'{" ".join(map(str, mesh))} </v>\n<v name="usershift"> 0.0 0.0 0.0 </v>\n</generation>\n'
    )


_DIMENSIONS = ("band", "kpoint", "spin")


def _dimensions(names: Sequence[str]) -> str:
    return "".join(f'<dimension dim="{n}">{name}</dimension>\n' for n, name in enumerate(names, start=1))


def _nested(values: Any, names: Sequence[str], form: str) -> str:
    """Write nested sets, ``<set comment="spin 1">`` and so on, down to rows of numbers."""
    if not names:
        return "".join(f"<r>{' '.join(format(x, form) for x in row)} </r>\n" for row in values)
    inner = (
        f'<set comment="{names[0]}{n}">\n{_nested(one, names[1:], form)}</set>\n' for n, one in enumerate(values, 1)
    )
    return "".join(inner)


def electrons_xml(energies: Any, occupations: Any, weights: Any, fermi: float) -> str:
    """Eigenvalues, DOS, and projections on ions and s, p, d (9 columns), for one or two spins.

    ``energies`` and ``occupations`` (spins, k points, bands); ``weights`` (spins, k points, bands, ions, 9).
    """
    rows = np.stack([np.array(energies), np.array(occupations)], axis=-1)
    sets = _nested(rows, ("spin ", "kpoint "), ".10f")
    columns = "<field>eigene</field>\n<field>occ</field>\n"
    array = f"<array>\n{_dimensions(_DIMENSIONS)}{columns}<set>\n{sets}</set>\n</array>\n"
    names = ["s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2"]
    fields = "".join(f"<field>{name:>5} </field>\n" for name in names)
    parts = _nested(np.array(weights), ("spin", "kpoint ", "band "), ".4f")
    projected = (
        f"<projected>\n<eigenvalues>\n{array}</eigenvalues>\n<array>\n{_dimensions(('ion', *_DIMENSIONS))}{fields}"
        f"<set>\n{parts}</set>\n</array>\n</projected>\n"
    )
    return f"<eigenvalues>\n{array}</eigenvalues>\n{_dos(np.array(energies), fermi)}{projected}"


def _dos(energies: Any, fermi: float) -> str:
    """A histogram of the eigenvalues, weights left out: sodiate makes its DOS of the eigenvalues themselves."""
    grid = np.linspace(energies.min() - 1, energies.max() + 1, 301)
    tables = []
    for spin in energies:
        counts = np.histogram(spin, bins=[*grid, grid[-1] + 1])[0].astype(float)
        tables.append(np.stack([grid, counts, np.cumsum(counts)], axis=-1))
    fields = "<field>energy</field>\n<field>total</field>\n<field>integrated</field>\n"
    return (
        f'<dos>\n<i name="efermi">{fermi:16.8f} </i>\n<total>\n<array>\n{_dimensions(("gridpoints", "spin"))}{fields}'
        f"<set>\n{_nested(tables, ('spin ',), '.6f')}</set>\n</array>\n</total>\n</dos>\n"
    )


def outcar_step(atoms: Atoms, forces: Any, free: float, zero: float, moments: Any) -> str:
    """What OUTCAR says of one ionic step: forces, energies, moments."""
    rows = "".join(
        f" {' '.join(f'{x:12.5f}' for x in p)}    {' '.join(f'{x:13.6f}' for x in f)}\n"
        for p, f in zip(atoms.get_positions(), forces, strict=True)
    )
    line = " " + "-" * 83 + "\n"
    text = (
        f" POSITION                                       TOTAL-FORCE (eV/Angst)\n{line}{rows}{line}"
        f"    total drift:  0.000000 0.000000 0.000000\n\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
        f"  ---------------------------------------------------\n  free  energy   TOTEN  = {free:18.8f} eV\n\n"
        f"  energy  without entropy= {2 * zero - free:18.8f}  energy(sigma->0) = {zero:16.8f}\n"
        "     LOOP+:  cpu time    0.0100: real time    0.0100\n"
    )
    return text if moments is None else text + _outcar_moments(np.array(moments))


def _outcar_moments(moments: Any) -> str:
    """The moment of the cell and of each ion, a table for each of its parts."""
    parts = moments[:, None] if moments.ndim == 1 else moments
    total = parts.sum(axis=0)
    text = f" number of electron     {10.0:12.7f} magnetization  {' '.join(f'{part:12.7f}' for part in total)}\n\n"
    dashes = "-" * 42
    for axis, column in zip("xyz", parts.T, strict=False):
        ions = "".join(
            f"  {i:4d}     {0.0:7.3f} {0.0:7.3f} {m:7.3f} {m:7.3f}\n" for i, m in enumerate(column, start=1)
        )
        text += (
            f" magnetization ({axis})\n\n# of ion       s       p       d       tot\n{dashes}\n{ions}{dashes}\n"
            f"tot          {0.0:7.3f} {0.0:7.3f} {column.sum():7.3f} {column.sum():7.3f}\n\n"
        )
    return text


def write_poscar(name: str, atoms: Atoms) -> None:
    symbols = atoms.get_chemical_symbols()
    species = list(dict.fromkeys(symbols))
    rows = [*atoms.cell.array, *atoms.get_scaled_positions()]
    lines = [" ".join(f"{x:20.16f}" for x in row) for row in rows]
    head = [
        "made by a stand-in",
        "1.0",
        *lines[:3],
        " ".join(species),
        " ".join(str(symbols.count(s)) for s in species),
    ]
    Path(name).write_text("\n".join([*head, "Direct", *lines[3:]]) + "\n")


def put_stars(what: str) -> None:
    """Print a number of the last step as Fortran does where it does not fit its field."""
    text = Path("vasprun.xml").read_text()
    if what == "kinter":
        parts = ["<parameters>\n", '<i type="int" name="KINTER">******</i>\n']
        text = text.replace(parts[0], "".join(parts), 1)
    else:
        name, end = (
            ('<i name="e_fr_energy">', "</i>") if what == "energy" else ('<varray name="forces" >\n<v>', "</v>")
        )
        start = text.rindex(name) + len(name)
        text = f"{text[:start]} {'*' * 48} {text[text.index(end, start) :]}"
    Path("vasprun.xml").write_text(text)


def write_wavecar(kpoints: int, spins: int, state: tuple[float, float] | None, bands: int = 8) -> None:
    """Write the first two records of wave functions, with a state in them, and the length that follows from them."""
    record = 256
    records = np.zeros((2 + spins * kpoints * (1 + bands), record // 8))
    records[0, :3] = record, spins, 45200
    records[1, :2] = kpoints, bands
    records[0, 3:6] = (1, *state) if state is not None else 0
    records.tofile("WAVECAR")


def state_in_wavecar() -> tuple[float, float] | None:
    """The electronic state of the wave functions beside the inputs; None if there are none, or only one state is."""
    if not Path("WAVECAR").exists():
        return None
    known, moment, energy = np.fromfile("WAVECAR", count=6)[3:]
    return (float(moment), float(energy)) if known else None


def write_locpot(atoms: Atoms, grid: Sequence[int], step: float) -> None:
    """Write a potential that is 4 eV below the ions, more by a step above, and a well at them."""
    height = atoms.cell.lengths()[2]
    z = np.arange(grid[2]) * height / grid[2]
    middle = atoms.positions[:, 2].mean()
    plane = 4.0 + step / (1 + np.exp(-3 * (z - middle))) - 20 * np.exp(-((z - middle) ** 2))
    _write_grid("LOCPOT", atoms, [np.broadcast_to(plane, grid)])


def write_chgcar(atoms: Atoms, grid: Sequence[int], valence: Sequence[float], moments: Any) -> None:
    """Write a charge density of Gaussians at the ions, each with the valence electrons of its POTCAR."""
    axes = [np.arange(n) / n for n in grid]
    total = np.zeros(grid)
    for fraction, electrons in zip(atoms.get_scaled_positions(), valence, strict=True):
        factors = []
        for axis, at, length in zip(axes, fraction, atoms.cell.lengths(), strict=True):
            near = (axis - at + 0.5) % 1.0 - 0.5
            factors.append(np.exp(-0.5 * (near * length / 0.7) ** 2))
        shape = factors[0][:, None, None] * factors[1][None, :, None] * factors[2][None, None, :]
        total += electrons * shape / shape.mean()
    further = 0 if moments is None else 1 if np.ndim(moments) == 1 else 3
    _write_grid("CHGCAR", atoms, [total, *[0.0 * total] * further])


def _write_grid(name: str, atoms: Atoms, parts: Sequence[Any]) -> None:
    write_poscar(name, atoms)
    with Path(name).open("a") as file:
        for values in parts:
            file.write("\n" + " ".join(f"{n:4d}" for n in values.shape) + "\n")
            flat = values.ravel(order="F")
            for start in range(0, len(flat), 5):
                file.write(" ".join(f"{x:17.11E}" for x in flat[start : start + 5]) + "\n")
