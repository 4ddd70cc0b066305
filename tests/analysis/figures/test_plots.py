"""Figures: real PNGs, and what is drawn and written in them, read back from the figure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from sodiate import SodiateError
from sodiate.analysis.arrays import Dos
from sodiate.analysis.energies.paper import paper_value
from sodiate.analysis.figures.plots import AdsorptionBar, adsorption_bars, dos_plot
from sodiate.analysis.records import BandGap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.text import Text

MODELS = ["WSe2", "WSSe", "WSSe+VS", "WSSe+VSe", "WSSe+VS+VSe"]
VALUES = [-0.57, -0.91, -1.83, None, -1.79]
REASON = "the clean host did not converge in 300 steps"
MOCK = "mock (dry run, not physical)"


def bars(values: Sequence[float | None] = VALUES, published: bool = True) -> list[AdsorptionBar]:
    return [
        AdsorptionBar(
            model=model,
            value_ev=value,
            paper_ev=paper_value(model, "Na") if published else None,
            site=None if value is None else "T_W@top",
            reason=REASON if value is None else None,
        )
        for model, value in zip(MODELS, values, strict=True)
    ]


def dos(gap: float = 1.5, spins: int = 1, projections: Sequence[str] = ("W-d", "Se-p"), fermi: float = -3.0) -> Dos:
    """Two humps that fall off steeply at a gap, which starts 0.4 eV below the Fermi level."""
    x = np.arange(-14, 6, 0.01)
    valence, conduction = x - fermi + 0.4, x - fermi + 0.4 - gap
    y = np.where(valence < 0, np.exp(valence), 0) + np.where(conduction > 0, np.exp(-conduction), 0)
    total = np.stack([20 * y, 15 * y][:spins])
    shares = {name: total * 0.8 / (i + 2) for i, name in enumerate(projections)}
    return Dos(x, total, shares, fermi, 0.05)


def semiconductor(gap: float = 1.5, vbm: float = -3.4, nature: Literal["direct", "indirect"] = "direct") -> BandGap:
    k = (1 / 3, 1 / 3, 0.0)
    return BandGap(gap_ev=gap, nature=nature, vbm_ev=vbm, cbm_ev=vbm + gap, vbm_k=k, cbm_k=k, fermi_ev=vbm + 0.4)


def metal() -> BandGap:
    return BandGap(gap_ev=0.0, nature="metal", fermi_ev=-3.0, reason="4.500 electrons fill no whole bands")


def texts(figure: Figure | Axes) -> list[Text]:
    from matplotlib.text import Text

    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def rectangles(axes: Axes) -> list[Rectangle]:
    """The patches, which are rectangles, all of them."""
    from matplotlib.patches import Rectangle

    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(found) == len(axes.patches)
    return found


def points(line: Line2D) -> np.ndarray:
    """x and y of a line, shape (2, points)."""
    return np.asarray(line.get_data(), float)


def renderer_of(figure: Figure) -> RendererAgg:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    assert isinstance(figure.canvas, FigureCanvasAgg)
    return figure.canvas.get_renderer()


def says(figure: Figure) -> str:
    return " | ".join(t.get_text().replace("\n", " ") for t in texts(figure))


def assert_png(path: Path, figure: Figure) -> None:
    from matplotlib.image import imread

    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = imread(path)[..., :3]
    assert image.shape[:2] == pytest.approx((figure.get_size_inches() * figure.dpi)[::-1], abs=1)
    assert image.std() > 0.05
    border = np.concatenate([image[:4].ravel(), image[-4:].ravel(), image[:, :4].ravel(), image[:, -4:].ravel()])
    assert border.min() == 1.0  # nothing runs out of the page


def assert_legible(figure: Figure) -> None:
    """No text smaller than 9 points, outside the page, or over another one (the watermark apart)."""
    renderer = renderer_of(figure)
    unseen = {id(label) for axes in figure.axes for label in labels_beyond_limits(axes)}
    boxes = []
    for text in texts(figure):
        if text.get_text() == "mock" or id(text) in unseen:
            continue
        box = text.get_window_extent(renderer)
        assert float(text.get_fontsize()) >= 9, text
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
        boxes.append((text.get_text(), box.padded(-1)))
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


def labels_beyond_limits(axes: Axes) -> Iterator[Text]:
    """Tick labels that matplotlib keeps, but does not draw."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        for tick in axis.get_major_ticks():
            if not (axes.axison and low <= tick.get_loc() <= high):
                yield tick.label1
                yield tick.label2


def test_bars_are_as_high_as_the_values_and_the_paper_is_marked_apart(tmp_path: Path) -> None:
    figure = adsorption_bars(bars(), tmp_path / "a.png", mock=False)
    assert_png(tmp_path / "a.png", figure)
    assert_legible(figure)
    (axes,) = figure.axes
    assert [bar.get_height() for bar in rectangles(axes)] == [v for v in VALUES if v is not None]
    assert all(bar.get_y() == 0 for bar in rectangles(axes))
    slots = [round(bar.get_x() + bar.get_width() / 2) for bar in rectangles(axes)]
    assert slots == [0, 1, 2, 4]
    (markers,) = [line for line in axes.lines if line.get_marker() == "D"]
    np.testing.assert_array_equal(points(markers)[1], [-1.27, -1.42, -2.21, -2.21, -2.25])  # Figure 5f
    assert [round(x - 0.3) for x in points(markers)[0]] == [0, 1, 2, 3, 4]
    for x, bar in zip(points(markers)[0, :3], rectangles(axes), strict=False):
        assert x > bar.get_x() + bar.get_width()  # beside the bar, not on it
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["this work", "Lei et al. 2023"]
    assert "(eV)" in axes.get_ylabel()
    assert "mock" not in says(figure)
    assert all(bar.get_hatch() is None for bar in axes.patches)


@pytest.mark.parametrize("value", [-0.3, -1.45, -2.6])
def test_published_number_never_lies_over_a_bar(tmp_path: Path, value: float) -> None:
    figure = adsorption_bars(bars([value] * 5), tmp_path / "a.png", mock=False)
    renderer = renderer_of(figure)
    chart = [bar.get_window_extent(renderer).padded(-1) for bar in figure.axes[0].patches]
    numbers = [t for t in figure.axes[0].texts if t.get_text().startswith("−")]
    assert len(numbers) == 10
    for number in numbers:
        assert not any(bar.overlaps(number.get_window_extent(renderer)) for bar in chart), number


def test_numbers_sites_and_the_reason_for_an_empty_slot_are_written(tmp_path: Path) -> None:
    figure = adsorption_bars(bars(), tmp_path / "a.png", mock=False)
    written = says(figure)
    for number in ("−0.57", "−0.91", "−1.83", "−1.79", "−1.27", "−2.25"):
        assert number in written
    assert f"no value: {REASON}" in written
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert labels == ["WSe2\nT_W@top", "WSSe\nT_W@top", "WSSe+VS\nT_W@top", "WSSe+VSe", "WSSe+VS+VSe\nT_W@top"]


def test_mock_bars_are_hatched_named_and_never_beside_the_paper_s(tmp_path: Path) -> None:
    figure = adsorption_bars(bars(), tmp_path / "a.png", mock=True)
    assert_png(tmp_path / "a.png", figure)
    assert_legible(figure)
    assert MOCK in figure.get_suptitle()
    chart, published = figure.axes
    assert "mock" in chart.get_ylabel()
    assert all(bar.get_hatch() for bar in chart.patches)
    assert {bar.get_facecolor() for bar in chart.patches} == {(1.0, 1.0, 1.0, 1.0)}
    assert "mock" in [t.get_text() for t in chart.texts]
    assert [bar.get_height() for bar in rectangles(chart)] == [v for v in VALUES if v is not None]
    assert not [line for line in chart.lines if line.get_marker() == "D"]
    inside = " ".join(t.get_text() for t in texts(chart))
    listed = " ".join(t.get_text() for t in texts(published))
    for value in ("−1.27", "−1.42", "−2.21", "−2.25"):
        assert value not in inside
        assert value in listed
    assert not published.patches
    assert not published.lines
    assert "Not to be compared" in listed
    for mock, real in zip((-0.57, -0.91, -1.83, -1.79), (-1.27, -1.42, -2.21, -2.25), strict=True):
        assert f"{abs(mock - real):.2f}" not in says(figure)  # no difference anywhere
    assert chart.get_position().x1 < published.get_position().x0
    # The mock chart is scaled to its own values: the paper's do not show even in its axis.
    without = adsorption_bars(bars(published=False), tmp_path / "b.png", mock=True)
    assert without.axes[0].get_ylim() == chart.get_ylim()
    assert len(without.axes) == 1


@pytest.mark.parametrize("mock", [False, True])
def test_bars_of_either_sign_and_no_values_at_all(tmp_path: Path, mock: bool) -> None:
    figure = adsorption_bars(bars([0.31, -0.2, 0.0, None, 0.5]), tmp_path / "a.png", mock)
    assert_legible(figure)
    assert [bar.get_height() for bar in rectangles(figure.axes[0])] == [0.31, -0.2, 0.0, 0.5]
    figure = adsorption_bars(bars([None] * 5, published=False), tmp_path / "b.png", mock)
    assert_png(tmp_path / "b.png", figure)
    assert_legible(figure)
    assert says(figure).count("no value") == 5
    figure = adsorption_bars([AdsorptionBar("WS2", 0.4, None, "H@top", None), bars()[3]], tmp_path / "c.png", mock)
    assert_legible(figure)


def test_one_bar_is_no_wider_than_one_of_five(tmp_path: Path) -> None:
    inches = []
    for number in (1, 5):
        figure = adsorption_bars(bars()[:number], tmp_path / "a.png", mock=False)
        figure.canvas.draw()
        bar = figure.axes[0].patches[0].get_window_extent()
        inches.append(bar.width / figure.dpi)
    assert inches[0] == pytest.approx(inches[1], rel=0.01)


def test_a_long_reason_is_cut_to_its_slot(tmp_path: Path) -> None:
    row = AdsorptionBar("WSe2", None, -1.27, None, "why " * 100)
    figure = adsorption_bars([row] * 5, tmp_path / "a.png", mock=False)
    assert_legible(figure)
    assert "…" in says(figure)


def drawn(axes: Axes) -> dict[str, Line2D]:
    """Curves by label; the mirrored ones of spin down have none."""
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def test_dos_is_drawn_about_the_valence_band_or_the_fermi_level(tmp_path: Path) -> None:
    curves = {"WSe2": dos(), "WSSe": dos(1.2), "WSSe+Na": dos(), "unknown": dos()}
    gaps = {"WSe2": semiconductor(), "WSSe": semiconductor(1.2, nature="indirect"), "WSSe+Na": metal()}
    figure = dos_plot(curves, gaps, tmp_path / "d.png", mock=False)
    assert_png(tmp_path / "d.png", figure)
    assert_legible(figure)
    assert [a.get_title(loc="left") for a in figure.axes] == list(curves)
    origins = [-3.4, -3.4, -3.0, -3.0]
    for axes, name, origin in zip(figure.axes, curves, origins, strict=True):
        line = drawn(axes)["total"]
        x = curves[name].energies_ev - origin
        inside = (x >= -6) & (x <= 4)
        np.testing.assert_allclose(points(line)[0], x[inside])
        np.testing.assert_allclose(points(line)[1], curves[name].total[0, inside])
        np.testing.assert_allclose(points(drawn(axes)["W-d"])[1], curves[name].projected["W-d"][0, inside])
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert ["VBM" in label for label in labels] == [True, True, False, False]
    assert ["E_F" in label for label in labels] == [False, False, True, True]
    assert all("(eV)" in label for label in labels)
    right = [axes.get_title(loc="right") for axes in figure.axes]
    assert right[:2] == ["direct gap 1.50 eV", "indirect gap 1.20 eV"]
    assert right[2].startswith("metal: 4.500 electrons")
    assert right[3] == "gap not calculated"
    assert "broadening 0.05 eV" in says(figure)


def test_gap_is_shaded_as_wide_as_it_is(tmp_path: Path) -> None:
    curves = {"WSe2": dos(), "metal": dos(), "salt": dos(5.0)}
    gaps = {"WSe2": semiconductor(), "metal": metal(), "salt": semiconductor(5.0)}
    figure = dos_plot(curves, gaps, tmp_path / "d.png", mock=False)
    shaded = [rectangles(axes) for axes in figure.axes]
    assert [len(patches) for patches in shaded] == [1, 0, 1]
    for (patch,), gap in ((shaded[0], 1.5), (shaded[2], 5.0)):
        assert (patch.get_x(), patch.get_width()) == pytest.approx((0.0, gap))
    assert "1.50 eV" in [t.get_text() for t in figure.axes[0].texts]
    assert figure.axes[2].get_xlim()[1] > 5.5  # a wide gap is not cut off
    assert_legible(figure)


def test_spin_down_is_mirrored_and_its_axis_counts_upwards(tmp_path: Path) -> None:
    curves = {"closed": dos(0.1), "open": dos(0.1, spins=2)}
    gap = semiconductor(0.1)
    figure = dos_plot(curves, {"closed": gap, "open": gap}, tmp_path / "d.png", mock=False)
    assert_legible(figure)
    closed, spin = figure.axes
    assert closed.get_ylim()[0] == 0
    down = [line for line in spin.lines if len(points(line)[1]) > 2 and points(line)[1].max() <= 0]
    assert len(down) == 3  # total and two projections
    x = curves["open"].energies_ev + 3.4
    inside = (x >= -6) & (x <= 4)
    np.testing.assert_allclose(points(down[0])[1], -curves["open"].total[1, inside])
    assert spin.get_ylim()[0] == -spin.get_ylim()[1]
    assert "spin down" in says(figure)
    figure.canvas.draw()
    assert len(spin.get_yticklabels()) > 2
    assert not any({"−", "-"} & set(t.get_text()) for t in spin.get_yticklabels())
    # A gap too narrow for its number: written above the curve, not over it.
    for axes, name in ((closed, "closed"), (spin, "open")):
        (number,) = [t for t in axes.texts if t.get_text() == "0.10 eV"]
        line = drawn(axes)["total"]
        path = axes.transData.transform(points(line).T)
        box = number.get_window_extent(renderer_of(figure))
        under = (path[:, 0] > box.x0) & (path[:, 0] < box.x1)
        assert path[under, 1].max() < box.y0, name


def test_mock_dos_says_so_in_the_title_and_in_every_panel(tmp_path: Path) -> None:
    curves = dict.fromkeys(MODELS[:3], dos())
    figure = dos_plot(curves, dict.fromkeys(MODELS, semiconductor()), tmp_path / "d.png", mock=True)
    assert_png(tmp_path / "d.png", figure)
    assert_legible(figure)
    assert MOCK in figure.get_suptitle()
    for axes in figure.axes:
        assert "mock" in [t.get_text() for t in axes.texts]
        assert any(c.get_hatch() for c in axes.collections)
    plain = dos_plot(curves, {}, tmp_path / "e.png", mock=False)
    assert "mock" not in says(plain)


def test_a_projection_keeps_its_colour_and_small_ones_are_named_but_not_drawn(tmp_path: Path) -> None:
    many = ("W-d", "Se-p", "S-p", "W-s", "W-p", "S-s", "Se-s")
    curves = {"one": dos(projections=many), "two": dos(projections=("Na-s", "Se-p"))}
    curves["one"].projected["W-f"] = curves["one"].total * 1e-3
    figure = dos_plot(curves, {}, tmp_path / "d.png", mock=False)
    assert_legible(figure)
    one, two = (drawn(axes) for axes in figure.axes)
    assert one["Se-p"].get_color() == two["Se-p"].get_color()
    shown = [t.get_text() for t in figure.legends[0].get_texts()]
    assert shown[0] == "total"
    assert len(shown) == 7  # six colours
    assert len({line.get_color() for line in one.values()}) == len(one)
    assert set(one) | set(two) == set(shown)
    left_out = (set(many) | {"Na-s", "W-f"}) - set(shown)
    assert "W-f" in left_out
    note = says(figure)[says(figure).index("not drawn") :]
    assert all(name in note for name in left_out)


def test_nothing_to_draw_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SodiateError, match="no models"):
        adsorption_bars([], tmp_path / "a.png", mock=False)
    with pytest.raises(SodiateError, match="no density of states"):
        dos_plot({}, {}, tmp_path / "d.png", mock=False)
    assert not list(tmp_path.iterdir())


def test_no_pyplot_and_no_matplotlib_before_a_figure() -> None:
    code = (
        "import sys, sodiate.workflows.cli.commands, sodiate.workflows.runner.run_calculation"
        ", sodiate.workflows.results.figures, tempfile, pathlib\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import sodiate.analysis.figures.plots as p\n"
        "row = p.AdsorptionBar('a', -1.0, None, None, None)\n"
        "p.adsorption_bars([row], pathlib.Path(tempfile.mkdtemp(), 'a.png'), False)\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_style_is_one_file_and_touches_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import rcParams
    from sodiate.analysis.figures.style import STYLE

    before = dict(rcParams)
    monkeypatch.setitem(STYLE, "figure.facecolor", "#ff0000")
    figure = adsorption_bars([AdsorptionBar("WSe2", -1.0, None, None, None)], tmp_path / "a.png", mock=False)
    assert figure.get_facecolor() == (1.0, 0.0, 0.0, 1.0)
    assert dict(rcParams) == before
    assert rcParams["pdf.fonttype"] != STYLE["pdf.fonttype"] == 42
