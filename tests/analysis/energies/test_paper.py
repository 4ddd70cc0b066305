"""The paper's numbers, against its text; and that they agree with the bundled protocol."""

import pytest
import yaml
from pydantic import ValidationError
from sodiate.analysis.energies.paper import Paper, paper, paper_value
from support import CHECKOUT

CONFIGS = CHECKOUT / "configs"


@pytest.mark.parametrize(
    ("model", "value"),
    [("WSe2", -1.27), ("WSSe", -1.42), ("WSSe+VS", -2.21), ("WSSe+VSe", -2.21), ("WSSe+VS+VSe", -2.25)],
)
def test_published_adsorption_energies(model: str, value: float) -> None:
    assert paper_value(model, "Na") == value  # read off Figure 5f


def test_models_are_the_bundled_campaign_s() -> None:
    campaign = yaml.safe_load((CONFIGS / "campaigns" / "wsse.yaml").read_text(encoding="utf-8"))
    assert list(paper().adsorption_energy_ev["Na"]) == campaign["models"]


def test_what_the_paper_has_not_is_none() -> None:
    assert paper_value("WS2", "Na") is None
    assert paper_value("WSe2", "Li") is None


def test_reference_and_method_are_typed() -> None:
    assert paper().doi == "10.1002/smll.202206340"
    assert "Small" in paper().citation
    method = paper().method
    assert (method.cutoff_ev, method.energy_convergence_ev) == (500.0, 1e-5)
    assert (method.force_convergence_ev_per_a, method.vacuum_a) == (0.02, 15.0)


def test_bundled_protocol_keeps_what_the_paper_states() -> None:
    protocol = yaml.safe_load((CONFIGS / "protocols" / "paper.yaml").read_text(encoding="utf-8"))
    method = paper().method
    assert float(protocol["cutoff_ev"]) == method.cutoff_ev
    assert float(protocol["energy_convergence_ev"]) == method.energy_convergence_ev
    assert float(protocol["max_force_ev_per_a"]) == method.force_convergence_ev_per_a


def test_file_is_read_once_and_an_unknown_key_is_refused() -> None:
    assert paper() is paper()
    with pytest.raises(ValidationError, match="band_gap_ev"):
        Paper.model_validate(paper().model_dump() | {"band_gap_ev": 1.0})
