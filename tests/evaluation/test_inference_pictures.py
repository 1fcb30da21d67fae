"""The report on inference as a picture."""

import sys
from pathlib import Path

import pytest

from persona_sdk.errors import InputError, MissingExtraError
from persona_sdk.evaluation import _plot
from persona_sdk.evaluation.inference import Setup, evaluate_inference
from persona_sdk.inference import PairPersonas
from tests.support.inferring import PAIRS, Says, Values


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"persona-sdk\[plots\]"):
        _plot.require_plots(tmp_path / "a.png")


def test_where_no_picture_can_be_written_is_said_before_the_work(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match=r"end in \.png"):
        _plot.require_plots(tmp_path / "a.pdf")
    with pytest.raises(InputError, match="no such folder"):
        _plot.require_plots(tmp_path / "b" / "a.png")
    _plot.require_plots(tmp_path / "A.PNG")
    assert list(tmp_path.iterdir()) == []


def test_bars_stand_where_their_figures_say():
    pytest.importorskip("matplotlib")
    axes = _plot._new_figure(4, 3).add_subplot()
    series = {"own": [(80.0, 5.0), (None, None)], "other": [(40.0, None), (60.0, 2.0)]}
    _plot.bars(axes, ["one", "two"], series, reference=(50.0, "chance"))
    assert [p.get_height() for p in axes.patches] == [80.0, 0.0, 40.0, 60.0]
    centres = [p.get_x() + p.get_width() / 2 for p in axes.patches]
    assert centres == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    assert [t.get_text() for t in axes.texts] == ["80", "–", "40", "60", "chance"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["one", "two"]
    assert axes.get_legend_handles_labels()[1] == ["own", "other"]
    errors = [segment[:, 1].tolist() for c in axes.collections for segment in c.get_segments()]
    assert errors == [[75.0, 85.0], [58.0, 62.0]]
    assert [50.0, 50.0] in [list(line.get_ydata()) for line in axes.lines]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("judged", [False, True])
def test_a_report_becomes_a_picture(tmp_path, count, judged, recwarn):
    pytest.importorskip("matplotlib")
    odd = {"a": PairPersonas("likes 短い回答 and $x^", None)}
    setup = Setup(Values(lambda o, s: (1.0, 0.0)), rare=1)
    if judged:
        setup = Setup(setup.scorer, prefers=lambda a, b: "first", against=Says(), rare=1)
    report = evaluate_inference(PAIRS[:count], Says(odd), setup)
    file = tmp_path / "report.png"
    _plot.plot_inference(report, file)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert not recwarn.list


def test_a_picture_that_cannot_be_written_is_an_input_error():
    pytest.importorskip("matplotlib")
    report = evaluate_inference(PAIRS, Says(), Setup(Values(lambda o, s: (1.0, 0.0))))
    with pytest.raises(InputError, match="cannot be written"):
        _plot.plot_inference(report, Path("/nowhere/at/all.png"))
