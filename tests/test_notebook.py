"""The notebook of docs: its cells run, and print what it shows."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import matplotlib
import pytest
from support import DOCS


def test_the_notebook_says_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(DOCS)
    cells = json.loads((DOCS / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = 0
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec("".join(cell["source"]), names)
        told = ["".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"]
        assert printed.getvalue() == "".join(told)
        shown += sum("image/png" in output.get("data", {}) for output in cell["outputs"])
    assert shown == 2
