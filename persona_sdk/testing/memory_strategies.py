"""What the memory contract is tested with: odd texts and ids, strategies, and small makers and readers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from persona_sdk.calls import AnsweredCall, conversation_digest
from persona_sdk.inference import Population
from persona_sdk.memory import Consent, Leaning, Memory
from persona_sdk.models import Evidence, Message, Persona, Trait
from persona_sdk.signals import Edit, Preference, Rating, Regeneration, Signal, Utterance

__all__ = [
    "NOTHING",
    "ODD_IDS",
    "ODD_TEXTS",
    "all_that_is_known",
    "answered_call",
    "fill",
    "identifiers",
    "in_threads",
    "leaning",
    "make_population",
    "new_user",
    "persona",
    "said",
    "searching",
    "signal_lists",
    "texts",
    "texts_of",
]

#: Identifiers that break naive stores: paths, quotes, SQL, wildcards, case, normal forms, direction marks, length.
ODD_IDS = (
    "a/b/../c",
    "..",
    "it's",
    'say "hi"',
    "'; DROP TABLE signals; --",
    "100%",
    "under_score",
    "Ann",
    "ann",
    "ANN",
    " ann ",
    "caf\u00e9",
    "cafe\u0301",
    "\u05d3\u05e0\u05d9\u05d0\u05dc",
    "\u202eright to left",
    "\U0001f469\u200d\U0001f680",
    "$1 :name ? {x} %s \\n",
    "null",
    "0",
    "x" * 512,
)

#: Texts that break naive stores; all must come back exactly.
ODD_TEXTS = (
    "nul \x00 inside, and every other control: " + "".join(map(chr, range(32))) + "\x7f\x85",
    "\u05e9\u05dc\u05d5\u05dd \u202e\u2066mixed\u2069 \u0627\u0644\u0633\u0644\u0627\u0645",
    "line\u2028paragraph\u2029\ufeff bom \ufffe\uffff",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301 vs \u00e9",
    '{"json": "\\u0000", \'quotes\': "\'"}; -- /* */ %s :x ? \\',
    "  leading and trailing  \r\n",
)


def new_user() -> str:
    """Return a user id that was never used before."""
    return f"user-{uuid.uuid4().hex}"


def said(text: str, user_id: str, *, tenant: str = "default", **rest: object) -> Utterance:
    """Return an utterance."""
    return Utterance.model_validate({"text": text, "user_id": user_id, "tenant": tenant, **rest})


def persona(user_id: str, *, tenant: str = "default", summary: str = "", quote: str = "quoted") -> Persona:
    """Return a persona with one trait, whose interval is open, as it is after a single observation."""
    trait = Trait(
        key="style:length",
        statement=f"Prefers short answers. {summary}",
        weight=-1.25,
        interval=(float("-inf"), 0.1 + 0.2),
        evidence=(Evidence(signal_id="s1", influence=-0.5, quote=quote),),
    )
    return Persona(user_id=user_id, tenant=tenant, summary=summary, traits=(trait,))


def texts(max_size: int = 200) -> st.SearchStrategy[str]:
    """Any text a signal accepts: everything but lone surrogates, and not blank."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=max_size).filter(str.strip)


def identifiers() -> st.SearchStrategy[str]:
    """Any identifier a signal accepts: printable, not blank, bounded."""
    letters = st.characters(exclude_categories=["Cs", "Cc"])
    return st.sampled_from(ODD_IDS) | st.text(letters, min_size=1, max_size=40).filter(str.strip)


def _times() -> st.SearchStrategy[datetime]:
    # Clocks run backwards, jump, and stand in different time zones.
    days = st.integers(min_value=-20_000, max_value=20_000)
    return days.map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n, microseconds=n % 7))


def _signals(user_id: str, tenant: str) -> st.SearchStrategy[Signal]:
    who = {"user_id": st.just(user_id), "tenant": st.just(tenant), "at": _times()}
    reply = st.none() | identifiers()
    turns = texts(50).map(lambda text: (Message(role="system", content="Be kind."), Message(role="user", content=text)))
    return st.one_of(
        st.builds(Utterance, text=texts(), response_id=reply, **who),
        st.builds(Rating, prompt=turns, response=texts(), score=st.floats(-1, 1), **who),
        st.builds(Regeneration, prompt=turns, response=texts(), kept=st.none() | texts(), **who),
        texts().flatmap(
            lambda one: st.builds(Preference, prompt=turns, chosen=st.just(one), rejected=st.just(one + "."), **who)
        ),
        texts().flatmap(
            lambda one: st.builds(Edit, prompt=turns, original=st.just(one), edited=st.just(one + "!"), **who)
        ),
    )


def signal_lists(user_id: str, tenant: str = "default") -> st.SearchStrategy[list[Signal]]:
    """Lists of signals of one person, of all kinds, with times in no order."""
    return st.lists(_signals(user_id, tenant), min_size=1, max_size=6)


#: People's input is searched with the same store for all examples: each example uses people of its own.
searching = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def texts_of(memory: Memory, user_id: str, tenant: str = "default") -> list[str]:
    """Return what someone said, in order."""
    return [s.signal.text for s in memory.signals(tenant, user_id) if isinstance(s.signal, Utterance)]


def all_that_is_known(memory: Memory, tenant: str, user_id: str) -> tuple[object, ...]:
    """Return what every reading method says of someone."""
    return (
        memory.signals(tenant, user_id),
        memory.current(tenant, user_id),
        memory.progress(tenant, user_id),
        memory.state(tenant, user_id, 1),
        memory.versions(tenant, user_id),
        memory.verdicts(tenant, user_id),
        memory.recalled(tenant, user_id, [ASKED]),
        memory.related_calls(tenant, user_id, [], [conversation_digest([])]),
        memory.leaning(tenant, user_id),
        memory.consent(tenant, user_id),
    )


#: The digest under which `fill` keeps an answer.
ASKED = "0" * 64

#: What is known of nobody.
NOTHING: tuple[object, ...] = ([], None, None, None, [], {}, {}, [], None, Consent())


def fill(memory: Memory, tenant: str, user_id: str, text: str) -> int:
    """Write `text` for one person by every method there is; return the last sequence number."""
    memory.append([said(text, user_id, tenant=tenant)])
    seq = memory.signals(tenant, user_id)[-1].seq
    for _ in range(2):
        memory.remember(persona(user_id, tenant=tenant, summary=text, quote=text), {"words": [text]})
    memory.rule(tenant, user_id, "style:length/against", "rejected", text)
    memory.mark_learnt(tenant, user_id, seq, text)
    memory.keep_answers(tenant, user_id, {ASKED: text})
    memory.keep_call(answered_call(user_id, text, tenant=tenant))
    memory.lean(tenant, leaning(user_id, seq, {f"w:{text}": 1.0}))
    if type(memory).set_consent is not Memory.set_consent:
        memory.set_consent(tenant, user_id, lend=True, borrow=False)
    return seq


def answered_call(user_id: str, text: str, *, tenant: str = "default", **fields: Any) -> AnsweredCall:
    """Return a call of somebody who asked `text` and was answered with it."""
    asked = (Message(role="system", content="Be kind."), Message(role="user", content=text))
    values = {"call_id": uuid.uuid4().hex, "response_id": uuid.uuid4().hex, "asked": asked, "answer": text} | fields
    return AnsweredCall(tenant=tenant, user_id=user_id, **values)


def leaning(user_id: str, through: int, weights: dict[str, float]) -> Leaning:
    """Return what somebody leans to."""
    return Leaning(user_id, weights, choices=1, through=through, inferrer="fake")


def make_population(tenant: str, inferrer: str, number: int) -> Population:
    """Return a population; `number` makes it differ from others."""
    data = {"weights": [0.1, -float(number)], "words": {"a\x00b": 1}}
    return Population(tenant=tenant, inferrer=inferrer, fingerprint=f"f{number}", users=3, choices=number, data=data)


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `work(0)` … `work(count - 1)` at the same moment and return what they returned."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
