"""Learning curves with and without what similar people lend: figures by hand, and nothing learnt from what is asked."""

import json
import math
import sys

import pytest

from persona_plugins.similar_personas.study import LeaningStudy
from persona_sdk.errors import MissingExtraError
from persona_sdk.evaluation import _plot
from persona_sdk.evaluation.borrowing import ARMS, KNOWN, evaluate_borrowing
from persona_sdk.evaluation.choices import ChoiceRow
from persona_sdk.inference import Inference, Inferrer, Population
from persona_sdk.signals import choices_of
from persona_sdk.similar import Study
from tests.support.clusters import Words, crowd


def rows_of(histories, fit, source="all"):
    """The first `fit` signals of each person are to learn from, the rest to predict."""
    return [ChoiceRow(source, s, probe=i >= fit) for h in histories for i, s in enumerate(h.signals)]


def leanings(tenant, inferrer, population, histories):
    return LeaningStudy(inferrer, population, histories)


class Sure(Inferrer):
    """The more choices are known, the surer: 0.5, 0.6, 0.7 …"""

    name = "sure"

    def __init__(self):
        self.histories, self.asked = {}, []

    def infer(self, request):
        return Inference(())

    def fit_population(self, tenant, histories):
        self.histories[tenant] = list(histories)
        return Population(tenant=tenant, inferrer="sure", fingerprint=tenant, users=1, choices=1, data={})

    def predict(self, request, asked):
        self.asked.append((request, [c.signal_id for c in asked]))
        return [min(0.9, 0.5 + 0.1 * len(request.signals))] * len(asked)


class Lends(Study):
    """Adds 1 to the log-odds for the person's own signals and takes 1 away for somebody else's."""

    verified = "as a test says"

    def __init__(self):
        self.requests = []

    def __call__(self, tenant, inferrer, population, histories):
        self.histories = list(histories)
        return self

    def neighbours(self, request, limit=None):
        return []

    def adds(self, request, asked):
        self.requests.append(request)
        if not request.signals:
            return [0.0] * len(asked)
        return [1.0 if request.signals[0].user_id == request.user_id else -1.0] * len(asked)


def moved(p, z):
    return 1 / (1 + math.exp(-(math.log(p / (1 - p)) + z)))


@pytest.fixture
def rows():
    """Two people with three choices to learn from, one with one; two, two and one to predict."""
    histories = crowd(3, 5, clusters=1)[0]
    return [*rows_of(histories[:2], 3), *rows_of([histories[2]], 1)[:2]]


def test_figures_by_hand(rows):
    curve = evaluate_borrowing(rows, Sure(), Lends()).curves["all"]
    assert [(p.known, p.users, p.n) for p in curve.points] == [(0, 3, 5), (1, 3, 5), (2, 2, 4), (None, 3, 5)]
    nothing, one, two, everything = curve.points
    assert nothing.accuracy == dict.fromkeys(ARMS, 0.5)
    assert set(nothing.gain.values()) == {0.0}
    assert one.log_loss["shared"] == pytest.approx(-math.log(0.5))
    assert one.log_loss["own"] == pytest.approx(-math.log(0.6))
    assert one.log_loss["borrowed"] == pytest.approx(-math.log(moved(0.6, 1)))
    assert one.log_loss["other"] == pytest.approx(-math.log(moved(0.6, -1)))
    assert (one.accuracy["own"], one.accuracy["other"]) == (1.0, 0.0)
    assert one.gain["accuracy"] == 0.0
    each = math.log(moved(0.6, 1)) - math.log(0.6)
    assert one.gain["log_loss"] == pytest.approx(each)
    assert one.gain["log_loss_standard_error"] == pytest.approx(each * math.sqrt(2**2 + 2**2 + 1) / 5)
    assert two.log_loss["own"] == pytest.approx(-math.log(0.7))
    assert everything.log_loss["own"] == pytest.approx(-(4 * math.log(0.8) + math.log(0.6)) / 5)
    assert everything.standard_error["shared"] == pytest.approx(math.sqrt(0.25 / 5))
    assert curve.verified == "as a test says"


def test_gains_in_accuracy_count_by_person(rows):
    class Turns(Lends):
        """Turns what is predicted of one person round."""

        def adds(self, request, asked):
            return [-9.0 if request.user_id == "u000" else 0.0] * len(asked)

    point = evaluate_borrowing(rows, Sure(), Turns()).curves["all"].points[-1]
    assert point.accuracy["borrowed"] == pytest.approx(3 / 5)
    assert point.gain["accuracy"] == pytest.approx(-2 / 5)
    assert point.gain["standard_error"] == pytest.approx(2 / 5)


def test_only_fit_rows_are_learnt_from_and_only_the_first_of_them_are_known(rows):
    inferrer, study = Sure(), Lends()
    evaluate_borrowing(rows, inferrer, study)
    fit = {row.signal.id for row in rows if not row.probe}
    for histories in (inferrer.histories["all"], study.histories):
        assert {s.id for h in histories for s in h.signals} == fit
    assert {name for _, asked in inferrer.asked for name in asked} == {row.signal.id for row in rows} - fit
    own = [r for r, _ in inferrer.asked if r.signals]
    assert {len(choices_of(r.signals)) for r in own} == {1, 2, 3}
    assert all(r.signals[0].id.endswith("-0") for r in own)  # the first ones
    assert {r.user_id for r in study.requests} == {"u000", "u001", "u002"}


def test_the_control_asks_with_as_many_choices_of_somebody_else(rows):
    study = Lends()
    evaluate_borrowing(rows, Sure(), study, seed=1)
    others = [r for r in study.requests if r.signals and r.signals[0].user_id != r.user_id]
    assert len(others) == 3 + 2 + 3
    assert {r.user_id for r in others} == {"u000", "u001", "u002"}  # under their own id: they do not lend to themselves
    assert sorted(len(r.signals) for r in others[:5]) == [1, 1, 1, 2, 2]


def test_what_is_not_moved_stays_exactly_the_same(rows):
    class Refuses(Lends):
        def adds(self, request, asked):
            return [0.0] * len(asked)

    for point in evaluate_borrowing(rows, Sure(), Refuses()).curves["all"].points:
        assert point.log_loss["borrowed"] == point.log_loss["own"] == point.log_loss["other"]


def test_people_without_a_fit_row_are_known_as_well_as_can_be():
    histories = crowd(4, 4, clusters=1)[0]
    rows = [*rows_of(histories[:3], 2), *rows_of(histories[3:], 0)]
    points = evaluate_borrowing(rows, Sure(), Lends()).curves["all"].points
    assert [(p.known, p.users) for p in points] == [(0, 3), (1, 3), (2, 3), (None, 4)]


def test_sources_without_anything_to_predict_and_rows_of_nobody_are_left_out(rows):
    quiet = rows_of(crowd(2, 3, clusters=1)[0], 3, "quiet")
    nobody = [ChoiceRow("all", r.signal.model_copy(update={"user_id": "(none)"}), r.probe) for r in rows]
    told = []
    report = evaluate_borrowing([*rows, *quiet, *nobody], Sure(), Lends(), progress=told.append)
    assert told == list(report.curves) == ["all"]
    assert report.curves["all"].points[-1].n == 5


def test_the_report_is_ready_for_json(rows):
    data = json.loads(json.dumps(evaluate_borrowing(rows, Sure(), Lends()).as_dict(), allow_nan=False))
    assert set(data["all"]) == {"verified", "points", "seconds"}
    assert [p["known"] for p in data["all"]["points"]] == [0, 1, 2, "all"]
    assert set(data["all"]["points"][0]) == {
        "known", "n", "users", "accuracy", "standard_error", "log_loss", "gain",
    }  # fmt: skip
    assert KNOWN[-1] is None


@pytest.fixture(scope="module")
def clustered():
    rows = rows_of(crowd(60, 16, clusters=3)[0], 10)
    return evaluate_borrowing(rows, Words(), leanings)


def test_where_people_come_in_kinds_newcomers_gain_and_others_neighbours_do_not_help(clustered):
    curve = clustered.curves["all"]
    assert "better" in curve.verified
    by_known = {p.known: p for p in curve.points}
    assert by_known[0].accuracy["borrowed"] == by_known[0].accuracy["shared"] == 0.5
    for known in (1, 2):
        point = by_known[known]
        assert point.gain["log_loss"] > 2 * point.gain["log_loss_standard_error"]
        assert point.gain["accuracy"] > 0.03
        assert point.log_loss["other"] > point.log_loss["borrowed"] + 0.01


def test_where_people_are_each_on_their_own_borrowing_is_the_own_prediction():
    curve = evaluate_borrowing(rows_of(crowd(40, 12, clusters=0)[0], 8), Words(), leanings).curves["all"]
    assert "refused" in curve.verified
    for point in curve.points:
        assert point.accuracy["borrowed"] == point.accuracy["own"]
        assert point.log_loss["borrowed"] == point.log_loss["own"]


# The picture


def test_a_picture_is_drawn_with_a_panel_for_each_source(clustered, rows, tmp_path):
    pytest.importorskip("matplotlib")
    from persona_sdk.evaluation._plot_curves import plot_curves
    from persona_sdk.evaluation.borrowing import BorrowingReport

    small = evaluate_borrowing(rows, Sure(), Lends()).curves["all"]
    for curves in ({}, clustered.curves, {"a $x_1$": small, "b": small, "c": clustered.curves["all"]}):
        file = tmp_path / f"{len(curves)}.png"
        plot_curves(BorrowingReport(curves), file)
        assert file.read_bytes().startswith(b"\x89PNG")


def test_every_line_of_a_panel_is_an_arm_and_the_chance_line_is_there(clustered):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from persona_sdk.evaluation._plot_curves import _draw

    axes = Figure().add_subplot()
    _draw(axes, "kinds", clustered.curves["all"])
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    drawn = [100 * p.accuracy["borrowed"] for p in clustered.curves["all"].points]
    assert drawn in list(lines.values())
    assert [50, 50] in list(lines.values())
    assert len(lines) == len(ARMS) + 1


def test_without_matplotlib_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="plots"):
        _plot.require_plots(tmp_path / "x.png")
