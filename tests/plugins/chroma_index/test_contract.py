"""Chroma is held to the contract: in a folder with and without what is held in memory, and on a real server."""

import pytest

from persona_plugins.chroma_index.index import ChromaIndex
from persona_sdk.testing import IndexContract


class TestInAFolder(IndexContract):
    exact = 1000

    @pytest.fixture
    def index(self, tmp_path):
        self.folder = str(tmp_path / "index")
        index = ChromaIndex(self.folder, exact=self.exact)
        yield index
        index.close()

    def reopen(self, index):
        index.close()
        return ChromaIndex(self.folder, exact=self.exact)


class TestInAFolderByTheGraphAlone(TestInAFolder):
    exact = -1


class TestOnAServer(IndexContract):
    @pytest.fixture
    def index(self, server):
        self.url = server.url
        index = ChromaIndex(self.url, patience=20)
        yield index
        index.close()

    def reopen(self, index):
        index.close()
        return ChromaIndex(self.url, patience=20)
