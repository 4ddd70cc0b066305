"""`sodiate xrd`: crystals of a campaign and of files, measured peaks, and mistakes in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from sodiate.analysis.diffraction import CU_KA_A
from sodiate.workflows.campaign.yaml import CONFIGS
from sodiate.workflows.cli import xrd
from support.cli import Cli

FILE = CONFIGS / "campaigns" / "WSSe.cif"
PEAKS = "13.9 32.4 38.3 56.7"


def rows(printed: str) -> list[list[str]]:
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_default_wavelength_is_that_of_analysis() -> None:
    assert xrd._CU_KA_A == CU_KA_A


def test_the_papers_peaks_on_the_crystals_of_the_bundled_campaign(cli: Cli) -> None:
    done = cli("xrd", "wsse-conversion", "--peaks", PEAKS)
    assert done.returncode == 0, done.stderr
    assert "wsse-conversion: WS2: no reflection lies within 1° of the peak at 38.3°." in done.stdout
    said = " ".join(done.stdout.split())
    assert "wsse-conversion: WSSe, a = 3.218 Å, c = 12.642 Å" in said
    assert said.count("least squares over 4 peaks, 2 numbers free: a = 3.252 Å, c = 12.774 Å; calculated less") == 2
    assert ["32.4", "2.763", "(101)", "23", "32.91", "32.56", "+0.16"] in rows(done.stdout)
    given = cli("xrd", FILE, "--peaks", PEAKS, "--indexes", "002,100,103,110")
    assert given.returncode == 0, given.stderr
    assert ["32.4", "2.763", "(100)", "29", "32.12", "31.93", "-0.47"] in rows(given.stdout)
    assert "0.265° root mean square" in given.stdout


def test_without_peaks_it_lists_those_of_the_crystal(cli: Cli) -> None:
    """At another wavelength the same planes reflect elsewhere: sin θ is proportional to it."""
    copper, molybdenum = (cli("xrd", FILE, *more) for more in ([], ["--wavelength", "0.7107"]))
    assert copper.returncode == molybdenum.returncode == 0
    assert rows(copper.stdout)[0] == ["14.01", "6.321", "(002)", "100"]
    assert rows(molybdenum.stdout)[0][:3] == ["6.45", "6.321", "(002)"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.cif"], "nothing.cif: no such structure file"),
        (["wsse"], "campaign wsse: bulk_references has no {crystal: FILE}; name structure files"),
        ([FILE, "--peaks", "13,9 x"], "'13,9 x' should be angles 2θ between 0 and 180°"),
        ([FILE, "--peaks", "200"], "should be angles 2θ between 0 and 180°"),
        ([FILE, "--indexes", "002"], "--indexes: 1 are not one for each of 0 peaks"),
        ([FILE, "--peaks", PEAKS, "--indexes", "002 100"], "--indexes: 2 are not one for each of 4 peaks"),
        ([FILE, "--peaks", "13.9", "--indexes", "00x"], "'00x' should be three indexes, as 103 or 1.0.12"),
        ([FILE, "--peaks", "13.9", "--indexes", "1.0"], "'1.0' should be three indexes"),
        ([FILE, "--peaks", "13.9", "--indexes", "000"], "000 is no reflection"),
        ([CONFIGS / "campaigns" / "S8.xyz"], "a crystal needs three cell vectors"),
    ],
)
def test_mistakes_are_told(cli: Cli, arguments: list[str | Path], words: str) -> None:
    done = cli("xrd", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_indexes_of_several_digits_and_signs() -> None:
    assert xrd._indexes("103 1.0.12 1-10 -1.2.10") == [(1, 0, 3), (1, 0, 12), (1, -1, 0), (-1, 2, 10)]
