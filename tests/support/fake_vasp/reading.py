"""What the stand-in reads, and what it refuses as VASP does."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from ase import Atoms


def refuse(words: str) -> NoReturn:
    """End as VASP does when it cannot go on: words on standard output, exit code 1."""
    print(f" -----------------------------------------------------------------------------\n|  ERROR: {words}")
    sys.exit(1)


def _value(text: str) -> Any:
    word = text.strip()
    if re.fullmatch(r"\.?[TF](RUE|ALSE)?\.?", word.upper()):
        return word.upper().strip(".").startswith("T")
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _values(text: str) -> Any:
    """Read a tag's value: one word, or a list of numbers in which ``3*0.5`` counts three times."""
    words = text.split()
    if len(words) == 1 and "*" not in words[0]:
        return _value(words[0])
    out: list[Any] = []
    for word in words:
        count, star, value = word.partition("*")
        out += [_value(value)] * int(count) if star else [_value(word)]
    return out


def known_tags() -> dict[str, Any]:
    """VASP's tags, as pymatgen lists them, without importing it."""
    spec = find_spec("pymatgen.io.vasp")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(next(iter(spec.submodule_search_locations))) / "incar_parameters.json"
    return dict(json.loads(path.read_text()))


def read_incar(vtst: bool = False) -> dict[str, Any]:
    """Read INCAR; a tag that VASP does not know is an error here: nobody reads VASP's warning."""
    tags: dict[str, Any] = {}
    for line in Path("INCAR").read_text().splitlines():
        for part in re.split(r"[#!]", line)[0].split(";"):
            tag, equals, value = part.partition("=")
            if equals:
                tags[tag.strip().upper()] = value.strip() if tag.strip().upper() == "SYSTEM" else _values(value)
    unknown = sorted(set(tags) - set(known_tags()) - ({"LCLIMB", "IOPT"} if vtst else set()))
    if unknown:
        refuse(f"unknown tag {', '.join(unknown)} in INCAR")
    return tags


@dataclass(frozen=True)
class DataSet:
    """What a POTCAR says of one species."""

    title: str
    element: str
    valence: float
    enmax: float


def read_potcar() -> list[DataSet]:
    text = Path("POTCAR").read_text()
    found = zip(
        re.findall(r"TITEL\s*=\s*(.+)", text),
        re.findall(r"VRHFIN\s*=\s*(\w+)", text),
        re.findall(r"ZVAL\s*=\s*([\d.]+)", text),
        re.findall(r"ENMAX\s*=\s*([\d.]+)", text),
        strict=True,
    )
    return [DataSet(title.strip(), element, float(valence), float(enmax)) for title, element, valence, enmax in found]


def read_poscar(name: str = "POSCAR") -> Atoms:
    lines = Path(name).read_text().splitlines()
    scale = float(lines[1])
    cell = scale * np.array([[float(x) for x in line.split()[:3]] for line in lines[2:5]])
    species, counts = lines[5].split(), [int(n) for n in lines[6].split()]
    if not lines[7].strip().lower().startswith("d"):
        refuse("POSCAR: this stand-in reads direct coordinates")
    symbols = [symbol for symbol, count in zip(species, counts, strict=True) for _ in range(count)]
    rows = np.array([[float(x) for x in line.split()[:3]] for line in lines[8 : 8 + len(symbols)]])
    return Atoms(symbols, scaled_positions=rows, cell=cell, pbc=True)


def read_path() -> np.ndarray | None:
    """K points given one by one, shape (points, 3); None if KPOINTS asks for a mesh."""
    lines = Path("KPOINTS").read_text().splitlines()
    if int(lines[1]) == 0:
        return None
    if not lines[2].strip().lower().startswith("r"):
        refuse("KPOINTS: this stand-in reads fractions of the reciprocal vectors")
    rows = [[float(x) for x in line.split()] for line in lines[3 : 3 + int(lines[1])]]
    if len(rows) != int(lines[1]) or any(len(row) != 4 for row in rows):
        refuse("KPOINTS: a line a point: three fractions and a weight")
    return np.array(rows)[:, :3]


def read_mesh() -> tuple[int, int, int]:
    lines = Path("KPOINTS").read_text().splitlines()
    if int(lines[1]) != 0 or not lines[2].strip().lower().startswith("g"):
        refuse("KPOINTS: this stand-in reads Gamma-centred meshes")
    first, second, third = (int(n) for n in lines[3].split())
    return first, second, third


def check(
    tags: dict[str, Any], atoms: Atoms, sets: list[DataSet], mesh: tuple[int, int, int] | None, name: str
) -> None:
    """Refuse what VASP refuses, and what no slab of sodiate should ask for."""
    species = list(dict.fromkeys(atoms.get_chemical_symbols()))
    if [one.element for one in sets] != species:
        refuse(f"the species of POSCAR ({' '.join(species)}) are not those of POTCAR")
    if name == "vasp_gam" and mesh != (1, 1, 1):
        refuse("vasp_gam: the program for Gamma only was given several k points")
    _check_moments(tags, len(atoms), name)
    for tag in ("LDAUL", "LDAUU", "LDAUJ"):
        if tags.get("LDAU") and np.size(tags.get(tag, [])) != len(species):
            refuse(f"{tag} has {np.size(tags.get(tag, []))} values for {len(species)} species")
    if "NPAR" in tags and "NCORE" in tags:
        refuse("NPAR and NCORE are both given")
    if tags.get("LDIPOL") and tags.get("IDIPOL") not in (1, 2, 3, 4):
        refuse("LDIPOL needs IDIPOL")
    if tags.get("ICHARG") == 11 and not Path("CHGCAR").exists():
        refuse("CHGCAR could not be opened, but ICHARG = 11")
    if mesh is None and tags.get("ICHARG") != 11:
        refuse("a path of k points without a fixed density (ICHARG = 11): its occupations would mean nothing")
    vacuum = atoms.cell[2, 2] - np.ptp(atoms.get_positions()[:, 2])
    if mesh is not None and vacuum > 8.0 and mesh[2] != 1:
        refuse("k points along the vacuum")


def is_noncollinear(tags: dict[str, Any]) -> bool:
    return bool(tags.get("LSORBIT") or tags.get("LNONCOLLINEAR"))


def _check_moments(tags: dict[str, Any], count: int, name: str) -> None:
    moments, noncollinear = tags.get("MAGMOM"), is_noncollinear(tags)
    if noncollinear and name != "vasp_ncl":
        refuse(f"{name}: noncollinear moments need the program vasp_ncl")
    if noncollinear and tags.get("NUPDOWN", -1) >= 0:
        refuse("NUPDOWN: of noncollinear moments there is no up and down")
    needed = 3 * count if noncollinear else count
    if (noncollinear or tags.get("ISPIN", 1) == 2) and moments is not None and np.size(moments) != needed:
        refuse(f"MAGMOM has {np.size(moments)} values for {count} ions, {needed} are needed")
