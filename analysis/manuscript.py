"""For a manuscript: a methods paragraph that claims only what the records say, tables, and the references of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from .codes import CodeDescription
from .columns import Column
from .functionals import corrections, functionals
from .model_result import ModelResult
from .records import IMPORTED, MOCK, Record, Sampling
from .words import distinct, listed

_SMEARING = {"gaussian": "Gaussian", "fermi-dirac": "Fermi–Dirac"}

_TEX = {
    "Δ": r"$\Delta$",
    "Γ": r"$\Gamma$",
    "×": r"$\times$",
    "Å": r"\AA{}",
    "μ": r"$\mu$",
    "−": r"$-$",
    "–": "--",
    "—": "---",
    "²": "$^2$",
    **{chr(0x2080 + digit): f"$_{digit}$" for digit in range(10)},
    "%": r"\%",
    "_": r"\_",
    "&": r"\&",
    "#": r"\#",
    "*": r"$*$",
    "<": "$<$",
    ">": "$>$",
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True)
class RecordsBehind:
    """The records behind a set of results.

    Attributes
    ----------
    slabs
        Relaxed hosts, and hosts with an adsorbate.
    everything
        These, and the records of all quantities.
    supercells
        Of the hosts.
    """

    slabs: Sequence[Record]
    everything: Sequence[Record]
    supercells: Sequence[str]


def methods(behind: RecordsBehind, code: CodeDescription, quantities: Sequence[str]) -> str:
    """Return the methods paragraph, citations as ``[@Key]``.

    Each statement is read from the records: a setting that differs between records is stated with all its values,
    and a setting that no record has is not mentioned.

    Parameters
    ----------
    behind
        The records.
    code
        How to name the code that computed them.
    quantities
        The sentences of the quantities.
    """
    records = behind.everything
    if not records:
        return "Nothing has been computed yet."
    sentences = [*_code(records, code), *_slabs(behind), *quantities, *_tools(records)]
    if not all(record.physical for record in records):
        sentences.insert(0, f"[{MOCK}: not for publication.]")
    return " ".join(sentences)


def _code(records: Sequence[Record], code: CodeDescription) -> list[str]:
    versions = distinct(record.provenance.versions.get(record.method.engine) for record in records)
    sentence = (
        f"Density-functional calculations were done with {code.name}"
        if code.citation
        else f"Energies are those of the engine {code.name}"
    )
    sentence += f" {versions}" if versions else ""
    sentence += f" [@{code.citation}]" if code.citation else ""
    methods_ran = [record.method for record in records]
    named = functionals(methods_ran)
    sentence += f", {named}" if named else ""
    cutoffs = distinct(f"{method.cutoff_ev:g}" for method in methods_ran if method.cutoff_ev)
    if cutoffs:
        sentence += f", the projector augmented-wave method [@Bloechl1994] and plane waves up to {cutoffs} eV"
    sentences = [f"{sentence}."]
    if code.data:
        sentences.append(code.data)
    return sentences + corrections(methods_ran)


def _slabs(behind: RecordsBehind) -> list[str]:
    if not behind.slabs:
        return []
    samplings = [record.sampling for record in behind.slabs if record.sampling is not None]
    cells = distinct(cell.replace("x", "×") for cell in behind.supercells)
    crystals = [record for record in behind.slabs if record.geometry is not None and record.geometry.pbc[2]]
    sheets = [record for record in behind.slabs if record not in crystals]
    of_crystals = f"in {cells} cells {_heights(crystals)} Å high"
    clauses = [f"The sheets were modelled in {cells} cells {_heights(sheets)} Å high"]
    vacuum = _least_vacuum(sheets)
    if vacuum is not None:
        clauses.append(f"with at least {vacuum:.1f} Å between periodic images")
    if crystals and sheets:
        clauses.append(f"and crystals of layers, periodic along c, {of_crystals}")
    elif crystals:
        clauses = [f"Crystals of layers, periodic along c, were modelled {of_crystals}"]
    meshes = distinct(_mesh(s) for s in samplings if s.kmesh is not None and s.kmesh_shift is None)
    shifted = distinct(_mesh(s) for s in samplings if s.kmesh is not None and s.kmesh_shift is not None)
    kinds = [*([f"Γ-centred {meshes}"] if meshes else []), *([f"shifted {shifted}"] if shifted else [])]
    if kinds:
        clauses.append(f"and {listed(kinds)} k-point meshes")
    sentences = [f"{' '.join(clauses)}."]
    smearing = distinct(
        f"{_SMEARING.get(s.smearing, s.smearing)} smearing of {s.smearing_width_ev:g} eV"
        for s in samplings
        if s.smearing
    )
    spin = {s.spin_polarised for s in samplings}
    settings = [*([smearing] if smearing else []), *(["spin polarisation"] if spin == {True} else [])]
    settings += ["a dipole correction along the normal"] if {s.dipole_correction for s in samplings} == {True} else []
    if settings:
        sentences.append(f"All slabs had {listed(settings)}.")
    forces = [record.max_force_ev_per_a for record in behind.slabs if record.max_force_ev_per_a is not None]
    if forces:
        sentences.append(f"Atoms were relaxed until no force exceeded {max(forces):.3f} eV/Å.")
    return sentences


def _mesh(sampling: Sampling) -> str:
    return "×".join(map(str, sampling.kmesh or ()))


def _heights(records: Iterable[Record]) -> str:
    return distinct(f"{record.sampling.cell_a[2][2]:.2f}" for record in records if record.sampling is not None)


def _least_vacuum(records: Iterable[Record]) -> float | None:
    gaps = [
        record.geometry.cell_a[2][2] - float(np.ptp(np.array(record.geometry.positions_a)[:, 2]))
        for record in records
        if record.geometry is not None
    ]
    return min(gaps, default=None)


def _tools(records: Sequence[Record]) -> list[str]:
    versions = {name: version for record in records for name, version in record.provenance.versions.items()}
    sodiate = f"sodiate {versions['sodiate']}" if "sodiate" in versions else "sodiate"
    ase = f"ASE {versions['ase']} [@Larsen2017]" if "ase" in versions else "ASE [@Larsen2017]"
    corrections = sum(bool(record.provenance.corrections) for record in records)
    others = sum(any(note.startswith(IMPORTED) for note in record.notes) for record in records)
    if others == len(records):
        return [f"The runs, made before, were read and evaluated by {sodiate} with {ase}."]
    sentences = [
        f"Calculations were planned and run by {sodiate} with FireWorks [@Jain2015], custodian [@Ong2013] and {ase}."
    ]
    if others:
        sentences.append(f"Of {len(records)} runs {others} had been made before and were read by it.")
    if corrections:
        sentences.append(
            f"In {corrections} of {len(records)} runs custodian changed a setting; each change is in the records."
        )
    return sentences


def to_tex(text: str) -> str:
    """Return text as LaTeX: citations as cite commands, signs that a plain font lacks as commands."""
    pieces = []
    for part in re.split(r"(\[@[^\]]+\])", text):
        if part.startswith("[@"):
            keys = ",".join(key.strip().lstrip("@") for key in part[1:-1].split(";"))
            pieces.append(f"\\cite{{{keys}}}")
        else:
            pieces.append("".join(_TEX.get(letter, letter) for letter in part))
    return "".join(pieces)


def cited(text: str) -> list[str]:
    """Return the keys that a text cites, in order, once each."""
    return list(dict.fromkeys(re.findall(r"@(\w+)", text)))


def bibliography(keys: Sequence[str], more: str = "") -> str:
    """Return the BibTeX entries of these keys.

    Parameters
    ----------
    keys
        The citations.
    more
        Further entries, beside those of ``configs/references.bib``.

    Raises
    ------
    KeyError
        For a key that has no entry.
    """
    text = (files(__package__.rpartition(".")[0]) / "configs" / "references.bib").read_text(encoding="utf-8")
    every = re.split(r"\n(?=@)", f"{text.strip()}\n{more.strip()}".strip())
    entries = {re.match(r"@\w+\{(\w+),", e)[1]: e for e in every}  # type: ignore[index]
    return "\n".join(entries[key] for key in keys) + "\n"


def adsorption_table(results: Sequence[ModelResult], columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the table of best sites; published values only beside real ones."""
    physical = all(result.physical for result in results)
    shown = [column for column in columns if column.is_shown(result.values for result in results)]
    heads = {column: head for column in shown if (head := column.head("manuscript", physical)) is not None}
    rows = [
        [result.model, *(column.text(result.values[column.key], 2) or "—" for column in heads)] for result in results
    ]
    return ["host", *heads.values()], rows


def booktabs(heads: Sequence[str], rows: Sequence[Sequence[str]], mock: bool) -> str:
    """Return a table in LaTeX with the package booktabs; the hyphen of a negative number becomes a minus sign."""

    def line(cells: Iterable[str]) -> str:
        return " & ".join(to_tex(re.sub(r"^-(?=\d)", "−", cell)) for cell in cells) + r" \\"

    warning = f"% {MOCK}\n" if mock else ""
    columns = "ll" + "r" * (len(heads) - 2)
    body = "\n".join(map(line, rows))
    return (
        f"{warning}\\begin{{tabular}}{{{columns}}}\n\\toprule\n{line(heads)}\n\\midrule\n{body}\n\\bottomrule\n"
        "\\end{tabular}\n"
    )


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], mock: bool) -> str:
    """Return a table in Markdown."""
    lines = [f"**{MOCK}**\n"] if mock else []
    lines += [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
