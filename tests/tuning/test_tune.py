"""From memory to an adapter in one call, on a tiny base: whose signals it holds, and what forgetting does meanwhile."""

import json

import pytest

from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError, StorageError
from persona_sdk.memory import person_key
from persona_sdk.simulation.planted import people
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.lessons import Teaching
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.tune import Plan, tune
from tests.support.tiny import tiny_base

pytest.importorskip("trl", reason="the extra `tune` is not installed; `make test` installs it")

SMALL = Recipe(name="small", stages=(Stage(method="dpo", batch=16, patience=0),), rank=4, evaluations=1)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("tune") / "base")


@pytest.fixture
def known(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path / 'persona.db'}", learning="manual", tailors=("lora",),
                      options={"lora": {"adapters": str(tmp_path / "adapters")}}) as personalizer:  # fmt: skip
        for person in people(8, 8):
            personalizer.observe(person.choices)
        yield personalizer


def tuned(known, base, tmp_path, name="everybody", told=lambda *_: None, **more):
    settings = known._settings
    inferrer = known._host.registry.inferrer(settings.inferrer, settings)
    plan = Plan(base=str(base), recipe=SMALL, dtype="float32", **more)
    return tune(name, known._memory, inferrer, Adapters(tmp_path / "adapters"), plan, told=told)


def keys(card):
    return {person.key for person in card.people}


def key(user):
    return person_key("default", user)


def test_who_does_not_lend_trains_no_shared_adapter(known, base, tmp_path):
    known.share("planted002", lend=False)
    assert key("planted002") not in keys(tuned(known, base, tmp_path).card)


def test_who_does_not_lend_may_have_an_adapter_of_their_own(known, base, tmp_path):
    known.share("planted002", lend=False)
    assert keys(tuned(known, base, tmp_path, own="planted002").card) == {key("planted002")}


def test_people_who_are_measured_are_in_no_adapter(known, base, tmp_path):
    made = tuned(known, base, tmp_path, teaching=Teaching(test=0.3))
    measured = {row.example.user_id for row in made.lessons.test}
    assert measured
    assert not {key(user) for user in measured} & keys(made.card)


def test_who_is_forgotten_while_it_trains_is_in_no_adapter(known, base, tmp_path):
    def forgets(number, stages, method, step, steps):
        if step == 1:
            known.forget("planted001")

    with pytest.raises(InputError, match="forgotten"):
        tuned(known, base, tmp_path, told=forgets, teaching=Teaching(test=0.0, validation=0.0))
    assert Adapters(tmp_path / "adapters").names() == []


def test_forgetting_someone_withdraws_what_they_taught(known, base, tmp_path):
    made = tuned(known, base, tmp_path, teaching=Teaching(test=0.0, validation=0.0))
    adapters = Adapters(tmp_path / "adapters")
    assert key("planted001") in keys(made.card)
    assert adapters.usable("everybody")
    known.forget("planted001")
    assert not adapters.usable("everybody")


def test_a_run_is_kept_when_the_adapter_cannot_be_added_now(known, base, tmp_path, monkeypatch):
    everybody = {"teaching": Teaching(test=0.0, validation=0.0)}
    with monkeypatch.context() as away:

        def full(*_, **__):
            raise StorageError("no room")

        away.setattr(Adapters, "add", full)
        with pytest.raises(StorageError):
            tuned(known, base, tmp_path, **everybody)
    steps = []
    tuned(known, base, tmp_path, told=lambda *told: steps.append(told), **everybody)
    assert steps == []  # nothing had to be trained again
    assert Adapters(tmp_path / "adapters").usable("everybody")


def test_a_run_goes_on_with_the_recipe_it_began_with(known, base, tmp_path):
    class Killed(BaseException):
        pass

    def kills(number, stages, method, step, steps):
        if step == 1:
            raise Killed

    def of(minutes, told=lambda *_: None):
        settings = known._settings
        inferrer = known._host.registry.inferrer(settings.inferrer, settings)
        plan = Plan(base=str(base), minutes=minutes, dtype="float32")
        return tune("everybody", known._memory, inferrer, Adapters(tmp_path / "adapters"), plan, told=told)

    with pytest.raises(Killed):
        of(0.5, kills)
    begun = json.loads((tmp_path / "adapters" / ".runs" / "everybody" / "run.json").read_text())["recipe"]
    assert of(0.5).card.recipe == begun  # though the machine is as fast as it is this time
    assert not (tmp_path / "adapters" / ".runs" / "everybody").exists()


@pytest.mark.parametrize(
    ("more", "said"), [({"own": "a", "cluster": ("b",)}, "no cluster"), ({"parent": "x"}, "no adapter")]
)
def test_what_cannot_be_meant_is_said_before_training(known, base, tmp_path, more, said):
    with pytest.raises(Exception, match=said):
        tuned(known, base, tmp_path, **more)
