"""The method of a run: everything in INCAR that can move a converged energy, and the functional in words.

Turned round: what differs from VASP's default counts, unless it is known that it cannot move a converged energy
(`CANNOT_MOVE`), is kept in another field of a record (`ELSEWHERE`), or follows from the system (`OF_THE_SYSTEM`).
The same is done to tags that are planned, so that both can be held against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.files import DAMAGE
from .packed import forms, opened, plain_name

if TYPE_CHECKING:
    from pymatgen.io.vasp.outputs import Vasprun

CANNOT_MOVE: Mapping[str, str] = {
    "how the work is divided": (
        "KPAR NCORE NPAR NSIM NBLK LPLANE LASYNC LSCALU LSCALAPACK LSCAAWARE MAXMEM NTAUPAR NOMEGAPAR TAUPAR "
        "OMEGAPAR IALL_IN_ONE LALL_IN_ONE LFOCKACE LORBITALREAL NCORE_IN_IMAGE1 NBLOCK_FOCK NCSHMEM"
    ),
    "what is written, or computed afterwards from the converged state": (
        "SYSTEM NWRITE LWAVE LCHARG LVTOT LVHAR LELF LAECHG LORBIT NEDOS EMIN EMAX EINT RWIGS LDAUPRINT LORBMOM "
        "NBLOCK KBLOCK NPACO APACO LBERRY LBONE LEFG LHYPERFINE LNABLA LOPTICS LEPSILON LCALCEPS LCALCPOL LPEAD "
        "IPEAD CSHIFT LPARD IBAND KPUSE NBMOD LSEPB LSEPK LKPROJ LOCPROJ LWANNIER90 LWRITE_MMN_AMN STM LCHIMAG "
        "KPOINT_BSE IDIOT LKPOINTS_OPT KPOINTS_OPT_MODE LTWO_CENTER LH5 LMODELHF_PRINT QUAD_EFG EREF ENCUTGW "
        "ENCUTGWSOFT MODEL_EPS0 OMEGAGRID MAGATOM WPLASMA WPLASMAI LVEL"
    ),
    "mixing of the density": (
        "AMIX BMIX AMIX_MAG BMIX_MAG AMIN IMIX INIMIX MIXPRE MAXMIX WC MREMOVE MIXFIRST LMAXMIX LMIXTAU"
    ),
    "how the bands are found, where they begin, and limits": (
        "IALGO LDIAG LSUBROT NELM NELMDL NELMIN NELMGW NELMHF NRMM NDAV TIME EBREAK DEPER WEIMIN ISTART "
        "INIWAV IWAVPR EDIFF ENINI NBANDS NREBOOT IRESTART TURBO NMIN LCORR ISEARCH DAMP_NEWTON DEG_THRESHOLD"
    ),
    "how the ions move": (
        "IBRION NSW POTIM ISIF EDIFFG NFREE SMASS MDALGO TEBEG TEEND POMASS LATTICE_CONSTRAINTS STEP_MAX STEP_SIZE "
        "TELESCOPE RANDOM_SEED ISPECIAL PMASS LANGEVIN_GAMMA"
    ),
}
"""Tags without a say in a converged energy, by the reason why."""

ELSEWHERE: Mapping[str, str] = {
    "functional and dispersion have names": (
        "GGA METAGGA LMETAGGA IVDW LVDW LHFCALC AEXX HFSCREEN HFSCREENC AGGAX AGGAC ALDAX ALDAC AMGGAX AMGGAC "
        "LUSE_VDW IVDW_NL"
    ),
    "cutoff": "ENCUT ENMAX",
    "data sets": "ZVAL DARWINR DARWINV",
    "Hubbard corrections, by element": "LDAU LDAUTYPE LDAUL LDAUU LDAUJ",
    "sampling": "ISMEAR SIGMA ISPIN LDIPOL IDIPOL DIPOL KSPACING KGAMMA NUPDOWN",
    "a fixed density belongs to kinds without an energy": "ICHARG",
}
"""Tags of which a record speaks in fields of their own."""

OF_THE_SYSTEM: Mapping[str, str] = {
    "counted against the atoms, as charge and as fineness of the grid": "NELECT NGX NGY NGZ NGXF NGYF NGZF",
    "moments to begin with, atom by atom": "MAGMOM",
    "a value an atom or a species, which other cells cannot have": "M_CONSTR ROPT",
}
"""Tags whose values follow from cell and composition."""

_NOT_COUNTED = frozenset(" ".join([*CANNOT_MOVE.values(), *ELSEWHERE.values(), *OF_THE_SYSTEM.values()]).split())

_FALSE = (
    "ADDGRID EVENONLY EVENONLYGW LADDER LASPH LCOMPAT LDMP1 LDOWNSAMPLE LESF_SPLINES LFERMIGW LFINITE_TEMPERATURE "
    "LFOCKAEDFT LFXC LFXCEPS LFXHEG LGWLF LHFONE LHOLEGF LMAGBLOCH LMODELHF LMONO LMP2LT LMUSIC LNONCOLLINEAR LREAL "
    "LREAL_COMPAT LRPA LRPAFORCE LSELFENERGY LSINGLES LSMP2LT LSORBIT LSPECTRAL LSPECTRALGW LSPIN_VDW LSPIRAL "
    "LSYMGRAD LTCTC LTCTE LTETE LTHOMAS LTRIPLET LUSEW LZEROZ NLSPLINE NUCIND ODDONLY ODDONLYGW ORBITALMAG "
    "SELFENERGY SHIFTRED L2ORDER LSOL ML_LMLFF ML_FF_LMLFF LSCSGRAD LVDW_EWALD LVDWEXPANSION LNMR_SYM_RED LRHFCALC"
)
_TRUE = "GGA_COMPAT KBLOWUP LGAUGE LHARTREE LNICSALL"
_ZERO = (
    "ANTIRES CLL CLZ EFIELD ENCUTFOCK EXXOEP FOURORBIT IBSE ICORELEVEL I_CONSTRAINED_M KINTER MCALPHA MODEL_GW "
    "NOMEGA NOMEGAR OFIELD_A OFIELD_KAPPA OFIELD_Q6_FAR OFIELD_Q6_NEAR PARAM3 PSTRESS SCISSOR VOSKOWN DFIELD "
    "EFIELD_PEAD AVECCONST MAGDIPOL MAGPOS QSPIRAL OFIELD_K"
)
_ONE = "CLN CLNT EPSILON LAMBDA MODEL_ALPHA NKRED NKREDX NKREDY NKREDZ NKREDLFX NKREDLFY NKREDLFZ PARAM2 SCALEE"
_MINUS_ONE = "ENCUT4O ENCUTLF LMAXMP2 NBANDSGW NBANDSHIGH NBANDSLF NBANDSLOW NBANDSO NBANDSV NBANDS_WAVE PHON_NSTRUCT"

_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_FALSE.split(), ("false",)),
    **dict.fromkeys(_TRUE.split(), ("true",)),
    **dict.fromkeys(_ZERO.split(), ("0",)),
    **dict.fromkeys(_ONE.split(), ("1",)),
    **dict.fromkeys(_MINUS_ONE.split(), ("-1",)),
    "ALGO": ("scf",),
    "DIM": ("3",),
    "EFERMI": ("0", "legacy", "midgap"),  # a number fixes it, and with it how many electrons there are
    "HFALPHA": ("0", "-1"),  # -1 in hybrids
    "ICORELEVEL": ("0", "1"),  # 1: levels from the initial state, computed afterwards
    "IESPILON": ("4",),
    "ISYM": ("2", "3"),  # 3 is how a hybrid symmetrises
    "LMAXFOCK": ("0", "4"),
    "LMAXPAW": ("-100",),
    "NATURALO": ("2",),
    "NBANDSGWLOW": ("0", "1"),
    "NMAXFOCKAE": ("0", "1"),
    "OMEGAMAX": ("-1",),
    "OMEGAMIN": ("-30",),
    "OMEGATL": ("-200",),
    "PARAM1": ("0.1234",),
    "PREC": ("normal",),
    "PRECFOCK": ("", "normal"),
    "RTIME": ("-0.1",),
    "SAXIS": ("0 0 1",),
    "SYMPREC": ("1e-05",),
    "ZAB_VDW": ("-0.8491",),
}
"""What each tag is where nobody sets it, in VASP 5.2 to 6.4: as recorded runs print it. A list of such values is
one, too."""

_GGA = {
    **{"PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "RE": "revPBE", "AM": "AM05", "91": "PW91", "BF": "BEEF"},
    **{"CA": "LDA", "PZ": "LDA", "VW": "LDA (VWN)", "HL": "LDA (Hedin–Lundqvist)", "WI": "LDA (Wigner)"},
    **{"B3": "B3LYP", "B5": "B3LYP (VWN5)", "BO": "optB88", "MK": "optB86b", "OR": "optPBE", "ML": "rPW86"},
    "CX": "LV-PW86r",
}
_META = {
    **{"SCAN": "SCAN", "R2SCAN": "r2SCAN", "RSCAN": "rSCAN", "TPSS": "TPSS", "RTPSS": "revTPSS", "M06L": "M06-L"},
    **{"MBJ": "mBJ", "HLE17": "HLE17", "MS0": "MS0", "MS1": "MS1", "MS2": "MS2", "R2SCANL": "r2SCAN-L"},
}
_DISPERSIONS = {
    **{0: None, 1: "d2", 10: "d2", 11: "d3zero", 12: "d3bj", 13: "d4", 2: "ts", 20: "ts", 21: "ts-hirshfeld"},
    **{202: "mbd", 263: "mbd-fi", 4: "ddsc", 3: "ulg"},
}
_PREC = {"l": "low", "m": "medium", "n": "normal", "s": "single", "h": "high", "a": "accurate"}
_SHELLS = "spdf"

_SCF = frozenset({*"nvfcade", "normal", "veryfast", "very_fast", "fast", "conjugate", "all", "damped", "exact"})
"""ALGO that ends in the same ground state; others end in none (nothing, eigenval), or beyond (ACFDT, GW)."""

_COARSE = 0.97
"""Less than this of the grid that PREC asks for is set by hand; VASP takes the next number that factorises."""


@dataclass(frozen=True)
class Species:
    """One species of a run: how many atoms, valence electrons of each, title of the data set."""

    symbol: str
    count: int
    valence: float
    title: str


@dataclass(frozen=True)
class Described:
    """What can move the energy of a run, or of one that is planned.

    Attributes
    ----------
    functional, dispersion
        By name.
    settings
        All that differs from VASP's default, as printed there.
    hubbard
        By element, in words.
    """

    functional: str
    dispersion: str | None
    settings: dict[str, str]
    hubbard: dict[str, str] | None


def described(tags: Mapping[str, Any], symbols: Sequence[str], titles: Iterable[str]) -> Described:
    """Describe tags.

    Parameters
    ----------
    tags
        Of INCAR, or all that a run had (`tags_of`).
    symbols
        Species, in VASP's order.
    titles
        Of their data sets, which name the functional where no tag does.
    """
    return Described(functional_of(tags, titles), dispersion_of(tags), settings_of(tags), hubbard_of(tags, symbols))


def tags_of(run: Vasprun) -> dict[str, Any]:
    """Return all tags that a run had: VASP's parameters, what only the INCAR in vasprun.xml says, INCAR itself.

    VASP prints its parameters resolved, but leaves out some (METAGGA, IVDW) and cuts others (LREAL = Auto). One that
    nobody set, and of which the default is not known here, is a newer VASP's: it has nothing to say.
    """
    given = {tag.upper(): value for tag, value in run.incar.items()}
    known = _DEFAULTS.keys() | _NOT_COUNTED | given.keys()
    found: dict[str, Any] = {tag.upper(): value for tag, value in run.parameters.items() if tag.upper() in known}
    for tag, value in given.items():
        if tag not in found or tag in _CUT or _is_cut(tag, found[tag], value):
            found[tag] = value
        elif tag not in _NOT_COUNTED:  # VASP overruled it, or somebody edited the file: both are told
            found[tag] = f"{word(tag, found[tag])}{_INCAR}{word(tag, value)})"
    # A patched VASP keeps tags of its own to itself; INCAR has them.
    return {**_incar_beside(Path(run.filename)), **found}


_INCAR = " (INCAR: "

_CUT = frozenset({"EFERMI", "GGA", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ", "METAGGA"})
"""Of these vasprun.xml has the whole only in the INCAR that it repeats."""


def _is_cut(tag: str, printed: Any, given: Any) -> bool:
    """Tell whether a parameter is what INCAR says, cut to a few letters, or to a truth value."""
    short, whole = word(tag, printed), word(tag, given)
    return whole.startswith(short) or (tag == "LREAL" and short == "true" and whole in ("auto", "on"))


def _incar_beside(path: Path) -> dict[str, Any]:
    from pymatgen.io.vasp.inputs import Incar

    ending = plain_name(path).removeprefix("vasprun.xml")
    for place in forms(path.parent / f"INCAR{ending}"):
        if place.exists():
            try:
                with opened(place) as file:
                    text = file.read().decode(errors="replace")
                return {tag.upper(): value for tag, value in Incar.from_str(text).items()}
            except DAMAGE:
                return {}
    return {}


def settings_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs from VASP's defaults and can move a converged energy, as VASP prints it."""
    both = {**tags, "LNONCOLLINEAR": True} if _is_true(tags.get("LSORBIT")) else tags  # as VASP switches it on
    found = {tag: word(tag, value) for tag, value in sorted(both.items()) if _counts(tag, value)}
    errors = _projection_errors(tags)
    return found if errors is None else {**found, "ROPT": errors}


def _projection_errors(tags: Mapping[str, Any]) -> str | None:
    """Return ROPT where projectors are in real space and it is not what PREC makes; species share its value."""
    if word("LREAL", tags.get("LREAL", False)) == "false":
        return None
    usual = _ROPT.get(word("PREC", tags.get("PREC", "normal")))
    given = tags.get("ROPT")
    values = {word("ROPT", value) for value in (given if isinstance(given, list | tuple) else [given])}
    return " ".join(sorted(values)) if given is not None and values != {usual} else None


_ROPT = {"low": "-0.01", "medium": "-0.002", "normal": "-0.0005", "accurate": "-0.00025", "high": "-0.0004"}
"""What PREC makes of ROPT."""


def _counts(tag: str, value: Any) -> bool:
    if tag in _NOT_COUNTED or value is None:
        return False
    defaults, said = _DEFAULTS.get(tag, ()), word(tag, value)
    return said not in defaults and set(said.split()) != set(defaults)  # also where each of a list is the default


def default_of(tag: str) -> str:
    """Return what a tag is where nobody sets it; a dash where that is not known."""
    return _DEFAULTS.get(tag, ("—",))[0]


def word(tag: str, value: Any) -> str:
    """Return a value in one spelling, whoever wrote it."""
    if isinstance(value, list | tuple):
        words = [word(tag, one) for one in value]
        return words[0] if len(words) == 1 else " ".join(words)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.number):
        return f"{float(value):.8g}"
    if _INCAR in str(value):
        return str(value)
    text = str(value).strip().lower()
    if tag == "PREC":
        return "singlen" if text.startswith("singlen") else _PREC.get(text[:1], text)
    if tag == "LREAL" and text[:1] in ("o", "a"):
        return "on" if text[:1] == "o" else "auto"  # two ways to make projectors
    if tag == "ALGO":
        return "scf" if text in _SCF else text
    if re.fullmatch(r"\.?(t|true|f|false)\.?", text):
        return "true" if "t" in text[:2] else "false"
    return text


def functional_of(tags: Mapping[str, Any], titles: Iterable[str]) -> str:
    """Return the functional by its name, from all tags that make one; what has none is spelt out.

    Parameters
    ----------
    tags
        As VASP has them.
    titles
        Of the data sets, whose functional is used without GGA: ``PAW_PBE Na``, ``PAW_GGA Na``, ``PAW Na`` (LDA).
    """
    local = _gga_of(tags, titles)
    if _is_true(tags.get("LUSE_VDW")):
        return _nonlocal(tags, local)
    meta = str(tags.get("METAGGA", "") or "").strip().upper()
    if meta in ("", "--", "NONE", "F", ".FALSE.") and _is_true(tags.get("LMETAGGA")):
        meta = "LMETAGGA"
    if meta not in ("", "--", "NONE", "F", ".FALSE."):
        beside = str(tags.get("GGA", "--")).strip().upper()
        local = _META.get(meta, f"METAGGA {meta}") + ("" if beside in ("--", "") else f" beside GGA {beside}")
    return _hybrid(tags, local) if _is_true(tags.get("LHFCALC")) else local + _scaled(tags, {"AEXX": 0.0})


def _scaled(tags: Mapping[str, Any], usual: Mapping[str, float]) -> str:
    """Say which parts of a functional are not taken as they usually are: AGGAC = 0 leaves out its correlation."""
    usual = {**dict.fromkeys(_PARTS, 1.0), **usual}
    found = {tag: _number(tags, tag, value) for tag, value in usual.items()}
    said = ", ".join(f"{tag} {value:g}" for tag, value in found.items() if abs(value - usual[tag]) > 1e-6)
    return f" ({said})" if said else ""


_PARTS = ("AGGAX", "ALDAX", "AMGGAX", "AGGAC", "ALDAC", "AMGGAC")


def _gga_of(tags: Mapping[str, Any], titles: Iterable[str]) -> str:
    tag = str(tags.get("GGA", "--") or "--").strip().upper()
    if tag in ("--", ""):
        kinds = {title.split(" ")[0] for title in titles}
        found = {{"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "PAW_LDA": "LDA"}.get(one, one) for one in kinds}
        return " and ".join(sorted(found)) or "GGA --"
    return _GGA.get(tag, f"GGA {tag}")


def _is_true(value: Any) -> bool:
    return value is not None and word("", value) in ("true", "1")


def _nonlocal(tags: Mapping[str, Any], local: str) -> str:
    """Return the name of a functional with nonlocal correlation; its numbers decide between those of one GGA."""
    coupling = _number(tags, "ZAB_VDW", -0.8491)
    second = abs(coupling + 1.8867) < 1e-3
    made = {
        ("revPBE", False): "vdW-DF",
        ("optPBE", False): "optPBE-vdW",
        ("optB88", False): "optB88-vdW",
        ("optB86b", False): "optB86b-vdW",
        ("rPW86", True): "vdW-DF2",
        ("optB86b", True): "rev-vdW-DF2",
        ("LV-PW86r", False): "vdW-DF-cx",
    }
    meta = str(tags.get("METAGGA", "") or "").strip().upper()
    if meta not in ("", "--", "NONE"):
        return f"{_META.get(meta, f'METAGGA {meta}')}+rVV10{_scaled(tags, {})}"
    if int(_number(tags, "IVDW_NL", 1)) == 2:
        return f"{local}+rVV10{_scaled(tags, {})}"
    numbers = "" if abs(coupling + 0.8491) < 1e-3 or second else f", Zab {coupling:g}"
    name = made.get((local, second), f"{local} with nonlocal van der Waals correlation")
    return f"{name}{numbers}{_scaled(tags, {'AGGAC': 0.0})}"


def _hybrid(tags: Mapping[str, Any], local: str) -> str:
    exact = _number(tags, "AEXX", 0.25)
    screening = _number(tags, "HFSCREEN", 0.0)
    rest = 1.0 - exact
    usual = {**dict.fromkeys(_PARTS, 1.0), "AGGAX": rest, "ALDAX": rest, "AMGGAX": rest}
    others = {tag: _number(tags, tag, value) for tag, value in usual.items()}
    changed = {tag: value for tag, value in others.items() if abs(value - usual[tag]) > 1e-6}
    correlation = _number(tags, "HFSCREENC", screening)
    if min(abs(correlation), abs(correlation - screening)) > 1e-6:
        changed["HFSCREENC"] = correlation
    if local == "B3LYP" or (local == "B3LYP (VWN5)"):
        wanted = {"AGGAX": 0.72, "AGGAC": 0.81, "ALDAC": 0.19}
        if abs(exact - 0.2) < 1e-6 and all(abs(others[tag] - value) < 1e-6 for tag, value in wanted.items()):
            return local
    elif any(_is_true(tags.get(tag)) for tag in ("LTHOMAS", "LMODELHF", "LRHFCALC")):
        pass
    elif abs(exact - 1.0) < 1e-6 and not screening and abs(others["AGGAC"]) + abs(others["ALDAC"]) < 1e-6:
        return "Hartree–Fock"
    elif not changed and abs(exact - 0.25) < 1e-6:
        known = {("PBE", 0.2): "HSE06", ("PBE", 0.3): "HSE03", ("PBE", 0.0): "PBE0", ("PBEsol", 0.2): "HSEsol"}
        if (local, round(screening, 6)) in known:
            return known[local, round(screening, 6)]
    numbers = ", ".join(f"{tag} {value:g}" for tag, value in changed.items())
    said = f"{local} hybrid with {100 * exact:g} % exact exchange"
    said += f" screened by {screening:g} 1/Å" if screening else ""
    return f"{said} ({numbers})" if numbers else said


def _number(tags: Mapping[str, Any], tag: str, default: float) -> float:
    value = tags.get(tag)
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError):
        return default


def dispersion_of(tags: Mapping[str, Any]) -> str | None:
    """Return the dispersion correction by name; one without a name by its number."""
    number = int(_number(tags, "IVDW", 0))
    if number == 0 and _is_true(tags.get("LVDW")):
        number = 1
    return _DISPERSIONS.get(number, f"IVDW {number}")


def hubbard_of(tags: Mapping[str, Any], symbols: Sequence[str]) -> dict[str, str] | None:
    """Return the Hubbard correction of each element that has one, in words; None without any.

    Parameters
    ----------
    tags
        LDAUL, LDAUU and LDAUJ have a value a species.
    symbols
        Species, in VASP's order.
    """
    if not _is_true(tags.get("LDAU")):
        return None
    columns = [_column(tags.get(tag), len(symbols), missing) for tag, missing in _HUBBARD]
    kind = int(_number({"LDAUTYPE": first_of(tags.get("LDAUTYPE"))}, "LDAUTYPE", 2))
    found: dict[str, list[str]] = {}
    for symbol, shell, repulsion, exchange in zip(symbols, *columns, strict=True):
        if shell < 0 or (repulsion == 0 and exchange == 0):
            found.setdefault(symbol, []).append(_WITHOUT)
            continue
        numbers = f"U = {repulsion:g} eV" + (f", J = {exchange:g} eV" if exchange else "")
        scheme = {1: "Liechtenstein", 2: "Dudarev", 4: "Liechtenstein without exchange splitting"}.get(
            kind, str(kind)
        )
        found.setdefault(symbol, []).append(f"{_SHELLS[int(shell)]}, {numbers} ({scheme})")
    return {symbol: said_of_all(those) for symbol, those in found.items() if set(those) != {_WITHOUT}} or None


_WITHOUT = "none"


def said_of_all(words: Iterable[str]) -> str:
    """Return what is said of an element that may be several species, as of sublattices: each different thing once."""
    return " and ".join(sorted(set(words)))


_HUBBARD = (("LDAUL", 2), ("LDAUU", 0), ("LDAUJ", 0))


def first_of(value: Any) -> Any:
    """Return the first of several values, or the one that there is."""
    return value[0] if isinstance(value, list | tuple) and value else value


def _column(value: Any, count: int, missing: float) -> list[float]:
    values = [float(one) for one in value] if isinstance(value, list | tuple) else []
    return [*values, *[missing] * count][:count] if value is not None else [missing] * count


def species_of(path: Path) -> list[Species]:
    """Return the species of a vasprun.xml, plain or packed, with their electrons, which pymatgen leaves out."""
    head: list[str] = []
    with opened(path) as file:
        for line in file:
            head.append(line.decode(errors="replace"))
            if "</atominfo>" in head[-1]:
                break
    table = "".join(head).partition('name="atomtypes"')[2]
    rows = [re.findall(r"<c>([^<]*)</c>", row) for row in re.findall(r"<rc>(.*?)</rc>", table)]
    return [Species(r[1].strip(), int(r[0]), float(r[3]), r[4].strip()) for r in rows if len(r) == 5]


def charge_of(tags: Mapping[str, Any], species: Sequence[Species]) -> float:
    """Return the charge of the cell in e: the electrons of its data sets less NELECT."""
    electrons = sum(one.count * one.valence for one in species)
    return electrons - _number(tags, "NELECT", electrons)


def coarseness(tags: Mapping[str, Any], cell_a: Any) -> str | None:
    """Say which grids are coarser than PREC makes them, as those that were set by hand; None if none is."""
    from ase.units import Bohr, Hartree

    cutoff = _number(tags, "ENMAX", _number(tags, "ENCUT", 0.0))
    precision = word("PREC", tags.get("PREC", "normal"))
    wanted = np.sqrt(2 * cutoff / Hartree) / Bohr * 2 / np.pi * np.linalg.norm(cell_a, axis=1)
    wanted = wanted * (1.0 if precision in ("accurate", "high") else 0.75)
    found = []
    for names, factor in ((("NGX", "NGY", "NGZ"), 1.0), (("NGXF", "NGYF", "NGZF"), 2.0)):
        if factor == 2.0 and precision not in ("accurate", "normal"):
            continue
        for name, least in zip(names, factor * wanted, strict=True):
            if name in tags and _number(tags, name, np.inf) < _COARSE * least:
                found.append(f"{name} {tags[name]} where PREC makes {int(np.ceil(least))}")
    return ", ".join(found) or None
