"""A base model read into memory, and which of its modules an adapter can be added to."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from persona_plugins.lora.weights import linear_modules
from persona_sdk.errors import InputError, MissingExtraError

__all__ = ["loaded", "require_torch"]


def require_torch() -> None:
    """Raise a MissingExtraError unless what runs a tuned model is installed."""
    missing = [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"a tuned model needs {', '.join(missing)}: pip install 'persona-sdk[tune]'", plugin="lora"
        )


def loaded(folder: Path, dtype: str, device: str) -> tuple[Any, Any, Mapping[str, tuple[int, int]]]:
    """Return the model in a folder of transformers, its tokenizer, and its linear modules (see `linear_modules`).

    Code that lies in the folder is not run, and weights are read from safetensors only.

    Raises:
        InputError: it cannot be read, or not be computed.
    """
    import torch  # noqa: PLC0415 - takes a second
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as above
    from transformers.utils import logging as said  # noqa: PLC0415 - as above

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    if not any(folder.glob("*.safetensors")) and any(folder.glob("*.bin")):
        raise InputError(
            f"{folder}: has its weights in .bin files only, which can hold code; save it as safetensors", field="base"
        )
    careful = {"local_files_only": True, "trust_remote_code": False}
    shown = said.is_progress_bar_enabled()
    said.disable_progress_bar()  # it would draw a bar on stderr
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **careful)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, **careful
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{folder}: cannot be loaded as a transformers model ({type(error).__name__})", field="base"
        ) from error
    finally:
        if shown:
            said.enable_progress_bar()
    model = model.to(device).eval()
    try:
        return model, tokenizer, linear_modules(model)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"{folder}: cannot be computed as a language model of transformers ({type(error).__name__})", field="base"
        ) from error
