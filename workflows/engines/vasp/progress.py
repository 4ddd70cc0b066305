"""How far a run of VASP is, read from its OSZICAR."""

from __future__ import annotations

from pathlib import Path


def _vasp_lines(directory: Path) -> list[str]:
    """Return the last force in VASP's OUTCAR and the steps of all launches."""
    if not (directory / "OUTCAR").exists():
        return []
    from .results import largest_force, steps_taken

    return [f"  last force  {largest_force(directory / 'OUTCAR'):.4f} eV/Å after {steps_taken(directory)} steps"]
