"""What a person's word, and the app's own messages, are worth against everything inferred."""

import pytest

from persona_sdk import Personalizer
from persona_sdk.errors import NotFoundError, PluginError
from persona_sdk.interchange import signal_from_row
from persona_sdk.models import ChatCall, Message, TailorStep
from persona_sdk.pipeline import Pipeline
from persona_sdk.tailoring import Tailor, TailorResult
from persona_sdk.testing import make_context
from tests.support.people import QUESTIONS, chooses

ASK = [{"role": "user", "content": "What is a monad?"}]


@pytest.fixture
def p(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path / 'p.db'}", learning="manual") as personalizer:
        chooses(personalizer, "ada")
        personalizer.persona("ada")
        yield personalizer


def statements(persona):
    return [t.statement for t in persona.traits]


def test_feedback_by_response_id_stores_what_the_app_asked_not_what_was_added(p):
    call = p.tailor("ada", ASK)
    assert call.messages != ASK
    p.answered(call, "A monoid in the category of endofunctors.")
    rating = p.rate("ada", True, response_id=call.call_id)
    assert [m.model_dump(exclude_unset=True) for m in rating.prompt] == ASK


def test_what_is_said_again_lifts_the_tombstone(p):
    p.said("ada", "I don't eat meat.")
    assert "Does not eat meat." in statements(p.persona("ada"))
    assert "Does not eat meat." not in statements(p.reject("ada", "said:eat meat"))
    assert "Does not eat meat." not in statements(p.learn("ada"))  # re-derivation does not bring it back
    p.said("ada", "I don't eat meat.")
    assert "Does not eat meat." in statements(p.persona("ada"))
    assert p.rulings("ada") == []


def test_unpinning_learns_what_was_said_meanwhile(p):
    p.pin("ada")
    p.said("ada", "I don't eat meat.")
    assert "Does not eat meat." not in statements(p.persona("ada"))
    assert "Does not eat meat." in statements(p.unpin("ada"))


def test_a_rejected_trait_does_not_return_with_an_old_version_or_a_pin(p):
    trait = p.persona("ada").traits[0]
    p.reject("ada", trait.key)
    assert trait.id not in [t.id for t in p.rollback("ada", 1).traits]
    assert trait.id not in [t.id for t in p.pin("ada", 1).traits]


def test_the_prompt_stays_the_same_while_only_weights_move(p):
    before = p.tailor("ada", ASK).messages
    version = p.persona("ada").version
    # The same choice once more moves weights and lift, and no word.
    prompt, short = QUESTIONS[6]
    p.prefer("ada", prompt=f"{prompt} Again?", chosen=short, rejected=p.signals("ada")[6].rejected)
    after = p.persona("ada")
    assert after.version > version
    assert statements(after) == statements(p.versions("ada")[version - 1])
    assert p.tailor("ada", ASK).messages == before


def test_learning_again_from_the_same_signals_makes_no_new_version(p):
    version = p.persona("ada").version
    assert p.learn("ada").version == version


def test_a_word_with_a_scope_silences_nothing_elsewhere(p):
    inferred = [t.id for t in p.persona("ada").traits if not t.stated]
    p.said("ada", "For work emails, I prefer long answers.")
    assert set(inferred) <= {t.id for t in p.persona("ada").traits}


def test_where_the_gate_is_closed_the_first_answer_is_given(tmp_path):
    answers = ["A long and winding answer, which perhaps might have some hedging in it, I suppose.", "Bonjour."]
    url = f"sqlite:///{tmp_path / 'best.db'}"
    with Personalizer(url, learning="manual", tailors=("best_of_n",), time_budget=30) as p:
        chooses(p, "ada")
        p.persona("ada")
        assert p.choose(p.tailor("ada", ASK), answers) == 1
        closed = p.tailor("ada", "Translate to French: good morning")
        assert not closed.gate.open
        assert p.choose(closed, answers) == 0


def test_another_tenant_cannot_explain_the_call(p):
    with pytest.raises(NotFoundError):
        p.for_tenant("other").explain(p.tailor("ada", ASK))


def test_closing_a_tenants_view_closes_nothing(p):
    with p.for_tenant("other") as other:
        other.said("bob", "I love jazz.")
    assert p.persona("ada")


class Chatty(Tailor):
    """Adds far more than it says."""

    name = "chatty"

    def tailor(self, call, context):
        long = Message(role="system", content="word " * 5000)
        return TailorResult(call.override(messages=(long, *call.messages)), TailorStep(tailor="chatty"))


def test_tokens_are_counted_not_believed():
    skipped = []
    call = ChatCall(user_id="ada", messages=(Message(role="user", content="Hello"),))
    new, steps = Pipeline([Chatty()], lambda *what: skipped.append(what)).run(call, make_context(), 1e12)
    assert new.messages == call.messages
    assert "tokens" in steps[0].skipped
    assert skipped


def test_answers_that_repeat_the_question_are_read_without_it():
    def said(answer):
        return [{"role": "user", "content": "Explain tea."}, {"role": "assistant", "content": answer}]

    row = {"prompt": "Explain tea.", "chosen": said("Leaves."), "rejected": said("Long."), "user_id": "u"}
    signal = signal_from_row(row, tenant="t")
    assert (signal.chosen, signal.rejected) == ("Leaves.", "Long.")


def test_an_inferrer_that_returns_nonsense_is_named(p, monkeypatch):
    monkeypatch.setattr(p._learner._inferrer, "infer", lambda request: "nonsense")
    with pytest.raises(PluginError, match="contrastive"):
        p.learn("ada")
