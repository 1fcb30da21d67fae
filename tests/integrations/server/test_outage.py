"""Keys while the database is away: one that was found holds for an hour, one that was not is not taken."""

import pytest

from persona_integrations.server.database import Database
from persona_integrations.server.keys import KeyStore
from persona_sdk.errors import StorageError


def test_a_key_that_was_found_holds_for_an_hour_without_the_database(tmp_path, monkeypatch):
    store, now = KeyStore(Database(f"sqlite:///{tmp_path}/persona.db")), [1000.0]
    monkeypatch.setattr("persona_integrations.server.keys.time.monotonic", lambda: now[0])
    (found, key), (unused, _) = store.create("acme", ["chat"]), store.create("acme", ["chat"])
    assert store.find(found) == key

    def away(self, table):
        raise StorageError("away")

    monkeypatch.setattr(Database, "writing", away)
    now[0] += 1800
    assert store.known(found) is None
    assert store.find(found) == key
    assert store.find(found[:-1] + ("x" if found[-1] != "x" else "y")) is None
    for text in (unused, found):
        now[0] += 1800
        with pytest.raises(StorageError):
            store.find(text)
    store.close()
