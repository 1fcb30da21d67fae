"""What is known of everyone, in a form in which two ways of learning it can be compared."""

import pytest


def known(personalizer):
    """Traits, lift and state of everyone, each value by its place.

    The control in a lift is whoever had been learnt by then, so it has to be there and is not compared.
    """
    found = {}
    assert personalizer._memory.pending("default") == []
    for user in personalizer.users():
        persona = personalizer.persona(user)
        assert persona.lift is None or persona.lift.accuracy_other is not None, user
        lift = persona.lift.model_dump(exclude={"accuracy_other", "score_other"}) if persona.lift else None
        state = personalizer._memory.state("default", user, persona.version)
        found[user] = {"traits": [t.model_dump() for t in persona.traits], "lift": lift, "state": state}
    flat = dict(_flat(found, ""))
    assert any(place.endswith(".statement") for place in flat)
    return flat


def differences(one, other):
    """Where they differ. The last digits of embeddings depend on how busy the machine is, so those may."""
    nothing = object()
    places = dict.fromkeys([*one, *other])
    return {p: (one.get(p), other.get(p)) for p in places if not _near(one.get(p, nothing), other.get(p, nothing))}


def _near(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-3, abs=1e-5)
    return one == other


def _flat(value, place):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        yield from _flat(dict(enumerate(value)), place)
    else:
        yield place, value
