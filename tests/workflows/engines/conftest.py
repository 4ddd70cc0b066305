"""The engine of another package, installed for the tests of engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.plugin import install

LENNARD_JONES = Path(__file__).parent / "lennard_jones"


@pytest.fixture(scope="session", name="lennard-jones")
def lennard_jones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder where the package sodiate-lennard-jones is installed, on the path of this process and its own."""
    site = install(LENNARD_JONES, tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))
        yield site
