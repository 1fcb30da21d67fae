"""Salient words: what counts as a word of a persona, and for which label it speaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.evaluation.saliency import LABELS, SalientWord, gist, salient, word_counts


@pytest.mark.parametrize(
    ("persona", "kept"),
    [
        ("The user is curious. They like lists.", "The user is curious."),
        ("The user is curious!  They like lists.", "The user is curious!"),
        ("The user is curious\nand likes lists", "The user is curious"),
        ("The user likes e.g. lists of 3.5 items. Yes.", "The user likes e.g. lists of 3.5 items."),
        ('The user says "be brief." They mean it.', 'The user says "be brief.'),
        ("簡潔。長い答えは嫌い。", "簡潔。"),
        ("The user likes short answers rather than long ones.", "The user likes short answers"),
        ("The user likes brevity over detail.", "The user likes brevity"),
        ("The user likes tea versus coffee", "The user likes tea"),
        ("The user likes tea Compared  To coffee", "The user likes tea"),
        ("The user likes tea instead\tof coffee", "The user likes tea"),
        ("The user likes an overview and rather likes tea.", "The user likes an overview and rather likes tea."),
        ("", ""),
    ],
)
def test_only_the_first_sentence_up_to_a_contrast_counts(persona, kept):
    assert gist(persona) == kept


def test_counts_by_hand():
    chosen = [
        "The user prefers detailed details about detail.",  # one persona, one count
        "The user prefers details rather than brevity.",
        "The user prefers details. Brevity is no matter.",
    ]
    rejected = ["The user prefers brevity.", "The user prefers brevity", "The user prefers brevity with one detail"]
    assert word_counts(chosen, rejected) == [
        SalientWord("brevity", 0, 3),
        SalientWord("details", 3, 1),  # written so most often
        SalientWord("prefers", 3, 3),
        SalientWord("user", 3, 3),
    ]


def test_rare_words_are_dropped_by_their_count_over_both_labels():
    chosen, rejected = ["poems poems poems", "poems", "plants"], ["poems", "plants"]
    assert [w.word for w in word_counts(chosen, rejected)] == ["poems"]
    assert [w.word for w in word_counts(chosen, rejected, rare=2)] == ["plants", "poems"]


def test_words_are_ranked_by_probability_then_count_then_alphabet():
    counted = [
        SalientWord("often", 30, 10),
        SalientWord("sure", 4, 0),
        SalientWord("surer", 5, 0),
        SalientWord("alike", 4, 0),
        SalientWord("even", 5, 5),
        SalientWord("against", 1, 9),
    ]
    assert [w.word for w in salient(counted, "chosen")] == ["surer", "alike", "sure", "often"]
    assert [w.word for w in salient(counted, "rejected")] == ["against"]
    assert [w.word for w in salient(counted, "chosen", most=2)] == ["surer", "alike"]
    assert [w.word for w in salient(counted, "chosen", share=0.75)] == ["surer", "alike", "sure"]
    assert counted[0].probability("chosen") == 0.75
    assert counted[0].count == 40


words = st.sampled_from(
    "brief brevity detail detailed details Tea tea's over warm. ”Warm“ the 12 Müller 'quoted'".split()
)
personas = st.lists(st.lists(words, max_size=8).map(" ".join) | st.text(max_size=40), max_size=12)


@given(personas, personas, st.integers(1, 4))
def test_probabilities_are_such_and_words_as_many_as_promised(chosen, rejected, rare):
    counted = word_counts(chosen, rejected, rare=rare)
    for word in counted:
        assert word.count >= rare
        assert word.chosen <= len(chosen)
        assert word.rejected <= len(rejected)
        assert all(0 <= word.probability(label) <= 1 for label in LABELS)
        assert sum(word.probability(label) for label in LABELS) == pytest.approx(1)
    tops = {label: salient(counted, label) for label in LABELS}
    assert not set(tops["chosen"]) & set(tops["rejected"])
    for label in LABELS:
        shares = [w.probability(label) for w in tops[label]]
        assert shares == sorted(shares, reverse=True)


@given(personas, personas, st.randoms())
def test_the_order_of_personas_does_not_matter(chosen, rejected, rng):
    before = word_counts(chosen, rejected, rare=1)
    mixed = [rng.sample(texts, len(texts)) for texts in (chosen, rejected)]
    assert word_counts(*mixed, rare=1) == before
