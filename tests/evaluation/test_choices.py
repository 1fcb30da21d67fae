"""Evaluating an inferrer on a file of choices: rows in, a report out, and nothing learnt from what is predicted."""

import json
import math
import os
import random
from pathlib import Path

import pytest

from persona_plugins.contrastive.inferrer import Contrastive
from persona_sdk.errors import InputError
from persona_sdk.evaluation.choices import ARMS, calibration_error, evaluate_choices, read_choice_rows
from persona_sdk.inference import HeldOutChoice, Inference, Inferrer, Population
from tests.support.offers import trains

COIN = math.log(0.5)


def made(people=6, choices=24, source="trains", fold=True):
    """Rows of a file: people of whom every other goes for cheap trains, the rest for fast ones."""
    likes = [lambda price, hours: -price, lambda price, hours: -hours]
    rows = []
    for i in range(people):
        signals = trains(choices, random.Random(i), prefers=likes[i % 2], user_id=f"u{i}")
        for k, signal in enumerate(signals):
            row = {
                "id": signal.id,
                "prompt": signal.prompt[-1].text,
                "chosen": signal.chosen,
                "rejected": signal.rejected,
            }
            row |= {"user_id": f"u{i}", "source": source}
            row |= {"user_fold": "probe" if k % 4 == 3 else "fit"} if fold else {}
            rows.append(row)
    return rows


@pytest.fixture
def read(tmp_path):
    def read(*lines):
        path = tmp_path / "choices.jsonl"
        encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"\n".join(encoded) + b"\n")
        return read_choice_rows(path)

    return read


class Recorder(Inferrer):
    """A fake that predicts what it is told to and keeps what it was asked."""

    name = "recorder"

    def __init__(self, p=0.5, believed=True):
        self.p, self.believed = p, believed
        self.histories, self.asked, self.inferred = {}, [], []

    def infer(self, request):
        self.inferred.append(request)
        score = math.log(0.9) if self.believed else math.log(0.1)
        return Inference(traits=(), held_out=(HeldOutChoice("s", score, COIN),) * 3)

    def predict(self, request, asked):
        self.asked.append((request, tuple(asked)))
        return [self.p] * len(asked)

    def fit_population(self, tenant, histories):
        self.histories[tenant] = list(histories)
        return Population(tenant=tenant, inferrer=self.name, fingerprint=tenant, users=1, choices=1, data={})


# Reading


def test_rows_are_read_with_their_person_source_and_fold(read):
    rows, problems = read(*made(people=2, choices=8))
    assert problems == []
    assert len(rows) == 16
    first = rows[0]
    assert (first.source, first.signal.user_id, first.signal.tenant, first.probe) == ("trains", "u0", "trains", False)
    assert first.signal.id == "u0-0"
    assert sum(row.probe for row in rows) == 4


def test_without_folds_the_last_third_of_each_persons_rows_is_predicted(read):
    rows, _ = read(*made(people=2, choices=10, fold=False))
    for user in ("u0", "u1"):
        assert [row.probe for row in rows if row.signal.user_id == user] == [False] * 7 + [True] * 3


def test_a_person_with_any_fold_keeps_theirs_and_others_are_split(read):
    folded, plain = made(people=2, choices=10, fold=False)[:10], made(people=2, choices=10, fold=False)[10:]
    folded[0]["user_fold"] = "probe"
    rows, _ = read(*folded, *plain)
    assert [row.probe for row in rows if row.signal.user_id == "u0"] == [True] + [False] * 9
    assert [row.probe for row in rows if row.signal.user_id == "u1"] == [False] * 7 + [True] * 3


def test_the_same_person_in_two_sources_is_split_in_each(read):
    rows, _ = read(*made(1, 10, "a", fold=False), *made(1, 20, "b", fold=False))
    assert sum(r.probe for r in rows if r.source == "a") == 3
    assert sum(r.probe for r in rows if r.source == "b") == 6


def test_bad_lines_are_reported_with_their_numbers_and_the_rest_is_read(read):
    good = made(people=1, choices=4)
    bad = [
        b"{not json",
        b'"text"',
        b"[1, 2]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        {**good[0], "chosen": ""},
        {**good[0], "chosen": good[0]["rejected"]},
        {k: v for k, v in good[0].items() if k != "prompt"} | {"chosen": "a", "rejected": "b"},
        {**good[0], "user_id": 5},
    ]
    rows, problems = read(good[0], b"", *bad, *good[1:])
    assert [problem.line for problem in problems] == list(range(3, 13))
    assert all(problem.message for problem in problems)
    assert len(rows) == 4


def test_problems_never_quote_peoples_text(read):
    secret = "my secret"
    row = {**made(1, 1)[0], "chosen": secret, "rejected": secret}
    _, problems = read(row, b'{"chosen": "my secret", ')
    assert len(problems) == 2
    assert not any(secret in problem.message for problem in problems)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_choice_rows(tmp_path / "missing.jsonl")


# Evaluating


def test_the_report_has_the_shape_it_documents(read):
    rows, _ = read(*made(people=6, choices=24))
    told = []
    report = evaluate_choices(rows, Contrastive(), progress=told.append)
    assert told == ["trains"]
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(data) == {"sources", "skipped"}
    source = data["sources"]["trains"]
    assert set(source) == {
        "n", "users", "fit", "accuracy", "standard_error", "log_loss", "calibration_error", "gain", "verified_users",
        "seconds",
    }  # fmt: skip
    assert (source["n"], source["users"], source["fit"]) == (36, 6, 108)
    for figure in ("accuracy", "standard_error", "log_loss", "calibration_error"):
        assert list(source[figure]) == list(ARMS)
    assert set(source["gain"]) == {"accuracy", "standard_error"}
    assert 0 <= source["verified_users"] <= 6


def test_of_people_who_differ_the_persona_predicts_best(read):
    rows, _ = read(*made(people=8, choices=32))
    figures = evaluate_choices(rows, Contrastive()).sources["trains"]
    assert figures.accuracy["none"] == 0.5
    assert figures.log_loss["none"] == pytest.approx(-COIN)
    assert figures.accuracy["persona"] > figures.accuracy["shared"] + 0.05
    assert figures.accuracy["persona"] > figures.accuracy["other"] + 0.1
    assert figures.log_loss["persona"] < figures.log_loss["shared"]
    assert figures.gain["accuracy"] == pytest.approx(figures.accuracy["persona"] - figures.accuracy["shared"])
    assert figures.verified_users >= 6


def test_the_same_seed_gives_the_same_report(read):
    rows, _ = read(*made(people=5, choices=12))

    def figures(seed):
        data = evaluate_choices(rows, Contrastive(), seed=seed).as_dict()
        data["sources"]["trains"].pop("seconds")
        return data

    assert figures(0) == figures(0)
    assert any(figures(seed) != figures(0) for seed in range(1, 6))  # *other* is drawn anew


def test_only_fit_rows_are_learnt_from_and_only_probe_rows_are_asked(read):
    rows, _ = read(*made(people=4, choices=12))
    inferrer = Recorder()
    evaluate_choices(rows, inferrer)
    probe = {row.signal.id for row in rows if row.probe}
    known = {s.id for history in inferrer.histories["trains"] for s in history.signals}
    assert not probe & known
    assert known | probe == {row.signal.id for row in rows}
    assert {c.signal_id for _, asked in inferrer.asked for c in asked} == probe
    for request in [*inferrer.inferred, *(request for request, _ in inferrer.asked)]:
        assert not {s.id for s in request.signals} & probe
        assert request.population.fingerprint == "trains"


def test_other_is_another_person_of_the_same_source(read):
    rows, _ = read(*made(4, 12, "a"), *made(4, 12, "b"))
    inferrer = Recorder()
    evaluate_choices(rows, inferrer, seed=3)
    seen = 0
    for request, asked in inferrer.asked:
        users = {s.user_id for s in request.signals}
        assert len(users) <= 1
        assert {s.tenant for s in request.signals} <= {request.tenant}
        assert {c.signal_id.split("-")[0] for c in asked} == {request.user_id}
        seen += bool(users) and users != {request.user_id}
    assert seen == 8  # one for everybody


def test_verified_is_the_persona_only_where_it_is_believed(read):
    rows, _ = read(*made(people=2, choices=8))

    class Split(Recorder):
        def predict(self, request, asked):
            return [0.9 if request.signals else 0.2] * len(asked)

    believed = evaluate_choices(rows, Split(believed=True)).sources["trains"]
    assert believed.accuracy["verified"] == believed.accuracy["persona"] == 1.0
    assert believed.verified_users == 2
    doubted = evaluate_choices(rows, Split(believed=False)).sources["trains"]
    assert doubted.accuracy["verified"] == doubted.accuracy["shared"] == 0.0
    assert doubted.verified_users == 0


def test_figures_by_hand(read):
    rows, _ = read(*made(people=2, choices=8))  # four probes

    class Sometimes(Recorder):
        def predict(self, request, asked):
            if not request.signals:
                return [0.5] * len(asked)
            return [0.8, 0.4][: len(asked)]

    figures = evaluate_choices(rows, Sometimes()).sources["trains"]
    assert figures.n == 4
    assert figures.accuracy["persona"] == 0.5
    assert figures.accuracy["shared"] == 0.5  # ties count half
    assert figures.standard_error["persona"] == pytest.approx(math.sqrt(0.25 / 4))
    assert figures.log_loss["persona"] == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)
    assert figures.gain == {"accuracy": 0.0, "standard_error": 0.0}


def test_a_sure_mistake_costs_much_and_not_everything(read):
    rows, _ = read(*made(people=2, choices=8))
    assert evaluate_choices(rows, Recorder(p=0.0)).sources["trains"].log_loss["persona"] == pytest.approx(
        -math.log(1e-12)
    )


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.5, 0.5], 0.0),  # a coin is right half of the time
        ([1.0, 1.0], 0.0),
        ([0.0, 0.0], 1.0),  # sure, and wrong
        ([0.8, 0.8, 0.8, 0.2], 0.05),  # 80 % sure, right three times of four
        ([0.9, 0.6], (0.1 + 0.4) / 2),  # two bins, each too modest
        ([0.9, 0.1], 0.4),  # one bin: 90 % sure, right half of the time
    ],
)
def test_calibration_error_by_hand(probabilities, expected):
    assert calibration_error(probabilities) == pytest.approx(expected)


def test_rows_without_a_person_are_skipped_and_counted(read):
    nobody = [{k: v for k, v in row.items() if k != "user_id"} for row in made(1, 5)]
    rows, problems = read(
        *made(people=3, choices=8), *nobody, {**nobody[0], "user_id": None}, {**nobody[0], "user_id": ""}
    )
    assert problems == []
    report = evaluate_choices(rows, Recorder())
    assert report.skipped == {"trains": 7}
    assert report.sources["trains"].n == 6


def test_a_source_with_nothing_to_predict_is_skipped(read):
    fit_only = [{**row, "source": "quiet", "user_fold": "fit"} for row in made(2, 4)]
    report = evaluate_choices(read(*made(2, 8), *fit_only)[0], Recorder())
    assert set(report.sources) == {"trains"}
    assert report.skipped == {"quiet": 8}


def test_somebody_alone_is_compared_with_nobody(read):
    figures = evaluate_choices(read(*made(people=1, choices=8))[0], Contrastive()).sources["trains"]
    assert figures.users == 1
    assert figures.accuracy["other"] == figures.accuracy["shared"]


def test_somebody_with_nothing_to_learn_from_gets_the_shared_answer(read):
    late = [{**row, "user_fold": "probe"} for row in made(1, 4)]
    rows, _ = read(*({**row, "user_id": f"v{row['user_id']}"} for row in made(5, 24)), *late)
    figures = evaluate_choices(rows, Contrastive()).sources["trains"]
    assert figures.users == 6
    assert figures.n == 5 * 6 + 4


PAIRS = os.environ.get("PERSONA_TEST_PAIRS", "")


@pytest.mark.skipif(not (PAIRS and Path(PAIRS).is_file()), reason="PERSONA_TEST_PAIRS names no file of real choices")
def test_real_choices_are_read_and_personas_do_no_harm():
    """A smoke test: every figure is there, and nowhere does the verified persona lose against the population."""
    rows, problems = read_choice_rows(Path(PAIRS))
    assert problems == []
    report = evaluate_choices(rows, Contrastive())
    assert report.sources
    for figures in report.sources.values():
        assert figures.n > 0
        assert figures.log_loss["verified"] < figures.log_loss["shared"] + 0.02
        assert figures.gain["accuracy"] > -3 * figures.gain["standard_error"] - 0.01
