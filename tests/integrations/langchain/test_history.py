"""`PersonaChatMessageHistory` over LangChain's own histories and over ones that fail."""

import asyncio
import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableFieldSpec
from langchain_core.runnables.history import RunnableWithMessageHistory

from persona_integrations.langchain import PersonaChatMessageHistory
from persona_sdk.errors import StorageError
from tests.support.chatting import Recorder, make_personalizer

TALK = [SystemMessage("Be kind."), HumanMessage("one"), AIMessage("1"), ToolMessage("t", tool_call_id="1")]

#: Ways of adding messages.
ADD = {
    "add_messages": lambda history, messages: history.add_messages(messages),
    "aadd_messages": lambda history, messages: asyncio.run(history.aadd_messages(messages)),
    "add_message": lambda history, messages: [history.add_message(m) for m in messages],
}
every_way = pytest.mark.parametrize("add", ADD.values(), ids=ADD)


class Kept(BaseChatMessageHistory):
    """A history that keeps the very sequences it is given, and may fail."""

    def __init__(self, error=None):
        self.given, self.error = [], error

    def __len__(self):
        return len(self.given)

    @property
    def messages(self):
        return [m for messages in self.given for m in messages]

    def add_messages(self, messages):
        if self.error:
            raise self.error
        self.given.append(messages)

    def clear(self):
        self.given.clear()


@pytest.fixture
def world():
    personalizer, plugin = make_personalizer()
    yield personalizer, plugin
    personalizer.close()


def said(personalizer, user_id="ada"):
    return [s.text for s in personalizer.signals(user_id)]


@every_way
def test_messages_are_stored_as_they_are_and_what_the_person_says_is_recorded(world, add):
    kept = Kept()
    history = PersonaChatMessageHistory(world[0], "ada", kept)
    add(history, TALK)
    assert [id(m) for m in kept.messages] == [id(m) for m in TALK]
    assert [id(m) for m in history.messages] == [id(m) for m in TALK]
    assert [id(m) for m in asyncio.run(history.aget_messages())] == [id(m) for m in TALK]
    assert said(world[0]) == ["one"]


def test_a_sequence_is_passed_on_as_it_is(world):
    kept, talk = Kept(), tuple(TALK)
    PersonaChatMessageHistory(world[0], "ada", kept).add_messages(talk)
    assert kept.given[0] is talk


@every_way
def test_it_keeps_them_itself_if_no_history_is_given(world, add, recwarn):
    history = PersonaChatMessageHistory(world[0], "ada")
    assert not [w for w in recwarn if "deprecated" in str(w.message)]
    add(history, TALK)
    assert history.messages == TALK
    assert "Human: one" in str(history)
    history.clear()
    assert history.messages == []
    add(history, TALK)
    asyncio.run(history.aclear())
    assert asyncio.run(history.aget_messages()) == []
    history.add_user_message("two")
    assert said(world[0])[-1] == "two"


def test_two_that_keep_for_themselves_share_nothing(world):
    one, other = (PersonaChatMessageHistory(world[0], user) for user in ("ada", "bob"))
    one.add_messages(TALK)
    assert other.messages == []
    assert said(world[0], "bob") == []


@every_way
def test_a_message_with_an_id_is_recorded_once_in_its_session(world, add):
    for session in ("1", "1", "2"):
        history = PersonaChatMessageHistory(world[0], "ada", session_id=session)
        add(history, [HumanMessage("one", id="1"), HumanMessage("no id")])
    assert sorted(said(world[0])) == ["no id", "no id", "no id", "one", "one"]


@every_way
def test_what_the_history_raises_comes_out_and_nothing_is_recorded(world, add):
    error = RuntimeError("full")
    with pytest.raises(RuntimeError) as raised:
        add(PersonaChatMessageHistory(world[0], "ada", Kept(error)), TALK)
    assert raised.value is error
    assert said(world[0]) == []


@pytest.mark.parametrize("failure", [StorageError("no room"), RuntimeError("no room for: one")])
@every_way
def test_a_memory_that_fails_does_not_stop_the_chat(world, add, failure, monkeypatch, caplog):
    def broken(_):
        raise failure

    monkeypatch.setattr(world[1].memory, "append", broken)
    history = PersonaChatMessageHistory(world[0], "ada")
    add(history, TALK)
    assert history.messages == TALK
    assert "what a person said was not recorded" in caplog.text
    assert "one" not in caplog.text


@every_way
def test_without_a_person_nothing_is_recorded(world, add):
    history = PersonaChatMessageHistory(world[0], None)
    add(history, TALK)
    assert history.messages == TALK
    assert world[0].users() == []


# In LangChain's chains


def chain_over(personalizer, stores):
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])

    def history(user_id, session_id):
        kept = stores.setdefault((user_id, session_id), InMemoryChatMessageHistory())
        return PersonaChatMessageHistory(personalizer, user_id, kept, session_id=session_id)

    fields = [
        ConfigurableFieldSpec(id=name, annotation=str, name=name, default="", is_shared=True)
        for name in ("user_id", "session_id")
    ]
    return RunnableWithMessageHistory(
        prompt | personalizer.wrap(Recorder()),
        history,
        input_messages_key="question",
        history_messages_key="history",
        history_factory_config=fields,
    )


@pytest.mark.parametrize("use_async", [False, True], ids=["invoke", "ainvoke"])
def test_a_runnable_with_message_history(world, use_async):
    stores = {}
    chain = chain_over(world[0], stores)
    for user, question in (("ada", "one"), ("ada", "two"), ("bob", "three")):
        config = {"configurable": {"user_id": user, "session_id": "1"}}
        if use_async:
            answer = asyncio.run(chain.ainvoke({"question": question}, config))
        else:
            answer = chain.invoke({"question": question}, config)
        assert answer.content == "one two three"
    kept = [m.content for m in stores["ada", "1"].messages]
    assert kept == ["one", "one two three", "two", "one two three"]
    assert said(world[0]) == ["one", "two"]
    assert said(world[0], "bob") == ["three"]


# Whatever is added

texts = st.text(max_size=20)
contents = texts | st.lists(texts.map(lambda t: {"type": "text", "text": t}), max_size=2)
messages = st.one_of(
    st.builds(HumanMessage, content=contents, id=st.none() | texts),
    st.builds(AIMessage, content=contents, id=st.none() | texts),
    st.builds(SystemMessage, content=contents),
    st.builds(ToolMessage, content=contents, tool_call_id=texts),
)


@settings(max_examples=50)
@given(st.lists(messages, max_size=6), st.booleans())
def test_nothing_of_the_callers_changes_and_every_word_is_recorded(talk, use_async):
    personalizer, _ = make_personalizer()
    before, kept = copy.deepcopy(talk), Kept()
    history = PersonaChatMessageHistory(personalizer, "ada", kept)
    ADD["aadd_messages" if use_async else "add_messages"](history, talk)
    assert talk == before
    assert kept.given[0] is talk
    seen, expected = set(), []
    for message, text in ((m, m.text) for m in talk if isinstance(m, HumanMessage) and m.text.strip()):
        if message.id is None or (message.id, text) not in seen:
            expected.append(text)
        seen.add((message.id, text))
    assert said(personalizer) == expected
    personalizer.close()
