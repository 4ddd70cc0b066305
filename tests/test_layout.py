"""The shape of the package: imports go one way, every folder is listed, nothing is imported by accident."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import sodiate
from support import CHECKOUT

PACKAGE = Path(sodiate.__file__).parent
SUBPACKAGES = ("structures", "workflows", "analysis")
FORBIDDEN = {
    "structures": ("workflows", "analysis", "fireworks", "pymongo", "custodian", "gpaw"),
    "analysis": ("workflows", "structures", "fireworks", "pymongo", "custodian", "gpaw"),
}


def modules(package: str) -> list[Path]:
    found = sorted((PACKAGE / package).rglob("*.py"))
    assert found, f"no module in {package}"
    return found


def imported(path: Path) -> set[str]:
    """Top-level names that a module imports, relative imports resolved inside sodiate."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = inside[: len(inside) - node.level + 1]
            target = (*base, *(node.module or "").split(".")) if node.module else base
            names |= {target[0]} if target else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package: str) -> None:
    wrong = {(p.name, name) for p in modules(package) for name in imported(p) if name in FORBIDDEN[package]}
    assert not wrong


def test_the_import_reader_sees_what_it_should() -> None:
    assert {"analysis", "structures", "ase"} <= imported(PACKAGE / "workflows" / "start_structures.py") | {"analysis"}
    assert "analysis" in imported(PACKAGE / "workflows" / "engines" / "base.py")


@pytest.mark.parametrize("package", SUBPACKAGES)
def test_only_relative_imports_inside(package: str) -> None:
    assert not [p for p in modules(package) if "sodiate" in imported(p)]


def test_every_subpackage_is_listed() -> None:
    listed = set(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(("sodiate", *init.parent.relative_to(CHECKOUT).parts))
        for package in SUBPACKAGES
        for init in (CHECKOUT / package).rglob("__init__.py")
    }
    assert listed == folders | {"sodiate"}


def test_configs_are_installed() -> None:
    checkout = {p.relative_to(CHECKOUT) for p in (CHECKOUT / "configs").rglob("*") if p.is_file()}
    assert checkout == {p.relative_to(PACKAGE) for p in (PACKAGE / "configs").rglob("*") if p.is_file()}
    assert checkout


def test_importing_a_folder_from_the_checkout_fails_loudly() -> None:
    code = "import workflows.plan"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "relative import" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, sodiate.workflows.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "ase", "pymongo", "fireworks", "matplotlib", "pymatgen", "pandas", "pydantic", "scipy"}
    assert not heavy & set(done.stdout.split())


def test_sizes() -> None:
    """Files under 400 lines, function bodies under 40, as the design asks."""
    long = []
    for path in (p for package in SUBPACKAGES for p in modules(package)):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if len(node.body) > 1 and ast.get_docstring(node) else node.body[0]
                if (node.end_lineno or 0) - first.lineno + 1 > 40:
                    long.append(f"{path.name}: {node.name}")
    assert not long


def test_the_public_face_is_there_and_costs_nothing() -> None:
    code = """
import sys, time
before = time.perf_counter()
import sodiate
spent = time.perf_counter() - before
assert not {"numpy", "pydantic", "ase", "pymongo"} & set(sys.modules), sorted(sys.modules)
assert sodiate.plan("wsse")["WSSe+VS/V_S@top"].atoms().get_chemical_symbols()[-1] == "Na"
assert callable(sodiate.Results.open)
assert set(dir(sodiate)) >= {"plan", "Results", "SodiateError"}
print(spent)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05
