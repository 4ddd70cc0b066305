"""What somebody writes who has not read the guide: told with file and key, in words, and with what to write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from sodiate.structures.errors import StructureError
from sodiate.structures.slabs import read_slab
from sodiate.workflows.campaign.campaign_file import CampaignFile
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.campaign.protocol import Protocol
from sodiate.workflows.campaign.yaml import InputError, load_yaml
from sodiate.workflows.clusters.cluster_file import ClusterFile, load_cluster
from sodiate.workflows.plan.planner import plan

LEAKS = ("Input should be", "Value error", "pydantic", "valid dictionary", "valid tuple", "NoneType", "Errno", "dict")

CAMPAIGNS: dict[str, tuple[str, str]] = {
    # a bare value where a list or a map goes
    "an ion": ("adsorbate: Li", "as in `adsorbate: {element: Li}`"),
    "a cell": ("supercell: 3x3", "supercell: '3x3' should be a list, as in `supercell: [3, 3]`"),
    "a quantity": ("quantities: dos", "as in `quantities: [dos, bands]`"),
    "an atom": (
        "models: [{host: h-BN, name: d, remove: N@1}]",
        "models.0.remove: 'N@1' should be a list, as in `",
    ),
    "vacancies": ("models: [{host: h-BN, vacancies: N}]", "as in `vacancies: {S: 1}`"),
    "a metal": ("bulk_references: {Li: bcc}", "as in `bulk_references: {Li: {lattice: bcc, a: 3.44}}`"),
    "a width": ("protocol: {base: paper, smearing: 0.1}", "as in `smearing: {kind: gaussian, width_ev: 0.05}`"),
    "a U": ("protocol: {base: paper, hubbard_u_ev: {V: 3.0}}", "as in `hubbard_u_ev: {Mo: {d: 3.0}}`"),
    "a mesh": ("protocol: {base: paper, kpoint_mesh: [3, 3, 1]}", "as in `kpoint_mesh: {points: [4, 4, 1]}`"),
    "a path": ("barrier: {paths: [H@top, T_C@top]}", "as in `paths: [[T_W@top, H@top]]`"),
    # units
    "Å": ("vacuum_a: 15 A", "vacuum_a: '15 A' should be a number; write the number alone, in Å"),
    "Ry": (
        "protocol: {base: paper, cutoff_ev: 40 Ry}",
        "'40 Ry' should be a number; write the number alone, in eV",
    ),
    "nm": ("vacuum_a: 1.5", "in 1.5 Å of vacuum images of a sheet overlap; give 6 Å or more"),
    # capitals
    "li": ("adsorbate: {element: li}", "'li' is no element (did you mean 'Li'?)"),
    "X": ("models: [{host: h-BN, vacancies: {X: 1}}]", "'X' is no element (did you mean 'Xe'?)"),
    "GPAW": ("engine: GPAW", "engine 'GPAW' is unknown (did you mean 'gpaw'?)"),
    "DOS": ("quantities: [DOS]", "no quantity 'DOS' (did you mean 'dos'?)"),
    "Phosphorene": ("models: [Phosphorene]", "(did you mean 'phosphorene'?)"),
    # a key at another place
    "a cutoff": ("cutoff_ev: 400", "unknown key 'cutoff_ev' ('cutoff_ev' is a key of 'protocol')"),
    "an element": ("element: K", "('element' is a key of 'adsorbate')"),
    "a host": ("host: graphene", "unknown key 'host' ('host' is a key of 'models')"),
    "a vacuum": ("adsorbate: {vacuum_a: 15}", "('vacuum_a' is a key of the file itself, not of adsorbate)"),
    "a slip": ("model: [graphene]", "unknown key 'model' (did you mean 'models'?)"),
    "no quantity": ("quantities: [conversion]", "conversion is asked for by its own key `conversion:`"),
    # names and files
    "a vacancy": ("models: [h-BN+V_N]", "'V_N' is no vacancy; write V and the element, as in WSSe+VS"),
    "a file": ("models: [mine.cif]", "a structure file is written {name: NAME, file: mine.cif}"),
    "a text": (
        "models: [{name: x, file: notes.txt}]",
        "ASE cannot read it as a structure (it knows no kind of file '.txt')",
    ),
    "a functional": ("protocol: PBE", "To change some keys of one: `protocol: {base: paper, cutoff_ev: 450.0}`"),
    # YAML
    "a tab": ("protocol:\n\tbase: paper", "(indent by spaces, not by tabs)"),
    "a colon": ("title: Li: a trial", "text with a colon goes into quotes"),
    "a bracket": ("sites: [H@top", "a [ without its ]"),
    "a brace": ("adsorbate: {element: Li", "a { without its }"),
    "a quote": ("title: 'a trial", "a quotation mark without its second one"),
    "an indent": ("adsorbate:\n  element: Li\n   charge: 1", "line "),
    "no colon": ("engine emt\nsites: []", "a key without a colon"),
}


@pytest.fixture(params=CAMPAIGNS, ids=str)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    text, words = CAMPAIGNS[request.param]
    (tmp_path / "notes.txt").write_text("hello\n", encoding="utf-8")
    path = tmp_path / "mine.yaml"
    given = "" if text.startswith(("models", "host", "model:")) else "models: [graphene]\n"
    path.write_text(f"campaign: mine\n{given}{text}\n", encoding="utf-8")
    return path, words


def test_a_campaign_is_refused_with_what_to_write(case: tuple[Path, str]) -> None:
    path, words = case
    with pytest.raises(InputError) as error:
        plan(path)
    message = str(error.value)
    assert words in message
    assert message.startswith(f"campaign {path}")
    assert not [leak for leak in LEAKS if leak in message]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modules: vasp/6.4", "modules: 'vasp/6.4' should be a list, as in `modules: [gcc/12]`"),
        ("options: --qos=x", "as in `options: [--qos=regular]`"),
        ("classes: {large: 64}", "as in `classes: {all: {kinds: rest, tasks: 64, wall_time: '24:00:00'}}`"),
        ("classes: {large: {memory_gb: 200G}}", "'200G' should be a number; write the number alone, in GB"),
        (
            "classes: {large: {wall_time: 24:00:00}}",
            "large.wall_time: write it in quotes, such as '24:00:00'",
        ),
        ("classes: {large: {wall_time: 24h}}", "'24h' is no time: write hours:minutes:seconds in quotes"),
        ("scheduler: SLURM", "(did you mean 'slurm'?)"),
        ("account: {}", "account: {} should be text (in quotes)"),
    ],
)
def test_a_cluster_file_is_refused_with_what_to_write(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(f"base: slurm\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_cluster(path)
    assert words in str(error.value)
    assert str(error.value).startswith(f"cluster {path}")


def fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a model and of those within it."""
    from sodiate.workflows.campaign.yaml import _nested_model

    seen.add(model)
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}", field
        nested = _nested_model(field.annotation)
        if nested is not None and nested not in seen:
            yield from fields(nested, seen)


@pytest.mark.parametrize("model", [CampaignFile, Protocol, ClusterFile])
def test_every_example_is_right(model: type[BaseModel]) -> None:
    """What messages and editors show may be written so; but for what another key has to give."""
    shown = [(name, field) for name, field in fields(model, set()) if field.examples]
    assert len(shown) >= 5
    partial = ("StartHeights", "start_heights_a", "adsorbate", "protocol")  # which defaults or a base complete
    for name, field in shown:
        if name.partition(".")[2] not in partial:
            annotation: Any = Annotated[field.annotation, field]
            adapter = TypeAdapter[Any](annotation)
            for example in field.examples or ():
                adapter.validate_python(example)


def test_the_examples_of_what_is_completed_are_right(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    keys = {
        name: CampaignFile.model_fields[name].examples for name in ("adsorbate", "protocol", "models", "supercell")
    }
    lines = [f"{name}: {examples[0]}" for name, examples in keys.items() if examples]
    path.write_text("\n".join(["campaign: mine", *lines]).replace("'", '"'), encoding="utf-8")
    assert load_campaign(path).adsorbate == "Li"


def test_another_kind_of_file_is_told(tmp_path: Path) -> None:
    campaign, cluster = tmp_path / "mine.yaml", tmp_path / "cluster.yaml"
    campaign.write_text("campaign: mine\nmodels: [graphene]\n", encoding="utf-8")
    cluster.write_text("scheduler: slurm\nclasses: {}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has the key 'models' and is a campaign file; give the cluster file here"):
        load_cluster(campaign)
    with pytest.raises(InputError, match=r"has the key 'classes' and is a cluster file; give the campaign file here"):
        load_campaign(cluster)
    with pytest.raises(InputError, match=r"and is a campaign file; give the launchpad file here"):
        load_yaml(campaign, "launchpad")
    (tmp_path / "mine.cif").touch()
    with pytest.raises(InputError, match=r"`sodiate new NAME --host .*mine\.cif` writes a campaign"):
        load_campaign(tmp_path / "mine.cif")
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"is a list, not a mapping of keys to values"):
        load_campaign(tmp_path / "list.yaml")


@pytest.mark.parametrize("name", ["mine", "mine.yml", "mien.yaml"])
def test_a_name_without_its_end_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("campaign: mine\n", encoding="utf-8")
    (tmp_path / "unlike.yaml").write_text("campaign: mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no such file and no bundled campaign \(did you mean 'mine\.yaml'\?\)"):
        load_campaign(name)
    with pytest.raises(InputError, match=r"No such file or directory \(did you mean 'mine\.yaml'\?\)"):
        load_cluster(Path(name))


def test_a_file_that_one_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nobody, if the test runs as root, who may read everything."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "mine.cif"):
        (tmp_path / name).touch(mode=0o000)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(
            InputError, match=r"mine\.yaml cannot be read: you may not; `ls -l mine\.yaml` says who may"
        ):
            load_yaml(Path("mine.yaml"), "campaign")
        with pytest.raises(StructureError, match=r"mine\.cif: you may not read it; `ls -l mine\.cif` says who may"):
            read_slab("mine.cif")
    finally:
        if is_root:
            os.seteuid(0)
