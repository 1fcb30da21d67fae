"""Who is similar, as an app asks it: the index follows memory, and memory is believed."""

import logging

import pytest

from persona_sdk import Personalizer
from persona_sdk.errors import IndexUnavailableError, SettingsError
from persona_sdk.index import VectorIndex
from persona_sdk.memory import Consent, person_key
from tests.support.alike import SAID, Indexed, Leans, alike, names
from tests.support.people import InCode


class Away(VectorIndex):
    """An index that cannot be used."""

    def _fail(self, *_):
        raise IndexUnavailableError("the index is away")

    put = remove = nearest = stamped = count = drop = collections = _fail

    def close(self):
        """Do nothing."""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


@pytest.fixture
def p(url):
    with alike(url) as personalizer:
        yield personalizer


def test_the_most_similar_come_first(p):
    found = p.neighbours("ann")
    assert names(found) == ["bob", "cleo"]
    assert found[0].similarity == pytest.approx(2 / 3)
    assert found[1].similarity == pytest.approx(1 / 3)
    assert names(p.neighbours("ann", limit=1)) == ["bob"]
    assert p.neighbours("ann", limit=0) == []
    assert p.neighbours("dan") == []
    assert p.neighbours("nobody") == []


def test_nobody_is_compared_unless_that_is_asked_for(url):
    with Personalizer(url, plugins=[InCode(inferrer=Leans())], inferrer="believes", learning="manual") as p:
        p.said("ann", "tea")
        p.learn("ann")
        with pytest.raises(SettingsError, match="similar_personas"):
            p.neighbours("ann")
        assert p._memory.leaning("default", "ann") is None
    with pytest.raises(SettingsError, match="no similar is named 'twins'"):
        Personalizer(url, similar="twins")


def test_what_is_learnt_is_found(p):
    assert names(p.neighbours("dan")) == []
    p.said("dan", "tea tea tea rain")
    p.learn_pending()
    assert names(p.neighbours("dan")) == ["ann", "bob", "cleo"]  # the first two are as similar, to the last bit
    p.said("eve", "football")
    p.learn_pending()
    assert names(p.neighbours("eve")) == ["dan"]


def test_the_forgotten_are_not_found(p):
    assert "bob" in names(p.neighbours("ann"))
    assert p.index_status().people == 4
    p.forget("bob")
    assert names(p.neighbours("ann")) == ["cleo"]
    assert p.index_status().people == 3
    assert p.neighbours("bob") == []


def test_who_was_forgotten_behind_our_back_is_not_found_either(p):
    """Another process, or a crash between memory and index: the vector is still there, and does no harm."""
    assert names(p.neighbours("ann"))
    p._memory.forget("default", "bob")
    assert p.index_status().people == 4
    assert names(p.neighbours("ann")) == ["cleo"]
    p.neighbours("ann")  # the first call noticed
    assert p.index_status() == p.index_status().__class__(3, 3, "", {})


def test_who_does_not_lend_is_not_found(p):
    assert p.consent("bob") == Consent()
    assert p.share("bob", lend=False) == Consent(lend=False)
    assert names(p.neighbours("ann")) == ["cleo"]
    assert p.index_status().people == 3
    assert names(p.neighbours("bob")) == ["ann", "cleo"]
    p.said("bob", "tea")
    p.learn_pending()
    assert names(p.neighbours("ann")) == ["cleo"]
    assert p.share("bob", lend=True, borrow=False) == Consent(borrow=False)
    assert "bob" in names(p.neighbours("ann"))
    assert p.share("bob") == Consent(borrow=False)


def test_tenants_have_nothing_to_do_with_each_other(p, url):
    other = p.for_tenant("rival")
    other.said("ann", SAID["ann"])
    other.learn_pending()
    assert other.neighbours("ann") == []
    assert names(p.neighbours("ann")) == ["bob", "cleo"]
    other.forget("ann")
    assert names(p.neighbours("bob"))[0] == "ann"


def test_a_version_chosen_by_hand_is_compared(p):
    first = p.persona("dan").version
    p.said("dan", "tea tea tea rain")
    p.learn("dan")
    assert "dan" in names(p.neighbours("ann"))
    p.rollback("dan", first)
    assert "dan" not in names(p.neighbours("ann"))
    p.pin("dan", first)
    p.said("dan", "rain rain")
    p.learn("dan")
    assert "dan" not in names(p.neighbours("ann"))
    p.unpin("dan")
    assert "dan" in names(p.neighbours("ann"))


def test_what_is_told_of_a_version_chosen_by_hand(url):
    plugin = InCode(inferrer=Leans())
    with alike(url, plugin) as p:
        plugin.personas.clear()
        p.pin("ann")
        ((persona, accepted, reason),) = plugin.personas
        assert (persona.user_id, persona.pinned, accepted) == ("ann", True, True)
        assert reason == "version 1 was chosen by hand"


def test_an_index_that_was_lost_is_built_again(url, tmp_path):
    folder = tmp_path / "index"
    with alike(url, index=f"exact:{folder}") as p:
        assert names(p.neighbours("ann")) == ["bob", "cleo"]
    for file in folder.glob("*.npz"):
        file.unlink()
    with alike(url, index=f"exact:{folder}") as p:
        assert names(p.neighbours("ann")) == ["bob", "cleo"]
        assert p.index_status().people == 4


def test_an_index_put_back_from_a_backup_is_brought_up_to_date(url, tmp_path):
    folder = tmp_path / "index"
    with alike(url, index=f"exact:{folder}") as p:
        p.neighbours("ann")
        kept = {file: file.read_bytes() for file in folder.glob("*.npz")}
        assert kept
        p.forget("bob")
        p.said("dan", "tea rain")
        p.learn_pending()
        assert names(p.neighbours("ann"))[0] == "dan"
    for file, content in kept.items():
        file.write_bytes(content)
    with alike(url, said={}, index=f"exact:{folder}") as p:
        assert names(p.neighbours("ann")) == ["dan", "cleo"]
        assert p.index_status().people == 3


def test_people_learnt_before_anybody_was_compared_are_found_after_a_rebuild(url):
    with Personalizer(url, plugins=[InCode(inferrer=Leans())], inferrer="believes", learning="manual") as before:
        for user, text in SAID.items():
            before.said(user, text, id=f"{user}-0")
        before.learn_pending()
    with alike(url) as p:
        assert p.neighbours("ann") == []
        status = p.rebuild_index()
        assert (status.people, status.expected, status.problem) == (4, 4, "")
        assert "too few" in status.verified["borrowing"]
        assert names(p.neighbours("ann")) == ["bob", "cleo"]


def test_a_rebuild_tells_how_far_it_is(p):
    seen = []
    p.rebuild_index(lambda users: (seen.append(u) or u for u in users))
    assert sorted(seen) == sorted(SAID)


def test_an_index_that_is_away_stops_nobody(url, caplog):
    plugin = Indexed(Away(), inferrer=Leans())
    with alike(url, plugin, index="given", learning="background") as p:
        assert p.flush(30)
        assert p._similar().flush(30)
        with pytest.raises(IndexUnavailableError, match="is away"):
            p.neighbours("ann")
        assert p.tailor("ann", "Hello?").messages
        assert p.index_status().problem == "the index is away"
        assert p.index_status().expected == 4
        p.forget("bob")
        p.share("cleo", lend=False)
        assert p.users() == ["ann", "cleo", "dan"]
    told = [r for r in caplog.records if "is away" in r.getMessage()]
    assert len(told) == 1  # not once a call
    assert told[0].levelno == logging.WARNING


def test_the_index_follows_in_the_background(url):
    with alike(url, learning="background") as p:
        assert p.flush(30)
        assert p._similar().flush(30)
        collection = p._similar()._basis("default").collection("default")
        assert p._host.registry.index("exact").count(collection) == 4
        p._memory.forget("default", "bob")
        assert names(p.neighbours("ann")) == ["cleo"]
        assert p._similar().flush(30)
        assert p.index_status().people == 3


def test_the_index_holds_no_name(url):
    with alike(url) as p:
        p.neighbours("ann")
        index = p._host.registry.index("exact")
        (collection,) = index.collections()
        assert {one.key for one in index.stamped(collection)} == {person_key("default", user) for user in SAID}


def test_another_inferrers_leanings_are_not_compared(url):
    with alike(url) as p:
        assert p.neighbours("ann")
    with alike(url, InCode(inferrer=Leans()), inferrer="contrastive") as p:
        assert p.neighbours("ann") == []


@pytest.mark.parametrize(
    ("options", "says"),
    [({"k": 1}, "option 'k'"), ({"kk": 5}, "option 'kk'"), ({"no_lending": 3}, "option 'no_lending'")],
)
def test_impossible_options_are_named(url, options, says):
    with pytest.raises(SettingsError, match=says):
        alike(url, said={}, options={"similar_personas": options})


def test_a_tenant_may_refuse_to_be_compared(url):
    with alike(url, options={"similar_personas": {"no_lending": ["default"]}}) as p:
        assert p.neighbours("ann") == []
        assert p.rebuild_index().people == 0
        assert "does not lend" in p.index_status().problem
        other = p.for_tenant("acme")
        for user in ("ann", "bob"):
            other.said(user, "tea")
        other.learn_pending()
        assert names(other.neighbours("ann")) == ["bob"]


def test_someone_without_traits_keeps_what_they_lean_to(p):
    """A version without traits is falsy, and no reason to think that an earlier one was chosen."""
    p._memory.remember(p.persona("dan").model_copy(update={"traits": ()}), None)
    p.said("dan", "tea")
    p.learn("dan")
    p.rebuild_index()
    assert "w:tea" in p._memory.leaning("default", "dan").weights


def test_a_rollback_to_a_version_that_was_ruled_on_counts_as_one(p):
    first = p.persona("dan").version
    p.said("dan", "tea rain")
    p.learn("dan")
    p.reject("dan", "said:0")
    p.rollback("dan", first)
    p.rebuild_index()
    assert "w:tea" not in p._memory.leaning("default", "dan").weights


def test_both_wishes_are_kept_whoever_says_them_first(p):
    p.share("ann", lend=False)
    assert p.share("ann", borrow=False) == Consent(lend=False, borrow=False)


def test_collections_of_another_inferrer_do_not_keep_the_forgotten(url, tmp_path):
    folder = f"exact:{tmp_path / 'index'}"
    with alike(url, index=folder) as p:
        p.neighbours("ann")
    with alike(url, InCode(inferrer=Leans()), inferrer="contrastive", said={}, index=folder) as p:
        p.forget("ann")
        index = p._host.registry.index(folder)
        held = {one.key for name in index.collections() for one in index.stamped(name)}
        assert person_key("default", "ann") not in held
        p.neighbours("bob")
        p.rebuild_index()
        assert all("/believes/" not in name for name in index.collections())


def test_a_mistake_in_the_options_shows_at_once_and_breaks_nothing_later(url):
    with pytest.raises(SettingsError, match="no index is named 'nosuch'"):
        alike(url, said={}, index="nosuch")
    with pytest.raises(SettingsError, match="given under 'similar_personas'"):
        alike(url, said={}, tailors=("similar_people",), options={"similar_people": {"k": 3}})


def test_an_empty_variable_names_nothing(url, monkeypatch):
    monkeypatch.setenv("PERSONA_SIMILAR", "")
    with Personalizer(url) as p:
        assert p.persona("ann").version == 0


def test_an_inferrer_that_cannot_tell_what_people_lean_to_still_learns(url, caplog):
    class Fails(Leans):
        def leaning(self, request):
            raise KeyError(request.signals[0].text)

    with alike(url, InCode(inferrer=Fails())) as p:
        assert [t.statement for t in p.persona("ann").traits] == [SAID["ann"]]
        assert p.neighbours("ann") == []
    assert "could not be learnt by 'believes': raised KeyError" in caplog.text
    assert SAID["ann"] not in caplog.text
