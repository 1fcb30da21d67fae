"""What the plugin registers, and what becomes of what it is told."""

import pytest

from persona_plugins.abductive import _called
from persona_plugins.abductive.inferrer import Abductive
from persona_plugins.abductive.sources import Sources
from persona_sdk import Personalizer
from persona_sdk.errors import ModelError, PluginTypeError, SettingsError
from persona_sdk.hooks import PluginHost
from persona_sdk.inference import InferenceRequest
from persona_sdk.scoring import StatementScorer
from persona_sdk.settings import Settings
from persona_sdk.signals import Preference


def registry(**given):
    settings = Settings.load(**given)
    return PluginHost(settings).registry, settings


class Flat:
    """An embedder without a model, for what does not depend on meaning."""

    def embed_documents(self, texts):
        return [[1.0, float(len(t))] for t in texts]


def test_it_offers_three_inferrers_and_three_scorers():
    found, _ = registry()
    assert {"abductive", "abductive-untested", "contrastive+abductive"} <= set(found.names("inferrer"))
    assert {"abductive", "contrastive+abductive"} <= set(found.names("scorer"))
    assert found.names("statement_scorer") == ["embedding", "judge", "likelihood"]


@pytest.mark.parametrize("name", ["abductive", "abductive-untested", "contrastive+abductive"])
def test_each_is_built_under_its_name_and_without_a_model(name):
    found, settings = registry(options={"abductive": {"embedder": Flat()}})
    assert found.inferrer(name, settings).name == name


def test_an_unknown_option_is_named():
    found, settings = registry(options={"abductive": {"modle": "local"}})
    with pytest.raises(SettingsError, match="unknown option 'modle'; known are allowed, budget, embedder"):
        found.inferrer("abductive", settings)


@pytest.mark.parametrize("scorer", ["likelihood", "judge"])
def test_a_scorer_that_needs_a_model_says_so(scorer):
    found, settings = registry(options={"abductive": {"scorer": scorer}})
    with pytest.raises(SettingsError, match="set `model`"):
        found.inferrer("abductive", settings)


def test_an_unknown_scorer_is_named():
    found, settings = registry(options={"abductive": {"scorer": "vibes"}})
    with pytest.raises(SettingsError, match="no statement_scorer is named 'vibes'"):
        found.inferrer("abductive", settings)


def test_limits_are_shared_by_all_who_ask_one_model():
    class Model:
        __hash__ = None  # as LangChain's models are

        def invoke(self, *_args, **_kwargs):
            raise AssertionError("nobody was to ask")

    found, settings = registry(
        options={"abductive": {"model": Model(), "embedder": Flat(), "limits": {"max_calls": 3}}}
    )
    sources = found.inferrer("abductive", settings)._sources
    judge = found.statement_scorer("judge", settings)
    assert sources._proposer.asks is judge.asks
    assert sources.spent(judge) == judge.spent()


def test_it_learns_through_the_personalizer(tmp_path):
    """People choose the longer answer, whatever their choice is about; the embedder knows length only."""
    options = {"abductive": {"embedder": Flat()}}
    with Personalizer(
        f"sqlite:///{tmp_path / 'p.db'}", inferrer="abductive", learning="manual", options=options
    ) as personalizer:
        for i in range(12):
            personalizer.prefer("ann", prompt=f"{i}?", chosen="long " * (8 + i % 3), rejected="brief")
        persona = personalizer.learn("ann")
        assert persona.lineage.inferrer == "abductive"
        assert persona.lift is not None or persona.note
        assert personalizer.score("ann", "?", ["a", "b"]) is not None


def test_a_model_that_only_scores_is_not_asked_for_sentences():
    class Model:
        def invoke(self, *_args, **_kwargs):
            raise AssertionError("nobody was to ask")

    options = {"model": Model(), "embedder": Flat(), "proposals": False}
    found, settings = registry(options={"abductive": options})
    assert found.inferrer("abductive", settings)._sources._proposer is None


def test_another_inferrers_states_mean_nothing_after_a_change_of_the_setting(tmp_path):
    url, options = f"sqlite:///{tmp_path / 'p.db'}", {"abductive": {"embedder": Flat()}}
    with Personalizer(url, learning="manual") as personalizer:
        for user in ("ann", "bob"):
            for i in range(12):
                personalizer.prefer(user, prompt=f"{i}?", chosen="long " * (8 + i % 3), rejected="brief")
            personalizer.learn(user)
        assert personalizer.score("ann", "?", ["a", "b b b b"])
    for inferrer in ("abductive", "contrastive+abductive", "contrastive"):
        with Personalizer(url, inferrer=inferrer, learning="manual", options=options) as personalizer:
            assert personalizer.score("ann", "?", ["a", "b b b b"]) == [] or inferrer == "contrastive"
            personalizer.prefer("ann", prompt=f"{inferrer}?", chosen="long " * 9, rejected="brief")
            assert personalizer.learn_pending() == 1


def test_a_category_nobody_knows_is_named():
    found, settings = registry(options={"abductive": {"model": object(), "embedder": Flat(), "allowed": ["helth"]}})
    with pytest.raises(SettingsError, match="allowed names helth"):
        found.inferrer("abductive", settings)


def test_an_impossible_limit_is_named():
    options = {"model": object(), "embedder": Flat(), "limits": {"max_call": 3}}
    found, settings = registry(options={"abductive": options})
    with pytest.raises(SettingsError, match=r"limits\.max_call"):
        found.inferrer("abductive", settings)


def test_models_of_one_kind_are_told_apart():
    class Chat:
        def __init__(self, model_name):
            self.model_name = model_name

    assert _called(Chat("small")) != _called(Chat("big"))
    assert _called(Chat("small")) == _called(Chat("small"))


@pytest.mark.parametrize("nonsense", [None, [], [[[1.0]]], [[[1.0, float("nan")]]], "text"])
def test_a_scorer_that_returns_nonsense_is_named(nonsense):
    class Odd(StatementScorer):
        name = "odd"

        def score(self, offers, statements, journal=None):
            return nonsense

    with pytest.raises(PluginTypeError, match="statement scorer 'odd' must return a finite number"):
        Abductive(Odd(), Sources()).infer(
            InferenceRequest("t", "ann", [Preference(user_id="ann", prompt="?", chosen="a", rejected="b")])
        )


def test_a_model_that_fails_leaves_the_persona_as_it_was(tmp_path, caplog):
    url = f"sqlite:///{tmp_path / 'p.db'}"
    with Personalizer(url, learning="manual") as personalizer:
        for i in range(30):
            personalizer.prefer("ann", prompt=f"{i}?", chosen="long " * (8 + i % 3), rejected="brief")
        before = personalizer.learn("ann")
        assert before.version == 1

    class Final:
        def invoke(self, *_args, **_kwargs):
            raise ModelError("this key is refused", final=True)

    options = {"abductive": {"model": Final(), "embedder": Flat()}}
    with Personalizer(url, inferrer="abductive", learning="manual", options=options) as personalizer:
        personalizer.prefer("ann", prompt="new?", chosen="long " * 9, rejected="brief")
        assert personalizer.persona("ann").version == 1
        assert personalizer.tailor("ann", "What now?").persona_version == 1
    assert "stay pending" in caplog.text
