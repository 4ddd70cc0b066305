"""The fit of costs: a known law is found again, and its deviations are those of refits that were done by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase.data import atomic_numbers
from sodiate.analysis.cost import CostModel, Estimate, Spent, Work, valence_electrons

FACTORS = {"relax": 40.0, "relax, adsorbate": 90.0, "dos": 5.0}


def works(count: int, seed: int, cores: tuple[int, ...] = (1, 2, 4, 16)) -> list[Work]:
    random = np.random.default_rng(seed)
    return [
        Work(
            method="code PBE",
            group=str(random.choice(list(FACTORS))),
            electrons=float(random.integers(6, 400)),
            volume_a3=float(random.uniform(100, 4000)),
            cutoff_ev=float(random.uniform(250, 700)),
            kpoints=int(random.integers(1, 60)),
            spins=int(random.integers(1, 3)),
            cores=int(random.choice(cores)),
        )
        for _ in range(count)
    ]


def law(work: Work, exponents: tuple[float, float, float, float]) -> float:
    """Seconds of CPU time by a power law, written as it is read."""
    electrons, waves, points, cores = exponents
    waves_now = work.volume_a3 * work.cutoff_ev**1.5 / 1e6
    return (
        FACTORS[work.group]
        * (work.electrons / 100) ** electrons
        * waves_now**waves
        * (work.kpoints * work.spins) ** points
        * (work.cores or 1) ** cores
    )


@pytest.mark.parametrize("exponents", [(1.0, 1.0, 1.0, 0.0), (1.6, 1.2, 0.8, 0.2)])
def test_a_known_law_is_found_again(exponents: tuple[float, float, float, float]) -> None:
    model = CostModel([Spent(work, law(work, exponents)) for work in works(400, 1)])
    assert model.exponents == pytest.approx(exponents, abs=0.02)
    for work in works(50, 2):
        estimate = model.estimate(work)
        assert estimate is not None
        assert estimate.cpu_s == pytest.approx(law(work, exponents), rel=0.05)


def test_from_one_record_times_grow_as_the_work() -> None:
    (work,) = works(1, 3)
    model = CostModel([Spent(work, 100.0)])
    twice = dataclasses.replace(work, kpoints=2 * work.kpoints)
    larger = dataclasses.replace(work, electrons=2 * work.electrons, volume_a3=2 * work.volume_a3)
    estimates = [model.estimate(one) for one in (work, twice, larger)]
    assert [one.cpu_s for one in estimates if one] == pytest.approx([100.0, 200.0, 400.0])
    assert all(one and one.low_s is None and one.high_s is None for one in estimates)
    assert model.estimate(dataclasses.replace(work, group="bands")) is None
    assert np.isnan(model.held_back).all()


def test_what_is_held_back_is_estimated_from_the_others_alone() -> None:
    """Against refits without each record, as a least-squares problem with a row for each penalty."""
    random = np.random.default_rng(4)
    spent = [Spent(work, law(work, (1.3, 0.9, 1.1, 0.1)) * float(random.lognormal(0, 0.5))) for work in works(14, 5)]
    spent.append(Spent(dataclasses.replace(spent[0].work, group="bands"), 7.0))
    model = CostModel(spent)
    widths = np.array([0.5, 0.5, 0.5, 0.1, 1.0, 1.0, 1.0, 1.0])
    start = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    rows = np.array(
        [
            [
                *np.log([w.electrons, w.volume_a3 * w.cutoff_ev**1.5, w.kpoints * w.spins, w.cores or 1]),
                *(w.group == group for group in (*FACTORS, "bands")),
                1.0,
            ]
            for w in (one.work for one in spent)
        ]
    )
    times = np.log([one.cpu_s for one in spent])
    penalties = np.hstack([np.diag(0.5 / widths), np.zeros((8, 1))])
    for left_out, own in enumerate(rows[:-1]):
        kept = np.arange(len(rows)) != left_out
        problem = np.vstack([rows[kept], penalties])
        found = np.linalg.lstsq(problem, np.append(times[kept] - rows[kept] @ start, np.zeros(8)), rcond=None)[0]
        assert model.held_back[left_out] == pytest.approx(times[left_out] - own @ (start + found), abs=1e-9)
    assert np.isnan(model.held_back[-1])  # alone in its group


def test_eight_of_ten_lie_in_the_range_and_the_sum_is_that_of_means() -> None:
    random = np.random.default_rng(6)
    exponents = (1.0, 1.0, 1.0, 0.0)
    scattered = [Spent(work, law(work, exponents) * float(random.lognormal(0, 0.6))) for work in works(600, 7)]
    model = CostModel(scattered[:300])
    estimates = [estimate for one in scattered[300:] if (estimate := model.estimate(one.work)) is not None]
    assert len(estimates) == 300
    within = [
        estimate.low_s <= one.cpu_s <= estimate.high_s
        for estimate, one in zip(estimates, scattered[300:], strict=True)
        if estimate.low_s is not None and estimate.high_s is not None
    ]
    assert np.mean(within) == pytest.approx(0.8, abs=0.06)
    # The mean of a log-normal scatter of 0.6 is 1.2 times its median.
    ratios = [
        estimate.cpu_s / law(one.work, exponents) for estimate, one in zip(estimates, scattered[300:], strict=True)
    ]
    assert np.mean(ratios) == pytest.approx(np.exp(0.6**2 / 2), rel=0.08)


def test_ranks_are_no_cost_of_their_own() -> None:
    """The same CPU time on 1 to 16 cores: wall times differ by 16, estimates do not."""
    spent = [Spent(work, law(work, (1.0, 1.0, 1.0, 0.0))) for work in works(80, 8)]
    model = CostModel(spent)
    assert model.cores == (1, 16)
    assert model.exponents[3] == pytest.approx(0.0, abs=0.01)
    on = [model.estimate(dataclasses.replace(spent[0].work, cores=cores)) for cores in (1, 16, None)]
    assert [estimate.cpu_s for estimate in on if estimate] == pytest.approx([spent[0].cpu_s] * 3, rel=0.03)


def test_a_sum_is_as_if_all_were_off_to_the_same_side() -> None:
    assert Estimate.total([Estimate(2.0, 1.0, 4.0), Estimate(3.0, 2.0, 5.0)]) == Estimate(5.0, 3.0, 9.0)
    assert Estimate.total([Estimate(2.0, 1.0, 4.0), Estimate(3.0, None, None)]) == Estimate(5.0, None, None)


@pytest.mark.parametrize(
    ("symbols", "electrons"),
    [
        ("H Li Na K Cs", 1),
        ("Mg Ca Ba", 2),
        ("Al Ga In Tl La Lu Y", 3),
        ("C Si Pb Ti Hf", 4),
        ("O S Se Te Cr Mo W", 6),
        ("F I Mn Re", 7),
        ("Ni Pd Pt", 10),
        ("Zn Cd Hg", 12),
    ],
)
def test_valence_electrons_are_those_of_the_periodic_table(symbols: str, electrons: int) -> None:
    assert {valence_electrons(atomic_numbers[symbol]) for symbol in symbols.split()} == {electrons}
