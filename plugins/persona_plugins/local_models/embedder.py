"""`MiniLM`: sentence embeddings on this machine's processor."""

from __future__ import annotations

import os
from collections import OrderedDict
from threading import Lock
from typing import Any

from langchain_core.embeddings import Embeddings

from persona_plugins.local_models import files

__all__ = ["MiniLM"]

#: How many texts' vectors are kept: 10,000 vectors of MiniLM are 15 MB.
_KEPT = 10_000
_BATCH = 32


class MiniLM(Embeddings):
    """Embeddings of length one by a sentence-transformers model: all-MiniLM-L6-v2, or the one in the folder `path`.

    It is loaded when first used, from files: no network is needed. Threads may share it; vectors of the last
    10,000 texts are kept. MiniLM reads a text's first 256 word pieces only.

    Raises:
        MissingExtraError: sentence-transformers, or the packaged model, is not installed.
        InputError: there is no such folder.
    """

    def __init__(self, path: str | os.PathLike[str] = "") -> None:
        self.path = os.fspath(path)
        files.embedder_folder(self.path)
        self._begin()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text; a dot product of two is their cosine."""
        with self._lock:
            found = {text: self._kept[text] for text in texts if text in self._kept}
            missing = [text for text in dict.fromkeys(texts) if text not in found]
            if missing:
                found |= zip(missing, self._encode(missing), strict=True)
            for text in found:
                self._kept[text] = found[text]
                self._kept.move_to_end(text)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return [list(found[text]) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return self.embed_documents([text])[0]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()
        self._model: Any = None
        self._kept: OrderedDict[str, tuple[float, ...]] = OrderedDict()

    def _encode(self, texts: list[str]) -> list[tuple[float, ...]]:
        if self._model is None:
            self._model = _loaded(str(files.embedder_folder(self.path)))
        # What is no valid UTF-8 (half a surrogate pair) would fail in the tokenizer.
        valid = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors = self._model.encode(valid, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False)
        return [tuple(map(float, vector)) for vector in vectors]


def _loaded(folder: str) -> Any:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - an optional install; takes seconds
    from transformers.utils import logging  # noqa: PLC0415 - as above

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # loading takes no time, but would draw a bar on stderr
    try:
        return SentenceTransformer(folder, device="cpu", local_files_only=True)
    finally:
        if shown:
            logging.enable_progress_bar()
