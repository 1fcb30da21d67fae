"""Between LangChain's messages and ours: what tailoring left alone is the caller's very same object."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import RunnableLambda

from persona_sdk.chat import PersonalizedChat
from persona_sdk.chat.messages import content_text, from_langchain, to_langchain
from persona_sdk.errors import InputError, PluginTypeError
from persona_sdk.models import Message
from tests.support.chatting import Does, Prefix, make_personalizer

PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}

texts = st.text(max_size=20)
parts = st.lists(
    texts.map(lambda t: {"type": "text", "text": t, "cache_control": {"type": "ephemeral"}}) | st.just(PNG)
)
contents = texts | parts.map(copy.deepcopy)
names = st.none() | st.sampled_from(["ann", "tool"])
more = st.fixed_dictionaries({}, optional={"id": texts, "additional_kwargs": st.dictionaries(texts, texts, max_size=2)})
calls = st.lists(
    st.fixed_dictionaries(
        {
            "name": texts,
            "args": st.dictionaries(texts, st.integers() | texts | st.lists(texts, max_size=2), max_size=2),
            "id": st.none() | texts,
        }
    ),
    max_size=2,
)
invalid = st.lists(
    st.fixed_dictionaries({"name": texts, "args": st.just("{"), "id": texts, "error": st.none()}), max_size=1
)


def messages_of(kind, **fields):
    fields = {"content": contents, "name": names} | fields
    return st.tuples(st.fixed_dictionaries(fields), more).map(lambda both: kind(**both[0], **both[1]))


messages = st.one_of(
    messages_of(SystemMessage),
    messages_of(HumanMessage),
    messages_of(AIMessage, tool_calls=calls, invalid_tool_calls=invalid),
    messages_of(ToolMessage, tool_call_id=texts, artifact=st.none() | st.just({"a": 1})),
    messages_of(FunctionMessage, name=st.just("f")),
    messages_of(ChatMessage, role=st.sampled_from(["critic", "user"])),
)
conversations = st.lists(messages, min_size=1, max_size=6)


class Received:
    """A runnable that takes messages and keeps the object it was given."""

    def __init__(self):
        self.given = None
        self.model = RunnableLambda(self.take)

    def take(self, given):
        self.given = given
        return AIMessage(content="yes")


@pytest.fixture(scope="module")
def chats():
    """A chat whose tailor leaves all as it is, and one whose tailor puts a prefix into every call."""
    received, made = Received(), []
    for tailor in (Does(lambda call: call.override(params={})), Prefix()):
        personalizer, _ = make_personalizer(tailor)
        made.append(personalizer.wrap(received.model, user_id="ada"))
    return received, *made


@settings(max_examples=60, deadline=None)
@given(given=conversations)
def test_a_call_that_nothing_changed_reaches_the_model_as_the_callers_own(chats, given):
    received, leaving_alone, _ = chats
    before, own = copy.deepcopy(given), list(given)
    for prompt in (given, tuple(given), ChatPromptValue(messages=given)):
        leaving_alone.invoke(prompt)
        assert received.given is prompt
    assert given == before
    assert all(a is b for a, b in zip(given, own, strict=True))


@settings(max_examples=60, deadline=None)
@given(given=conversations)
def test_what_a_tailor_left_alone_is_the_same_object_and_nothing_of_the_callers_changes(chats, given):
    received, _, prefixing = chats
    given = [*given, HumanMessage("why?")]  # a call without a question is not tailored
    before, own = copy.deepcopy(given), list(given)
    prefixing.invoke(given)
    got, leads = received.given, isinstance(given[0], SystemMessage)
    assert [id(m) for m in got[1:]] == [id(m) for m in own[leads:]]
    assert isinstance(got[0], SystemMessage)
    assert got[0] not in own
    if leads:
        assert got[0].model_copy(update={"content": given[0].content}) == given[0]
    assert given == before
    assert all(a is b for a, b in zip(given, own, strict=True))


@settings(max_examples=60, deadline=None)
@given(given=conversations, data=st.data())
def test_taken_out_repeated_moved_and_copied_messages_find_their_originals(given, data):
    ours = [from_langchain(m) for m in given]
    order = data.draw(st.permutations(range(len(given))))[: data.draw(st.integers(0, len(given)))]
    sent = [ours[i] if data.draw(st.booleans()) else ours[i].model_copy(deep=True) for i in order]
    for position, back in zip(order, to_langchain(sent, ours, given), strict=True):
        assert back == given[position] or ours[position] in [o for i, o in enumerate(ours) if i != position]
        assert any(back is m for m in given)
    assert [id(m) for m in to_langchain([*ours, ours[0]], ours, given)] == [*map(id, given), id(given[0])]


@settings(max_examples=60, deadline=None)
@given(message=messages)
def test_our_message_has_the_keys_of_an_openai_message(message):
    ours, theirs = (
        from_langchain(message).model_dump(exclude_unset=True),
        convert_to_openai_messages(message.model_copy(update={"content": ""})),
    )
    assert ours.pop("content") == message.content  # parts, too, stay as they are
    theirs.pop("content")
    invalid_calls = getattr(message, "invalid_tool_calls", ())
    made = [c for of in (ours, theirs) for c in of.get("tool_calls", ())]
    for call in made:
        if call["function"]["arguments"] != "{":
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    if invalid_calls:  # LangChain's converter forgets them; its OpenAI client sends them
        del ours["tool_calls"][-len(invalid_calls) :]
        theirs.setdefault("tool_calls", [])
    assert ours == theirs


@pytest.mark.parametrize(
    "given",
    [
        "why?",
        StringPromptValue(text="why?"),
        [{"role": "user", "content": "why?"}],
        [("human", "why?")],
        ["why?"],
        [HumanMessage("why?")],
    ],
    ids=["text", "prompt", "dicts", "tuples", "texts", "messages"],
)
def test_all_that_a_model_takes_is_tailored(chats, given):
    received, _, prefixing = chats
    before = copy.deepcopy(given)
    prefixing.invoke(given)
    assert [(m.type, m.content) for m in received.given][1:] == [("human", "why?")]
    assert len(received.given) == 2
    assert given == before


def test_of_equal_messages_each_finds_its_own():
    given = [SystemMessage([PNG], id=str(i)) for i in range(3)]
    ours = [from_langchain(m) for m in given]
    changed = ours[0].model_copy(update={"content": [PNG, PNG]})
    copies = [m.model_copy(deep=True) for m in ours[1:]]
    assert [m.id for m in to_langchain([changed, *copies], ours, given)] == ["0", "1", "2"]
    new = Message(role="system", content="x")
    assert [m.id for m in to_langchain([new, *copies], ours[1:], given[1:])] == [None, "1", "2"]


def test_an_openai_developer_message_stays_one():
    original = SystemMessage("Be kind.", additional_kwargs={"__openai_role__": "developer"})
    ours = from_langchain(original)
    sent = ours.model_copy(update={"content": "Be kind. And brief."})
    (back,) = to_langchain([sent], [ours], [original])
    assert (back.content, back.additional_kwargs) == ("Be kind. And brief.", original.additional_kwargs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Be kind. And brief.", [{"type": "text", "text": "Be kind."}, {"type": "text", "text": " And brief."}]),
        ("First: Be kind.", [{"type": "text", "text": "First: "}, {"type": "text", "text": "Be kind."}]),
        ("Another.", "Another."),
    ],
)
def test_text_put_around_content_parts_becomes_one_more_part(text, expected):
    original = SystemMessage([{"type": "text", "text": "Be kind."}], id="7")
    ours = from_langchain(original)
    (back,) = to_langchain([ours.model_copy(update={"content": text})], [ours], [original])
    assert (back.content, back.id) == (expected, "7")
    assert original.content == [{"type": "text", "text": "Be kind."}]


def test_a_new_message_before_a_changed_one_is_told_from_it():
    given = [SystemMessage("Be kind.", id="1"), HumanMessage("My number is 555.", id="2")]
    system, user = (from_langchain(m) for m in given)
    new = Message(role="system", content="Notes.")
    sent = [new, system.model_copy(update={"content": "Be kind.\n\nBrief."}), user]
    back = to_langchain(sent, [system, user], given)
    assert [(m.content, m.id) for m in back] == [
        ("Notes.", None),
        ("Be kind.\n\nBrief.", "1"),
        ("My number is 555.", "2"),
    ]
    hidden = user.model_copy(update={"content": "My number is X."})
    assert [m.id for m in to_langchain([system, hidden], [system, user], given)] == ["1", "2"]


def test_changed_tool_calls_names_and_other_keys_reach_the_message():
    raw = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    calling = {
        "tool_calls": [{"name": "f", "args": {"who": "Ann"}, "id": "1"}],
        "additional_kwargs": {"tool_calls": raw},
    }
    original = AIMessage("", name="a", id="7", **calling)
    ours = from_langchain(original)
    hidden = json.loads(json.dumps(ours.tool_calls).replace("Ann", "X"))
    broken = {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{"}}
    sent = ours.model_copy(update={"tool_calls": [*hidden, broken], "name": "b", "mark": 1})
    (back,) = to_langchain([sent], [ours], [original])
    assert back.tool_calls == [{"name": "f", "args": {"who": "X"}, "id": "1", "type": "tool_call"}]
    assert [c["name"] for c in back.invalid_tool_calls] == ["g"]
    assert (back.name, back.id, back.additional_kwargs) == ("b", "7", {"mark": 1})
    with pytest.raises(PluginTypeError):
        to_langchain([ours.model_copy(update={"tool_calls": [{"function": {}}]})], [ours], [original])


def test_new_messages_of_any_role_are_made():
    sent = [Message(role=role, content="x") for role in ("system", "user", "assistant", "developer", "critic")]
    sent += [Message(role="tool", content=None, tool_call_id="1")]
    assert [m.type for m in to_langchain(sent, [], [])] == ["system", "human", "ai", "system", "chat", "tool"]
    with pytest.raises(PluginTypeError):
        to_langchain([Message(role="tool", content="x")], [], [])


def test_an_empty_conversation_is_passed_on():
    received = Received()
    personalizer, _ = make_personalizer()
    given = []
    PersonalizedChat(personalizer, received.model, user_id="ada").invoke(given)
    assert received.given is given


def test_models_that_read_text_only_get_text_only():
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this? \ud800"}]
    assert content_text(parts, 1, "local models") == "What is this? ?"
    assert [content_text(one, 1, "local models") for one in (None, "", "Hello")] == ["", "", "Hello"]
    with pytest.raises(InputError, match="message 2: has a part that is no text; local models read text"):
        content_text([*parts, {"type": "image_url", "image_url": {"url": "data:,"}}], 2, "local models")
