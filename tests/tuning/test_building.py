"""From examples to rows, and personas that have read nothing but what is trained on."""

import pytest

from persona_plugins.contrastive.inferrer import Contrastive
from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.errors import InputError, ModelError
from persona_sdk.inference import History, Inference, Inferrer, PairPersonas
from persona_sdk.memory import Consent
from persona_sdk.signals import Preference, Utterance, choices_of
from persona_sdk.simulation.planted import people
from persona_sdk.testing import make_trait
from persona_sdk.tuning.building import (
    build_rows,
    consents_of,
    histories_behind,
    pair_personas,
    personas_from,
    shown,
    swapped,
)
from persona_sdk.tuning.examples import examples_from_memory, examples_of
from persona_sdk.tuning.prefixes import Knowledge, prefixer
from persona_sdk.tuning.rows import trl_rows
from persona_sdk.tuning.splits import split
from tests.support.taught import example

PAIR, HALF, OTHER = example(), example("ann", "When?", "Now.", None), example("bob", "Where?")
PAIRS = {PAIR.id: PairPersonas("Is brief.", "Is thorough."), OTHER.id: PairPersonas("Is calm.", None)}


def rows(kind, training, *examples, **known):
    return build_rows(examples or (PAIR, HALF, OTHER), prefixer(kind, Knowledge(pairs=PAIRS, **known)), training)


def read(made):
    return [(r.example.chosen, r.example.rejected, r.prefix.text.splitlines()[2:3]) for r in made]


# Training types


def test_chosen_teaches_what_was_chosen_under_its_persona():
    made = rows("pair", "chosen")
    assert read(made) == [
        ("Because.", "Hm.", ["- Is brief."]), ("Now.", None, []), ("Because.", "Hm.", ["- Is calm."]),
    ]  # fmt: skip
    assert [r.example for r in made] == [PAIR, HALF, OTHER]


def test_rejected_teaches_the_other_answer_where_its_persona_is_known():
    made = rows("pair", "rejected")
    assert read(made) == [("Hm.", "Because.", ["- Is thorough."])]
    assert made[0].example.id != PAIR.id
    assert made[0].origins == (PAIR.origin,)


def test_all_is_both_and_none_says_nothing():
    made = rows("pair", "all")
    assert [r.prefix.text.splitlines()[2:3] for r in made] == [["- Is brief."], ["- Is thorough."], [], ["- Is calm."]]
    assert len({r.example.id for r in made}) == 4
    assert {(r.prefix.kind, r.prefix.text) for r in rows("pair", "none")} == {("none", "")}
    assert len(rows("persona", "none")) == 3


def test_prefixes_without_sides_cannot_teach_what_was_rejected():
    for kind in ("persona", "none", "gold", "few_shot", "shuffled"):
        with pytest.raises(InputError, match="training: rejected needs"):
            rows(kind, "rejected")
        with pytest.raises(InputError, match="training: all needs"):
            rows(kind, "all")
    with pytest.raises(InputError, match="must be chosen, rejected, all or none"):
        rows("pair", "both")


def test_swapping_keeps_whose_it_is():
    other = swapped(HALF)
    assert (other.chosen, other.rejected, other.origin) == (None, "Now.", HALF.origin)
    assert swapped(swapped(PAIR)).chosen == PAIR.chosen


# Personas anew


@pytest.fixture
def memory(tmp_path):
    memory = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    for person in people(6, 24):
        memory.append([*person.choices, Utterance(id=f"{person.user_id}-u", user_id=person.user_id, text="Hello.")])
    yield memory
    memory.close()


def test_personas_are_believed_and_say_what_was_planted(memory):
    train = split(examples_from_memory(memory, "default"), test=0, validation=0).train
    contrastive = Contrastive()
    population = contrastive.fit_population("default", histories_behind(memory, train))
    found = personas_from(memory, contrastive, population, train)
    assert len(found) >= 4
    assert all(p.version == 1 and p.lineage.through == 0 and p.lift for p in found.values())
    assert all(t.status == "verified" for p in found.values() for t in p.traits)
    planted = {p.user_id: p.trait for p in people(6, 24)}
    said = {user: " ".join(t.statement for t in p.traits) for user, p in found.items()}
    short = [said[user] for user, trait in planted.items() if trait == "short" and user in said]
    assert all("short" in s for s in short)
    made = build_rows(train, prefixer("persona", Knowledge(personas=found)))
    assert sum(bool(r.prefix.text) for r in made) > len(made) / 2
    assert {o.persona for r in made for o in r.origins} == {0}
    assert len(trl_rows(made, "preference")) == len(made)


def test_held_out_choices_are_never_read(memory):
    asked = []

    class Watches(Inferrer):
        name = "watches"

        def infer(self, request):
            asked.append(request)
            return Inference(())

    made = split(examples_from_memory(memory, "default"), test=0, validation=0)
    personas_from(memory, Watches(), None, made.train)
    read = {(r.user_id, s.id) for r in asked for s in r.signals if not isinstance(s, Utterance)}
    assert read == {(e.user_id, s) for e in made.train for s in e.origin.signals}
    assert not read & {(e.user_id, s) for e in made.held_out for s in e.origin.signals}
    assert all(any(isinstance(s, Utterance) for s in r.signals) for r in asked)  # what they said is no choice
    for history in histories_behind(memory, made.train):
        order = [*(f"{history.user_id}-{n}" for n in range(24)), f"{history.user_id}-u"]
        kept = [s.id for s in history.signals]
        assert kept == [s for s in order if s in kept]
        assert len(kept) == 19


def test_what_a_person_took_back_does_not_come_back(memory):
    class Says(Inferrer):
        name = "says"

        def infer(self, request):
            return Inference((make_trait("said:tea", "Likes tea.", stated=True),))

    train = examples_from_memory(memory, "default", ["planted000", "planted001"])
    trait = make_trait("said:tea", stated=True)
    memory.rule("default", "planted000", trait.id, "rejected", "Likes tea.")
    assert list(personas_from(memory, Says(), None, train)) == ["planted001"]


def test_histories_do_as_well_as_memory(memory):
    train = examples_from_memory(memory, "default")
    histories = [History(p.user_id, p.choices) for p in people(6, 24)]
    contrastive = Contrastive()

    def said(source):
        found = personas_from(source, contrastive, None, train)
        return {user: [t.statement for t in p.traits] for user, p in found.items()}

    assert said(histories) == said(memory) != {}
    assert [h.signals for h in histories_behind([], train[:1])] == [[]]


def test_tenants_are_never_mixed(memory):
    with pytest.raises(InputError, match="2 tenants"):
        personas_from(memory, Contrastive(), None, [PAIR, example(tenant="b")])


class Abduces(Inferrer):
    """Says of a pair what it is; a few it fails on."""

    name = "abduces"

    def __init__(self, final=False):
        self.final, self.asked = final, []

    def infer(self, request):
        raise ModelError("no answer", final=self.final)

    def abduce(self, choice, journal=None):
        self.asked.append((choice, journal))
        if "3" in choice.signal_id:
            raise ModelError("no answer", final=self.final)
        return PairPersonas(f"Takes {choice.chosen}", f"Takes {choice.rejected}")


def choosing(count=5):
    signals = [
        Preference(id=f"s{n}", user_id="ann", prompt=f"Q{n}?", chosen=f"A{n}", rejected=f"B{n}") for n in range(count)
    ]
    return signals, examples_of("default", "ann", signals)


def test_each_pair_is_inferred_from_alone(caplog):
    signals, train = choosing()
    inferrer = Abduces()
    found = pair_personas([History("ann", signals)], inferrer, [*train, HALF])
    assert list(found) == [e.id for e in train]
    assert found[train[0].id] == PairPersonas("Takes A0", "Takes B0")
    assert found[train[3].id] == PairPersonas(None, None)
    assert [choice for choice, _ in inferrer.asked] == choices_of(signals)
    assert "no answer" in caplog.text


def test_models_that_fail_one_person_cost_nobody_else(caplog):
    signals, train = choosing()
    assert personas_from([History("ann", signals)], Abduces(), None, train) == {}
    assert "no answer" in caplog.text
    for ask in (lambda i: pair_personas([], i, train), lambda i: personas_from([], i, None, train)):
        with pytest.raises(ModelError):
            ask(Abduces(final=True))


def test_an_inferrer_that_cannot_is_named():
    with pytest.raises(InputError, match="contrastive does not infer a persona from a single choice"):
        pair_personas([], Contrastive(), [PAIR])


def test_answers_of_models_are_kept_with_the_person(memory):
    train = examples_from_memory(memory, "default", ["planted000"])[:1]
    inferrer = Abduces()
    pair_personas(memory, inferrer, train)
    inferrer.asked[0][1].put({"digest": "answer"})
    assert memory.recalled("default", "planted000", ["digest"]) == {"digest": "answer"}


# What is known


def test_what_may_be_shown_is_kept_by_person_in_order():
    assert shown([PAIR, OTHER, HALF]) == {"ann": (PAIR, HALF), "bob": (OTHER,)}


def test_consents_are_those_of_memory(memory):
    memory.set_consent("default", "planted001", lend=False)
    assert consents_of(memory, "default", ["planted001", "zoe"]) == {
        "planted001": Consent(lend=False), "zoe": Consent(),
    }  # fmt: skip
