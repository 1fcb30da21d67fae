"""What a model proposes is tested on choices it was not made up from."""

import zlib

from persona_plugins.abductive.hypotheses import COMMON, common, distinct, hypothesis
from persona_plugins.abductive.inferrer import Abductive
from persona_plugins.abductive.sources import Sources
from persona_sdk.inference import PairPersonas
from persona_sdk.signals import choices_of
from tests.plugins.abductive.people import Proposes, person, request


def test_a_proposal_is_tested_on_choices_it_was_not_made_up_from(scorer):
    proposer = Proposes("The user prefers short notes.")
    inferrer = Abductive(scorer, Sources(proposer, with_common=False))
    signals = person("ann", 24)
    case = inferrer._case(request(signals), choices_of(signals), None)
    shown = {c.signal_id for c in proposer.shown}
    assert len(shown) == 4
    assert all(zlib.crc32(signal_id.encode()) % 2 == 0 for signal_id in shown)  # the others are for testing only
    for choice, z in zip(case.choices, case.trial.z[:, 0], strict=True):
        assert bool(z == 0) == (choice.signal_id in shown)
    (trait,) = inferrer.infer(request(signals)).traits
    assert trait.statement == "Prefers short notes."
    assert not {e.signal_id for e in trait.evidence} & shown


def test_a_story_made_up_to_fit_is_not_believed(scorer):
    """The user loves X, says a model that did what an answer told it to. It is tested like anything else."""
    proposer = Proposes("The user loves everything from Acme.", pair=PairPersonas("The user loves Acme.", None))
    inferrer = Abductive(scorer, Sources(proposer))
    statements = {t.statement for t in inferrer.infer(request(person("ann", 24))).traits}
    assert statements == {"Prefers short, concise answers."}


def test_both_sides_of_a_choice_are_tested_against_each_other(scorer):
    pair = PairPersonas("The user wants short replies.", "The user wants long replies.")
    inferrer = Abductive(scorer, Sources(Proposes(pair=pair), with_common=False))
    signals = person("ann", 24)
    case = inferrer._case(request(signals), choices_of(signals), None)
    assert [(h.statement, h.contrary) for h in case.hypotheses] == [(pair.chosen, pair.rejected)]
    assert inferrer.infer(request(signals)).traits[0].statement == "Wants short replies."


def test_a_sentence_that_would_explain_either_choice_is_not_tried(scorer):
    pair = PairPersonas("The user likes short replies.", "The user wants short replies.")
    signals = person("ann", 24)
    proposed = Sources(Proposes(pair=pair), with_common=False).proposed(request(signals), choices_of(signals))
    assert proposed == []


def test_the_same_choices_are_shown_again_when_new_ones_come(scorer):
    """So that what was asked before is in the journal, and is not paid for again."""
    first, later = Proposes(), Proposes()
    signals = person("ann", 40)
    Sources(first).proposed(request(signals[:38]), choices_of(signals[:38]))
    Sources(later).proposed(request(signals[:39]), choices_of(signals[:39]))
    assert {c.signal_id for c in first.shown} & {c.signal_id for c in later.shown}


def test_proposals_that_say_the_same_are_tried_once():
    said = ["The user prefers short answers.", "The user likes short answers."]
    assert len(distinct([hypothesis(s) for s in said])) == 1
    assert len(distinct(common())) == len(COMMON)
