"""From signals to the current persona, and the thread that does it in the background."""

import logging
import math
import threading

import pytest

from persona_sdk.errors import StorageBusyError
from persona_sdk.inference import HeldOutChoice, History, Inference, Inferrer, Population
from persona_sdk.learning import BackgroundLearner, Learner
from persona_sdk.signals import Preference, Utterance
from persona_sdk.testing import FakeMemory, make_trait

LONG = 60.0
SECRET = "what Ann said in confidence"
SHORT = make_trait("style:length", "Prefers shorter answers.", polarity="against", status="proposed")
LISTS = make_trait("style:lists", "Likes lists.", status="proposed")


class Scripted(Inferrer):
    """Proposes what the test says, and keeps what it was asked."""

    name = "scripted"

    def __init__(self):
        self.traits, self.sure, self.state = (SHORT,), True, {"weights": [1.0]}
        self.before = lambda request: None
        self.before_probability = 0.9
        self.asked = []

    def infer(self, request):
        self.asked.append(request)
        self.before(request)
        probability = 0.9 if self.sure else 0.3
        previous = (
            None if self.sure else math.log(self.before_probability)
        )  # what is not believed is up against a version that is
        held_out = (HeldOutChoice("s", math.log(probability), math.log(0.5), previous),) * 4
        return Inference(self.traits, held_out, state=self.state, note=f"{len(request.signals)} signals")

    def fit_population(self, tenant, histories):
        people = list(histories)
        assert all(isinstance(person, History) for person in people)
        data = {"people": [p.user_id for p in people]}
        return Population(
            tenant=tenant, inferrer=self.name, fingerprint=f"of {len(people)}", users=len(people), choices=0, data=data
        )


class World:
    def __init__(self):
        self.memory, self.inferrer, self.told = FakeMemory(), Scripted(), []
        self.learner = Learner(self.memory, self.inferrer, lambda *what: self.told.append(what))
        self.number = 0

    def say(self, user="ann", text="Hello", tenant="default"):
        self.number += 1
        self.memory.append([Utterance(id=str(self.number), user_id=user, tenant=tenant, text=text)])

    def learn(self, user="ann"):
        return self.learner.learn("default", user)

    def everything(self, user="ann"):
        memory = self.memory
        return (
            memory.signals("default", user),
            memory.versions("default", user),
            memory.current("default", user),
            memory.progress("default", user),
            memory.verdicts("default", user),
        )


@pytest.fixture
def world():
    made = World()
    made.say()
    return made


# Learning


def test_of_nobody_nothing_is_learnt(world):
    persona = world.learn("nobody")
    assert not persona
    assert persona.note
    assert world.inferrer.asked == world.told == []
    assert world.memory.versions("default", "nobody") == []


def test_what_is_believed_becomes_the_current_version(world):
    persona = world.learn()
    assert [(t.id, t.status) for t in persona.traits] == [("style:length/against", "verified")]
    assert persona == world.memory.current("default", "ann")
    assert persona.summary == "Prefers shorter answers."
    assert persona.lift.accuracy_with == 1.0
    lineage = persona.lineage
    assert (persona.version, lineage.inferrer, lineage.signals, lineage.parent) == (1, "scripted", 1, None)
    assert lineage.through == world.memory.signals("default", "ann")[-1].seq
    assert world.memory.state("default", "ann", 1) == {"weights": [1.0], "inferrer": "scripted"}
    assert not world.memory.progress("default", "ann").pending
    assert [(p.traits, accepted) for p, accepted, _ in world.told] == [(persona.traits, True)]


def test_what_is_not_believed_is_told_and_says_why(world):
    world.inferrer.sure = False
    persona = world.learn()
    assert (persona.version, persona.traits) == (0, ())
    assert persona.note.startswith("not believed")
    assert world.memory.versions("default", "ann") == []
    assert not world.memory.progress("default", "ann").pending
    assert world.told[0][1] is False
    assert world.told[0][2] == persona.note


def test_what_is_not_believed_leaves_the_earlier_persona_and_its_state(world):
    first = world.learn()
    world.inferrer.sure, world.inferrer.traits, world.inferrer.state = False, (LISTS,), {"weights": [9.0]}
    world.say()
    second = world.learn()
    assert (second.traits, second.lift, second.version) == (first.traits, first.lift, first.version)
    assert second.note.startswith("not believed")
    assert world.memory.state("default", "ann", first.version) == {"weights": [1.0], "inferrer": "scripted"}
    world.memory.rule("default", "ann", SHORT.id, "rejected")
    third = world.learn()
    assert (third.traits, third.version, third.lift) == ((), 2, None)
    assert world.memory.state("default", "ann", 2) is None  # those weights were learnt with what was taken back


def test_what_predicts_no_better_any_more_is_withdrawn(world):
    world.learn()
    world.inferrer.sure, world.inferrer.before_probability = False, 0.4  # nor does the version before
    world.say()
    later = world.learn()
    assert (later.traits, later.lift) == ((), None)
    assert later.note.startswith("not believed")


def test_the_inferrer_is_told_what_it_may_use(world):
    world.memory.rule("default", "ann", "a/for", "rejected")
    world.memory.rule("default", "ann", "b/for", "pinned")
    world.learn()
    world.say("bob")
    world.learn("bob")
    world.say()
    world.say()
    world.learn()
    first, bobs, last = (r for r in world.inferrer.asked if r.pinned or r.user_id == "bob")
    assert (first.read_before, len(first.signals), first.other_state) == (0, 1, None)
    assert (first.rejected, first.pinned) == (frozenset({"a/for"}), frozenset({"b/for"}))
    assert bobs.other_state == {"weights": [1.0]}
    assert (last.read_before, len(last.signals), last.other_state) == (1, 3, {"weights": [1.0]})


def test_a_pinned_version_stays_current(world):
    world.learn()
    world.memory.set_current("default", "ann", 1, pinned=True)
    world.inferrer.traits = (LISTS,)
    world.say()
    assert world.learn().version == 1
    assert [v.version for v in world.memory.versions("default", "ann")] == [1, 2]


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("again", [False, True], ids=["gone", "back"])
@pytest.mark.parametrize("sure", [False, True], ids=["not believed", "believed"])
def test_who_is_forgotten_while_being_learnt_from_does_not_come_back(world, known, again, sure):
    if known:
        world.learn()
        world.say()
    told = len(world.told)

    def forgotten(request):
        world.memory.forget("default", "ann")
        if again:  # and says something new at once
            world.say(text="new")

    world.inferrer.before, world.inferrer.sure = forgotten, sure
    persona = world.learn()
    assert (persona.version, persona.traits) == (0, ())
    assert world.memory.versions("default", "ann") == []
    assert world.memory.current("default", "ann") is None
    assert [s.signal.text for s in world.memory.signals("default", "ann")] == (["new"] if again else [])
    assert world.memory.progress("default", "ann") is None or world.memory.progress("default", "ann").pending
    assert again or len(world.told) == told


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
def test_an_inferrer_that_raises_leaves_memory_as_it_was(world, known):
    if known:
        world.learn()
        world.say()
    before, told = world.everything(), len(world.told)
    world.inferrer.before = lambda request: 1 / 0
    with pytest.raises(ZeroDivisionError):
        world.learn()
    assert world.everything() == before
    assert world.memory.progress("default", "ann").pending
    assert len(world.told) == told


def test_signals_that_come_while_learning_stay_pending(world):
    world.inferrer.before = lambda request: world.say()
    world.learn()
    assert world.memory.progress("default", "ann").pending


# The population


def test_a_refit_is_saved_and_used(world):
    world.learn()  # the population is read, and kept for a while
    world.say("bob")
    world.say("eve", tenant="other")
    seen = []
    population = world.learner.refit("default", lambda users: [seen.append(u) or u for u in users])
    assert seen == population.data["people"] == ["ann", "bob"]
    assert world.memory.population("default", "scripted") == population
    assert world.memory.population("other", "scripted") is None
    assert world.learn().lineage.population == "of 2"
    assert world.inferrer.asked[-1].population == population


def test_a_refit_that_finds_nothing_empties_the_population(world):
    assert world.learner.refit("default").users == 1
    world.inferrer.fit_population = lambda tenant, histories: None
    assert world.learner.refit("default") is None
    kept = world.memory.population("default", "scripted")
    assert (kept.users, kept.data) == (0, {})
    assert world.learner.population("default") is None


# In the background


class Work:
    """Learns from people by noting them down; `does` says what happens besides."""

    def __init__(self):
        self.done, self.does = [], {}
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()

    def __call__(self, tenant, user_id):
        self.started.set()
        assert self.gate.wait(LONG)
        if failure := self.does.get(user_id):
            raise failure
        self.done.append((tenant, user_id))


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def background(work):
    learner = BackgroundLearner(work)
    yield learner
    work.gate.set()
    learner.close()


def test_flushing_waits_for_everyone(work, background):
    assert background.flush(LONG)  # nobody
    people = [("default", f"user {n}") for n in range(100)]
    for person in people:
        background.submit(*person)
    assert background.flush(LONG)
    assert work.done == people


def test_asking_twice_is_asking_once(work, background):
    work.gate.clear()
    background.submit("default", "first")
    assert work.started.wait(LONG)
    for _ in range(5):
        background.submit("default", "ann")
    assert not background.flush(0.01)
    work.gate.set()
    assert background.flush(LONG)
    assert work.done == [("default", "first"), ("default", "ann")]


def test_who_is_being_learnt_from_can_be_submitted_again(work, background):
    work.gate.clear()
    background.submit("default", "ann")
    assert work.started.wait(LONG)
    assert not background.flush(0.01)  # nobody waits, and she is not done
    background.submit("default", "ann")
    work.gate.set()
    assert background.flush(LONG)
    assert work.done == [("default", "ann")] * 2


def test_closing_leaves_the_others_and_takes_no_more(work, background):
    work.gate.clear()
    background.submit("default", "ann")
    assert work.started.wait(LONG)
    background.submit("default", "bob")
    closing = threading.Thread(target=background.close)
    closing.start()
    work.gate.set()
    closing.join(LONG)
    assert not closing.is_alive()
    background.submit("default", "eve")
    assert background.flush(LONG)
    assert work.done == [("default", "ann")]
    background.close()


def test_closing_before_anything_was_asked(background):
    background.close()
    assert background.flush(LONG)


def test_a_known_failure_is_logged_without_text_and_the_others_follow(work, background, caplog):
    work.does["ann"] = StorageBusyError(SECRET)
    with caplog.at_level(logging.WARNING, "persona_sdk"):
        for user in ("ann", "bob"):
            background.submit("default", user)
        assert background.flush(LONG)
    assert work.done == [("default", "bob")]
    assert [r.getMessage() for r in caplog.records] == ["learning in the background failed: StorageBusyError"]
    assert SECRET not in caplog.text


def test_a_crash_with_one_person_is_logged_without_text_and_does_not_stop_the_others(work, background, caplog):
    work.does["ann"] = KeyError(SECRET)
    work.gate.clear()
    background.submit("default", "ann")
    assert work.started.wait(LONG)
    background.submit("default", "bob")
    work.gate.set()
    assert background.flush(LONG)
    assert work.done == [("default", "bob")]
    assert "raised KeyError" in caplog.text
    assert SECRET not in caplog.text


def test_a_learner_in_the_background(world):
    background = BackgroundLearner(world.learner.learn)
    world.memory.append([Preference(user_id="bob", prompt="?", chosen="a", rejected="b")])
    for user in ("ann", "bob"):
        background.submit("default", user)
    assert background.flush(LONG)
    background.close()
    assert world.memory.pending("default") == []
    assert world.memory.current("default", "bob").traits
