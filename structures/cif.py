"""CIFs as people write them: thirds in three digits, fractions, no occupancies, mmCIF; mended where it is clear."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .errors import StructureError

_NAMES = {
    f"_{category}.": f"_{category}_"
    for category in ("atom_site", "cell", "symmetry", "symmetry_equiv", "space_group", "space_group_symop")
}
"""Categories of mmCIF, and how CIF writes them."""

DIGITS = 3
"""Digits from which 0.333 is a third: 0.33 may be one, or not."""

_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|\S+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(\(\d+\))?([eE][+-]?\d+)?")
_FRACT = "_atom_site_fract_"
_OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
_GROUPS = ("_symmetry_space_group_name", "_symmetry_int_tables", "_space_group_name", "_space_group_it_number")


def mended(text: str, where: str, digits: int = DIGITS) -> str:
    """Return the text of a CIF in which positions of atoms are numbers, and thirds and sixths are whole.

    A position of 0.333 that a symmetry operation takes to 0.334 would be two atoms. A file that lists its operations
    without the name of their group gets one, which changes none of them.

    Parameters
    ----------
    text, where
        The file's content, and its name for messages.
    digits
        How many a coordinate has at least that is taken for the third or sixth that it is near.

    Raises
    ------
    StructureError
        For an mmCIF or a table of atoms without fractional coordinates; with its line for an edge, an angle or a
        position that is no number, and for a table of atoms whose values do not fill its rows.
    ValueError
        For a text without a data block.
    """
    for mm, plain in _NAMES.items():
        text = re.sub(rf"^(\s*){re.escape(mm)}", rf"\1{plain}", text, flags=re.MULTILINE)
    low = text.lower()
    if "data_" not in low:
        raise ValueError("no line begins with data_")  # one of the ways in which a text is no CIF
    if "_atom_site_cartn_x" in low and f"{_FRACT}x" not in low:
        raise StructureError(
            f"{where}: an mmCIF with Cartesian coordinates alone; write it as a POSCAR, extended XYZ or a CIF with "
            "fractional coordinates (_atom_site_fract_x, _y, _z)."
        )
    lines = text.splitlines()
    _check_cell(lines, where)
    for first, last, columns in _tables(lines):
        if any(column.startswith(_FRACT) for column in columns):
            rows = _rows(lines, first, last, columns, where)
            lines[first:last] = [_row(row, columns, where, digits) for row in rows] + [""]
    if any(name in low for name in _OPERATIONS) and not any(name in low for name in _GROUPS):
        begins = next(k for k, line in enumerate(lines) if line.strip().lower().startswith("data_"))
        lines[begins + 1 : begins + 1] = ["_symmetry_Int_Tables_number 1", "_symmetry_space_group_name_H-M 'P 1'"]
    return "\n".join(lines) + "\n"


def _check_cell(lines: list[str], where: str) -> None:
    for number, line in enumerate(lines, start=1):
        words = line.split()
        edge = len(words) > 1 and words[0].lower().startswith(("_cell_length_", "_cell_angle_"))
        if edge and _NUMBER.fullmatch(words[1].strip("'\"")) is None:
            raise StructureError(f"{where}, line {number}: {words[0]} is {words[1]}, which is no number.")


def _tables(lines: list[str]) -> list[tuple[int, int, list[str]]]:
    """Return the columns (in lower case) of each loop, and the slice of its rows; the last loop first."""
    tables: list[tuple[int, int, list[str]]] = []
    columns: list[str] | None = None
    first = 0
    for number, line in enumerate([*lines, "loop_"]):
        word = line.strip().lower()
        heads = columns is not None and first == 0
        if heads and (word.startswith("_") or not word or word.startswith("#")):
            columns = [*(columns or []), *([word.split()[0]] if word.startswith("_") else [])]
        elif columns is not None and word.startswith(("_", "loop_", "data_", ";")):
            tables.append((first or number, number, columns))
            columns = None
        elif heads:
            first = number
        if word == "loop_":
            columns, first = [], 0
    return tables[::-1]


Token = tuple[int, str]
"""The line of a value, from 1, and the value."""


def _rows(lines: list[str], first: int, last: int, columns: list[str], where: str) -> Iterator[list[Token]]:
    """Yield the values of each atom, which may go on in the next line."""
    if missing := [axis for axis in "xyz" if f"{_FRACT}{axis}" not in columns]:
        raise StructureError(f"{where}: its table of atoms has no {_FRACT}{missing[0]}.")
    of_lines = [
        [(number + 1, token) for token in _TOKEN.findall(re.split(r"(?:^|\s)#", lines[number])[0])]
        for number in range(first, last)
    ]
    tokens = [token for line in of_lines for token in line]
    if len(tokens) % len(columns):
        odd = next(line for line in of_lines if line and len(line) != len(columns))
        raise StructureError(
            f"{where}, line {odd[0][0]}: {len(odd)} values in a table of {len(columns)} columns, whose last row they "
            "leave unfilled; give one value a column, without spaces in it."
        )
    for begin in range(0, len(tokens), len(columns)):
        yield tokens[begin : begin + len(columns)]


def _row(tokens: list[Token], columns: list[str], where: str, digits: int) -> str:
    values = []
    for (number, value), column in zip(tokens, columns, strict=True):
        if column.startswith(_FRACT):
            value = _fraction(value, column, f"{where}, line {number}", digits)
        elif column == "_atom_site_occupancy" and value in ("?", "."):
            value = "1.0"
        values.append(value)
    return " ".join(values)


def _fraction(token: str, column: str, where: str, least: int) -> str:
    """Return a coordinate as a number with all digits."""
    plain = token.strip("'\"")
    match = re.fullmatch(r"([+-]?\d+)/(\d+)", plain)
    if match and int(match[2]):
        return f"{int(match[1]) / int(match[2]):.12f}"
    if _NUMBER.fullmatch(plain) is None:
        raise StructureError(f"{where}: {column} is {token}, which is no number; give a fraction such as 0.3333333.")
    match = re.fullmatch(r"([+-]?\d*\.(\d+))(\(\d+\))?", plain)
    if match is None:
        return token
    value, digits = float(match[1]), len(match[2])
    sixth = round(6 * value) / 6
    if digits >= least and round(6 * value) % 3 and abs(value - sixth) <= 10.0**-digits:
        return f"{sixth:.12f}"
    return token
