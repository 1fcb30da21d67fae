"""Who is asked about what: nothing that an adapter or a persona has learnt from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_plugins.contrastive.inferrer import Contrastive
from persona_sdk.errors import InputError
from persona_sdk.evaluation.tailoring_cases import Draw, cases_of
from persona_sdk.inference import History
from persona_sdk.memory import Consent, person_key
from persona_sdk.simulation.planted import people
from persona_sdk.tuning.cards import Base, Card, lineage
from persona_sdk.tuning.examples import examples_of
from persona_sdk.tuning.rows import Row
from persona_sdk.tuning.splits import hold_out
from tests.support.taught import example, many, of_people

PLANTED = people(3, 40, noise=0.0)
HISTORIES = [History(person.user_id, person.choices) for person in PLANTED]
EXAMPLES = [one for h in HISTORIES for one in examples_of("default", h.user_id, h.signals)]


def card(name, *learnt, **more):
    rows = [Row(example=one) for one in learnt]
    return Card(name=name, base=Base(name="b", sha256="b"), people=lineage(rows), **more)


def key(user):
    return person_key("default", user)


def test_the_last_choices_are_asked_about_and_the_earlier_ones_shown():
    ann, bob = many("ann", 8), many("bob", 3)
    cases = cases_of([], [*ann, *bob], None)
    assert cases.asked == tuple(ann[6:])
    assert cases.knowledge.examples == {"ann": tuple(ann[:6]), "bob": tuple(bob)}
    assert (cases.trained, cases.learnt, cases.without) == (None, 0, 0)
    assert cases.knowledge.personas == {}


def test_personas_are_inferred_from_what_is_shown():
    cases = cases_of(HISTORIES, EXAMPLES, Contrastive())
    asked = {signal for one in cases.asked for signal in one.origin.signals}
    shown = {e.id: e for theirs in cases.knowledge.examples.values() for e in theirs}
    assert {one.user_id for one in cases.asked} == {h.user_id for h in HISTORIES} == set(cases.knowledge.personas)
    assert not shown.keys() & {one.id for one in cases.asked}
    for persona in cases.knowledge.personas.values():
        read = {evidence.signal_id for trait in persona.traits for evidence in trait.evidence}
        assert read
        assert not read & asked


class Reads(Contrastive):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.read, self.fitted = set(), set()

    def fit_population(self, tenant, histories):
        self.fitted |= {s.id for h in histories for s in h.signals}
        return super().fit_population(tenant, histories)

    def infer(self, request):
        self.read |= {s.id for s in request.signals}
        return super().infer(request)


def test_nothing_that_is_held_out_is_ever_read():
    reads = Reads()
    cases = cases_of(HISTORIES, EXAMPLES, reads, draw=Draw(users=2, choices=1))
    held = {s for h in HISTORIES for one in hold_out(_of(h), 0.25)[1] for s in one.origin.signals}
    everything = {s.id for h in HISTORIES for s in h.signals}
    assert reads.fitted == everything - held  # of everybody
    assert reads.read
    assert reads.read < reads.fitted  # of those who are asked about
    assert len(cases.knowledge.personas) == 2
    assert len(cases.asked) == 2


def _of(history):
    return examples_of("default", history.user_id, history.signals)


def test_what_an_adapter_has_learnt_from_is_not_asked_about():
    ann, bob, cy = many("ann", 8), many("bob", 8), many("cy", 8)
    learnt = [*ann[:7], *bob]  # of ann one held-out choice, of bob both
    cases = cases_of([], [*ann, *bob, *cy], None, [card("one", *learnt[:9]), card("two", *learnt[9:])])
    assert {one.id for one in cases.asked} == {ann[7].id, cy[6].id, cy[7].id}
    assert cases.learnt == 3
    assert cases.trained == {key("ann"), key("bob")}


def test_people_of_whom_nothing_is_inferred_are_counted():
    nothing = [example("dull", f"Question {n}?", "Yes.", "Yes!", number=n) for n in range(6)]
    cases = cases_of([*HISTORIES, History("dull", ())], [*EXAMPLES, *nothing], Contrastive())
    assert cases.without == 1


def test_consents_come_with_what_is_known():
    cases = cases_of([], many("ann", 4), None, consents={"ann": Consent(lend=False)})
    assert cases.knowledge.consent("ann").lend is False


def test_who_is_drawn_depends_on_the_seed():
    examples = [one for user in ("ann", "bob", "cy") for one in many(user, 4)]
    drawn = [cases_of([], examples, None, draw=Draw(users=1, seed=seed)).asked[0].user_id for seed in range(20)]
    assert set(drawn) == {"ann", "bob", "cy"}


def test_only_pairs_are_asked_about():
    ann = many("ann", 8)
    ann[7] = example("ann", "Half?", "Yes.", None)
    assert cases_of([], ann, None).asked == (ann[6],)


def test_what_cannot_be_measured_is_refused():
    ann = many("ann", 8)
    for examples, cards, said in (
        ([], [], "nobody with a choice"),
        (many("ann", 3), [], "nobody with a choice"),
        (ann, [card("one", *ann)], "nobody with a choice"),
        ([*ann, example(tenant="other")], [], "2 tenants"),
        (ann, [card("one", tenant="other")], "one is another tenant's"),
    ):
        with pytest.raises(InputError, match=said):
            cases_of([], examples, None, cards)


@settings(deadline=None)
@given(of_people(), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3))
def test_a_draw_is_of_people_and_the_same_in_any_order(examples, users, choices, seed):
    draw = Draw(users=users, choices=choices, seed=seed)
    try:
        cases = cases_of([], examples, None, draw=draw)
    except InputError:
        assert all(len([e for e in examples if e.user_id == u]) < 4 for u in {e.user_id for e in examples})
        return
    counts = {}
    for one in cases.asked:
        counts[one.user_id] = counts.get(one.user_id, 0) + 1
    assert 1 <= len(counts) <= users
    assert max(counts.values()) <= choices
    shown = {e.id for theirs in cases.knowledge.examples.values() for e in theirs}
    assert not shown & {one.id for one in cases.asked}
    turned = sorted(examples, key=lambda e: e.user_id, reverse=True)
    assert cases_of([], turned, None, draw=draw).asked == cases.asked
