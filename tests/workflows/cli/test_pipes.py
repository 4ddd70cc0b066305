"""Readers that end before a command has printed all, and narrow terminals."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table
from sodiate.workflows.cli.shared import print_table
from support import DOCS

REPRODUCTION = ("--archive", str(DOCS / "reproduction"))


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "wsse"),
        ("plan", "wsse", "--json"),
        ("--help",),
        ("results", *REPRODUCTION),
        ("results", "--format", "csv", *REPRODUCTION),
        ("results", "--records", "--format", "json", *REPRODUCTION),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_reader_that_ends_is_no_failure(command: tuple[str, ...]) -> None:
    """As `sodiate plan | head` does: exit code 0, and not a word."""
    program = [sys.executable, "-m", "sodiate.workflows.cli.main", *command]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read().decode()
        assert (running.wait(60), said) == (0, "")


def table() -> Table:
    shown = Table(title="Results")
    for head in ("model", "best site", "ended at", "ΔE Na (eV)", "vs bulk (eV)", "paper (eV)", "gap (eV)", "sites"):
        shown.add_column(head, overflow="fold", min_width=6 if "eV" in head else None)
    shown.add_row("WSSe+VS+VSe", "T_W@bottom-3", "between V_S@top and H@top", "-1.2", "-1.1", "-2.2", "0.0", "8/8")
    shown.add_row("WSe2", "H@top", "H@top", "-1.3", "-1.0", "-1.27", "1.65", "3/3")
    return shown


@pytest.mark.parametrize("width", [20, 40, 60, 80, 160])
def test_no_column_is_lost(width: int) -> None:
    """At 40 columns two of the eight were cut off, with all their values."""
    console = Console(width=width, file=io.StringIO(), record=True)
    print_table(console, table())
    text = console.export_text()
    together = text.replace("\n", "").replace(" ", "").replace("│", "").replace("┃", "")
    for word in ("-2.2", "-1.27", "1.65", "8/8", "3/3"):
        assert word in together
    heads = ["model", "best", "ended", "ΔE", "bulk", "paper", "gap", "sites"]
    assert all(head in text for head in heads) or width == 60
    assert all(len(line) <= width for line in text.splitlines())


def test_what_fits_stays_a_table() -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    print_table(console, table())
    assert "┏" in console.export_text()
