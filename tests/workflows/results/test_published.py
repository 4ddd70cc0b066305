"""What is published: RO-Crate, OPTIMADE, NOMAD. Read by the libraries of those who made these; never a mock."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.io import read
from pymatgen.core.composition import Composition
from sodiate.analysis.records import Geometry
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines import engine_names, make_engine
from sodiate.workflows.engines.base import Settings
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import import_archive
from sodiate.workflows.results.crate import METADATA, Author, licence_address, write_crate
from sodiate.workflows.results.export import write_results
from sodiate.workflows.results.nomad import write_nomad
from sodiate.workflows.results.optimade import structure_attributes, write_optimade
from sodiate.workflows.results.published import published
from sodiate.workflows.results.results import Results
from support import CHECKOUT, DATA, DOCS
from support.campaigns import Bench, Finished, small_campaign
from support.cli import Cli
from support.requirements import skip_unless_required

REAL = DOCS / "reproduction"
RECORDS = {
    record["calculation"]: record
    for record in map(json.loads, (REAL / "records.jsonl").read_text(encoding="utf-8").splitlines())
    if record["state"] == "current"
}


def needs(package: str) -> None:
    if find_spec(package) is None:
        skip_unless_required(f"needs {package}: pip install 'sodiate[test]'")


def one(entities: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    (found,) = (entity for entity in entities if all(entity.get(key) == value for key, value in values.items()))
    return found


def listed(value: Any) -> list[str]:
    """The ids that a property refers to."""
    return [item["@id"] for item in (value if isinstance(value, list) else [value])]


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "crate"
    ada = Author.read("Ada Lovelace https://orcid.org/0000-0002-1825-0097")
    with Results.open(REAL) as results:
        told = write_crate(results, None, folder, "wsse-gpaw-best", "cc-by-4.0", [ada])
    assert told.endswith("as an RO-Crate under CC-BY-4.0 in " + str(folder))
    return folder


def graph(crate: Path) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = json.loads((crate / METADATA).read_text(encoding="utf-8"))["@graph"]
    return entities


def test_every_file_is_in_the_crate_with_its_size_and_checksum(crate: Path) -> None:
    files = {entity["@id"]: entity for entity in graph(crate) if entity["@type"] == "File"}
    there = {path.relative_to(crate).as_posix(): path for path in crate.rglob("*") if path.is_file()}
    assert there.keys() - files.keys() == {METADATA}
    for name, entity in files.items():
        content = there[name].read_bytes()
        assert entity["contentSize"] == str(len(content))
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
    assert set(listed(one(graph(crate), **{"@id": "./"})["hasPart"])) >= files.keys()


def test_every_reference_leads_somewhere(crate: Path) -> None:
    entities = graph(crate)
    ids = [entity["@id"] for entity in entities]
    assert len(ids) == len(set(ids))

    def references(value: Any) -> list[str]:
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        own = [value["@id"]] if isinstance(value, dict) and value.keys() == {"@id"} else []
        return own + [found for item in values for found in references(item)]

    away = {name for entity in entities for key in entity for name in references(entity[key])} - set(ids)
    assert away == {"https://w3id.org/ro/crate/1.1"}


def test_the_library_reads_it(crate: Path) -> None:
    """RO-Crate's own library, and its copy of the words that a crate may use."""
    needs("rocrate")
    from rocrate.rocrate import ROCrate

    read_crate = ROCrate(crate)
    assert read_crate.license["name"] == "CC-BY-4.0"
    assert read_crate.root_dataset["author"]["name"] == "Ada Lovelace"
    actions = [entity for entity in read_crate.contextual_entities if entity.type == "CreateAction"]
    recorded = [path.parent.name.rpartition("-")[2] for path in crate.glob("calculations/*/record.json")]
    assert sorted(action.id.removeprefix("#calculation-") for action in actions) == sorted(recorded)
    assert all(RECORDS[action.id.removeprefix("#calculation-")]["physical"] for action in actions)
    import rocrate

    (words,) = Path(rocrate.__file__).parent.glob("data/ro-crate.jsonld")
    known = {*json.loads(words.read_text(encoding="utf-8"))["@context"], "sha256", "@id", "@type"}
    assert {key for entity in graph(crate) for key in entity} <= known


def test_a_calculation_says_how_it_came_about(crate: Path) -> None:
    entities = graph(crate)
    (path,) = crate.glob("calculations/WSSe+VS_V_S@top-*")
    identifier = path.name.rpartition("-")[2]
    action, record = one(entities, **{"@id": f"#calculation-{identifier}"}), RECORDS[identifier]
    assert (action["startTime"], action["endTime"]) == tuple(record["provenance"][k] for k in ("started", "finished"))
    software = [one(entities, **{"@id": name}) for name in listed(action["instrument"])]
    assert [(s["name"], s["softwareVersion"]) for s in software][:3] == [
        ("GPAW", record["provenance"]["versions"]["gpaw"]),
        ("sodiate", record["provenance"]["versions"]["sodiate"]),
        ("ase", record["provenance"]["versions"]["ase"]),
    ]
    host = record["parents"]["host"]["calculation"]
    assert any(name.endswith(f"-{host}/record.json") for name in listed(action["object"]))
    assert f"calculations/{path.name}/record.json" in listed(action["result"])
    kept = json.loads((path / "record.json").read_text(encoding="utf-8"))
    assert kept["energy_ev"] == record["energy_ev"]
    assert kept["provenance"]["directory"] == path.name
    value = one(entities, name="adsorption energy of Na on WSSe+VS at V_S@top")
    atom = RECORDS[record["parents"]["host"]["calculation"]]["energy_ev"]
    (free,) = {r["energy_ev"] for r in RECORDS.values() if r["calculation"] in na_of(entities)}
    assert value["value"] == pytest.approx(record["energy_ev"] - atom - free, abs=1e-9)


def na_of(entities: list[dict[str, Any]]) -> list[str]:
    folders = [entity for entity in entities if entity["@type"] == "Dataset" and entity["@id"] != "./"]
    return [folder["identifier"] for folder in folders if folder["description"].startswith("atom ")]


def test_a_licence_has_to_be_named() -> None:
    assert licence_address("cc0-1.0") == ("https://spdx.org/licenses/CC0-1.0", "CC0-1.0")
    assert licence_address("https://example.org/licence")[0] == "https://example.org/licence"
    with pytest.raises(InputError, match="no licence is named"):
        licence_address(None)
    for wrong in ("CC-BY 4.0", "mine", "MIT OR Apache-2.0", "LicenseRef-mine"):
        with pytest.raises(InputError, match="no SPDX identifier"):
            licence_address(wrong)


def test_authors() -> None:
    assert Author.read("Ada Lovelace") == Author("Ada Lovelace")
    for wrong in ("https://orcid.org/0000-0002-1825-0097", "Ada https://example.org/ada", "Ada\nLovelace"):
        with pytest.raises(InputError, match="--author"):
            Author.read(wrong)


def test_structures_are_what_optimade_calls_so(tmp_path: Path) -> None:
    needs("optimade")
    from optimade.models import EntryInfoResponse, StructureResponseMany

    with Results.open(REAL) as results:
        write_optimade(results, tmp_path / "out", None)
    document = json.loads((tmp_path / "out" / "structures.json").read_text(encoding="utf-8"))
    StructureResponseMany.model_validate(document)
    info = json.loads((tmp_path / "out" / "info-structures.json").read_text(encoding="utf-8"))
    EntryInfoResponse.model_validate(info)
    entries = {entry["id"]: entry["attributes"] for entry in document["data"]}
    assert all(attributes.keys() == info["data"]["properties"].keys() for attributes in entries.values())
    for identifier, attributes in entries.items():
        record = RECORDS[identifier]
        assert attributes["cartesian_site_positions"] == record["geometry"]["positions_a"]
        assert attributes["_sodiate_energy_ev"] == record["energy_ev"]
        formula = Composition(attributes["chemical_formula_hill"])
        assert formula == Composition("".join(record["geometry"]["symbols"]))
        assert attributes["chemical_formula_hill"] == formula.hill_formula.replace(" ", "")
    kinds = {(a["_sodiate_label"], a["_sodiate_role"]): a["dimension_types"] for a in entries.values()}
    assert kinds["WSSe+VS", "host"] == kinds["WSSe+VS/V_S@top", "site"] == [1, 1, 0]
    assert kinds["Na", "reference"] == kinds["S-molecule", "reference"] == [0, 0, 0]
    assert kinds["Na-bcc", "reference"] == kinds["Se-crystal", "reference"] == [1, 1, 1]
    best = [a for a in entries.values() if a["_sodiate_label"] == "WSSe+VS/V_S@top"]
    table = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    assert f"{best[0]['_sodiate_adsorption_energy_ev']:.3f}".replace("-", "") in table


def test_formulas_with_carbon_and_of_many_elements() -> None:
    positions = tuple((0.0, 0.0, float(i)) for i in range(7))
    cell = ((9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, 9.0))
    symbols = ("Ti", "Ti", "C", "O", "O", "H", "Na")
    geometry = Geometry(symbols=symbols, positions_a=positions, cell_a=cell, pbc=(True, True, False))
    found = structure_attributes(geometry)
    assert found["chemical_formula_hill"] == "CHNaO2Ti2"
    assert found["chemical_formula_reduced"] == "CHNaO2Ti2"
    assert found["chemical_formula_anonymous"] == "A2B2CDE"
    assert found["elements_ratios"] == pytest.approx([1 / 7, 1 / 7, 1 / 7, 2 / 7, 2 / 7])


def test_a_dry_run_is_not_published(finished: Finished, cli: Cli, tmp_path: Path) -> None:
    for form, more in (("ro-crate", ("--license", "CC-BY-4.0")), ("optimade", ()), ("nomad", ())):
        done = cli("export", "out", "--format", form, *more, *finished.place)
        assert done.returncode == 2
        assert "all of it is of dry runs, whose numbers are mock" in done.stderr
        assert not (tmp_path / "out").exists()
    for words in (("--license", "CC-BY-4.0", "--format", "nomad"), ("--campaign", "wsse")):
        assert cli("export", "out", *words, *finished.place).returncode == 2


def test_mock_records_stay_behind_and_are_told(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    bench.launch(planned)
    import_archive(bench.documents, bench.root, REAL)
    results = Results(bench.documents, "both")
    source = published(results, None, bench.root)
    assert source.records.keys() == RECORDS.keys()
    assert source.mock == len(planned)
    told = write_optimade(results, tmp_path / "out", None)
    assert told.endswith(f"; {len(planned)} of dry runs left out: they are mock and no results")
    write_results(results, tmp_path / "xyz", "extxyz", "small")
    (marked,) = (tmp_path / "xyz").glob("small-*/MOCK")
    assert "not physical" in marked.read_text()
    atoms = read(next((tmp_path / "xyz").glob("small-*/**/*V_S_top.extxyz")))
    assert "mock" in atoms.info["note"]  # type: ignore[union-attr]


def test_a_folder_for_nomad(bench: Bench, tmp_path: Path) -> None:
    """Outputs by which NOMAD knows a run, whatever else lies there left behind."""
    import_archive(bench.documents, bench.root, REAL)
    results = Results(bench.documents, "real")
    with pytest.raises(InputError, match="nothing that NOMAD would know"):
        write_nomad(results, bench.root, tmp_path / "out", "wsse-gpaw-best")
    assert not (tmp_path / "out").exists()
    source = published(results, "wsse-gpaw-best", bench.root)
    identifier = next(i for i, names in source.names.items() if "WSSe/T_W@top" in names)
    directory = bench.root / source.calculations[identifier].directory_name
    directory.mkdir(parents=True)
    for name in ("density.gpw", "gpaw-1.txt", "run.py", "input.json", "POTCAR", "lock", "trajectory-3.gpw"):
        (directory / name).write_text(name)
    told = write_nomad(results, bench.root, tmp_path / "out", "wsse-gpaw-best")
    assert told.startswith(f"1 calculations with the files of their code, {len(source.records) - 1} more")
    content = yaml.safe_load((tmp_path / "out" / "nomad.yaml").read_text(encoding="utf-8"))
    ((main, about),) = content["entries"].items()
    assert re.match(r"^.*\.(gpw2|gpw)$", main)  # of NOMAD's parser: mainfile_name_re
    assert (tmp_path / "out" / main).read_text() == "density.gpw"
    assert about["comment"].startswith("WSSe/T_W@top: relax, ")
    copied = {path.name for path in (tmp_path / "out" / main).parent.iterdir()}
    assert copied == {
        *("density.gpw", "gpaw-1.txt", "run.py", "input.json", "record.json", "calculation.json", "trajectory.npz"),
    }


@pytest.mark.parametrize("name", [name for name in engine_names() if name in ("emt", "gpaw", "vasp")])
def test_no_file_under_a_licence_is_published(name: str) -> None:
    engine = make_engine(name, Settings())
    patterns = (*engine.input_files, *engine.output_files, *engine.nomad_files)
    for secret in ("POTCAR", "POTCAR.gz", "POTCAR.Na_pv", "POTCAR.stage-1"):
        assert not [pattern for pattern in patterns if fnmatchcase(secret, pattern)]
    assert set(engine.nomad_files) <= set(engine.output_files)


def test_the_citation_file() -> None:
    needs("jsonschema")
    from jsonschema import Draft7Validator, FormatChecker

    cited = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    schema = json.loads((DATA / "schemas" / "cff-1.2.0.json").read_text(encoding="utf-8"))
    Draft7Validator(schema, format_checker=FormatChecker()).validate(cited)
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    # The last release, not what is installed: a clone's own version counts the commits since it.
    releases = re.findall(r"^## \[(\d[^]]*)\]", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    last = releases[0] if releases else settings["tool"]["setuptools_scm"]["fallback_version"]
    assert cited["version"] == last
    project = settings["project"]
    assert cited["license"] == project["license"]
    assert cited["authors"][0]["name"] in (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    assert "CITATION.cff" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
