"""Results as people, programs and spreadsheets read them; the examples beyond the paper, run dry from YAML alone."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sodiate.analysis.campaign_entry import CampaignEntry, ModelEntry
from sodiate.analysis.energies.adsorption import AdsorptionResult, SiteResult
from sodiate.analysis.manuscript import adsorption_table
from sodiate.analysis.model_result import HostRecords, ModelResult
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.quantities.adsorption_energy import AdsorptionEnergy
from sodiate.workflows.quantities.lattice import LatticeConstant
from sodiate.workflows.results import query as query_module
from sodiate.workflows.results.rows import columns, matching, to_csv, to_json
from sodiate.workflows.results.tables import note_lines, results_table
from support.campaigns import Finished
from support.cli import Cli, at_most

CONTRACT = {
    "campaign", "model", "supercell", "engine", "method_id", "site", "adsorption_energy_ev",
    "paper_adsorption_energy_ev", "band_gap_ev", "physical", "converged", "reasons", "sites",
}  # fmt: skip
SITE = SiteResult(
    site="H@top", multiplicity=1, end="T_W@top", energy_ev=None, adsorption_energy_ev=-1.2,
    adsorption_energy_bulk_ev=None, total_moment_mub=None, adsorbate_moment_mub=None,
    reason=None,
)  # fmt: skip
ENTRY = CampaignEntry(
    campaign="c", engine="emt", method_id="m", title="", yaml="", adsorbate="Na", calculations=(),
    models=(ModelEntry(name="WSSe", label="WSSe", supercell=(3, 3), host="h", sites=(), lowest="low"),),
)  # fmt: skip


def evaluated(
    physical: bool = False, engine: str = "emt", model: str = "WSSe", site: SiteResult = SITE, **values: Any
) -> ModelResult:
    """A result as tables take it: one site, the paper's value, and what else is given."""
    entry = ENTRY.model_copy(update={"engine": engine})
    host = HostRecords(entry, entry.models[0].model_copy(update={"name": model}), {}, {}, physical)
    adsorption = AdsorptionResult(
        site.site, site.end, site.adsorption_energy_ev, site.adsorption_energy_bulk_ev, (site,), None, ()
    )
    found = {column.key: column.get(adsorption) for column in AdsorptionEnergy.columns}
    found |= {"adsorption_energy_bulk_ev": site.adsorption_energy_bulk_ev, "paper_adsorption_energy_ev": -1.42}
    found |= {"band_gap_ev": 0.0, "gap_nature": "metal"}
    missing = {column.key: None for column in columns()}
    return ModelResult(
        host, {"adsorption_energy": adsorption}, missing | found | values, ("T: failed: why, and how",)
    )


ONE = evaluated()


def test_a_query_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A regular expression that tries 2^30 ways, in C, where nothing but a signal reaches it."""
    monkeypatch.setattr(query_module, "QUERY_S", 0.5)
    query = json.dumps({"model": {"$regex": "^(a+)+$"}})
    with at_most(10), pytest.raises(InputError, match=r"--query .*was not answered within .* s.*simpler"):
        matching([evaluated(model="a" * 30 + "b")], query)
    assert matching([ONE], '{"model": {"$regex": "^W"}}') == [ONE]


def test_json_csv_and_query_of_a_real_run(cli: Cli, finished: Finished) -> None:
    assert "mock (dry run, not physical)" in finished.printed
    (one,) = json.loads(cli("results", "--format", "json", *finished.place).stdout)
    assert set(one) >= CONTRACT
    assert (one["model"], one["supercell"], one["physical"], one["converged"]) == ("WSSe+VS", "2x2", False, True)
    assert one["paper_adsorption_energy_ev"] == -2.21
    assert one["difference_from_paper_ev"] is None
    assert min(s["adsorption_energy_ev"] for s in one["sites"]) == one["adsorption_energy_ev"]
    assert {"start", "end", "energy_ev"} <= set(one["sites"][0])
    (row,) = csv.DictReader(io.StringIO(cli("results", "--format", "csv", *finished.place).stdout))
    assert float(row["adsorption_energy_ev"]) == one["adsorption_energy_ev"]
    assert "mock" in row["note"]
    written = next((finished.root / "results").glob("*/results.csv"))
    assert written.read_text() == cli("results", "--format", "csv", *finished.place).stdout
    for query, count in (('{"model": "WSSe+VS"}', 1), ('{"adsorption_energy_ev": {"$gt": 0}}', 0)):
        found = cli("results", "--query", query, "--format", "json", *finished.place)
        assert (found.returncode, len(json.loads(found.stdout))) == (0, count)


def test_notes_of_records_stand_under_the_table_in_json_and_in_csv() -> None:
    """Each once for all calculations that have it."""
    told = "the electrons changed their state"
    labels = {"h": "WSSe", "low": "WSSe/lowest"}
    records: Any = {i: SimpleNamespace(label=label, notes=(told,), physical=True) for i, label in labels.items()}
    result = replace(ONE, host=replace(ONE.host, records=records))
    assert f"WSSe: WSSe, WSSe/lowest: {told}" in note_lines([result])
    assert json.loads(to_json([result]))[0]["notes"] == [f"WSSe: {told}", f"WSSe/lowest: {told}"]
    (row,) = csv.DictReader(io.StringIO(to_csv([result])))
    assert row["notes"] == f"WSSe: {told}; WSSe/lowest: {told}"


@pytest.mark.parametrize("name", ["li-mosse", "own-host"])
def test_beyond_the_paper_from_yaml_alone(cli: Cli, launchpad: Path, name: str) -> None:
    done = cli("run", name, "--launchpad", launchpad)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(cli("results", "--format", "json", "--launchpad", launchpad).stdout)
    assert all(one["converged"] and one["adsorption_energy_ev"] < 0 for one in found)
    assert {one["paper_adsorption_energy_ev"] for one in found} == {None}
    assert {one["adsorbate"] for one in found} == {"Li" if name == "li-mosse" else "K"}


def test_no_difference_from_the_paper_beside_a_mock() -> None:
    headers = [str(column.header).lower() for column in results_table([ONE], "t").columns]
    assert any("mock" in header for header in headers)
    assert any("paper" in header for header in headers)
    assert not [h for h in headers if "differ" in h or "−" in h or "error" in h or "less" in h]


def test_a_difference_from_the_paper_beside_a_real_value() -> None:
    real = evaluated(True, "gpaw", difference_from_paper_ev=0.22)
    table = results_table([real], "t")
    (column,) = [c for c in table.columns if c.header == "less paper (eV)"]
    assert list(column.cells) == ["0.220"]
    assert not any("mock" in str(c.header) for c in table.columns)
    assert len(results_table([real, ONE], "t").columns) == len(table.columns)  # one mock row: engine shown, no column


@pytest.mark.parametrize("physical", [True, False])
def test_no_columns_of_the_paper_where_it_has_no_value(physical: bool) -> None:
    alone = evaluated(physical, "gpaw", paper_adsorption_energy_ev=None, difference_from_paper_ev=None)
    assert not any("paper" in str(column.header) for column in results_table([alone], "t").columns)


@pytest.mark.parametrize(
    ("key", "head", "value"),
    [("adsorption_energy_bulk_ev", "vs bulk (eV)", -0.9), ("band_gap_ev", "gap (eV) mock", 0.0)],
)
def test_a_column_of_what_no_row_has_is_left_out(key: str, head: str, value: float) -> None:
    """One row with a value keeps it for all."""
    without = evaluated(adsorption_energy_bulk_ev=None, band_gap_ev=None)
    with_value = replace(without, values={**without.values, key: value})
    heads, one_has_it = (
        [str(column.header) for column in results_table(rows, "t").columns]
        for rows in ([without, without], [with_value, without])
    )
    assert set(one_has_it) - set(heads) == {head}
    written, both = (adsorption_table(rows, columns())[0] for rows in ([without], [with_value, without]))
    assert len(both) == len(written) + 1
    assert key in to_csv([without]).splitlines()[0]  # a file's columns are its format


def test_a_metal_is_zero_and_a_missing_gap_is_null() -> None:
    metal, missing = json.loads(to_json([ONE, evaluated(band_gap_ev=None)]))
    assert (metal["band_gap_ev"], missing["band_gap_ev"]) == (0.0, None)
    first, second = csv.DictReader(io.StringIO(to_csv([ONE, evaluated(band_gap_ev=None)])))
    assert (first["band_gap_ev"], second["band_gap_ev"]) == ("0.0", "")


@pytest.mark.parametrize("query", ["{", "[]", "3", '{"$foo": 1}', '{"model": {"$nope": 1}}'])
def test_a_query_that_is_none(query: str) -> None:
    with pytest.raises(InputError, match="--query"):
        matching([ONE], query)


@pytest.mark.parametrize(("relaxed", "warned"), [(3.255, False), (3.271, False), (3.275, True), (3.23, True)])
def test_a_relaxed_lattice_constant_stands_beside_the_declared_one(relaxed: float, warned: bool) -> None:
    """Hosts of one monolayer share a line; more than 0.02 Å apart is warned of."""
    lattice: dict[str, Any] = {"declared_lattice_a": 3.252, "relaxed_lattice_a": relaxed}
    without: dict[str, Any] = {"declared_lattice_a": 3.252, "relaxed_lattice_a": None}
    results = [evaluated(**lattice), evaluated(model="WSSe+VS", **lattice), evaluated(**without)]
    first, *more = LatticeConstant().remarks(results)
    assert first == (
        f"WSSe, WSSe+VS: lattice constant {relaxed:.4f} Å relaxed, 3.2520 Å declared ({relaxed - 3.252:+.4f} Å)"
    )
    assert [line.startswith("WARNING: WSSe, WSSe+VS: ") for line in more] == [True] * warned


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('{"modle": "WSSe"}', ["'modle'", "did you mean 'model'", "band_gap_ev", "host is model"]),
        ('{"adsorption_energy": {"$lt": -1}}', ["did you mean 'adsorption_energy_ev'"]),
        ('{"$or": [{"model": "a"}, {"foo": 1}]}', ["'foo'"]),
        ('{"$nor": [{"$and": [{"foo": 1}]}]}', ["'foo'"]),
        ('{"$expr": {"$lt": ["$adsorption_energy", -1]}}', ["did you mean 'adsorption_energy_ev'"]),
        ('{"$expr": {"$nope": ["$adsorption_energy_ev", -1]}}', ["Unrecognized expression '$nope'"]),
        ('{"sites.ende": "H@top"}', ["'ende' in sites", "did you mean 'end'"]),
        ('{"sites": {"$elemMatch": {"ende": "H@top"}}}', ["'ende' in sites"]),
        ('{"sites.0.ende": "H@top"}', ["'ende' in sites"]),
    ],
)
def test_a_key_that_results_have_not(query: str, words: list[str]) -> None:
    """They were an empty table."""
    with pytest.raises(InputError) as error:
        matching([ONE], query)
    assert all(word in str(error.value) for word in ["--query", *words]), str(error.value)


@pytest.mark.parametrize("query", ['{"modle": "WSSe"}', '{"$expr": {"$lt": ["$energy", -1]}}'])
def test_it_is_refused_before_there_are_results(query: str) -> None:
    with pytest.raises(InputError, match="there is no key"):
        matching([], query)
    assert matching([], '{"$expr": {"$gt": [{"$size": "$sites"}, 0]}}') == []


LOW, HIGH = evaluated(model="low", adsorption_energy_ev=-2.0), evaluated(model="high", adsorption_energy_ev=0.5)
UNKNOWN = evaluated(model="unknown", adsorption_energy_ev=None, paper_adsorption_energy_ev=None)


@pytest.mark.parametrize(
    ("query", "models"),
    [
        ('{"$expr": {"$lt": ["$adsorption_energy_ev", "$paper_adsorption_energy_ev"]}}', ["low"]),
        ('{"$expr": {"$gt": [{"$abs": "$adsorption_energy_ev"}, 0.4]}, "model": {"$ne": "low"}}', ["high"]),
        ('{"$expr": {"$eq": ["$host", "high"]}}', ["high"]),
        ('{"$expr": {"$gt": [{"$size": "$sites"}, 0]}}', ["low", "high", "unknown"]),
        ('{"host": "low"}', ["low"]),
        ('{"$or": [{"host": "low"}, {"model": "high"}]}', ["low", "high"]),
        ('{"adsorption_energy_ev": {"$not": {"$lt": 0}}}', ["high", "unknown"]),
        ('{"sites": {"$elemMatch": {"end": "T_W@top", "adsorption_energy_ev": {"$lt": 0}}}, "host": "low"}', ["low"]),
        ('{"sites.0.end": "T_W@top", "model": "high"}', ["high"]),
    ],
)
def test_queries_find_what_python_finds(query: str, models: list[str]) -> None:
    """Expressions and other names; what is expected was read off the three rows."""
    assert [result.model for result in matching([LOW, HIGH, UNKNOWN], query)] == models


def test_records_are_queried(cli: Cli, finished: Finished) -> None:
    """Every count is that of pymongo-like filtering of all records by hand."""
    every = json.loads(cli("results", "--records", "--format", "json", *finished.place).stdout)
    assert {one["kind"] for one in every} == {"atom", "relax", "dos", "lowest"}
    steps = [one["provenance"]["ionic_steps"] or 0 for one in every]
    some = sorted(steps)[-2]
    query = json.dumps({"kind": "relax", "provenance.ionic_steps": {"$gte": some}})
    found = json.loads(cli("results", "--records", "--query", query, "--format", "json", *finished.place).stdout)
    assert found == [one for one, count in zip(every, steps, strict=True) if count >= some and one["kind"] == "relax"]
    table = cli("results", "--records", "--query", query, *finished.place).stdout
    assert all(one["names"][0] in table for one in found)
    assert "mock" in table
    host = cli("results", "--records", "--host", "WSSe+VS", "--format", "csv", *finished.place).stdout
    rows = list(csv.DictReader(io.StringIO(host)))
    assert {row["names"].partition("/")[0] for row in rows} == {"WSSe+VS"}
    assert len(rows) == sum(one["names"][0].startswith("WSSe+VS") for one in every)
    wrong = cli("results", "--records", "--query", '{"provenance.steps": 1}', *finished.place)
    assert wrong.returncode == 2
    assert "no key 'steps' in provenance (did you mean 'scf_steps'?)" in wrong.stderr
    assert "did you mean 'WSSe+VS'" in cli("results", "--records", "--host", "WSSe+V", *finished.place).stderr


def test_query_reaches_into_sites() -> None:
    assert matching([ONE], '{"sites.end": "T_W@top"}') == [ONE]
    assert matching([ONE], '{"sites.end": "H@top"}') == []


def test_the_numbers_fit_into_80_columns() -> None:
    from rich.console import Console

    site = replace(SITE, site="T_W@bottom-3", end="T_W@bottom-3 (went through)", adsorption_energy_bulk_ev=-1.234)
    long = evaluated(model="WSSe+VS+VSe", site=site)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table([long, long], "A title"))
    text = console.export_text()
    assert "…" not in text
    assert all(number in text for number in ("-1.200", "-1.234", "-1.420", "0.000", "1/1"))
