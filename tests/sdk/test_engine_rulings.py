"""What people may decide about their persona: take traits back, keep them, go back to a version, be forgotten."""

import pytest

from persona_sdk import Personalizer
from persona_sdk.errors import InputError
from persona_sdk.memory import Forgotten
from persona_sdk.signals import Utterance
from tests.support.people import InCode, chooses

NEUTRAL = "What is a monad?"
LONG = 60.0


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


@pytest.fixture
def plugin():
    return InCode()


@pytest.fixture
def p(url, plugin):
    with Personalizer(url, plugins=[plugin], learning="manual", time_budget=30) as personalizer:
        yield personalizer


@pytest.fixture
def ann(p):
    """Ann said two things about herself."""
    p.said("ann", "Please keep it short.")
    p.learn("ann")
    p.said("ann", "I am a vegetarian.")
    p.learn("ann")
    return p


def ids(persona):
    return [t.id for t in persona.traits]


VEGETARIAN = "said:vegetarian/for"
SHORT = "style:length/against"


# Traits


def test_what_was_taken_back_does_not_come_back(ann):
    assert set(ids(ann.persona("ann"))) == {SHORT, VEGETARIAN}
    assert ids(ann.reject("ann", "said:vegetarian")) == [SHORT]
    assert ids(ann.learn("ann")) == [SHORT]
    ann.said("ann", "Hello again.")
    assert ids(ann.persona("ann")) == [SHORT]
    assert [(v.key, v.ruling) for v in ann.rulings("ann")] == [(VEGETARIAN, "rejected")]
    assert set(ids(ann.allow("ann", VEGETARIAN))) == {SHORT, VEGETARIAN}
    assert ann.rulings("ann") == []


def test_an_inferred_trait_can_be_taken_back(p):
    chooses(p, "ada")
    (trait, *_) = p.persona("ada").traits
    for key in (trait.key, trait.id):  # either names it
        assert trait.id not in ids(p.reject("ada", key))
        assert trait.id not in ids(p.learn("ada"))
        assert trait.id in ids(p.allow("ada", trait.id))


def test_what_is_kept_stays_whatever_is_chosen_later(p):
    chooses(p, "ada")
    (trait, *_) = p.persona("ada").traits
    kept = p.keep("ada", trait.key).trait(trait.key)
    assert kept.status == "pinned"
    for n in range(12):
        p.prefer("ada", prompt=f"Is {n} prime?", chosen=f"I list\n- {n}\n- {n + 1}", rejected=f"Yes {n}.")
    assert trait.id in ids(p.persona("ada"))


# Versions


def test_versions_can_be_compared(ann):
    assert [v.version for v in ann.versions("ann")] == [1, 2]
    diff = ann.diff("ann", 1, 2)
    assert [t.id for t in diff.added] == [VEGETARIAN]
    assert (diff.removed, diff.changed) == ((), ())
    assert "Is a vegetarian." in str(diff)
    assert [t.id for t in ann.diff("ann", 2, 1).removed] == [VEGETARIAN]
    assert "nothing changed" in str(ann.diff("ann", 2, 2))


def test_going_back_lasts_until_something_new_is_said(ann):
    assert ids(ann.rollback("ann", 1)) == [SHORT]
    assert ids(ann.persona("ann")) == [SHORT]
    assert ann.tailor("ann", NEUTRAL).persona_version == 1
    ann.said("ann", "I am allergic to peanuts.")
    assert VEGETARIAN in ids(ann.persona("ann"))


def test_a_pinned_version_lasts_until_it_is_unpinned(ann):
    assert ann.pin("ann", 1).pinned
    ann.said("ann", "I am allergic to peanuts.")
    assert ids(ann.persona("ann")) == [SHORT]
    assert ann.persona("ann").version == 1
    assert [v.pinned for v in ann.versions("ann")] == [True, False, False]
    assert not ann.unpin("ann").pinned
    ann.said("ann", "I work as a nurse.")
    assert VEGETARIAN in ids(ann.persona("ann"))


def test_pinning_without_a_version_pins_the_current_one(ann):
    assert ann.pin("ann").version == 2


# Tenants


def test_tenants_know_nothing_of_each_other(ann):
    other = ann.for_tenant("other")
    assert (other.tenant, ann.tenant) == ("other", "default")
    assert (other.users(), other.signals("ann"), other.versions("ann")) == ([], [], [])
    assert not other.persona("ann")
    assert not other.tailor("ann", NEUTRAL).gate.open
    other.said("ann", "I am allergic to peanuts.")
    assert ids(other.persona("ann")) == ["said:peanut/against"]
    assert "said:peanut/against" not in ids(ann.learn("ann"))
    other.forget("ann")
    assert len(ann.signals("ann")) == 2
    assert not other.persona("ann")


def test_a_call_of_one_tenant_is_not_explained_to_another(ann):
    tailored = ann.tailor("ann", NEUTRAL)
    assert ann.explain(tailored.call_id).reasons
    assert ann.for_tenant("other").explain(tailored.call_id).reasons == ()


def test_a_signal_of_another_tenant_is_refused(p):
    mixed = [Utterance(user_id="ann", text="mine"), Utterance(user_id="ann", tenant="other", text="theirs")]
    with pytest.raises(InputError, match="not of the tenant 'default'") as caught:
        p.observe(mixed)
    assert caught.value.field == "tenant"
    assert p.users() == p.for_tenant("other").users() == []
    with pytest.raises(InputError):
        p.for_tenant("").said("ann", "x")


def test_the_tenant_can_be_set_once_and_for_all(url):
    with Personalizer(url, tenant="shop", learning="manual") as p:
        assert p.said("ann", "Hello").tenant == "shop"
        assert p.tailor("ann", "Why?").call.tenant == "shop"
        assert p.for_tenant("default").users() == []


# Being forgotten


def files(tmp_path):
    return b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("persona.db"))


@pytest.mark.parametrize("marker", ["Zq7unmistakable", "Ž́luťoučký\U0001f984"], ids=["ascii", "unicode"])
def test_nothing_stays_of_who_is_forgotten(p, plugin, tmp_path, marker):
    user = f"user {marker}"
    p.said("bob", "bystander")
    chooses(p, "bob")
    chooses(p, user)
    p.said(user, f"I am allergic to {marker}. I am called {marker}.")
    p.edited(user, f"{marker}!", prompt=marker, original="x", response_id=marker, source=marker)
    p.persona(user)
    p.reject(user, p.persona(user).traits[0].id)
    tailored = p.tailor(user, marker)
    p.answered(tailored, f"Is it {marker}?")
    assert marker.encode() in files(tmp_path)  # the test can see what it looks for

    forgotten = p.forget(user)
    assert (forgotten.signals, forgotten.versions > 0) == (10, True)
    assert marker.encode() not in files(tmp_path)
    assert b"bystander" in files(tmp_path)
    assert plugin.forgotten == [("default", user)]
    persona = p.persona(user)
    assert (persona.version, persona.traits) == (0, ())
    assert (p.signals(user), p.versions(user), p.rulings(user), p.users()) == ([], [], [], ["bob"])
    with pytest.raises(InputError, match="no answer is known by that response_id"):
        p.rate(user, True, response_id=tailored.call_id)
    assert p.tailor(user, NEUTRAL).messages == [{"role": "user", "content": NEUTRAL}]
    assert p.forget(user) == Forgotten(0, 0)


def test_answers_to_others_are_still_known(p):
    tailored = p.tailor("bob", "Why?")
    p.answered(tailored, "Because.")
    p.forget("ann")
    p.for_tenant("other").forget("bob")
    assert p.rate("bob", True, response_id=tailored.call_id).response == "Because."


# In the background


def test_background_learning_catches_up(url, plugin):
    with Personalizer(url, plugins=[plugin]) as p:
        chooses(p, "ada")
        p.said("ann", "I am a vegetarian.")
        assert p.flush(LONG)
        assert p.tailor("ada", NEUTRAL).gate.open
        assert p.tailor("ann", "What should I cook for dinner?").gate.open
        assert len(plugin.signals) == 9
        assert {persona.user_id for persona, _, _ in plugin.personas} == {"ada", "ann"}


def test_what_was_pending_is_learnt_after_a_restart(url):
    with Personalizer(url, learning="manual") as p:
        chooses(p, "ada")
        p.said("ann", "I am a vegetarian.")
        assert p.tailor("ada", NEUTRAL).gate.reason == "not learnt from yet"
    seen = []
    with Personalizer(url) as p:
        assert p.learn_pending(lambda users: [seen.append(u) or u for u in users]) == 2
        assert sorted(seen) == ["ada", "ann"]
        assert p.tailor("ada", NEUTRAL).gate.open
        assert p.learn_pending() == 0


def test_a_population_is_fitted_when_asked(p):
    assert p.refit() is None  # nobody is there
    for n in range(20):
        chooses(p, f"user {n}", crisp=n % 2 == 0)
    population = p.refit()
    assert (population.users, population.choices) == (20, 160)
    assert p.learn("user 0").lineage.population == population.fingerprint
