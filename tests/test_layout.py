"""The shape of the package: imports go one way, every folder is listed, nothing is imported by accident."""

from __future__ import annotations

import ast
import re
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


ROOMS = {
    "workflows": (
        *("cli", "run", "clusters", "results", "launch", "runner", "plan", "quantities", "engines", "database"),
        *("campaign", "start_structures", "calculation", "kinds", "stop", "diagnosis"),
    ),
    "analysis": (
        *("manuscript", "report", "figures", "model_result", "energies", "electrons", "columns", "codes"),
        "cost",
        *("functionals", "diffraction"),
        *("campaign_entry", "arrays", "records", "words", "adsorbates", "elements"),
    ),
}
"""From the top down: each imports only what lies below it, also in functions and for types alone."""


def _modules_by_name() -> dict[str, Path]:
    paths = [*PACKAGE.glob("*.py"), *(path for package in SUBPACKAGES for path in modules(package))]
    dotted = {".".join(("sodiate", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in dotted.items()}


def _arrows(name: str, path: Path, known: set[str]) -> set[str]:
    """The modules of sodiate that a module imports, wherever in it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            target = ".".join([*base, node.module] if node.module else base)
            found |= {f"{target}.{a.name}" if f"{target}.{a.name}" in known else target for a in node.names}
    return found - {name}


def _room(name: str, package: str) -> str | None:
    parts = name.split(".")
    return parts[2] if parts[1:2] == [package] and len(parts) > 2 else None


@pytest.mark.parametrize("package", ROOMS)
def test_no_import_goes_upwards(package: str) -> None:
    paths, order = _modules_by_name(), ROOMS[package]
    rooms = {room for name in paths if (room := _room(name, package)) is not None}
    # The old path of Results in scripts hands it on, and nothing inside imports it.
    assert rooms - {"store"} == set(order)
    upwards = [
        (name, target)
        for name, path in paths.items()
        for target in _arrows(name, path, set(paths))
        if (mine := _room(name, package)) in order
        and (theirs := _room(target, package)) is not None
        and (theirs == "store" or order.index(theirs) < order.index(mine))
    ]
    assert not upwards


def test_no_import_goes_in_a_circle() -> None:
    paths = _modules_by_name()
    arrows = {name: _arrows(name, path, set(paths)) & set(paths) for name, path in paths.items()}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    # What is left imports, or is imported by, a circle; a module that only imports one is no part of it.
    while tops := set(arrows) - {target for targets in arrows.values() for target in targets}:
        arrows = {name: targets for name, targets in arrows.items() if name not in tops}
    assert not arrows


def test_a_new_circle_or_upward_arrow_would_be_seen(tmp_path: Path) -> None:
    """The reader finds imports in functions and those for types alone."""
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..cli.main import app\n"
        "def f():\n    from ..run import run\n",
        encoding="utf-8",
    )
    known = {"sodiate.workflows.cli.main", "sodiate.workflows.run", "sodiate.workflows.launch.module"}
    found = _arrows("sodiate.workflows.launch.module", path, known)
    assert found == {"sodiate.workflows.cli.main", "sodiate.workflows.run"}


def test_few_files_lie_beside_the_rooms() -> None:
    assert len(list((PACKAGE / "workflows").glob("*.py"))) <= 8


def test_every_room_says_what_it_holds_and_imports() -> None:
    for package in SUBPACKAGES:
        for path in (PACKAGE / package).rglob("__init__.py"):
            words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            assert len(words) > 80, path
            assert "mports" in words, path


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
    code = "import sys, sodiate.workflows.cli.commands; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "ase", "pymongo", "fireworks", "matplotlib", "pymatgen", "pandas", "pydantic", "scipy"}
    assert not heavy & set(done.stdout.split())


def test_the_public_face_is_there_and_costs_nothing() -> None:
    cost = """
import sys, time
before = time.process_time()
import sodiate
print(time.process_time() - before)
assert not {"numpy", "pydantic", "ase", "pymongo"} & set(sys.modules), sorted(sys.modules)
"""
    face = """
assert callable(sodiate.Results.open)
assert not {"scipy", "ase.io"} & set(sys.modules), sorted(sys.modules)
assert sodiate.plan("wsse")["WSSe+VS/V_S@top"].atoms().get_chemical_symbols()[-1] == "Na"
assert set(dir(sodiate)) >= {"plan", "Results", "SodiateError"}
assert not {"scipy", "ase.io", "ase.optimize", "matplotlib", "pymatgen"} & set(sys.modules), sorted(sys.modules)
"""
    spent = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for code in (cost + face, cost, cost)
    ]
    assert min(spent) < 0.05


CODES = re.compile(
    r"vasp|gpaw|(?<![a-z])emt(?![a-z])|incar|wavecar|chgcar|potcar|oszicar|outcar|contcar|chgnet", re.IGNORECASE
)

NAMED_ELSEWHERE = {
    "structures/slabs.py": r'POSCAR: Final = "vasp"',
    "workflows/campaign/campaign_file.py": r'``incar`` has|    incar: dict|return \("incar",\) if self.incar',
    "workflows/cli/carry.py": r'^    vasp: Annotated|^    if vasp\b|import_(runs|as_protocol)\(folders, .*"vasp"',
}
"""Lines outside the engines' folders that may: ASE's name of a format, the campaign's key, the option of `import`."""


def test_codes_are_named_in_their_folders_alone() -> None:
    """What the command line says to a user aside: its docstrings, texts of options and messages."""
    found = []
    for path in (p for package in SUBPACKAGES for p in modules(package)):
        name = path.relative_to(PACKAGE).as_posix()
        if re.match(r"workflows/engines/(?!shared/)\w+/", name):
            continue
        text = path.read_text(encoding="utf-8")
        said = _lines_of_texts(text) if name.startswith("workflows/cli/") else set()
        allowed = NAMED_ELSEWHERE.get(name, r"(?!)")
        found += [
            f"{name}:{number}: {line}"
            for number, line in enumerate(text.splitlines(), 1)
            if CODES.search(line) and number not in said and not re.search(allowed, line)
        ]
    assert not found


def _lines_of_texts(text: str) -> set[int]:
    """Return the numbers of the lines that docstrings and texts of several words stand on."""
    return {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }


def test_the_paths_of_earlier_scripts_go_on_working() -> None:
    """Those of the README before `sodiate.plan`, and the names that launchpads hold."""
    code = """
from sodiate.workflows.plan import plan
from sodiate.workflows.store import Results
from sodiate.workflows.launch import RunCalculation, SameCalculation
import sodiate
assert (plan, Results) == (sodiate.plan, sodiate.Results)
assert RunCalculation._fw_name == "{{sodiate.workflows.launch.RunCalculation}}"
assert SameCalculation._fw_name == "{{sodiate.workflows.launch.SameCalculation}}"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
