"""A stand-in for VASP in the tests: VASP's files in and out, the dry engine's forces between.

`install` puts ``vasp_std``, ``vasp_gam`` and ``vasp_ncl`` into a folder. What they do wrong on demand is said by a
file ``fake-vasp.json`` beside them (`Behaviour`); a demand with ``times`` is met so often, counted in the folder.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

# Title, valence electrons and ENMAX (eV) of the public data sets; nothing else of a POTCAR is here.
HEADS = {
    "W_sv": ("PAW_PBE W_sv 04Sep2015", 14, 223.057),
    "W_pv": ("PAW_PBE W_pv 06Sep2000", 12, 223.057),
    "Mo_sv": ("PAW_PBE Mo_sv 02Feb2006", 14, 242.676),
    "Se": ("PAW_PBE Se 06Sep2000", 6, 211.555),
    "S": ("PAW_PBE S 06Sep2000", 6, 258.689),
    "Na_pv": ("PAW_PBE Na_pv 19Sep2006", 7, 259.561),
    "Al": ("PAW_PBE Al 04Jan2001", 3, 240.300),
    "P": ("PAW_PBE P 06Sep2000", 5, 255.040),
    "Li_sv": ("PAW_PBE Li_sv 10Sep2004", 3, 499.034),
}


@dataclass(frozen=True)
class Behaviour:
    """What goes wrong: all of it counts for the first ``times`` runs, or for all if that is None.

    Attributes
    ----------
    say
        Lines that are printed in place of a run (a recorded failure); the exit code is 1.
    die_after, truncate_after
        Ends by SIGKILL after so many ionic steps; truncated means in the middle of a line of vasprun.xml.
    seconds_per_step
        How long an ionic step takes.
    hang
        True: no output, and no end.
    nothing
        True: ends at once with exit code 0.
    electrons
        False: no SCF cycle converges before NELM.
    where
        It goes wrong only in directories with this in their name.
    incar
        It goes wrong only with this in INCAR.
    labort
        False: built without LABORT in STOPCAR, as some centres have it.
    leisurely
        True: LSTOP in STOPCAR hastens nothing; the ionic step takes its time.
    code
        Its exit code after a whole run.
    stars
        ``energy`` or ``force``: what it prints as ``****`` in vasprun.xml, ``kinter``: a parameter.
    states
        Moment (μB) and energy (eV) of each electronic state: a run without WAVECAR ends in that of the moment nearest
        to the sum of MAGMOM, and writes it into the WAVECAR with which it ends. Without, there is one.
    vtst
        True: built with the VTST tools, whose tags it knows.
    move_c
        True: a relaxation of the cell lets c go, as a VASP does that does not know LATTICE_CONSTRAINTS.
    """

    say: str = ""
    die_after: int | None = None
    truncate_after: int | None = None
    seconds_per_step: float = 0.0
    hang: bool = False
    nothing: bool = False
    electrons: bool = True
    labort: bool = True
    leisurely: bool = False
    code: int = 0
    stars: str = ""
    states: tuple[tuple[float, float], ...] = ()
    move_c: bool = False
    vtst: bool = False
    times: int | None = None
    where: str = ""
    incar: str = ""


def install(folder: Path, behaviour: Behaviour | None = None) -> Path:
    """Put the executables into a folder, or change what they do; returns the folder."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tests = Path(__file__).resolve().parents[2]
    for name in ("vasp_std", "vasp_gam", "vasp_ncl"):
        path = folder / name
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tests)!r})\n"
            f"from support.fake_vasp.main import main\nmain({name!r}, {str(folder)!r})\n"
        )
        path.chmod(0o755)
    (folder / "fake-vasp.json").write_text(json.dumps(asdict(behaviour or Behaviour())))
    (folder / "runs").unlink(missing_ok=True)
    return folder


def potcar(name: str) -> str:
    """A file with the head of a POTCAR, and made-up numbers where the data would be."""
    title, valence, enmax = HEADS[name]
    element = name.split("_")[0]
    return f"""  {title}
   {valence:.4f}
 parameters from PSCTR are:
   VRHFIN ={element}: none
   LEXCH  = PE
   EATOM  =  1.0000 eV,  0.1 Ry

   TITEL  = {title}
   LULTRA =        F    use ultrasoft PP ?
   RPACOR =    0.000    partial core radius
   POMASS =   1.000; ZVAL   =   {valence:.3f}    mass and valenz
   ENMAX  =  {enmax}; ENMIN  =  {0.75 * enmax:.3f} eV
   EAUG   =  400.000

END of PSCTR-controll parameters
 local part
   1.0
  0.1 0.2 0.3
 End of Dataset
"""


def library(folder: Path) -> Path:
    """Make a library of POTCARs as VASP ships it, release PBE_54."""
    for name in HEADS:
        place = folder / "potpaw_PBE.54" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "POTCAR").write_text(potcar(name))
    return folder
