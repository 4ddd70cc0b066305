"""VASP's recommended data sets: that they exist in each release, and where they go into a plan."""

from __future__ import annotations

import bz2
import json
import re
from pathlib import Path

import pymatgen.io.vasp
import pytest
import yaml
from ase.calculators.vasp.setups import setups_defaults
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines.vasp.data_sets import recommended
from sodiate.workflows.plan.planner import plan

STATS = json.loads(
    bz2.decompress((Path(pymatgen.io.vasp.__file__).parent / "potcar-summary-stats.json.bz2").read_bytes())
)
"""Keywords and checksums of the POTCARs of each release, as pymatgen carries them; no data of theirs."""


@pytest.mark.parametrize("release", ["PBE_52", "PBE_54", "PBE_64", "LDA_54"])
def test_each_recommended_data_set_exists_in_its_release(release: str) -> None:
    """Oracle: the titles that pymatgen knows, a name followed by its date."""
    titles = list(STATS[release])

    def exists(name: str) -> bool:
        return any(re.match(rf"PAW(_PBE|_GGA|_LDA)?{re.escape(name)}\d", title) for title in titles)

    missing = {name for name in recommended(release).values() if not exists(name)}
    # Hydrogen's title has another form; what a release of LDA lacks is refused where its POTCARs are read.
    assert missing - {"H"} == set() if release.startswith("PBE") else len(missing) < 20


def test_the_table_is_that_of_ase_but_for_two_names() -> None:
    """Oracle: ASE's set `recommended`, transcribed from VASP's guide."""
    theirs = {element: element + suffix for element, suffix in setups_defaults["recommended"].items()}
    ours = recommended("PBE_54")
    differing = {element for element, name in theirs.items() if ours.get(element) != name}
    assert differing <= {"W", "At"}
    assert {element for element, name in ours.items() if name != element} - theirs.keys() <= {"W"}
    assert (ours["Ti"], recommended("PBE_52")["W"], ours["W"]) == ("Ti_sv", "W_pv", "W_sv")


def test_elements_that_no_protocol_names_take_the_recommended_set(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"

    def planned(**changes: object) -> dict[str, str]:
        data = {"campaign": "mine", "models": [{"host": "Ti2CO2"}], "supercell": [1, 1], "engine": "vasp", **changes}
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        graph = plan(path)
        lines.extend(graph.declaration.lines())
        sets: dict[str, str] = graph.names["Ti2CO2"].protocol["paw"]
        return sets

    lines: list[str] = []
    assert planned() == {"Ti": "Ti_sv", "C": "C", "O": "O"}
    assert any(line.endswith("as VASP recommends: Ti: Ti_sv") for line in lines)
    assert planned(protocol={"base": "paper", "paw": {"Ti": "Ti_pv"}}) == {"Ti": "Ti_pv", "C": "C", "O": "O"}
    with pytest.raises(InputError, match=r"names no data set for Cf .* VASP recommends none"):
        planned(adsorbate={"element": "Cf"})
