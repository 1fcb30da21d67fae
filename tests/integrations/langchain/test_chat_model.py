"""`PersonalizedChat` as the model of LangChain's agents, LangGraph's graphs and chains."""

import asyncio
from typing import Annotated

import pytest
from langchain.agents.middleware import SummarizationMiddleware
from langchain.agents.structured_output import ProviderStrategy
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from typing_extensions import TypedDict

from persona_integrations.langchain import CALL_ID, PersonalizedChat
from tests.integrations.langchain.agents import WAYS, Saver, Weather, answers, ask, config, look, streamed
from tests.support.chatting import ADA, BOB, CALLS, Does, joined

every_way = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
both = pytest.mark.parametrize("use_async", [False, True], ids=["stream", "astream"])


@pytest.fixture
def chat(world):
    made = world.personalizer.wrap(world.model)
    assert isinstance(made, PersonalizedChat)
    return made


def graph_of(chat, saver=None):
    """A graph that asks the model, calls the tools it wants, and asks it again."""

    class State(TypedDict):
        messages: Annotated[list, add_messages]

    bound = chat.bind_tools([look], tool_choice="any")

    def model(state):
        return {"messages": [bound.invoke(state["messages"])]}

    async def amodel(state):
        return {"messages": [await bound.ainvoke(state["messages"])]}

    from langchain_core.runnables import RunnableLambda

    graph = StateGraph(State)
    graph.add_node("model", RunnableLambda(model, amodel))
    graph.add_node("tools", ToolNode([look]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=saver)


# Agents


@every_way
def test_it_is_the_model_of_an_agent_with_tools_and_a_checkpointer(world, chat, run):
    saver = Saver()
    agent = world.agent(look, middleware=[], model=chat, checkpointer=saver)
    run(agent, ask("Rome"), config("ada", "1"))
    state = run(agent, ask("Paris"), config("ada", "1"))
    kinds = [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert [type(m) for m in state["messages"]] == kinds * 2
    assert {r["messages"][0]["content"] for r in world.server.requests} == {f"Be kind. [{ADA}]"}
    assert [m["role"] for m in world.server.requests[-1]["messages"]][-3:] == ["user", "assistant", "tool"]
    assert [m.response_metadata[CALL_ID] for m in answers(state)] == [call_id for call_id, _ in world.plugin.answers]
    assert answers(state)[-1].usage_metadata["output_tokens"] == 2
    assert not saver.holds(ADA)


@every_way
def test_an_agent_that_nobody_uses_sends_the_same_to_the_byte(world, chat, run):
    for model in (world.model, chat):
        run(world.agent(look, middleware=[], model=model), ask("Rome"), config())
    assert world.server.bodies[:2] == world.server.bodies[2:]


@pytest.mark.parametrize("form", [Weather, ProviderStrategy(Weather)])
def test_an_agents_structured_output(world, chat, form):
    agent = world.agent(middleware=[], model=chat, response_format=form)
    state = agent.invoke(ask("Rome"), config("ada"))
    assert state["structured_response"] == Weather(place="echo: Rome", degrees=7)
    assert world.server.wire[0] == ("system", f"Be kind. [{ADA}]")


def test_another_middleware_can_use_it(world, chat):
    summary = SummarizationMiddleware(model=chat, trigger=("messages", 3), keep=("messages", 1))
    agent = world.agent(middleware=[summary], model=chat, checkpointer=InMemorySaver())
    for text in ("one", "two"):
        state = agent.invoke(ask(text), config("ada", "1"))
    assert "summary" in state["messages"][0].text
    assert len(world.server.requests) == 3


# Graphs


@every_way
def test_it_is_the_model_of_a_graph(world, chat, run):
    saver = Saver()
    graph = graph_of(chat, saver)
    state = run(graph, ask("Rome"), config("ada", "1"))
    assert [type(m) for m in state["messages"]] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert [r["messages"][0]["content"] for r in world.server.requests] == [f"[{ADA}]"] * 2
    run(graph, ask("Oslo"), config("bob", "2"))
    assert world.server.wire[0] == ("system", f"[{BOB}]")
    assert not saver.holds(ADA)
    assert not saver.holds(BOB)


@both
def test_a_graphs_stream_of_messages_is_the_models_and_its_metadata_has_the_call_id(world, chat, use_async):
    graph = graph_of(chat, InMemorySaver())
    found = []
    for one in (graph, graph_of(world.model, InMemorySaver())):
        chunks = streamed(one, ask("one two"), config("ada", "1"), use_async=use_async)
        found.append([(m, md) for m, md in chunks if isinstance(m, AIMessageChunk)])
    ours, bare = found
    assert [m.content for m, _ in ours] == [m.content for m, _ in bare]
    assert [m.usage_metadata is None for m, _ in ours] == [m.usage_metadata is None for m, _ in bare]
    last = [m for m, md in ours if md["langgraph_step"] == ours[-1][1]["langgraph_step"]]
    assert (joined(last).content, joined(last).usage_metadata["output_tokens"]) == ("echo: one two", 3)
    kept = answers(graph.get_state(config("ada", "1")).values)
    assert list(dict.fromkeys(md[CALL_ID] for _, md in ours)) == [m.response_metadata[CALL_ID] for m in kept]
    assert set(ours[0][1]) == {*bare[0][1], CALL_ID}


@both
def test_a_graphs_stream_of_messages_has_only_the_answer_that_was_chosen(make, use_async):
    world = make(Does(lambda call: call.override(n=3), lambda texts: texts.index(max(texts, key=len))))
    world.server.answers.extend(["a", "the longest of all", "short"])
    agent = world.agent(middleware=[], model=world.personalizer.wrap(world.model))
    chunks = streamed(agent, ask(), config("ada"), use_async=use_async)
    assert [(m.content, CALL_ID in m.response_metadata) for m, _ in chunks] == [("the longest of all", True)]
    assert len(world.server.requests) == 3


async def test_events_are_streamed_as_without_us(world, chat):
    found = []
    for model in (world.model, chat):
        events = [e async for e in graph_of(model).astream_events(ask("Rome"), config("ada"), version="v2")]
        found.append([(e["event"], e["name"]) for e in events])
    assert found[0] == found[1]
    assert ("on_chat_model_stream", "ChatOpenAI") in found[1]


# Chains


def test_it_is_a_step_of_a_chain_in_a_graph(world, chat):
    class State(TypedDict):
        question: str
        answer: str

    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{question}")])
    chain = prompt | chat | StrOutputParser()
    graph = StateGraph(State)
    graph.add_node("answer", lambda state: {"answer": chain.invoke({"question": state["question"]})})
    graph.add_edge(START, "answer")
    compiled = graph.compile()
    assert compiled.invoke({"question": "why?"}, config("ada"))["answer"] == "echo: why?"
    assert world.server.wire == [("system", f"Be kind. [{ADA}]"), ("user", "why?")]
    assert len(chain.batch([{"question": "1"}, {"question": "2"}], config("bob"))) == 2
    assert {r["messages"][0]["content"] for r in world.server.requests[1:]} == {f"Be kind. [{BOB}]"}


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_with_the_raw_message_in_a_chain(world, chat, method):
    structured = chat.with_structured_output(Weather, method=method, include_raw=True)
    chain = ChatPromptTemplate.from_messages([("human", "{place}")]) | structured
    for result in (
        chain.invoke({"place": "Rome"}, config("ada")),
        asyncio.run(chain.ainvoke({"place": "Rome"}, config("ada"))),
    ):
        assert result["parsed"] == Weather(place="echo: Rome", degrees=7)
        assert isinstance(result["raw"], AIMessage)
        assert result["raw"].usage_metadata["input_tokens"]
        assert result["parsing_error"] is None
    assert world.server.wire == [("system", f"[{ADA}]"), ("user", "Rome")]


# Models that are made when they are called


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_model_that_the_config_names(world, call):
    options = {"base_url": world.server.url, "api_key": "none", "max_retries": 0}
    fields = {"configurable_fields": ("model", "model_provider"), **options}
    named = {"model": "gpt-x", "model_provider": "openai"}
    chat = world.personalizer.wrap(init_chat_model(**fields))
    answer = call(chat.bind_tools([look]), "why?", {"configurable": {"user_id": "ada", **named}})
    assert answer.content == "echo: why?"
    assert CALL_ID in answer.response_metadata
    assert (world.server.requests[-1]["model"], world.server.wire[0]) == ("gpt-x", ("system", f"[{ADA}]"))
    agent = world.agent(look, middleware=[], model=chat)
    agent.invoke(ask("Rome"), {"configurable": {"user_id": "bob", **named}})
    assert world.server.wire[0] == ("system", f"Be kind. [{BOB}]")


def test_a_model_that_a_string_names(world):
    chat = world.personalizer.wrap(init_chat_model("openai:gpt-x", base_url=world.server.url, api_key="none"))
    assert chat.with_structured_output(Weather).invoke("Rome", config("ada")).degrees == 7
    assert world.server.wire == [("system", f"[{ADA}]"), ("user", "Rome")]
