"""A better start geometry: the universal potential CHGNet relaxes the adsorbate on a fixed host.

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
"""Its name in campaign files."""

_MAX_FORCE_EV_PER_A = 0.02
_MAX_STEPS = 200


def settle_adsorbate(atoms: Atoms, directory: Path) -> tuple[Atoms, str]:
    """Relax the adsorbate, which is the last atom, with CHGNet; return the atoms and a note for the record.

    The position is computed once: later launches read it from the directory, since other last digits would be another
    start geometry.

    Parameters
    ----------
    atoms
        Start geometry; its start moments are kept.
    directory
        Of the calculation; ``guess.json`` is written there.

    Raises
    ------
    EngineError
        If CHGNet is not installed, or does not converge.
    """
    key = digest(Geometry.of(atoms).model_dump(mode="json"))
    try:
        guess = read_json(directory / GUESS)
        if guess["key"] != key:
            raise ValueError("it is of another start geometry")
    except DAMAGE:
        guess = {"key": key, "position_a": _settled(atoms, directory), "chgnet": version("chgnet")}
        write_json(directory / GUESS, guess)
    settled = atoms.copy()
    settled.positions[-1] = guess["position_a"]
    distance = float(np.linalg.norm(settled.positions[-1] - atoms.positions[-1]))
    return settled, f"started with {atoms.symbols[-1]} {distance:.2f} Å from its site, by CHGNet {guess['chgnet']}"


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

    trial = atoms.copy()
    trial.set_initial_magnetic_moments(None)
    trial.pbc = True  # CHGNet's graphs are of crystals; the cell contains the vacuum
    trial.set_constraint(FixAtoms(range(len(atoms) - 1)))
    # CHGNet prints its size, and PyTorch warns about CHGNet: neither concerns the user.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial.calc = CHGNetCalculator(CHGNet.load(use_device="cpu"), use_device="cpu")
        converged = BFGS(trial, logfile=None).run(fmax=_MAX_FORCE_EV_PER_A, steps=_MAX_STEPS)
    if not converged:
        raise EngineError(
            f"{directory}: CHGNet finds no place for the {atoms.symbols[-1]} atom; leave "
            "execution.start_potential out."
        )
    position: list[float] = trial.positions[-1].tolist()
    return position
