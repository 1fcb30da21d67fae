"""Judging who is found to be similar: files in, a report out, figures by hand."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.errors import InputError
from persona_sdk.evaluation.choices import ChoiceRow
from persona_sdk.evaluation.similar import METHODS, SimilarityRow, evaluate_similar, read_similarity_rows
from persona_sdk.inference import Inference
from persona_sdk.similar import Neighbour, Study
from persona_sdk.testing import make_trait
from tests.support.clusters import Words, crowd

TRUTH = SimilarityRow("all", "u000", ("u001", "u002"), ("u003", "u004"))


def rows_of(histories, source="all"):
    """Every third signal of each person is to be predicted, so nobody may look at it."""
    return [ChoiceRow(source, s, probe=i % 3 == 2) for h in histories for i, s in enumerate(h.signals)]


class Told(Study):
    """Gives the similarities it is told, whoever asks, and keeps what it was asked."""

    verified = "as a test says"

    def __init__(self, similarities=None):
        self.similarities, self.asked = similarities or {}, []

    def __call__(self, tenant, inferrer, population, histories):
        self.tenant, self.histories = tenant, list(histories)
        return self

    def neighbours(self, request, limit=None):
        self.asked.append(request)
        return [Neighbour(u, s) for u, s in self.similarities.items() if u != request.user_id]

    def adds(self, request, asked):
        raise NotImplementedError


class Describes(Words):
    """Says of some people what a test says of them."""

    def __init__(self, sentences):
        super().__init__()
        self.sentences, self.inferred = sentences, []

    def infer(self, request):
        self.inferred.append(request)
        said = self.sentences.get(request.user_id)
        return Inference((make_trait("style:length", said),) if said else ())


class Letters:
    """Embeds a text by which of the first letters occur in it."""

    def embed_documents(self, texts):
        return [[2.0 * (letter in text) for letter in "abcd"] for text in texts]


@pytest.fixture(scope="module")
def rows():
    return rows_of(crowd(6, 6, clusters=2)[0])


def evaluate(rows, similarities, *, truth=(TRUTH,), inferrer=None, **given):
    study = Told(similarities)
    report = evaluate_similar(rows, truth, inferrer or Words(), study, **given)
    return report, study


# Reading


def read(tmp_path, *lines):
    path = tmp_path / "similarity.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return read_similarity_rows(path)


def test_rows_are_read_with_or_without_a_source_and_with_people_as_objects_or_ids(tmp_path):
    rows, problems = read(
        tmp_path,
        {"user_id": "a", "most_similar": [{"user_id": "b", "agreement": 0.9}, "c"], "least_similar": ["d"], "x": 1},
        b"",
        {"source": "votes", "user_id": "b", "most_similar": ["a", "a", "b"], "least_similar": ["c"]},
    )
    assert problems == []
    assert rows == [
        SimilarityRow("all", "a", ("b", "c"), ("d",)),
        SimilarityRow("votes", "b", ("a",), ("c",)),
    ]


def test_bad_lines_are_problems_with_their_numbers_and_the_rest_is_read(tmp_path):
    good = {"user_id": "a", "most_similar": ["b"], "least_similar": ["c"]}
    bad = [
        b"{not json",
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        {**good, "user_id": ""},
        {**good, "user_id": 7},
        {**good, "most_similar": "b"},
        {**good, "most_similar": []},
        {**good, "least_similar": ["a", None, {"id": "b"}]},
        {**good, "least_similar": ["b"]},
    ]
    rows, problems = read(tmp_path, good, *bad, good)
    assert len(rows) == 2
    assert [p.line for p in problems] == list(range(2, 12))
    assert all(p.message for p in problems)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_similarity_rows(tmp_path / "none.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["user_id", "most_similar", "least_similar", "source", "topic"]), JSON))
def test_whatever_is_in_a_row_it_is_a_row_or_a_problem(tmp_path_factory, row):
    rows, problems = read(tmp_path_factory.mktemp("any"), row)
    assert len(rows) + len(problems) == 1


# Judging


def test_figures_by_hand(rows):
    found = {"u001": 0.9, "u002": 0.1, "u003": 0.5, "u004": -0.2, "u005": 0.7}
    report, _ = evaluate(rows, found)
    source = report.sources["all"]
    assert (source.users, source.people, source.skipped) == (1, 6, 0)
    similar = source.methods["similar"]
    assert similar.auc == pytest.approx(3 / 4)  # u001 before both, u002 before one of two
    assert similar.standard_error is None
    assert similar.rank == {"similar": (1 + 4) / 2, "dissimilar": (3 + 5) / 2}
    assert similar.hit == {"similar": 1.0, "dissimilar": 1.0}


def test_who_ties_shares_a_rank_and_a_tie_is_half_won(rows):
    report, _ = evaluate(rows, {"u001": 0.5, "u003": 0.5})  # the three others are not known to be similar: 0
    similar = report.sources["all"].methods["similar"]
    assert similar.auc == pytest.approx((0.5 + 1 + 0 + 0.5) / 4)
    assert similar.rank == {"similar": (1.5 + 4) / 2, "dissimilar": (1.5 + 4) / 2}


def test_only_the_first_ten_are_hits():
    rows = rows_of(crowd(30, 3, clusters=2)[0])
    found = {f"u{i:03d}": 1 - i / 100 for i in range(30)}
    truth = [SimilarityRow("all", "u000", ("u010", "u011"), ("u020", "u005"))]
    report, _ = evaluate(rows, found, truth=truth)
    assert report.sources["all"].methods["similar"].hit == {"similar": 0.5, "dissimilar": 0.5}


def test_the_standard_error_is_over_people(rows):
    found = {"u000": 0.5, "u001": 0.9, "u002": 0.8, "u003": 0.1, "u004": 0.2, "u005": 0.0}
    truth = [
        TRUTH,
        SimilarityRow("all", "u005", ("u004",), ("u001",)),
        SimilarityRow("all", "u001", ("u000",), ("u003",)),
    ]
    report, _ = evaluate(rows, found, truth=truth)
    similar = report.sources["all"].methods["similar"]
    assert similar.auc == pytest.approx(2 / 3)  # 1, 0 and 1
    assert similar.standard_error == pytest.approx(math.sqrt(((1 / 3) ** 2 * 2 + (2 / 3) ** 2) / 2 / 3))


def test_sentences_are_compared_by_their_embeddings_and_joined_with_the_choices(rows):
    said = {"u000": "a b", "u001": "a", "u002": "c", "u003": "a b"}
    found = {"u001": 0.6, "u002": 0.2, "u003": -0.6, "u004": 0.0}
    report, _ = evaluate(rows, found, inferrer=Describes(said), embedder=Letters())
    source = report.sources["all"]
    assert source.described == 4
    assert source.left_out == {}
    assert set(source.methods) == set(METHODS)
    # Cosines of sentences: u001 0.71, u002 0, u003 1, and 0 for who has none.
    assert source.methods["sentences"].auc == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    # The sums: u001 1.31, u002 0.2, u003 0.4, u004 0.
    assert source.methods["joined"].auc == pytest.approx((1 + 1 + 0 + 1) / 4)


def test_without_an_embedder_sentences_are_left_out_and_nobody_is_described(rows):
    inferrer = Describes({"u000": "a"})
    report, _ = evaluate(rows, {}, inferrer=inferrer)
    source = report.sources["all"]
    assert set(source.methods) == {"similar", "random"}
    assert set(source.left_out) == {"sentences", "joined"}
    assert inferrer.inferred == []


def test_people_nobody_knows_are_counted_and_left_out(rows):
    truth = [
        SimilarityRow("all", "u000", ("u001", "gone"), ("u003",)),
        SimilarityRow("all", "who", ("u001",), ("u002",)),
        SimilarityRow("all", "u001", ("gone",), ("u002",)),
        SimilarityRow("other", "u000", ("u001",), ("u002",)),
    ]
    report, _ = evaluate(rows, {"u001": 1.0}, truth=truth)
    source = report.sources["all"]
    assert (source.users, source.skipped) == (1, 2)
    assert source.methods["similar"].auc == 1.0
    assert report.skipped == {"other": 1}


def test_only_what_may_be_learnt_from_is_looked_at(rows):
    probes = {row.signal.id for row in rows if row.probe}
    inferrer = Describes({"u000": "a"})
    _, study = evaluate(rows, {}, inferrer=inferrer, embedder=Letters())
    given = [*study.histories, *study.asked, *inferrer.inferred]
    seen = {s.id for one in given for s in one.signals}
    assert seen == {row.signal.id for row in rows} - probes
    assert study.tenant == "all"


def test_chance_is_drawn_anew_for_another_seed_only(rows):
    def drawn(seed):
        return evaluate(rows, {}, seed=seed)[0].sources["all"].methods["random"]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed).auc for seed in range(10)}) > 1


def test_the_report_is_ready_for_json(rows):
    told = []
    report, _ = evaluate(rows, {"u001": 1.0}, progress=told.append)
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told == ["all"]
    assert set(data) == {"sources", "skipped"}
    source = data["sources"]["all"]
    assert set(source) == {
        "users", "people", "described", "skipped", "verified", "methods", "left_out", "seconds",
    }  # fmt: skip
    assert set(source["methods"]["similar"]) == {"auc", "standard_error", "rank", "hit"}
    assert source["verified"] == "as a test says"


def test_nobody_to_find_is_no_figure(rows):
    report, _ = evaluate(rows, {}, truth=[SimilarityRow("all", "who", ("u001",), ("u002",))])
    assert report.sources["all"].users == 0
    assert report.sources["all"].methods["similar"].auc is None
    json.dumps(report.as_dict(), allow_nan=False)
