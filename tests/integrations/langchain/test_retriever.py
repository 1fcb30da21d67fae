"""`PersonaRetriever`: what is known of a person and has something to say about a query."""

import asyncio

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from persona_integrations.langchain import PersonaRetriever
from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError, PluginError, StorageError
from persona_sdk.models import Evidence
from persona_sdk.testing import make_persona, make_trait
from tests.support.chatting import Does, for_user, make_personalizer

SHORT = make_trait(key="style:length", statement="Prefers short answers.", weight=2.0)
MEAT = make_trait(
    key="said:meat",
    kind="fact",
    statement="Does not eat meat.",
    status="pinned",
    weight=1.5,
    interval=(1.0, 2.0),
    evidence=(Evidence(signal_id="1", quote="I don't eat meat"), Evidence(signal_id="2")),
)
CHESS = make_trait(key="said:chess", kind="fact", statement="Plays chess in a club.", weight=1.0)
UNSURE = make_trait(key="style:tone", statement="Prefers a warm tone.", status="proposed")

RETRIEVE = {
    "invoke": lambda retriever, *a, **k: retriever.invoke(*a, **k),
    "ainvoke": lambda retriever, *a, **k: asyncio.run(retriever.ainvoke(*a, **k)),
    "batch": lambda retriever, query, *a, **k: retriever.batch([query], *a, **k)[0],
    "abatch": lambda retriever, query, *a, **k: asyncio.run(retriever.abatch([query], *a, **k))[0],
}
every_way = pytest.mark.parametrize("call", RETRIEVE.values(), ids=RETRIEVE)


@pytest.fixture
def world():
    personalizer, plugin = make_personalizer()
    plugin.memory.remember(make_persona(SHORT, MEAT, CHESS, UNSURE, user_id="ann"), None)
    yield personalizer, plugin
    personalizer.close()


@pytest.fixture
def retriever(world):
    return PersonaRetriever(personalizer=world[0])


@every_way
def test_relevant_traits_are_documents_the_surest_first(retriever, call):
    found = call(retriever, "Which meat is best for a stew?", for_user("ann"))
    assert [d.page_content for d in found] == ["Prefers short answers.", "Does not eat meat."]
    assert found[1].id == MEAT.id
    assert found[1].metadata == {
        "key": "said:meat",
        "weight": 1.5,
        "interval": [1.0, 2.0],
        "status": "pinned",
        "quotes": ["I don't eat meat"],
    }


@every_way
def test_nothing_relevant_means_no_documents(retriever, call):
    only_facts = "Translate into French: the weather is fine."
    assert call(retriever, only_facts, for_user("ann")) == []
    assert call(retriever, "  ", for_user("ann")) == []
    assert call(retriever, "Which meat?", for_user("nobody known")) == []


@every_way
def test_of_nobody_nothing_is_found_and_nobody_is_asked(retriever, world, call):
    assert call(retriever, "Which meat?") == []
    assert world[1].tailored == []


@every_way
def test_the_person_is_the_configs_then_the_calls_then_the_bound_one(world, call):
    bound = PersonaRetriever(personalizer=world[0], user_id="ann")

    def found(*args, **kwargs):
        return [d.page_content for d in call(bound, "How do I mend a fence?", *args, **kwargs)]

    assert found() == ["Prefers short answers."]
    assert found(user_id="bob") == ["Prefers long answers."]
    assert found(for_user("ann"), user_id="bob") == ["Prefers short answers."]


def test_the_config_is_inherited_from_a_chain(retriever):
    prompt = ChatPromptTemplate.from_template("{known} {question}")
    joined = retriever | RunnableLambda(lambda documents: " ".join(d.page_content for d in documents))
    chain = {"known": joined, "question": RunnablePassthrough()} | prompt
    assert chain.invoke("A stew of meat?", for_user("ann")).to_messages()[0].content == (
        "Prefers short answers. Does not eat meat. A stew of meat?"
    )


@every_way
def test_callbacks_see_the_retrieval(retriever, call):
    class Watching(BaseCallbackHandler):
        seen = ()

        def on_retriever_start(self, serialized, query, *, tags, **kwargs):
            self.seen = (query, tags)

        def on_retriever_end(self, documents, **kwargs):
            self.seen = (*self.seen, len(documents))

    watching = Watching()
    call(retriever, "Which meat?", {**for_user("ann"), "callbacks": [watching], "tags": ["t"]})
    assert watching.seen == ("Which meat?", ["t"], 2)


@every_way
def test_the_callers_config_stays_as_it_was(retriever, call):
    config = {**for_user("ann"), "tags": ["t"], "metadata": {"a": 1}}
    call(retriever, "Which meat?", config)
    assert config == {**for_user("ann"), "tags": ["t"], "metadata": {"a": 1}}


@every_way
def test_a_memory_that_cannot_be_read_means_no_documents(retriever, world, call, monkeypatch):
    def broken(*_):
        raise StorageError("no")

    monkeypatch.setattr(world[1].memory, "current", broken)
    assert call(retriever, "Which meat?", for_user("ann")) == []


@every_way
def test_errors_of_the_callers_and_of_required_tailors_come_out(retriever, call):
    with pytest.raises(InputError, match="user_id"):
        call(retriever, "Which meat?", user_id=42)
    personalizer, _ = make_personalizer(Does(lambda _: 1 / 0, required=True))
    with pytest.raises(PluginError):
        call(PersonaRetriever(personalizer=personalizer, user_id="ada"), "Which meat?")


def test_what_was_really_said_is_found_with_its_quote(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path}/persona.db", time_budget=30.0) as personalizer:
        personalizer.said("lena", "I don't eat meat.")
        personalizer.persona("lena")
        (found,) = PersonaRetriever(personalizer=personalizer, user_id="lena").invoke("What is for dinner?")
    assert found.page_content == "Does not eat meat."
    assert found.metadata["quotes"] == ["I don't eat meat"]


def test_it_can_be_shown_without_what_it_holds(retriever):
    assert "Personalizer" not in repr(retriever)
    assert retriever.get_name() == "PersonaRetriever"
