"""CIFs as people write them: thirds in three digits, fractions, no occupancies, mmCIF; mended where it is clear."""

from __future__ import annotations

import re

from .errors import StructureError

_NAMES = {
    f"_{category}.": f"_{category}_"
    for category in ("atom_site", "cell", "symmetry", "symmetry_equiv", "space_group", "space_group_symop")
}
"""Categories of mmCIF, and how CIF writes them."""

_SHORTEST = 3
"""Digits from which 0.333 is a third: 0.33 may be one, or not."""

_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|\S+")


def mended(text: str, where: str) -> str:
    """Return the text of a CIF in which positions of atoms are numbers, and thirds and sixths are whole.

    A position of 0.333 that a symmetry operation takes to 0.334 would be two atoms.

    Raises
    ------
    StructureError
        For an mmCIF without fractional coordinates, and for a position that is no number, with its line.
    """
    for mm, plain in _NAMES.items():
        text = re.sub(rf"^(\s*){re.escape(mm)}", rf"\1{plain}", text, flags=re.MULTILINE)
    if "_atom_site_Cartn_x" in text and "_atom_site_fract_x" not in text:
        raise StructureError(
            f"{where}: an mmCIF with Cartesian coordinates alone; write it as a POSCAR, extended XYZ or a CIF with "
            "fractional coordinates (_atom_site_fract_x, _y, _z)."
        )
    lines, inside = text.splitlines(), False
    columns: list[str] = []
    for number, line in enumerate(lines):
        word = line.strip()
        if word.lower() == "loop_":
            columns, inside = [], True
        elif inside and word.startswith("_"):
            columns.append(word.split()[0].lower())
        elif not word or word.startswith(("#", "_", "data_", ";")):
            inside = inside and word.startswith("#")
        elif inside and "_atom_site_fract_x" in columns:
            lines[number] = _row(word, columns, f"{where}, line {number + 1}")
    return "\n".join(lines) + "\n"


def _row(line: str, columns: list[str], where: str) -> str:
    tokens = _TOKEN.findall(line)
    if len(tokens) != len(columns):
        return line
    for place, column in enumerate(columns):
        if column.startswith("_atom_site_fract_"):
            tokens[place] = _fraction(tokens[place], column, where)
        elif column == "_atom_site_occupancy" and tokens[place] in ("?", "."):
            tokens[place] = "1.0"
    return " ".join(tokens)


def _fraction(token: str, column: str, where: str) -> str:
    """Return a coordinate as a number with all digits."""
    plain = token.strip("'\"")
    if match := re.fullmatch(r"([+-]?\d+)/(\d+)", plain):
        return f"{int(match[1]) / int(match[2]):.12f}" if int(match[2]) else _refuse(token, column, where)
    match = re.fullmatch(r"([+-]?\d*\.\d+)(\(\d+\))?", plain)
    if match is None:
        if re.fullmatch(r"[+-]?\d+\.?(\(\d+\))?([eE][+-]?\d+)?|[+-]?\d*\.\d+[eE][+-]?\d+", plain):
            return token
        return _refuse(token, column, where)
    digits = len(match[1].partition(".")[2])
    value = float(match[1])
    sixth = round(6 * value) / 6
    if digits >= _SHORTEST and round(6 * value) % 3 and abs(value - sixth) <= 10.0**-digits:
        return f"{sixth:.12f}"
    return token


def _refuse(token: str, column: str, where: str) -> str:
    raise StructureError(f"{where}: {column} is {token}, which is no number; give a fraction such as 0.3333333.")
