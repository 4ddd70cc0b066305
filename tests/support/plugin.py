"""Packages that bring engines of their own, installed as pip would install them, into a folder of a test."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path


def install(project: Path, site: Path) -> Path:
    """Put a project's modules and the metadata that its pyproject.toml declares into a folder, and return that."""
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    site.mkdir(parents=True, exist_ok=True)
    for module in about["tool"]["setuptools"]["py-modules"]:
        shutil.copyfile(project / f"{module}.py", site / f"{module}.py")
    groups = about["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in entries.items()) for group, entries in groups.items()
    ]
    metadata(site, about["project"]["name"], "\n".join(lines))
    return site


def metadata(site: Path, name: str, entry_points: str) -> None:
    """Write what tells Python that a package is installed in a folder, with its entry points."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
