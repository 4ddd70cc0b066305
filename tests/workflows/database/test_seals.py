"""What was changed in the database since it was stored is refused in words, and the rest of a table stands."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError
from sodiate import SodiateError
from sodiate.analysis.model_result import ModelResult
from sodiate.workflows.cli.status import status_lines
from sodiate.workflows.database.connection import DatabaseError, LaunchpadFile, open_launchpad
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.seals import Altered, sealed_campaign, sealed_record, to_entry, to_record
from sodiate.workflows.plan import plan
from sodiate.workflows.results.archive import export_archive, import_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from sodiate.workflows.results.results import Results
from support import DOCS, present
from support.campaigns import Bench, small_campaign

RECORDS = [
    json.loads(line) for line in (DOCS / "reproduction" / "records.jsonl").read_text(encoding="utf-8").splitlines()
]
SITE = next(document for document in RECORDS if document["kind"] == "relax" and document["site"])


def changed(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *above, last = path.split(".")
        for key in above:
            document = document[int(key) if isinstance(document, list) else key]
        document[last] = value

    return change


def one_atom_more(document: dict[str, Any]) -> None:
    document["geometry"]["symbols"].append("Na")
    document["geometry"]["positions_a"].append([0.0, 0.0, 0.0])


SCIENCE = [
    changed("energy_ev", SITE["energy_ev"] - 1.0),
    changed("energy_ev", str(SITE["energy_ev"])),
    changed("energy_ev", float("nan")),
    changed("energy_ev", float("inf")),
    changed("energy_ev", None),
    changed("energy_ev", True),
    changed("physical", 1),
    changed("schema_version", 99),
    changed("schema_version", 0),
    changed("schema_version", "1"),
    changed("schema_version", None),
    changed("method.functional", "RPBE"),
    changed("sampling.kmesh", [9, 9, 1]),
    changed("parents", {}),
    changed("digest", "0" * 16),
    changed("digest", None),
    changed("label", "WSSe\nISIF = 3"),
    changed("surprise", 1),
    one_atom_more,
    lambda document: document["geometry"]["symbols"].append("Na"),
    lambda document: document.pop("provenance"),
]
REST = [
    changed("site.end", "desorbed"),
    changed("max_force_ev_per_a", 0.001),
    changed("notes", ["all is well"]),
    changed("provenance.host", "another"),
    changed("arrays", {}),
    changed("kind", "atom"),
    changed("label", "another"),
    changed("_id", "another"),
    changed("checksum", None),
]


@pytest.mark.parametrize("change", SCIENCE)
@pytest.mark.parametrize("sealed", [False, True], ids=["of an older release", "sealed"])
def test_a_changed_record_is_refused(change: Callable[[dict[str, Any]], None], sealed: bool) -> None:
    """Its science also in records of older releases, which have a digest and no checksum."""
    document = sealed_record(SITE) if sealed else SITE
    document = copy.deepcopy(document)
    assert to_record(document).energy_ev == SITE["energy_ev"]
    change(document)
    with pytest.raises(Altered):
        to_record(document)


@pytest.mark.parametrize("change", REST)
def test_every_other_value_of_a_sealed_record_counts_too(change: Callable[[dict[str, Any]], None]) -> None:
    document = copy.deepcopy(sealed_record(SITE))
    change(document)
    with pytest.raises(Altered, match="its values are not those that were stored"):
        to_record(document)


def test_what_publishing_and_correcting_set_is_not_sealed() -> None:
    document = sealed_record(SITE) | {"state": "superseded", "superseded": "a test", "token": 7}
    assert to_record(document) == to_record(SITE)
    assert to_record(document).digest == SITE["digest"] == to_record(SITE).digest


@pytest.mark.parametrize(
    "change",
    [
        changed("schema_version", 0),
        changed("schema_version", 99),
        changed("schema_version", True),
        changed("models.0.host", "f" * 16),
        changed("models.0.name", "../../escape"),
        changed("campaign", "a\nb"),
        changed("calculations", []),
        changed("revision", "1"),
        changed("title", "better"),
        lambda document: document.pop("models"),
    ],
)
def test_a_changed_campaign_is_refused(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    entry = plan(small_campaign(tmp_path)).entry()
    document = copy.deepcopy(sealed_campaign(entry))
    assert to_entry(document) == entry
    change(document)
    with pytest.raises(Altered):
        to_entry(document)


def restored(documents: Documents, collection: str, saved: dict[str, Any]) -> None:
    documents.db[collection].replace_one({"_id": saved["_id"]}, saved)


def table(bench: Bench) -> dict[str, ModelResult]:
    return {model.model: model for model in Results(bench.documents, "the database").models()}


def test_a_record_changed_in_the_database(bench: Bench, tmp_path: Path) -> None:
    """The oracle is the table before anything was changed: the same number, or none and the reason."""
    planned = plan(small_campaign(tmp_path, models=["WSSe", "WSSe+VS"], sites=["T_W@bottom"]))
    bench.submit(planned)
    bench.launch(planned)
    documents, records = bench.documents, bench.documents.records
    before = {name: model.adsorption_energy_ev for name, model in table(bench).items()}
    assert None not in before.values()
    export_archive(documents, bench.root, tmp_path / "archive")
    atom, host, site = (planned[name].calculation.id for name in ("Na", "WSSe+VS", "WSSe+VS/T_W@bottom"))
    for identifier, change, words in [
        (host, {"energy_ev": -1.0}, "its values are not those that were stored"),
        (site, {"energy_ev": "-3.0"}, "energy_ev: Input should be a valid number"),
        (host, {"energy_ev": float("nan")}, "it holds what no document of sodiate's does"),
        (site, {"site.end": "T_W@top"}, "its values are not those that were stored"),
        (host, {"schema_version": 99}, "it is of schema 99, and this sodiate knows schema 1 alone"),
    ]:
        saved = records.find_one({"calculation": identifier})
        assert saved is not None
        records.update_one({"_id": saved["_id"]}, {"$set": change})
        models = table(bench)
        assert models["WSSe"].adsorption_energy_ev == before["WSSe"]
        assert models["WSSe+VS"].adsorption_energy_ev is None
        said = "; ".join(models["WSSe+VS"].reasons)
        assert f"its record {saved['_id']} was changed in the database: {words}" in said
        assert "`sodiate import` of an archive restores it, `sodiate run` computes it anew" in said
        restored(documents, "records", saved)
    assert {name: model.adsorption_energy_ev for name, model in table(bench).items()} == before

    # One atom more in a reference once halved its energy.
    geometry = present(records.find_one({"calculation": atom}))["geometry"]
    double = {"geometry.symbols": ["Na", "Na"], "geometry.positions_a": [*geometry["positions_a"], [1.0, 1.0, 1.0]]}
    records.update_one({"calculation": atom}, {"$set": double})
    assert all(model.adsorption_energy_ev is None for model in table(bench).values())
    with pytest.raises(ArchiveError, match=r"Na: its record .* was changed in the database.*restore it"):
        export_archive(documents, bench.root, tmp_path / "again")
    assert not list(tmp_path.glob(".again*"))

    # An archive restores it; nothing else is touched.
    assert import_archive(documents, bench.root, tmp_path / "archive").records == 1
    assert {name: model.adsorption_energy_ev for name, model in table(bench).items()} == before

    # A run computes it anew; the changed record is kept, marked, and left out of archives.
    records.update_one({"calculation": host}, {"$set": {"energy_ev": -1.0}})
    bench.submit(planned)
    bench.launch(planned)
    assert {name: model.adsorption_energy_ev for name, model in table(bench).items()} == pytest.approx(before)
    assert records.count_documents({"calculation": host, "state": "superseded"}) == 1
    export_archive(documents, bench.root, tmp_path / "again")
    with Results.open(tmp_path / "again") as results:
        assert len(results.models()) == 2


def test_two_current_records_of_one_calculation(bench: Bench, tmp_path: Path) -> None:
    """The server refuses the second; a database that had two already works on, and says which calculation."""
    planned = plan(small_campaign(tmp_path, models=["WSSe", "WSSe+VS"], sites=["T_W@bottom"], quantities=[]))
    bench.submit(planned)
    bench.launch(planned)
    host, records = planned["WSSe+VS"].calculation.id, bench.documents.records
    saved = records.find_one({"calculation": host})
    assert saved is not None
    second = sealed_record({**saved, "_id": "second"})
    with pytest.raises(DuplicateKeyError):
        records.insert_one(second)
    records.drop_index("one_current_record")
    records.insert_one(second)
    bench.initialise()
    assert "one_current_record" not in records.index_information()
    models = table(bench)
    assert models["WSSe"].adsorption_energy_ev is not None
    assert models["WSSe+VS"].adsorption_energy_ev is None
    assert any("it has two current records" in reason and "second" in reason for reason in models["WSSe+VS"].reasons)
    bench.submit(planned)
    bench.launch(planned)
    bench.initialise()
    assert "one_current_record" in records.index_information()
    assert table(bench)["WSSe+VS"].adsorption_energy_ev is not None


def test_campaigns_calculations_and_arrays_changed_in_the_database(bench: Bench, tmp_path: Path) -> None:
    path = small_campaign(tmp_path)
    planned = plan(path)
    bench.submit(planned)
    bench.launch(planned)
    documents = bench.documents
    other = documents.add_entry(plan(small_campaign(tmp_path, campaign="other")).entry())
    (before,) = (m.adsorption_energy_ev for m in Results(documents, "db").models("small"))
    swapped = planned["WSSe+VS/T_W@bottom"].calculation.id
    documents.campaigns.update_one({"campaign": "small"}, {"$set": {"models.0.host": swapped}})
    assert documents.read_entries()[0] == [other]
    with pytest.raises(
        SodiateError, match=r"campaign small \(emt, .*revision 1 was changed in the database.*sodiate run"
    ):
        Results(documents, "db").models()
    assert [m.campaign for m in Results(documents, "db").models("other")] == ["other"]
    assert [line.split(":")[0] for line in status_lines(documents) if not line.startswith("  ")] == [
        f"campaign small (emt, method {other.method_id})", f"other (emt, method {other.method_id}, revision 1)"
    ]  # fmt: skip
    assert documents.add_entry(planned.entry()).revision == 2
    assert [m.adsorption_energy_ev for m in Results(documents, "db").models("small")] == [before]

    # Parents of a calculation, which say what is stale: put right when the campaign is planned again.
    documents.calculations.update_one({"_id": swapped}, {"$set": {"parents": {}, "label": "x\nNSW = 0"}})
    with pytest.raises(SodiateError, match=r"label: .* is no name: it has a line break"):
        documents.graph([swapped])
    bench.submit(planned)
    assert documents.calculation(swapped).parents.keys() == {"host"}

    dos = documents.record(planned["WSSe+VS/dos"].calculation.id)
    assert dos is not None
    content = bytearray(documents.array_bytes(dos.arrays["dos"]))
    content[len(content) // 2] ^= 1
    documents.put_bytes(dos.arrays["dos"], bytes(content))
    with pytest.raises(SodiateError, match=r"array .*-dos-.* was changed in the database"):
        documents.arrays(dos, "dos")
    assert documents.arrays(dos, "bands") is not None


def test_calculations_and_attempts_changed_so_that_a_reader_would_not_come_back(bench: Bench, tmp_path: Path) -> None:
    """A parent that is nowhere was asked for without end; one's own parent, NaN and no outcome are no answers."""
    planned = plan(small_campaign(tmp_path, models=["WSSe"], sites=["T_W@bottom"], quantities=[]))
    bench.submit(planned)
    bench.launch(planned)
    documents = bench.documents
    (before,) = (model.adsorption_energy_ev for model in table(bench).values())
    host, site = (planned[name].calculation.id for name in ("WSSe", "WSSe/T_W@bottom"))
    saved = {name: present(documents.calculations.find_one({"_id": name})) for name in (host, site)}
    for parent, words in (("f" * 16, "it was computed from another host"), (site, "from another host")):
        documents.calculations.update_one({"_id": site}, {"$set": {"parents.host": parent}})
        (model,) = table(bench).values()
        assert model.adsorption_energy_ev is None
        assert words in "; ".join(model.reasons)
        with pytest.raises(SodiateError, match=r"no calculation f{16} in the database|is its own ancestor"):
            documents.graph([site])
        restored(documents, "calculations", saved[site])
    documents.calculations.update_one({"_id": host}, {"$set": {"structure.layer.a": float("nan")}})
    with pytest.raises(
        SodiateError, match=r"its declared values give no id .*`sodiate run` with the campaign's file"
    ):
        documents.graph([host])
    restored(documents, "calculations", saved[host])
    documents.attempts.update_many({}, {"$unset": {"outcome": ""}})
    documents.records.update_one({"calculation": site}, {"$set": {"state": "superseded"}})
    assert "not yet run" in "; ".join(next(iter(table(bench).values())).reasons)
    documents.records.update_one({"calculation": site}, {"$set": {"state": "current"}})
    assert [model.adsorption_energy_ev for model in table(bench).values()] == [before]


@pytest.mark.parametrize("odd", ["abc", None, 1.5, float("nan"), True])
def test_a_campaign_whose_revision_was_changed_is_told_and_stored_anew(
    bench: Bench, tmp_path: Path, odd: Any
) -> None:
    documents, first = bench.documents, plan(small_campaign(tmp_path)).entry()
    documents.add_entry(first)
    second = documents.add_entry(plan(small_campaign(tmp_path, quantities=[])).entry())
    assert second.revision == 2
    documents.campaigns.update_one({"revision": 2}, {"$set": {"revision": odd}})
    # The revision before it would be another campaign.
    assert documents.read_entries()[0] == []
    with pytest.raises(SodiateError, match=r"was changed in the database.*stores it anew"):
        documents.entries()
    again = documents.add_entry(second)
    assert documents.entries() == [again]
    assert again.models == second.models


@pytest.mark.parametrize("version", ["99", 0, True, None, 1.5])
def test_a_database_of_an_odd_schema_is_refused(launchpad: Path, version: Any) -> None:
    with open_launchpad(launchpad) as database:
        database.db["sodiate"].replace_one({"_id": "schema"}, {"_id": "schema", "version": version}, upsert=True)
    with (
        pytest.raises(DatabaseError, match="which no sodiate wrote: it was changed by hand"),
        open_launchpad(launchpad),
    ):
        pass
    settings = LaunchpadFile.model_validate(yaml.safe_load(launchpad.read_text(encoding="utf-8")))
    client: MongoClient[dict[str, Any]] = MongoClient(settings.host)
    with client:
        client[settings.name or ""]["sodiate"].delete_many({})
