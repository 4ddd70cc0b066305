"""How a manuscript names a code: handed to the methods paragraph by whoever knows the code."""

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
        Key of the reference that it asks for; None for what is no code of its own.
    data
        The sentence about data that the numbers depend on, citations as ``[@Key]``; empty if there are none.
    references
        BibTeX entries of what it cites and sodiate's own ``configs/references.bib`` does not have.
    """

    name: str
    citation: str | None = None
    data: str = ""
    references: str = ""
