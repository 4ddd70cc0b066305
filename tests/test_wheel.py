"""Wheel and sdist: they build, hold what they should and nothing big, and a campaign runs from the wheel alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import CHECKOUT
from support.requirements import skip_unless_required

LEFTOVERS = (".git", ".*_cache", ".hypothesis", ".venv", "__pycache__", "*.egg-info", "build", "dist", "site")


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


def git(repository: Path, *words: str) -> None:
    run("git", "-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false", *words, cwd=repository)


@pytest.fixture(scope="module")
def tools() -> None:
    lacking = [name for name in ("build", "setuptools_scm", "twine") if find_spec(name) is None]
    if lacking:
        skip_unless_required(f"needs {', '.join(lacking)}: pip install 'sodiate[test]'")


@pytest.fixture(scope="module")
def built(tools: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two files by their ending, of a copy of the checkout as a release has it: in git, with a tag."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(CHECKOUT, place / "checkout", ignore=shutil.ignore_patterns(*LEFTOVERS))
    for words in (["init"], ["add", "."], ["commit", "--message", "x"], ["tag", "v9.8.7"]):
        git(place / "checkout", *words)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", place / "dist", place / "checkout", cwd=place)
    files = {"".join(path.suffixes[-1:]): path for path in (place / "dist").iterdir()}
    assert set(files) == {".whl", ".gz"}
    print({path.name: f"{path.stat().st_size / 1e6:.2f} MB" for path in files.values()})
    return files


@pytest.mark.long
@pytest.mark.together("wheel")
def test_what_the_files_hold(built: dict[str, Path]) -> None:
    assert built[".whl"].name == "sodiate-9.8.7-py3-none-any.whl"
    assert built[".whl"].stat().st_size < 1_500_000
    wheel = {name.removeprefix("sodiate/") for name in zipfile.ZipFile(built[".whl"]).namelist()}
    package = [path for path in (CHECKOUT / "configs").rglob("*") if path.is_file()]
    package += [
        path for folder in ("analysis", "structures", "workflows") for path in (CHECKOUT / folder).rglob("*.py")
    ]
    package += [*(CHECKOUT / "analysis" / "report" / "web").iterdir(), CHECKOUT / "py.typed", CHECKOUT / "version.py"]
    assert {path.relative_to(CHECKOUT).as_posix() for path in package} <= wheel
    assert not [name for name in wheel if name.startswith(("tests/", "docs/", "benchmarks/"))]
    with tarfile.open(built[".gz"]) as archive:
        sizes = {member.name.partition("/")[2]: member.size for member in archive.getmembers()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "docs/install.md", "configs/paper.yaml"} <= set(sizes)
    assert not [name for name in sizes if name.startswith(("tests/", "docs/reproduction/", "docs/images/"))]
    assert max(sizes.values()) < 300_000
    assert built[".gz"].stat().st_size < 1_500_000
    run(sys.executable, "-m", "twine", "check", "--strict", *built.values(), cwd=built[".gz"].parent)


@pytest.mark.long
@pytest.mark.together("wheel")
@pytest.mark.usefixtures("mongod")
def test_a_campaign_runs_from_the_wheel_alone(built: dict[str, Path], tmp_path: Path) -> None:
    """In an environment of its own, which takes the other packages from this one."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", built[".whl"], cwd=tmp_path)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # After the wheel, so that it goes before a sodiate there.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(paths), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    sodiate = python.with_name("sodiate")
    where = run(python, "-c", "import sodiate; print(sodiate.__file__, sodiate.__version__)", cwd=empty)
    assert where.split() == [str(site / "sodiate" / "__init__.py"), "9.8.7"]
    assert "WSSe+VS+VSe" in run(sodiate, "plan", "wsse", cwd=empty)
    assert "mock (dry run, not physical)" in run(sodiate, "run", "wsse", cwd=empty)
    records = json.loads(run(sodiate, "results", "--records", "--format", "json", cwd=empty))
    assert {record["provenance"]["versions"]["sodiate"] for record in records} == {"9.8.7"}


def test_versions_from_tags(tools: None, tmp_path: Path) -> None:
    """Of a tag, after it, without git, and of a shallow clone that has no tag."""

    def version(folder: Path) -> str:
        return run(sys.executable, "-m", "setuptools_scm", cwd=folder).splitlines()[-1]

    repository = tmp_path / "repository"
    repository.mkdir()
    shutil.copy(CHECKOUT / "pyproject.toml", repository)
    assert version(repository) == "0.1.0"
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "x")
    git(repository, "tag", "v9.8.7")
    assert version(repository) == "9.8.7"
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "y")
    assert re.fullmatch(r"9\.8\.8\.dev1\+g\w+", version(repository))
    run(
        "git",
        "clone",
        "--quiet",
        "--depth",
        "1",
        "--no-tags",
        repository.as_uri(),
        tmp_path / "shallow",
        cwd=tmp_path,
    )
    assert re.fullmatch(r"0\.1\.1\.dev1\+g\w+", version(tmp_path / "shallow"))
