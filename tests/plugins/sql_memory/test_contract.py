"""The shipped contract suite, against every database there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.memory import Memory
from persona_sdk.testing import MemoryContract


class _Contract(MemoryContract):
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def memory(self, url: str) -> Iterator[SqlMemory]:
        self.url_of_test = url
        memory = SqlMemory(url, busy_timeout=20)
        yield memory
        memory.close()

    def reopen(self, memory: Memory) -> Memory | None:
        return SqlMemory(self.url_of_test, busy_timeout=20)


class TestSqliteFile(_Contract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


class TestPostgres(_Contract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


class TestSqliteInMemory(_Contract):
    @pytest.fixture
    def url(self) -> str:
        return "sqlite://"

    def reopen(self, memory: Memory) -> Memory | None:
        return None  # another handle would be another database
