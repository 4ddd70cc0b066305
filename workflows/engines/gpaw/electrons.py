"""GPAW's calculators, and how a relaxation keeps the electronic state of its steps.

The state of a step is its density, in a file beside the trajectory. Without that file, the SCF cycle of a resumed run
starts from the moments in the trajectory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Hartree
from gpaw import KohnShamConvergenceError
from gpaw.dft import GPAW, Parameters
from gpaw.new.ase_interface import ASECalculator
from gpaw.new.calculation import DFT
from gpaw.new.logger import Logger
from gpaw.utilities import compiled_with_sl

from ..shared.files import TRAJECTORY
from ..shared.states import SAME_STATE_EV, scaled_moments
from ..shared.trajectory import States, Step
from .inputs import DENSITY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    from ..shared.relax import Ranks

_SAME_PLACE_A = 1e-9

DIVERGED_EV = 10_000.0
"""Energy per atom, relative to GPAW's reference atoms, beyond which an SCF cycle has diverged."""


def new_calculator(settings: dict[str, Any], text: str, comm: Any = None) -> Any:
    """Return GPAW's calculator, whose SCF cycle ends as soon as it diverges; without ``comm`` of all ranks."""
    return _watched(GPAW(**settings, **divided(), txt=text, communicator=comm))


def divided() -> dict[str, Any]:
    """Return how ranks divide the work: without ScaLAPACK, as pip builds GPAW, by k points and spins alone.

    Left to itself GPAW may let several ranks share one of them, as 3 ranks on 4 or 4 on 5, and would fail.
    """
    return {} if compiled_with_sl() else {"parallel": {"domain": 1, "band": 1}}


def _watched(calculator: Any) -> Any:
    calculator.hooks["scf_step"] = DivergenceWatch(calculator.comm.size)
    return calculator


class DivergenceWatch:
    """Ends an SCF cycle that has diverged in two iterations, one after the other.

    A single one may be a step of the eigensolver that went astray: a Na atom at 300 eV had −12 keV in its third
    iteration and was converged in its fifteenth.

    Parameters
    ----------
    ranks
        How many processes leave together.
    """

    def __init__(self, ranks: int) -> None:
        self._ranks, self._astray = ranks, -2

    def __call__(self, context: Any) -> None:
        """Look at an iteration; raise `KohnShamConvergenceError` if it and the one before have diverged."""
        try:
            end_if_diverged(context, self._ranks)
        except KohnShamConvergenceError:
            if context.niter == self._astray + 1:
                raise
            self._astray = context.niter


def end_if_diverged(context: Any, ranks: int = 1) -> None:
    """Raise `KohnShamConvergenceError` if the energy of an SCF iteration is that of a cycle that has diverged.

    Without this such a cycle would run to the limit of iterations.
    """
    energy = float(context.energies.total_extrapolated) * Hartree
    atoms = len(context.density.nct_aX.relpos_ac)
    apart = not np.isfinite(energy) or abs(energy) > DIVERGED_EV * atoms
    # All ranks leave together, although the last bits of their energies may differ.
    together = context.wfs.world.sum_scalar(int(apart)) if ranks > 1 else int(apart)
    if together:
        raise KohnShamConvergenceError(f"the SCF cycle diverges: {energy:.3g} eV after {context.niter} iterations")


@dataclass(frozen=True)
class CalculatorFactory:
    """Makes the calculators of one relaxation.

    Attributes
    ----------
    settings
        Keywords of GPAW's calculator.
    add_to
        Returns a calculator with what is to be added to GPAW's.
    text
        Returns the name of the next text output.
    comm
        GPAW's communicator of the ranks that compute; None for all.
    """

    settings: dict[str, Any]
    add_to: Callable[[Any], Any]
    text: Callable[[], str]
    comm: Any = None

    def new(self) -> Any:
        """Return a calculator that starts from the atoms' densities and start moments."""
        return self.add_to(new_calculator(self.settings, self.text(), self.comm))

    def from_density(self, path: Path, atoms: Atoms | None = None) -> Any:
        """Return a calculator whose SCF cycle starts from the density of a file, as GPAW writes it without orbitals.

        Returns
        -------
        calculator or None
            None if the file is absent or unreadable, or has other positions or another cell than ``atoms``.
        """
        saved = read_density(path, self.comm)
        if saved is None or (atoms is not None and not same_place(saved.atoms, atoms)):
            return None
        keys = ("kpts", "nbands", "occupations", "convergence", "symmetry", "eigensolver", "poissonsolver")
        kept = {key: self.settings[key] for key in keys if key in self.settings}
        # First the orbitals of the fixed density; from there on the density is free.
        calculator = saved.fixed_density(**kept, txt=self.text(), update_fermi_level=True, **divided())
        dft = calculator.dft
        parameters = Parameters(**self.settings | divided() | {"gpts": dft.density.nt_sR.desc.size})
        builder = parameters.dft_component_builder(calculator.atoms, log=calculator.log)
        dft.scf_loop = builder.create_scf_loop()
        dft.results = {}
        return self.add_to(_watched(calculator))


def at_other_settings(saved: Any, settings: dict[str, Any], text: str) -> Any:
    """Return a calculator whose SCF cycle starts from the density of one with another mesh or cutoff.

    It takes five to seven iterations to 1 meV, where one from the atoms' densities takes eleven, and the electronic
    state is that of the density.

    Parameters
    ----------
    saved
        A calculator with a density.
    settings
        Keywords of the new one.
    text
        Name of its text output.

    Returns
    -------
    calculator or None
        None if spin, functional or data sets are others than those of the density.
    """
    parameters = Parameters(**settings | divided())
    theirs, ours = saved.params.todict(), parameters.todict()
    if any(theirs.get(key) != ours.get(key) for key in ("spinpol", "xc", "setups")):
        return None
    log = Logger(text, saved.comm)
    builder = parameters.dft_component_builder(saved.atoms, log=log, comm=saved.comm)
    old = saved.dft.density
    ranks = saved.dft.ibzwfs.kpt_band_comm, builder.communicators["D"]
    grid = builder.grid.new(size=old.nt_sR.desc.size_c)
    waves = builder.interpolation_desc
    density = old.redist(grid, waves, builder.atomdist, *ranks).new(builder.grid, waves)
    pot_calc = builder.create_potential_calculator()
    density.normalize(pot_calc.charge)
    # An interpolation of its own on each rank may differ in the last bit.
    builder.communicators["D"].broadcast(density.nt_sR.data, 0)
    potential, energies, _ = pot_calc.calculate(density)
    parts = (
        builder.create_ibz_wave_functions(builder.create_basis_set(), potential),
        *(density, potential, builder.setups, builder.create_scf_loop(), pot_calc, log),
    )
    dft = DFT.from_components(saved.atoms, *parts, params=parameters, energies=energies, converge=False)
    return _watched(ASECalculator(parameters, log=log, dft=dft, atoms=saved.atoms))


def read_density(path: Path, comm: Any = None) -> Any:
    """Return the calculator of a file that GPAW wrote; None if it is absent or unreadable."""
    try:
        return GPAW(path, communicator=comm)
    except Exception:  # absent, truncated, of another GPAW: its reader raises many types
        return None


def write_density(calculator: Any, path: Path, ranks: Ranks) -> None:
    """Write the density of a calculator, by all ranks together; a kill leaves the old or the new one."""
    unfinished = path.with_name(f"{path.name}.partial")
    calculator.write(unfinished, include_projections=False)
    if ranks.writes:
        unfinished.replace(path)


def same_place(one: Atoms, other: Atoms, tolerance_a: float = _SAME_PLACE_A) -> bool:
    """Tell whether two structures have the same atoms at the same places in the same cell."""
    if one.get_chemical_symbols() != other.get_chemical_symbols():
        return False
    differences = one.positions - other.positions, one.cell.array - other.cell.array
    return max(float(np.abs(difference).max()) for difference in differences) < tolerance_a


class StepDensities(States):
    """The density of the last step of a relaxation, in a file beside the trajectory.

    Parameters
    ----------
    directory, name
        Directory and name of the trajectory.
    factory
        Makes the calculators.
    moments
        Start moments, μB; None without spin.
    ranks
        The processes that do this together.
    """

    def __init__(self, directory: Path, name: str, factory: CalculatorFactory, moments: Any, ranks: Ranks) -> None:
        self._directory, self._stem = directory, name.partition(".")[0]
        self._factory, self._moments, self._ranks = factory, moments, ranks
        self.gives_result = name == TRAJECTORY

    def keep(self, atoms: Atoms, step: int) -> None:
        """Write the density; that of the step before stays until the line of this one is on disk."""
        write_density(atoms.calc, self._path(step), self._ranks)

    def discard_others(self, step: int) -> None:
        """Delete the densities of all other steps."""
        if self._ranks.writes:
            discard_densities(self._directory, self._stem, self._path(step))

    def starts(self, atoms: Atoms, step: Step) -> Iterator[str]:
        """Start from the density of the step, then from its moments, then as at the start of the relaxation."""
        for path in (self._path(step.step), self._directory / DENSITY):
            calculator = self._factory.from_density(path, atoms)
            if calculator is not None:
                atoms.calc = calculator
                yield "its density"
        if step.moments_mub is not None:
            atoms.set_initial_magnetic_moments(scaled_moments(step.moments_mub, step.total_moment_mub))
            atoms.calc = self._factory.new()
            yield "its moments"
        self.start_anew(atoms)
        yield "the start moments"

    def start_anew(self, atoms: Atoms) -> None:
        """Start from the start moments, without a density."""
        atoms.set_initial_magnetic_moments(self._moments)
        atoms.calc = self._factory.new()

    def _path(self, step: int) -> Path:
        return self._directory / f"{self._stem}-{step}.gpw"


def discard_densities(directory: Path, stem: str = "*", kept: Path | None = None) -> None:
    """Delete the densities of steps, all but one."""
    for path in directory.glob(f"{stem}-[0-9]*.gpw*"):
        if path != kept:
            path.unlink()


def check_state(energy_ev: float, host: dict[str, Any]) -> None:
    """Raise `RuntimeError` if a host's density, computed again, is that of another electronic state than recorded."""
    recorded = host["energy_ev"]
    if recorded is not None and abs(energy_ev - recorded) > SAME_STATE_EV:
        raise RuntimeError(
            f"the density of {host['label']} cannot be read, and computed again it is that of another electronic "
            f"state, {energy_ev - recorded:+.3f} eV from the record: sodiate redo {host['label']}"
        )


class AtDensity:
    """A self-consistent calculator with the energy of another functional at its density; it has no forces.

    Parameters
    ----------
    dft
        The calculator, its energy computed.
    functional
        Name of the other functional.
    """

    def __init__(self, dft: Any, functional: str) -> None:
        self._dft = dft
        self._difference_ev = float(dft.get_xc_difference(functional))

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Return the energy in eV."""
        return float(self._dft.get_potential_energy(force_consistent=force_consistent)) + self._difference_ev

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dft, name)


class WithoutMeanForce:
    """A calculator whose forces have no mean, for atoms of which none is fixed.

    The sum of all forces is zero, but for the errors of the grid and of the SCF cycle. Their mean moves all atoms
    together, which changes no energy: a sheet drifted for tens of steps.

    Parameters
    ----------
    inner
        The calculator.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Return the energy in eV."""
        return float(self._inner.get_potential_energy(atoms, force_consistent=force_consistent))

    def get_forces(self, atoms: Atoms) -> Any:
        """Return forces in eV/Å, shape (atoms, 3), whose sum is zero."""
        forces = self._inner.get_forces(atoms)
        return forces - forces.mean(axis=0)

    def get_stress(self, atoms: Atoms) -> Any:
        """Return the stress in eV/Å³, shape (6,) in Voigt's order."""
        return self._inner.get_stress(atoms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
