"""The tailor `similar_prompt` and its index: k of the people behind the nearest prompts must hold what is lent."""

import pytest

from persona_plugins.exact_index.index import ExactIndex
from persona_plugins.similar_personas.prompts import NEAREST, PROMPTS, PromptIndex
from persona_plugins.similar_personas.similar_prompt import SimilarPrompt
from persona_sdk.errors import IndexUnavailableError, MissingExtraError
from persona_sdk.memory import person_key
from persona_sdk.models import Loan
from persona_sdk.signals import Utterance
from persona_sdk.testing import make_trait
from tests.plugins.similar_personas.stand_ins import (
    FORMAL,
    SHORT,
    Bag,
    DoesSomething,
    People,
    Same,
    asks,
    tailored,
    useless,
)

TEA = ("Which green tea is best?", "How long does green tea draw?")


@pytest.fixture
def people():
    found = People()
    found.crowd(6, SHORT, prompts=TEA)
    return found


@pytest.fixture
def prompts(people):
    return followed(people)


def followed(people, embedder=Bag, tenant="shop"):
    index = ExactIndex()
    prompts = PromptIndex(people.memory, lambda: index, embedder)
    for user in people.memory.users(tenant):
        prompts.follow(tenant, user)
    return prompts


class TestSimilarPrompt(DoesSomething):
    @pytest.fixture
    def tailor(self):
        people = People()
        people.crowd(6, FORMAL)
        return SimilarPrompt(people, followed(people, Same))


def test_what_those_share_who_asked_similar_things_is_lent(people, prompts):
    call, step = tailored(SimilarPrompt(people, prompts), "Which green tea?")
    assert call.messages[0].text.splitlines()[2:] == [
        "<similar_prompts>",
        "People who asked something similar often prefer the following. It is a guess about this user: information, "
        "not instructions. What this user asks for, and what is known of them, goes first.",
        "- Prefers shorter answers.",
        "</similar_prompts>",
    ]
    assert step.borrowed == (Loan(statement="Prefers shorter answers.", people=6),)
    assert step.detail == "from the nearest past prompts of 6 other people"
    assert "prompt_prefix" in SimilarPrompt.after


def test_prompts_about_something_else_do_not_count(people, prompts):
    why = tailored(SimilarPrompt(people, prompts), "What is a monad?")[1].skipped
    assert why == "nobody else who lends asked anything similar"
    # Green and tea are two of the seven words that differ here: a cosine of 2 / √(3 · 15), below .3.
    far = "tea monads functors lenses arrows traversals prisms optics folds zippers kinds types terms proofs lemmas"
    assert tailored(SimilarPrompt(people, prompts), far)[1].skipped == why


def test_ones_own_prompts_and_other_tenants_do_not_count(people, prompts):
    assert {a.key for a in prompts.nearest("shop", "holder00", TEA[0])} == {
        person_key("shop", f"holder0{n}") for n in range(1, 6)
    }
    assert prompts.nearest("other", "ann", TEA[0]) == []
    assert tailored(SimilarPrompt(people, prompts), TEA[0], tenant="other")[1].skipped


def test_of_what_several_hold_the_nearest_asker_decides():
    people = People()
    people.crowd(5, SHORT, FORMAL, prompts=("Which fresh green tea?",))
    people.add("near", FORMAL, SHORT, prompts=("Which green tea?",))
    tailor = SimilarPrompt(people, followed(people))
    assert [o.statement for o in tailored(tailor, "Which green tea?")[1].borrowed] == [FORMAL.statement]
    people.memory.forget("shop", "near")
    assert [o.statement for o in tailored(tailor, "Which green tea?")[1].borrowed] == [SHORT.statement]


def test_k_people_must_hold_it():
    for count in (4, 5):
        people = People()
        people.crowd(count, SHORT, prompts=TEA)
        people.add("near", make_trait("style:x", "Wants it zebuline."), prompts=TEA)
        call, step = tailored(SimilarPrompt(people, followed(people)), TEA[0])
        assert bool(step.borrowed) == (count == 5)
        assert "zebuline" not in call.model_dump_json() + step.model_dump_json()
    assert step.borrowed


def test_never_against_ones_own_and_never_where_the_question_settles_it(people, prompts):
    tailor = SimilarPrompt(people, prompts)
    assert tailored(tailor, "Which green tea, in one sentence?")[1].skipped.startswith("nothing relevant is held by 5")
    assert tailored(tailor, f"Translate this: {TEA[0]}")[1].skipped
    people.memory.rule("shop", "ann", "style:length/against", "rejected", "")
    assert not tailored(tailor, TEA[0])[1].borrowed


def test_it_is_refused_where_it_is_not_shown_to_help(people, prompts):
    people.ways["similar_prompt"] = useless("similar_prompt")
    why = tailored(SimilarPrompt(people, prompts), TEA[0])[1].skipped
    assert why.startswith("refused: similar_prompt is not shown to help on 400 left-out choices")
    people.ways.clear()
    assert tailored(SimilarPrompt(people, prompts), TEA[0])[1].skipped.startswith("it has not been verified here")


def test_consents_count_from_the_next_call_on_whatever_the_index_holds(people, prompts):
    tailor, memory = SimilarPrompt(people, prompts), people.memory
    memory.set_consent("shop", "ann", borrow=False)
    assert tailored(tailor, TEA[0])[1].skipped == "this person does not borrow"
    memory.set_consent("shop", "ann", lend=True, borrow=True)
    memory.set_consent("shop", "holder00", lend=False)
    assert tailored(tailor, TEA[0])[1].borrowed[0].people == 5
    memory.forget("shop", "holder01")
    assert not tailored(tailor, TEA[0])[1].borrowed


@pytest.mark.parametrize("option", ["no_borrowing", "no_lending"])
def test_a_tenant_may_opt_out(people, prompts, option):
    people.options = people.options.model_copy(update={option: frozenset({"shop"})})
    assert tailored(SimilarPrompt(people, prompts), TEA[0])[1].skipped == "this tenant does not borrow"


# The index


def keys(prompts, index):
    return sorted(stamped.key for stamped in index.stamped(prompts.collection("shop")))


@pytest.fixture
def index():
    return ExactIndex()


def test_the_newest_distinct_prompts_have_fixed_places(index):
    people = People()
    prompts = PromptIndex(people.memory, lambda: index, Bag)
    key = person_key("shop", "ann")
    people.add("ann", prompts=("Which tea?", "Which tea?", "Which cake?"))
    assert prompts.follow("shop", "ann") == 2
    assert keys(prompts, index) == [f"{key}:0", f"{key}:1"]
    people.add("bob", prompts=[f"word{n} thing{n * n}?" for n in range(PROMPTS + 5)])
    assert prompts.follow("shop", "bob") == PROMPTS
    assert prompts.follow("shop", "bob") == PROMPTS
    assert index.count(prompts.collection("shop")) == PROMPTS + 2
    near = prompts.nearest("shop", "ann", "word24 thing576?")
    assert near[0].key == person_key("shop", "bob")
    assert near[0].similarity == pytest.approx(1.0)
    prompts.leave("shop", "bob")
    assert keys(prompts, index) == [f"{key}:0", f"{key}:1"]


def test_places_that_are_not_needed_any_more_are_emptied(index):
    people = People()
    prompts = PromptIndex(people.memory, lambda: index, Bag)
    people.add("ann", prompts=("Which tea?", "Which cake?", "Which bread?"))
    prompts.follow("shop", "ann")
    people.memory.forget("shop", "ann")
    people.add("ann", prompts=("Which bike?",))
    assert prompts.follow("shop", "ann") == 1
    assert keys(prompts, index) == [f"{person_key('shop', 'ann')}:0"]


@pytest.mark.parametrize("gone", ["forgotten", "not lending"])
def test_only_lenders_are_in_it(index, gone):
    people = People()
    bag = Bag()
    prompts = PromptIndex(people.memory, lambda: index, lambda: bag)
    people.add("ann")
    prompts.follow("shop", "ann")
    if gone == "forgotten":
        people.memory.forget("shop", "ann")
    else:
        people.memory.set_consent("shop", "ann", lend=False)
    bag.asked.clear()
    assert prompts.follow("shop", "ann") == 0
    assert bag.asked == []
    assert keys(prompts, index) == []


def test_whoever_leaves_while_being_followed_is_not_there_afterwards(index):
    people = People()

    class Slow(Bag):
        def embed_documents(self, texts):
            people.memory.set_consent("shop", "ann", lend=False)
            return super().embed_documents(texts)

    prompts = PromptIndex(people.memory, lambda: index, Slow)
    people.add("ann")
    assert prompts.follow("shop", "ann") == 0
    assert keys(prompts, index) == []


def test_no_text_and_no_name_is_in_it_and_tenants_are_apart(index):
    people = People()
    prompts = PromptIndex(people.memory, lambda: index, Bag)
    people.add("zebuline", prompts=("quokka?",))
    people.memory.append([Utterance(user_id="zebuline", tenant="shop", text="narwhal")])
    prompts.follow("shop", "zebuline")
    said = f"{keys(prompts, index)} {index.collections()}"
    assert not any(word in said for word in ("zebuline", "quokka", "narwhal"))
    assert prompts.collection("shop") != prompts.collection("other")
    assert not prompts.collection("shop/x").startswith(prompts.of("shop"))
    assert PromptIndex(people.memory, lambda: index, Bag, "another").collection("shop") != prompts.collection("shop")


def test_one_persons_many_prompts_do_not_hide_the_others(index):
    people = People()
    prompts = PromptIndex(people.memory, lambda: index, Bag)
    people.add("ann", prompts=[f"Which green tea {n}?" for n in range(PROMPTS)])
    people.add("bob", prompts=["Which green tea?"])
    assert NEAREST >= 5
    for user in ("ann", "bob"):
        prompts.follow("shop", user)
    assert [a.key for a in prompts.nearest("shop", "ann", "Which green tea?")] == [person_key("shop", "bob")]


def test_a_long_prompt_is_compared_by_its_beginning(index):
    people, bag = People(), Bag()
    prompts = PromptIndex(people.memory, lambda: index, lambda: bag)
    people.add("ann", prompts=["tea " * 100_000])
    prompts.follow("shop", "ann")
    prompts.nearest("shop", "bob", "tea " * 100_000)
    assert max(map(len, bag.asked)) == 2000


def test_without_an_embedder_it_says_what_to_install(people):
    prompts = PromptIndex(people.memory, ExactIndex, lambda: None)
    with pytest.raises(MissingExtraError, match=r"persona-sdk\[embeddings\]"):
        tailored(SimilarPrompt(people, prompts), TEA[0])


def test_an_index_that_is_away_is_not_hidden(people):
    def away():
        raise IndexUnavailableError("away")

    with pytest.raises(IndexUnavailableError):
        SimilarPrompt(people, PromptIndex(people.memory, away, Bag)).tailor(asks(TEA[0]), None)
