"""Campaign files that only a mistake or malice gives: one message each, at once and in words."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from sodiate.structures.errors import StructureError
from sodiate.structures.slabs import read_atoms
from sodiate.workflows.campaign.load import bundled_campaigns
from sodiate.workflows.campaign.yaml import InputError, load_yaml
from sodiate.workflows.campaign.yaml_text import MOST_VALUES, read_yaml
from sodiate.workflows.plan import plan

BASE = bundled_campaigns()["wsse"].read_text(encoding="utf-8")
LAST = BASE.count("\n") + 1
NINE = ",".join("x" * 9)


def levels(count: int) -> str:
    return "".join(f"  b{i}: &b{i} [{','.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, count))


ODD = {
    "a key twice": (BASE + "supercell: [2, 2]\n", f"line {LAST}: the key 'supercell' is given twice, first in line"),
    "a key twice in a line": (BASE + "execution: {max_steps: 3, max_steps: 4}\n", "key 'max_steps' is given twice"),
    "a key twice, quoted": (BASE + "incar: {a: {}, 'a': {}}\n", "the key 'a' is given twice"),
    "a merge twice": (BASE + "incar: {<<: {a: {}}, <<: {b: {}}}\n", "the key '<<' is given twice"),
    "an alias bomb": (BASE + f"incar:\n  b0: &b0 [{NINE}]\n{levels(12)}", "values, its aliases written out"),
    "a bomb of merges": (
        BASE + "incar:\n  b0: &b0 {a: 1}\n"
        + "".join(f"  b{i}: &b{i} {{<<: [{','.join([f'*b{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
        f"more than {MOST_VALUES} values, its aliases",
    ),
    "itself": (BASE + "incar: &x {a: *x}\n", f"line {LAST}: an alias (*) stands inside of what it means"),
    "a long chain": (
        BASE + "incar:\n  b0: &b0 [x]\n" + "".join(f"  b{i}: &b{i} [*b{i - 1}]\n" for i in range(1, 2000)),
        "nested more than 30 levels deep, its aliases",
    ),
    "deep lists": (BASE + "incar: " + "[" * 100_000 + "]" * 100_000, "deep|depth"),
    "deep mappings": (BASE + "incar: " + "{a: " * 5000 + "1" + "}" * 5000, "deep|depth"),
    "5001 digits": (BASE + f"incar: {{relax: {{A: {'9' * 5001}}}}}\n", "cannot be read as int"),
    "5001 digits, hexadecimal": (BASE + f"incar: {{relax: {{A: 0x{'9' * 5001}}}}}\n", "whole number of 6022 digits"),
    "100,000 models": (BASE + "more: [" + "WSSe, " * 100_000 + "]\n", f"more than {MOST_VALUES} values"),
    "too large a file": (BASE + "# " + "x" * 2_000_000, "has 2.0 MB"),
    "1500 models": (
        BASE.replace("models: [", "models: [" + "".join(f"{{model: WSSe, name: n{i}}}, " for i in range(1500))),
        "at most 1000 items",
    ),
    "10^20 cells": (BASE.replace("[3, 3]", f"[{10**20}, 1]"), "whole number of 20 digits"),
    "10^9 cells": (BASE.replace("[3, 3]", f"[{10**9}, {10**9}]"), "atoms are more than 5000"),
    "a date": (BASE + "incar: {relax: {A: 2020-01-01}}\n", r"a date \(2020-01-01\); put it in quotes"),
    "a date that is none": (BASE + "incar: {relax: {A: 2020-13-45}}\n", "cannot be read as timestamp"),
    "no number": (BASE + "incar: {relax: {A: .nan}}\n", "nan is no number"),
    "infinity": (BASE + "incar: {relax: {A: -.inf}}\n", "-inf is no number"),
    "a set": (BASE + "incar: !!set {a, b}\n", "a set; lists and mappings alone are known"),
    "an object": (BASE + "incar: !!python/object:os.system {}\n", "lists and mappings alone|could not determine"),
    "a list as a key": (BASE + "incar: {[a, b]: c}\n", "a key is a list or mapping"),
    "a control character": (BASE.replace("title: ", 'title: "a\\e[2J" # '), "control character"),
    "a null character": (BASE.replace("[WSe2,", '[{name: x, file: "a\\0b"},'), "control character"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_one_message_within_two_seconds(name: str, tmp_path: Path) -> None:
    text, words = ODD[name]
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises(InputError, match=words.replace("(*)", r"\(\*\)")) as caught:
        plan(path)
    assert time.process_time() - began < 2.0
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"pipe.yaml is a pipe or a device; give a file"):
        plan(path)
    with pytest.raises(StructureError, match=r"pipe.yaml: a pipe or a device"):
        read_atoms(path)
    with pytest.raises(InputError, match="a pipe or a device"):
        load_yaml(Path("/dev/zero"), "campaign")


def test_what_people_write_stays() -> None:
    """Anchors, merges and block texts; the oracle is PyYAML."""
    text = "a: &a {x: 1, y: [1.5, -2]}\nb: *a\nc: {<<: *a, x: 3}\nd: |\n  two\n  lines\ne: null\nf: true\n"
    assert read_yaml(text) == yaml.safe_load(text)
    assert read_yaml("") is None


@pytest.mark.parametrize("path", sorted(bundled_campaigns().values()), ids=lambda path: path.stem)
def test_bundled_files_read_as_pyyaml_reads_them(path: Path) -> None:
    assert load_yaml(path, "campaign") == yaml.safe_load(path.read_text(encoding="utf-8"))
