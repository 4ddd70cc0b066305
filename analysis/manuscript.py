"""For a manuscript: a methods paragraph that claims only what the records say, tables, and the references of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from .electrons.bandpath import PATH
from .records import MOCK, Record

_CODES = {"gpaw": ("GPAW", "Mortensen2024"), "vasp": ("VASP", "Kresse1996")}
_FUNCTIONALS = {"PBE": "Perdew1996"}
_SMEARING = {"gaussian": "Gaussian", "fermi-dirac": "Fermi–Dirac"}

_TEX = {
    "Δ": r"$\Delta$", "Γ": r"$\Gamma$", "×": r"$\times$", "Å": r"\AA{}", "μ": r"$\mu$", "−": r"$-$", "–": "--",
    "—": "---", "²": "$^2$", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "*": r"$*$", "<": "$<$", ">": "$>$",
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """The records behind a set of results.

    Attributes
    ----------
    slabs
        Relaxed hosts, and hosts with an adsorbate.
    spectra
        DOS of the hosts.
    bands
        Of the 1×1 hosts along a path.
    elements
        References of formation energies.
    atom, bulk
        The references, None if they were not computed.
    supercells
        Of the hosts.
    """

    slabs: Sequence[Record]
    spectra: Sequence[Record]
    bands: Sequence[Record]
    elements: Sequence[Record]
    atom: Record | None
    bulk: Record | None
    supercells: Sequence[str]

    @property
    def everything(self) -> list[Record]:
        """All of them."""
        several = (*self.slabs, *self.spectra, *self.bands, *self.elements)
        return [*several, *(one for one in (self.atom, self.bulk) if one is not None)]


def methods(ran: Ran) -> str:
    """Return the methods paragraph, citations as ``[@Key]``.

    Each statement is read from what ran: a setting that differs between records is given as all the values it had,
    and what no record has is not mentioned.
    """
    records = ran.everything
    if not records:
        return "Nothing has been computed yet."
    sentences = [*_code(records), *_slabs(ran), *_spectra(ran), *_references(ran), *_tools(records)]
    if not all(record.physical for record in records):
        sentences.insert(0, f"[{MOCK}: not for publication.]")
    return " ".join(sentences)


def _code(records: Sequence[Record]) -> list[str]:
    engine = records[0].method.engine
    name, key = _CODES.get(engine, (engine, ""))
    versions = _several(record.provenance.versions.get(engine) for record in records)
    said = (
        f"Density-functional calculations were done with {name}"
        if key
        else f"Energies are those of the engine {name}"
    )
    said += f" {versions}" if versions else ""
    said += f" [@{key}]" if key else ""
    methods_ran = [record.method for record in records]
    functionals = sorted({method.functional for method in methods_ran if method.functional})
    if functionals:
        cited = "; ".join(f"@{_FUNCTIONALS[f]}" for f in functionals if f in _FUNCTIONALS)
        said += f", the {' and '.join(functionals)} functional" + (f" [{cited}]" if cited else "")
    cutoffs = _several(f"{method.cutoff_ev:g}" for method in methods_ran if method.cutoff_ev)
    if cutoffs:
        said += f", the projector augmented-wave method [@Bloechl1994] and plane waves up to {cutoffs} eV"
    sentences = [f"{said}."]
    sets = {symbol: title for method in methods_ran for symbol, title in method.paw.items()}
    if sets and engine == "vasp":
        sentences.append(f"The PAW data sets [@Kresse1999] were {_listed(sets[symbol] for symbol in sorted(sets))}.")
    elif sets:
        data = _several(record.provenance.versions.get("gpaw_data") for record in records)
        sentences.append(
            f"The PAW data sets were those of gpaw-data{f' {data}' if data else ''} for {_listed(sorted(sets))}."
        )
    dispersions = {method.dispersion for method in methods_ran}
    if "d3bj" in dispersions:
        sentences.append("Dispersion was added by D3 with Becke–Johnson damping [@Grimme2011].")
    return sentences


def _slabs(ran: Ran) -> list[str]:
    if not ran.slabs:
        return []
    samplings = [record.sampling for record in ran.slabs if record.sampling is not None]
    cells = _several(cell.replace("x", "×") for cell in ran.supercells)
    said = [
        f"The sheets were modelled in {cells} cells {_several(f'{s.cell_a[2][2]:.2f}' for s in samplings)} Å high"
    ]
    vacuum = _least_vacuum(ran.slabs)
    if vacuum is not None:
        said.append(f"with at least {vacuum:.1f} Å between periodic images")
    meshes = _several("×".join(map(str, s.kmesh)) for s in samplings if s.kmesh is not None)
    if meshes:
        said.append(f"and Γ-centred {meshes} k-point meshes")
    sentences = [f"{' '.join(said)}."]
    smearing = _several(
        f"{_SMEARING.get(s.smearing, s.smearing)} smearing of {s.smearing_width_ev:g} eV"
        for s in samplings
        if s.smearing
    )
    spin = {s.spin_polarised for s in samplings}
    how = [*([smearing] if smearing else []), *(["spin polarisation"] if spin == {True} else [])]
    how += ["a dipole correction along the normal"] if {s.dipole_correction for s in samplings} == {True} else []
    if how:
        sentences.append(f"All slabs had {_listed(how)}.")
    forces = [record.max_force_ev_per_a for record in ran.slabs if record.max_force_ev_per_a is not None]
    if forces:
        sentences.append(f"Atoms were relaxed until no force exceeded {max(forces):.3f} eV/Å.")
    return sentences


def _least_vacuum(records: Iterable[Record]) -> float | None:
    gaps = [
        record.geometry.cell_a[2][2] - float(np.ptp(np.array(record.geometry.positions_a)[:, 2]))
        for record in records
        if record.geometry is not None
    ]
    return min(gaps, default=None)


def _spectra(ran: Ran) -> list[str]:
    records = ran.spectra
    meshes = _several("×".join(map(str, r.sampling.kmesh)) for r in records if r.sampling and r.sampling.kmesh)
    said = [f"Densities of states and band gaps are from eigenvalues on {meshes} meshes."] if meshes else []
    if ran.bands:
        said.append(f"Bands are along {'–'.join(PATH)} of the 1×1 cells, at fixed density.")
    return said


def _references(ran: Ran) -> list[str]:
    said = []
    if ran.atom is not None and ran.atom.sampling is not None:
        edges = " × ".join(f"{np.linalg.norm(vector):g}" for vector in ran.atom.sampling.cell_a)
        moment = ran.atom.total_moment_mub
        carried = "" if moment is None else f" and carried {abs(moment):.2f} μB"
        said.append(f"The isolated {ran.atom.label} atom was computed in a box of {edges} Å{carried}.")
    if ran.bulk is not None and ran.bulk.sampling is not None and ran.bulk.sampling.kmesh is not None:
        mesh = "×".join(map(str, ran.bulk.sampling.kmesh))
        said.append(f"The bulk metal ({ran.bulk.label}) had a {mesh} mesh.")
    if ran.atom is not None and ran.slabs:
        said.append("Adsorption energies are ΔE = E(*Na) − E(*) − E(Na).".replace("Na", ran.atom.label))
    if ran.elements:
        labels = _listed(record.label for record in ran.elements)
        said.append(f"Chemical potentials for the formation energies of vacancies are those of {labels}.")
    return said


def _tools(records: Sequence[Record]) -> list[str]:
    versions = {name: version for record in records for name, version in record.provenance.versions.items()}
    told = f"sodiate {versions['sodiate']}" if "sodiate" in versions else "sodiate"
    ase = f"ASE {versions['ase']} [@Larsen2017]" if "ase" in versions else "ASE [@Larsen2017]"
    mended = sum(bool(record.provenance.corrections) for record in records)
    sentences = [
        f"Calculations were planned and run by {told} with FireWorks [@Jain2015], custodian [@Ong2013] and {ase}."
    ]
    if mended:
        sentences.append(
            f"In {mended} of {len(records)} runs custodian changed a setting; each change is in the records."
        )
    return sentences


def _several(values: Iterable[str | None]) -> str:
    """Return the distinct values, joined by "and"."""
    return _listed(dict.fromkeys(value for value in values if value))


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    return " and ".join([", ".join(every[:-1]), every[-1]]) if len(every) > 1 else "".join(every)


def to_tex(text: str) -> str:
    """Return text as LaTeX: citations as cite commands, signs that a plain font lacks as commands."""
    parts = re.split(r"(\[@[^\]]+\])", text)
    out = []
    for part in parts:
        if part.startswith("[@"):
            keys = ",".join(key.strip().lstrip("@") for key in part[1:-1].split(";"))
            out.append(f"\\cite{{{keys}}}")
        else:
            out.append("".join(_TEX.get(letter, letter) for letter in part))
    return "".join(out)


def cited(text: str) -> list[str]:
    """Return the keys that a text cites, in order, once each."""
    return list(dict.fromkeys(re.findall(r"@(\w+)", text)))


def bibliography(keys: Sequence[str]) -> str:
    """Return the BibTeX entries of these keys.

    Raises
    ------
    KeyError
        For a key that ``configs/references.bib`` does not have.
    """
    text = (files(__package__.rpartition(".")[0]) / "configs" / "references.bib").read_text(encoding="utf-8")
    entries = {re.match(r"@\w+\{(\w+),", e)[1]: e for e in re.split(r"\n(?=@)", text.strip())}  # type: ignore[index]
    return "\n".join(entries[key] for key in keys) + "\n"


def adsorption_table(objects: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the table of best sites; published values only beside real ones."""
    physical = all(one["physical"] for one in objects)
    keys = {
        "ΔE (eV)": "adsorption_energy_ev",
        "ΔE, bulk (eV)": "adsorption_energy_bulk_ev",
        **({"published (eV)": "paper_adsorption_energy_ev"} if physical else {}),
        "gap (eV)": "band_gap_ev",
    }
    rows = [
        [one["model"], one["site"] or "—", *("—" if one[key] is None else f"{one[key]:.2f}" for key in keys.values())]
        for one in objects
    ]
    return ["host", "site", *keys], rows


def booktabs(heads: Sequence[str], rows: Sequence[Sequence[str]], mock: bool) -> str:
    """Return a table in LaTeX with the package booktabs; minus signs are such."""

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
