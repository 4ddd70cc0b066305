"""A better place to start from: the universal potential CHGNet settles the adsorbate on a host that stays.

B. Deng, P. Zhong, K. Jun et al., Nature Machine Intelligence 5, 1031 (2023). Only the adsorbate is moved: CHGNet
places Na well, but pushes metal atoms away from a vacancy that PBE pulls in (docs/gpaw.md has the distances).
"""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.records import Geometry, digest
from ..base import EngineError
from ..shared.files import DAMAGE, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

GUESS = "guess.json"

POTENTIAL = "chgnet"
"""As campaign files call it."""

_MAX_FORCE_EV_PER_A = 0.02
_MAX_STEPS = 200


def settle_adsorbate(atoms: Atoms, directory: Path) -> tuple[Atoms, str]:
    """Return the atoms with the last one, the adsorbate, where CHGNet wants it, and words for it; the others stay.

    Found once: a later launch reads it from the directory, since other last digits would be another start.

    Parameters
    ----------
    atoms
        Start geometry; its start moments are kept.
    directory
        Of the calculation; ``guess.json`` is kept there.

    Raises
    ------
    EngineError
        If CHGNet is not installed, or does not settle.
    """
    key = digest(Geometry.of(atoms).model_dump(mode="json"))
    try:
        guess = read_json(directory / GUESS)
        if guess["key"] != key:
            raise ValueError("of another start geometry")
    except DAMAGE:
        guess = {"key": key, "position_a": _settled(atoms, directory), "chgnet": version("chgnet")}
        write_json(directory / GUESS, guess)
    settled = atoms.copy()
    settled.positions[-1] = guess["position_a"]
    moved = float(np.linalg.norm(settled.positions[-1] - atoms.positions[-1]))
    return settled, f"started with {atoms.symbols[-1]} {moved:.2f} Å from its site, by CHGNet {guess['chgnet']}"


def _settled(atoms: Atoms, directory: Path) -> list[float]:
    if find_spec("chgnet") is None:
        raise EngineError(
            f"{directory}: execution.start_potential is chgnet, which is not installed here: pip install "
            "'sodiate[mlip]', or leave the key out."
        )
    from ase.constraints import FixAtoms
    from ase.optimize import BFGS
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    moved = atoms.copy()
    moved.set_initial_magnetic_moments(None)
    moved.pbc = True  # CHGNet's graphs are of crystals; the vacuum is there
    moved.set_constraint(FixAtoms(range(len(atoms) - 1)))
    # CHGNet prints how large it is, and PyTorch warns of CHGNet: neither is for the user.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moved.calc = CHGNetCalculator(CHGNet.load(use_device="cpu"), use_device="cpu")
        settled = BFGS(moved, logfile=None).run(fmax=_MAX_FORCE_EV_PER_A, steps=_MAX_STEPS)
    if not settled:
        raise EngineError(
            f"{directory}: CHGNet finds no place for the {atoms.symbols[-1]} atom; leave "
            "execution.start_potential out."
        )
    position: list[float] = moved.positions[-1].tolist()
    return position
