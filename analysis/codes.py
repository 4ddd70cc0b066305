"""How a manuscript names a code: the engine of the code hands it to the methods paragraph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CodeDescription:
    """A code in the words of a manuscript.

    Attributes
    ----------
    name
        As it is written.
    citation
        Key of the reference to cite for it; None for an engine that runs no external code.
    data
        The sentence about data that the numbers depend on, citations as ``[@Key]``; empty without such data.
    references
        BibTeX entries of its citations that sodiate's own ``configs/references.bib`` lacks.
    """

    name: str
    citation: str | None = None
    data: str = ""
    references: str = ""
