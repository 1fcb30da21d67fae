"""When a trait speaks and when it stays silent, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.gating import gate
from persona_sdk.models import ChatCall, Message, Persona
from persona_sdk.testing import make_persona, make_trait

#: Traits by the name they have in the table below.
TRAITS = {
    "short": make_trait("style:length", "Prefers shorter answers.", kind="style", polarity="against"),
    "lists": make_trait("style:lists", "Likes answers laid out as lists.", kind="style"),
    "casual": make_trait("style:formality", "Prefers a casual tone.", kind="style", polarity="against"),
    "simple": make_trait("style:reading_level", "Prefers simple words.", kind="style", polarity="against"),
    "emoji": make_trait("style:emoji", "Prefers no emoji.", kind="style", polarity="against"),
    "definite": make_trait("style:hedging", "Prefers definite statements.", kind="style", polarity="against"),
    "examples": make_trait("style:examples", "Likes examples.", kind="style"),
    "figures": make_trait("style:numbers", "Likes figures and numbers.", kind="style"),
    "own style": make_trait("tone", "Enjoys a dry sense of humour.", kind="style"),
    "vegetarian": make_trait("fact:vegetarian", "Is a vegetarian.", kind="fact"),
    "nuts": make_trait("fact:nuts", "Is allergic to peanuts.", kind="fact"),
    "python": make_trait("fact:python", "Writes Python for a living.", kind="fact"),
    "trains": make_trait("choice:trains", "Goes for trains rather than flights.", scope=("trip", "travel")),
    "quiet hotels": make_trait("choice:quiet", "Goes for answers that mention 'quiet'.", scope=("hotel",)),
    "curious": make_trait("personality:curious", "Is curious about astronomy.", kind="personality"),
}

SPEAKS = [
    ("short", "What is a monad?"),
    ("short", "Why is the sky blue?"),
    ("short", "Tell me about Peru."),
    ("short", "Which shorts should I wear?"),
    ("short", "How does a longbow work?"),
    ("lists", "What is a good way to learn chess?"),
    ("lists", "How do I listen better?"),
    ("casual", "How do I open a bank account?"),
    ("casual", "What does formaldehyde do?"),
    ("simple", "How do vaccines work?"),
    ("emoji", "Say hello to my team."),
    ("definite", "Will it rain more in the future?"),
    ("examples", "What is a metaphor?"),
    ("figures", "How big is Berlin?"),
    ("own style", "What is a monad?"),
    ("own style", "Answer in detail: what is a monad?"),
    ("vegetarian", "What should I cook for dinner?"),
    ("vegetarian", "Which restaurant should I take my sister to?"),
    ("vegetarian", "Plan a barbecue for six people"),
    ("nuts", "Can you recommend a dessert?"),
    ("nuts", "I have a headache, what can I do?"),
    ("python", "Why does my script crash?"),
    ("python", "How do I test a function?"),
    ("trains", "How do I get to Vienna on my holiday?"),
    ("trains", "Plan a trip to Rome"),
    ("quiet hotels", "Find me a hotel in Lisbon"),
    ("curious", "Is astronomy hard to study?"),
]

SILENT = [
    ("short", "In detail, what is a monad?"),
    ("short", "Write a long letter to my aunt"),
    ("short", "Explain gravity in 500 words"),
    ("short", "Give me one sentence on Peru"),
    ("short", "TLDR of the French Revolution?"),
    ("short", "Walk me through it step by step"),
    ("short", "Write an essay about bees"),
    ("short", "Summarize this chapter"),
    ("lists", "Give me bullet points on Peru"),
    ("lists", "Answer in prose: what is Peru like?"),
    ("lists", "Put the planets in a table"),
    ("casual", "Write a formal letter to my landlord"),
    ("casual", "Say it informally"),
    ("simple", "Explain gravity like I'm five"),
    ("simple", "Give me the technical explanation"),
    ("emoji", "Add some emojis to this"),
    ("definite", "How sure are you that it will rain?"),
    ("definite", "Yes or no: is it raining?"),
    ("examples", "Give me an example of a metaphor"),
    ("figures", "How many people live in Berlin?"),
    ("short", "Translate to French: I am late"),
    ("lists", "Please proofread this paragraph: it are good"),
    ("own style", "Translate this into German: good morning"),
    ("short", "Fix the grammar: he go home"),
    ("own style", "Return the answer as JSON"),
    ("lists", "Reply with only JSON"),
    ("short", "Convert this to CSV: a b c"),
    ("emoji", "Can you transcribe the following? ..."),
    ("vegetarian", "How do I write a loop in Python?"),
    ("vegetarian", "What is the capital of Peru?"),
    ("nuts", "Who won the chess championship?"),
    ("python", "What should I cook for dinner?"),
    ("python", "Which poems do you like?"),
    ("trains", "What is a monad?"),
    ("trains", "How do I bake bread?"),
    ("quiet hotels", "How do I sharpen a knife?"),
    ("curious", "How do I get a coffee stain out?"),
]


def asking(*turns, role="user"):
    messages = tuple(Message(role=role, content=turn) if isinstance(turn, str) else turn for turn in turns)
    return ChatCall(messages=messages, user_id="ann")


def decide(trait, *turns):
    return gate(make_persona(trait), asking(*turns))


@pytest.mark.parametrize(("trait", "question"), SPEAKS, ids=[f"{t}: {q}" for t, q in SPEAKS])
def test_it_speaks(trait, question):
    decision = decide(TRAITS[trait], question)
    assert decision.open, decision.silent
    assert decision.traits == (TRAITS[trait],)
    assert decision.silent == {}
    assert decision.reason == "1 of 1 traits apply"


@pytest.mark.parametrize(("trait", "question"), SILENT, ids=[f"{t}: {q}" for t, q in SILENT])
def test_it_is_silent(trait, question):
    decision = decide(TRAITS[trait], question)
    assert not decision.open
    assert decision.traits == ()
    assert decision.silent[TRAITS[trait].key].strip()
    assert decision.reason.strip()


@pytest.mark.parametrize("status", ["proposed", "rejected"])
@pytest.mark.parametrize("trait", ["short", "vegetarian"])
def test_what_is_not_believed_never_speaks(trait, status):
    silent = TRAITS[trait].model_copy(update={"status": status})
    decision = decide(silent, "What should I cook for dinner?")
    assert not decision.open
    assert decision.silent == {silent.key: f"it is {status}"}


@pytest.mark.parametrize("status", ["verified", "pinned"])
def test_what_is_believed_speaks(status):
    assert decide(TRAITS["short"].model_copy(update={"status": status}), "What is a monad?").open


@pytest.mark.parametrize("persona", [Persona(user_id="ann"), Persona(user_id="ann", note="too little evidence")])
def test_without_a_persona_it_is_closed_and_says_why(persona):
    decision = gate(persona, asking("What is a monad?"))
    assert not decision.open
    assert decision.reason == (persona.note or "no persona yet")


@pytest.mark.parametrize(
    "messages",
    [
        (),
        ("",),
        (" \n",),
        (Message(role="user"),),
        (Message(role="system", content="What is a monad?"),),
        (Message(role="user", content=[{"type": "image_url", "image_url": {"url": "…"}}]),),
    ],
    ids=repr,
)
def test_a_call_without_a_question_is_left_alone(messages):
    decision = decide(TRAITS["short"], *messages)
    assert not decision.open
    assert decision.reason == "the call has no user message with text"


def test_some_speak_and_the_others_say_why_not():
    persona = make_persona(*TRAITS.values())
    decision = gate(persona, asking("Give me a list of ideas for dinner"))
    speaking = {t.key for t in decision.traits}
    assert {"style:length", "fact:vegetarian"} <= speaking
    assert {"style:lists", "fact:python", "choice:trains"} <= set(decision.silent)
    assert speaking.isdisjoint(decision.silent)
    assert len(speaking) + len(decision.silent) == len(TRAITS)
    assert decision.reason == f"{len(speaking)} of {len(TRAITS)} traits apply"
    assert [t for t in persona.traits if t.key in speaking] == list(decision.traits)  # the surest stay first


def test_a_topic_once_raised_stays_relevant():
    said = ["What should I cook for dinner?", Message(role="assistant", content="Pasta."), "And what else?"]
    assert decide(TRAITS["vegetarian"], *said).open
    assert decide(TRAITS["vegetarian"], *said, *["And what else?"] * 15).open
    assert not decide(TRAITS["vegetarian"], *said, *["And what else?"] * 30).open
    assert not decide(TRAITS["vegetarian"], "And what else?").open


def test_only_what_the_person_says_makes_a_topic():
    recipe = Message(role="assistant", content="Here is a recipe for dinner.")
    cook = Message(role="system", content="You are a cook who plans dinner.")
    assert not decide(TRAITS["vegetarian"], cook, "What is a monad?", recipe, "And what is a functor?").open


def test_how_a_question_wants_its_answer_holds_for_that_question():
    assert decide(TRAITS["short"], "In detail, what is a monad?", "And what is a functor?").open
    assert not decide(TRAITS["short"], "What is a monad?", "In detail, what is a functor?").open


@pytest.mark.parametrize("pasted", ["word " * 200_000, "!" * 1_000_000, "\n" * 9_000, "please " * 100_000])
def test_of_a_long_message_both_ends_are_read(pasted):
    short, vegetarian = TRAITS["short"], TRAITS["vegetarian"]
    for question in ("In detail, what is this? ", "Translate this to French: "):
        assert not decide(short, question + pasted).open
        assert not decide(short, pasted + " in detail, please").open
    assert decide(vegetarian, "My dinner plans: " + pasted).open
    assert decide(vegetarian, pasted + " what is for dinner?").open
    assert decide(short, f"What is this? {pasted} in detail {pasted} Well?").open  # that is of what was pasted


def test_content_parts_are_read():
    parts = Message(role="user", content=[{"type": "text", "text": "What is"}, {"type": "text", "text": "for dinner?"}])
    assert decide(TRAITS["vegetarian"], parts).open


traits = st.builds(
    make_trait,
    st.sampled_from(["style:length", "style:", "style:unheard-of", "fact:x", ""]) | st.text(max_size=10),
    st.text(max_size=60),
    kind=st.sampled_from(["preference", "style", "fact", "personality"]),
    status=st.sampled_from(["proposed", "verified", "pinned", "rejected"]),
    scope=st.lists(st.text(max_size=8), max_size=3).map(tuple),
)
questions = st.text(max_size=200) | st.sampled_from([q for _, q in SPEAKS + SILENT])
roles = st.sampled_from(["user", "user", "assistant", "system", "tool", "?"])
calls = st.lists(st.builds(Message, role=roles, content=questions | st.none()), max_size=5).map(
    lambda messages: ChatCall(messages=tuple(messages), user_id="ann")
)


@given(st.lists(traits, max_size=5), calls)
def test_whatever_is_said_it_decides_and_nothing_unverified_speaks(some, call):
    persona = make_persona(*some)
    decision = gate(persona, call)
    assert decision.reason.strip()
    assert decision.open == bool(decision.traits)
    assert all(t.status in ("verified", "pinned") and t in persona.traits for t in decision.traits)
    assert all(why.strip() for why in decision.silent.values())
    assert gate(persona, call) == decision
