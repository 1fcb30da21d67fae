"""The exact index is held to the contract, in memory and in a folder."""

import pytest

from persona_plugins.exact_index.index import ExactIndex
from persona_sdk.testing import IndexContract


class TestInMemory(IndexContract):
    @pytest.fixture
    def index(self):
        index = ExactIndex()
        yield index
        index.close()


class TestInAFolder(IndexContract):
    @pytest.fixture
    def index(self, tmp_path):
        self.folder = str(tmp_path / "index")
        index = ExactIndex(self.folder)
        yield index
        index.close()

    def reopen(self, index):
        index.close()
        return ExactIndex(self.folder)
