"""Pieces of HTML that sections of the page are made of; every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from ..adsorbates import written

_COUNTED = re.compile(r"(?<=[A-Za-z)])\d+")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+(?:\+V[A-Z][a-z]?)*")


def formula(name: str) -> str:
    """Return a host's name with the counts of its formula as subscripts, as in WSe₂; other names as they are."""
    return _COUNTED.sub(lambda count: written(count[0]), name) if _FORMULA.fullmatch(name) else name


def items(lines: Sequence[str]) -> str:
    """Return sentences as a list; nothing if there are none."""
    return f"<ul class='remarks'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "") -> str:
    """Return a table that scrolls on its own where it is too wide; None becomes a dash."""
    sort = kind == "sortable"
    head = "".join(
        f"<th scope='col'><button type='button'>{escape(h)}</button></th>"
        if sort
        else f"<th scope='col'>{escape(h)}</th>"
        for h in heads
    )
    lines = "".join(
        "<tr>" + "".join(f"<td>{'—' if cell is None else escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='table'><table class='{kind}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def figure(number: int, kind: str, index: str, words: str, caption: str = "", tools: str = "") -> str:
    """Return the place of a figure that the page's script draws, with what is chosen in it below."""
    figcaption = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f"<figure class='of-{kind.partition('-')[0]}'>"
        f"<div class='plot {kind}' data-plot='{number}/{kind}/{index}' role='img' "
        f"aria-label='{escape(words)}'></div>{tools}{figcaption}</figure>"
    )


def download(number: int, what: str, words: str) -> str:
    """Return a button that saves a part of the page's data as a file."""
    return f"<button type='button' data-download='{number}/{what}'>{escape(words)}</button> "


def digits(value: float | None, count: int) -> str | None:
    """Return a number with so many decimals."""
    return None if value is None else f"{value:.{count}f}"
