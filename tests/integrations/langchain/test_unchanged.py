"""Whatever is asked, in whatever way: nothing of the caller's is changed, and both twins do the same."""

import asyncio
import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import Runtime

from persona_integrations.langchain import CALL_ID, PersonaMiddleware
from tests.support.chatting import Does, Prefix, Recorder, make_personalizer

texts = st.text(max_size=20)
parts = st.lists(texts.map(lambda t: {"type": "text", "text": t}), max_size=2)
contents = texts | parts
ids = st.none() | texts.filter(bool)
extras = st.fixed_dictionaries({}, optional={"additional_kwargs": st.dictionaries(texts, texts, max_size=2)})
calls = st.lists(
    st.fixed_dictionaries({"name": st.just("look"), "args": st.dictionaries(texts, texts, max_size=1), "id": texts}),
    max_size=2,
)


def messages_of(kind, **fields):
    every = {"content": contents, "id": ids} | fields
    return st.tuples(st.fixed_dictionaries(every), extras).map(lambda both: kind(**both[0], **both[1]))


messages = st.one_of(
    messages_of(SystemMessage),
    messages_of(HumanMessage),
    messages_of(AIMessage, tool_calls=calls),
    messages_of(ToolMessage, tool_call_id=texts),
)
conversations = st.lists(messages, min_size=1, max_size=6).map(lambda m: [*m, HumanMessage("why?")])
systems = st.none() | texts.map(SystemMessage)
people = st.sampled_from([None, "ada", "bob", "nobody known"])
model_settings = st.dictionaries(st.sampled_from(["stop", "temperature"]), st.just(["x"]), max_size=2)


def longest(answers):
    return answers.index(max(answers, key=len))


@pytest.fixture(scope="module")
def engines():
    """Personalizers whose tailors change messages, settings and the number of answers, spoiling what they get."""

    def spoiling(call):
        for message in call.messages:
            if isinstance(message.content, list):
                message.content.clear()
        return call.override(n=2, params={"top_p": 0.5}, adapter="theirs")

    both = [make_personalizer(Prefix())[0], make_personalizer(Prefix(), Does(spoiling, longest))[0]]
    yield both
    for personalizer in both:
        personalizer.close()


class _Seen:
    """A handler that keeps what it is asked, and answers with that."""

    def __init__(self):
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        return ModelResponse(result=[AIMessage(f"answer {len(request.messages)}", id="a")])

    async def asynchronously(self, request):
        return self(request)


def seen(request):
    return request.system_message, request.messages, request.model_settings, request.tools, request.response_format


@settings(max_examples=60)
@given(
    told=conversations,
    system=systems,
    who=people,
    more=model_settings,
    form=st.sampled_from([None, "form"]),
    data=st.data(),
)
def test_a_request_is_left_alone_and_both_twins_send_the_same(engines, told, system, who, more, form, data):
    number = data.draw(st.sampled_from(range(len(engines))))
    middleware = PersonaMiddleware(engines[number], learn=True)
    state = {"messages": told, "mine": [1]}
    request = ModelRequest(
        model=Recorder(), messages=told, system_message=system, state=state, runtime=Runtime(context={"user_id": who}),
        model_settings=more, response_format=form,
    )  # fmt: skip
    before, objects = copy.deepcopy((told, system, more, state)), list(told)
    sync, other = _Seen(), _Seen()
    one = middleware.wrap_model_call(request, sync)
    two = asyncio.run(middleware.awrap_model_call(request, other.asynchronously))
    assert (told, system, more, state) == before
    assert var_child_runnable_config.get() is None
    assert all(a is b for a, b in zip(told, objects, strict=True))
    assert [seen(r) for r in sync.asked] == [seen(r) for r in other.asked]
    assert [m.content for m in one.result] == [m.content for m in two.result]
    assert [CALL_ID in m.response_metadata for m in (*one.result, *two.result)] == [who is not None] * 2
    if who is None:
        assert sync.asked == [request]
    if number == 0:  # its tailor changes a leading system message only
        sent = {id(m) for m in sync.asked[0].messages}
        assert sent >= {id(m) for m in told if not isinstance(m, SystemMessage)}


@settings(max_examples=30)
@given(told=conversations, who=people, thread=texts.filter(bool), asynchronous=st.booleans(), data=st.data())
def test_an_agent_leaves_its_callers_objects_alone(engines, told, who, thread, asynchronous, data):
    middleware = PersonaMiddleware(data.draw(st.sampled_from(engines)), learn=True)
    saver = InMemorySaver()
    ours = create_agent(Recorder(), [], system_prompt="Be kind.", middleware=[middleware], checkpointer=saver)
    bare = create_agent(Recorder(), [], system_prompt="Be kind.", middleware=[_Nothing()])
    configured = {"configurable": {"user_id": who, "thread_id": thread}, "tags": ["t"], "metadata": {"a": {"b": 1}}}
    given_ = {"messages": told}
    before = copy.deepcopy((given_, configured))
    first = asyncio.run(ours.ainvoke(given_, configured)) if asynchronous else ours.invoke(given_, configured)
    assert ([_without_id(m) for m in given_["messages"]], configured) == (
        [_without_id(m) for m in before[0]["messages"]],
        before[1],
    )  # an agent itself gives ids to the messages it is given
    expected = bare.invoke(copy.deepcopy(before[0]), {"tags": ["t"]})
    assert [(type(m), m.content) for m in first["messages"]] == [(type(m), m.content) for m in expected["messages"]]


class _Nothing(AgentMiddleware):
    """Does nothing."""


def _without_id(message):
    return message.model_copy(update={"id": None})
