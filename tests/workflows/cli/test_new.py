"""`sodiate new` and `sodiate protocol`: what they write is planned and runs dry at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ase.build import mx2
from ase.io import write
from sodiate.workflows.campaign.load import bundled_protocols, load_campaign, load_protocol, protocol_text
from sodiate.workflows.campaign.new import new_campaign
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan.planner import plan
from support.cli import Cli


@pytest.mark.parametrize("host", [None, "graphene", "WSSe+VS", "h-BN"])
def test_a_new_campaign_is_planned_at_once(tmp_path: Path, host: str | None) -> None:
    path = new_campaign("mine", None, host, tmp_path)
    assert path == tmp_path / "mine.yaml"
    assert [planned.name for planned in plan(path).hosts] == [host or "WSe2"]
    # Every line that is commented out is right, too, once it is taken in.
    lines = path.read_text(encoding="utf-8").splitlines()
    offered = [line for line in lines if line.lstrip().startswith("# ") and ": {" in line and "base" not in line]
    assert len(offered) >= 2
    begun = [line.replace("# ", "", 1) if line in offered else line for line in lines]
    (tmp_path / "all.yaml").write_text("\n".join(begun), encoding="utf-8")
    assert "Na" in load_campaign(tmp_path / "all.yaml").spec.bulk_references


def test_a_new_campaign_from_a_structure_file(tmp_path: Path) -> None:
    atoms = mx2("MoS2", vacuum=8.0)
    atoms.pbc = True
    (tmp_path / "far").mkdir()
    for folder in (tmp_path, tmp_path / "far"):
        write(folder / "my host.vasp", atoms, format="vasp")
    near = new_campaign("near", None, str(tmp_path / "my host.vasp"), tmp_path)
    far = new_campaign("far", None, str(tmp_path / "far" / "my host.vasp"), tmp_path)
    ids = [plan(path).names["my-host"].id for path in (near, far)]
    assert ids[0] == ids[1]
    text = near.read_text(encoding="utf-8")
    assert 'file: "my host.vasp"' in text
    near.write_text(text.replace("  # - {name: my-host-vacancy", "  - {name: my-host-vacancy"), encoding="utf-8")
    assert [planned.name for planned in plan(near).hosts] == ["my-host", "my-host-vacancy"]


@pytest.mark.parametrize("base", ["wsse", "own-host", "wsse-gpaw-best"])
def test_a_new_campaign_from_a_bundled_one(tmp_path: Path, base: str) -> None:
    """With the structure files that it names; the same calculations under another name."""
    path = new_campaign("mine", base, None, tmp_path)
    graph = plan(path)
    assert graph.campaign.spec.campaign == "mine"
    assert {name: c.id for name, c in graph.names.items()} == {name: c.id for name, c in plan(base).names.items()}


@pytest.mark.parametrize(
    ("name", "base", "host", "words"),
    [
        ("a/b", None, None, "no name"),
        ("mine", "wse", None, "did you mean 'wsse'"),
        ("mine", None, "grafene", "did you mean 'graphene'"),
        ("mine", "wsse", "graphene", "give one"),
        ("there", None, None, "is there already"),
        ("mine", None, "there.yaml", "cannot read it as a structure"),
    ],
)
def test_mistakes_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, base: str | None, host: str | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("x: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        new_campaign(name, base, host, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"]


def test_protocols_are_printed_whole(tmp_path: Path) -> None:
    """A bundled one as it stands, with comments; one with a base, or a campaign's, in full, as it is read again."""
    path = bundled_protocols()["paper"]
    assert protocol_text("paper") == path.read_text(encoding="utf-8")
    mine = tmp_path / "mine.yaml"
    mine.write_text("base: paper\ncutoff_ev: 450\n", encoding="utf-8")
    campaign = tmp_path / "campaign.yaml"
    data = {"campaign": "c", "models": ["WSe2"], "protocol": {"base": "paper", "cutoff_ev": 450}}
    campaign.write_text(yaml.safe_dump(data), encoding="utf-8")
    for source in (mine, campaign):
        again = tmp_path / "again.yaml"
        again.write_text(protocol_text(str(source)), encoding="utf-8")
        assert load_protocol(again) == load_protocol(mine)
    assert load_protocol(again).cutoff_ev == 450.0
    with pytest.raises(InputError, match="did you mean 'paper'"):
        protocol_text("papre")


def test_from_the_command_line(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """A new campaign of graphene, run dry to the end without a change."""
    assert cli("new", "mine", "--host", "graphene").returncode == 0
    done = cli("run", "mine.yaml", "--launchpad", launchpad, "--root", "root")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mock" in done.stdout
    assert cli("structures", "mine.yaml", "--out", "structures").returncode == 0
    printed = cli("protocol", "mine.yaml")
    assert "cutoff_ev: 500.0" in printed.stdout
