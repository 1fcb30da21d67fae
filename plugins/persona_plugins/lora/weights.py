"""The weights of one adapter, read from its PEFT folder and made ready to be computed with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from persona_sdk.errors import InputError
from persona_sdk.tuning.folders import WEIGHTS, config_of, tensors_of

__all__ = ["Modules", "Weights", "by_rows", "linear_modules", "load"]

#: By a module's name: what an adapter adds to its output for an input x is `x @ down.T @ up`.
#: `down` is [rank, inputs] and `up` is [rank, outputs], the adapter's scaling in it.
Modules: TypeAlias = Mapping[str, tuple[Any, Any]]

_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
#: What PEFT can do beyond plain LoRA, and is not computed here. Other tensors than the two of LoRA are refused as well.
_BEYOND = (
    "alora_invocation_tokens alpha_pattern arrow_config kasa_config layer_replication lora_bias modules_to_save "
    "monteclora_config target_parameters trainable_token_indices use_bdlora use_dora use_qalora velora_config"
).split()


#: What reading raises where a file holds something else than it should, or there is no memory left.
_DAMAGES = (RuntimeError, MemoryError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError)


@dataclass(frozen=True, eq=False)
class Weights:
    """An adapter in memory: never changed, and equal to itself only.

    `rank` is the greatest of its modules', `size` is in bytes.
    """

    name: str
    folder: Path
    modules: Modules
    rank: int
    size: int


def by_rows(shape: Sequence[int], rows: int, tokens: int) -> bool:
    """Whether an input of this shape is that of all rows, one after the other: [rows, …] or [rows * tokens, size]."""
    return shape[0] == rows if len(shape) > 2 else len(shape) == 2 and shape[0] == rows * tokens


def linear_modules(model: Any) -> dict[str, tuple[int, int]]:
    """Return the number of inputs and outputs of a model's linear modules, by the module's name.

    Left out are those that are not computed for all tokens of all rows in their order, as a mixture's experts are not:
    there nobody can tell whose adapter is to be added. The model is computed once to find out.
    """
    found = _linear(model)
    seen = _shapes(model, found)
    return {name: size for name, size in found.items() if seen.get(name) and not _expert(name)}


def _linear(model: Any) -> dict[str, tuple[int, int]]:
    from torch.nn import Linear  # noqa: PLC0415 - takes a second
    from transformers.pytorch_utils import Conv1D  # noqa: PLC0415 - as above

    found = {}
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            found[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # GPT-2's: the same, stored the other way round
            found[name] = (module.nx, module.nf)
    return found


def _expert(name: str) -> bool:
    """Whether a module is an expert that tokens are sent to: by chance one may be sent all of them, in other order."""
    return "experts" in name.split(".")


def _shapes(model: Any, names: Iterable[str]) -> dict[str, bool]:
    """Compute a few tokens; return, of the modules that were computed, whether it was for all rows in their order."""
    import torch  # noqa: PLC0415 - takes a second

    rows, tokens = 3, 5
    seen: dict[str, bool] = {}

    def look(name: str) -> Any:
        def see(module: Any, args: tuple[Any, ...]) -> None:
            seen[name] = seen.get(name, True) and bool(args) and by_rows(args[0].shape, rows, tokens)

        return see

    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_pre_hook(look(name)) for name in names]
    words = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.arange(rows * tokens, device=model.device).view(rows, tokens) % words
    try:
        with torch.inference_mode():
            model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=torch.arange(tokens, device=model.device).expand(rows, -1),
                use_cache=False,
                logits_to_keep=1,
            )
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def load(name: str, folder: Path, linear: Mapping[str, tuple[int, int]], dtype: Any, device: Any) -> Weights:
    """Read an adapter for a model with these `linear` modules.

    Raises:
        InputError: the folder is no complete PEFT adapter, is of another kind than plain LoRA on linear modules, does
            not fit the model, or holds numbers that are none.
        MemoryError: there is no room for it.
    """
    try:
        return _read(name, folder, linear, dtype, device)
    except InputError:
        raise
    except _DAMAGES as error:
        if _no_room(error):
            raise MemoryError(f"{folder}: no room for its weights") from None
        raise InputError(
            f"{folder}: cannot be read as a LoRA adapter ({type(error).__name__}); train it anew", field="adapter"
        ) from None


def _no_room(error: BaseException) -> bool:
    from torch import OutOfMemoryError  # noqa: PLC0415 - takes a second

    # On a processor torch raises a plain RuntimeError.
    return isinstance(error, MemoryError | OutOfMemoryError) or "allocate memory" in str(error)


def _read(name: str, folder: Path, linear: Mapping[str, tuple[int, int]], dtype: Any, device: Any) -> Weights:
    from safetensors import SafetensorError  # noqa: PLC0415 - comes with transformers
    from safetensors.torch import load_file  # noqa: PLC0415 - imports torch

    config = config_of(folder)
    _plain(folder, config)
    tensors_of(folder)
    try:
        tensors = load_file(folder / WEIGHTS, device="cpu")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be read ({type(error).__name__})", field="adapter") from None
    modules: dict[str, tuple[Any, Any]] = {}
    for key in sorted(tensors):
        if key.endswith(_DOWN) and key.startswith(_PREFIX):
            module = key.removeprefix(_PREFIX).removesuffix(_DOWN)
            pair = tensors[key], tensors.get(f"{_PREFIX}{module}{_UP}")
            modules[module] = _ready(folder, pair, linear.get(module), config, (dtype, device))
        elif not (key.endswith(_UP) and key.removesuffix(_UP) + _DOWN in tensors):
            raise InputError(
                f"{folder}: holds a tensor {key}; served here is plain LoRA on linear modules, nothing else",
                field="adapter",
            )
    size = sum(tensor.nbytes for pair in modules.values() for tensor in pair)
    return Weights(name, folder, modules, max(len(down) for down, _ in modules.values()), size)


def _plain(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    beyond = [option for option in _BEYOND if config.get(option)]
    if config.get("bias", "none") != "none":
        beyond.append("bias")
    if kind != "LORA" or beyond:
        what = ", ".join(beyond) if kind == "LORA" else f"peft_type {kind}"
        raise InputError(
            f"{folder}: is an adapter with {what}; served here is plain LoRA on linear modules", field="adapter"
        )


def _ready(folder: Path, pair: tuple[Any, Any], fits: Any, config: Mapping[str, Any], to: Any) -> tuple[Any, Any]:
    """Return the two matrices of a module as they are computed with, if they are in order."""
    from torch import isfinite  # noqa: PLC0415 - takes a second

    down, up = pair
    rank = len(down)
    if up is None or fits is None or down.shape != (rank, fits[0]) or up.shape != (fits[1], rank):
        raise InputError(
            f"{folder}: does not fit the base model, whose modules that are computed for every token have other names"
            " or sizes",
            field="adapter",
        )
    alpha = float(config.get("lora_alpha") or 0)
    scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    dtype, device = to
    made = down.to(device=device, dtype=dtype), (up.T * scaling).to(device=device, dtype=dtype)
    if not all(isfinite(one).all() for one in made):  # as they are computed with: scaling may have made infinities
        # In a batch they would spoil other people's answers, too: no factor of zero takes them out again.
        raise InputError(
            f"{folder / WEIGHTS}: holds numbers that are infinite, or none, or lora_alpha makes them so; train it anew",
            field="adapter",
        )
    return made[0].contiguous(), made[1].contiguous()
