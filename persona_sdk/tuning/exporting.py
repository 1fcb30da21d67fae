"""Adapters in the layout that servers of many adapters load: a folder each, under the adapter's name.

Written for vLLM (docs.vllm.ai, "LoRA Adapters"), which other servers follow: a request names the adapter as its model.
What vLLM would refuse, or load wrongly without saying so, is refused here.
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_sdk.errors import InputError, StorageError, StorageFullError
from persona_sdk.models import Frozen
from persona_sdk.tuning import exports, folders
from persona_sdk.tuning.adapters import NAME, Adapters
from persona_sdk.tuning.cards import CARD

__all__ = ["MODULES", "Manifest", "Module", "export"]

#: The list of what was exported, as vLLM's `--lora-modules` takes it; `.txt` has `name=path`, a line each.
MODULES = "lora_modules.json"
#: The ranks that vLLM can be started for (vllm/config/lora.py).
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
#: So many adapters in one batch, at most, unless the operator says otherwise: each takes room on the accelerator.
_BATCH = 8
#: Ways of starting LoRA that change the base's weights, which the server's base does not share.
_OTHER_BASE = ("corda", "loftq", "lora_ga", "olora", "pissa")
#: What PEFT can do beside plain LoRA, and vLLM's loader does not read (vllm/lora/peft_helper.py).
_BESIDE = (
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "kasa_config", "layer_replication", "lora_bias",
    "modules_to_save", "monteclora_config", "rank_pattern", "target_parameters", "trainable_token_indices",
    "use_bdlora", "use_dora", "use_qalora", "velora_config",
)  # fmt: skip
_TENSORS = (".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B")


class Module(Frozen):
    """One exported adapter: the name that requests ask for, and where the server finds it."""

    name: str
    path: str
    base_model_name: str


class Manifest(Frozen):
    """What is in a folder of exports, this one's first. `max_rank` is what the server has to be started for.

    `command` starts vLLM with all of it.
    """

    base: str
    max_rank: int
    modules: tuple[Module, ...]
    command: str


def export(
    adapters: Adapters, names: Sequence[str], out: Path, *, base: str, seen_as: Path | None = None, cards: bool = False
) -> Manifest:
    """Copy adapters to `out/NAME/`, each whole or not at all, and list them there; return the list.

    `base` is the base model by the name that the server serves it under. `seen_as` is where the server sees `out`, if
    elsewhere. An earlier export of the same name is replaced; others stay listed, if they may be used. Cards hold the
    keys of people, so they stay behind unless `cards`. Where it went is recorded, so that it can be named when somebody
    in it is forgotten.

    Raises:
        NotFoundError: there is no such adapter.
        InputError: an adapter may not be used, or a server could not load it; two were trained on different bases, or
            `out` has exports for another base; or `out/NAME` is there and is no export. Nothing was written then.
        StorageError: `out` cannot be written.
    """
    if not names:
        raise InputError("names: there is no adapter to export", field="names")
    paths = {name: adapters.path(name) for name in names}
    configs = {name: _served(adapters, name, path) for name, path in paths.items()}
    bases = {adapters.card(name).base.sha256 for name in names}
    if len(bases) > 1:
        raise InputError(
            f"names: these adapters were trained on {len(bases)} different base models; export those of one at a time",
            field="names",
        )
    known = exports.known(adapters.folder)
    for name in paths:
        _replaceable(out / name, known)
    others = _others(out, paths.keys(), base, known)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            config = {**configs[name], "base_model_name_or_path": base}
            new = adapters.exported(name, out / name)  # first: no copy shall be unknown, whenever this ends
            try:
                _copied(path, out / name, config, cards=cards)
            except BaseException:  # the folder is what it was
                if new:
                    exports.undone(adapters.folder, out / name, path.name)
                raise
            exports.settled(adapters.folder, out / name, path.name)
            _still(adapters, name, path, out / name)
        manifest = _manifest(out, {**configs, **others}, base, seen_as or out.absolute())
    except StorageError:
        raise
    except OSError as error:
        kind = StorageFullError if isinstance(error, PermissionError) else StorageError
        raise kind(f"{out}: cannot be written ({error.strerror or type(error).__name__})") from None
    return manifest


def _served(adapters: Adapters, name: str, path: Path) -> Mapping[str, Any]:
    """Return an adapter's configuration, if a server may and can load it."""
    if not adapters.usable(name):
        raise InputError(
            f"{name}: holds signals of people who were forgotten, and may not be used until it is trained anew",
            field="names",
        )
    config = folders.config_of(path)
    start = str(config.get("init_lora_weights")).lower()
    wrong = [option for option in _BESIDE if config.get(option)]
    if config.get("bias") not in (None, "none"):
        wrong.append("bias")
    if config.get("peft_type") != "LORA":
        wrong.append("peft_type")
    if start.startswith(_OTHER_BASE):
        wrong.append("init_lora_weights")
    rank = config.get("r")
    if not isinstance(rank, int) or not 0 < rank <= _RANKS[-1]:
        wrong.append("r")
    if wrong:
        raise InputError(
            f"{name}: multi-LoRA servers cannot load it, because of {', '.join(sorted(wrong))} in its {folders.CONFIG};"
            " train it as plain LoRA, or merge it into its base",
            field="names",
        )
    odd = [tensor for tensor in folders.tensors_of(path) if not tensor.endswith(_TENSORS)]
    if odd:
        raise InputError(
            f"{name}: {len(odd)} of its tensors are none of LoRA's, so multi-LoRA servers cannot load it; train it as"
            " plain LoRA, or merge it into its base",
            field="names",
        )
    return config


def _replaceable(target: Path, known: Mapping[Path, bool]) -> None:
    """Raise if a folder is there that is no export: nothing in it shall be lost."""
    if target.absolute() in known and not target.is_symlink() and (target.is_dir() or not target.exists()):
        return
    try:
        there = {path.name for path in target.iterdir()} if target.exists() or target.is_symlink() else set()
        if not target.is_symlink() and there <= {folders.CONFIG, folders.WEIGHTS, CARD}:
            return
    except OSError:
        pass
    raise InputError(
        f"{target}: is there already, and is no export of an adapter; move it away, or export to another folder",
        field="out",
    )


def _others(out: Path, names: Collection[str], base: str, known: Mapping[Path, bool]) -> dict[str, Mapping[str, Any]]:
    """Return the configurations of what was exported to a folder before under other names, and may still be used."""
    try:
        listed = json.loads((out / MODULES).read_text(encoding="utf-8"))
        before = {str(one["name"]): str(one["base_model_name"]) for one in listed}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, its in before.items():
        if name in names or not NAME.fullmatch(name) or not known.get((out / name).absolute(), True):
            continue
        try:
            config = folders.config_of(out / name)
        except InputError:
            continue  # it was deleted
        if its != base:
            raise InputError(
                f"{out}: has exports for the base {its}, which one server cannot have beside {base}; export to another"
                " folder, or delete them",
                field="base",
            )
        if isinstance(config.get("r"), int) and 0 < config["r"] <= _RANKS[-1]:
            found[name] = config
    return found


def _still(adapters: Adapters, name: str, path: Path, target: Path) -> None:
    """Take an export back if the adapter was withdrawn, dropped or replaced while it was copied."""
    if not adapters.usable(name) or adapters.path(name) != path:
        if folders.remove(target):
            exports.undone(adapters.folder, target, path.name)
        raise InputError(f"{name}: was withdrawn or replaced meanwhile; export again what there is now", field="names")


def _copied(path: Path, target: Path, config: Mapping[str, Any], *, cards: bool) -> None:
    """Copy an adapter beside its place, and then put it there in place of what was there."""
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    old = target.with_name(f"{new.name}.old")
    try:
        new.mkdir()
        (new / folders.CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        shutil.copyfile(path / folders.WEIGHTS, new / folders.WEIGHTS)
        if cards:
            shutil.copyfile(path / CARD, new / CARD)
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _manifest(out: Path, configs: Mapping[str, Mapping[str, Any]], base: str, seen_as: Path) -> Manifest:
    modules = tuple(Module(name=name, path=str(seen_as / name), base_model_name=base) for name in configs)
    rank = next(one for one in _RANKS if one >= max(config["r"] for config in configs.values()))
    pairs = [f"{one.name}={one.path}" for one in modules]
    command = [
        "vllm", "serve", base, "--enable-lora", "--max-lora-rank", str(rank),
        "--max-loras", str(min(len(pairs), _BATCH)), "--max-cpu-loras", str(len(pairs)), "--lora-modules", *pairs,
    ]  # fmt: skip
    listed = json.dumps([one.model_dump() for one in modules], indent=2) + "\n"
    for file, text in ((MODULES, listed), (f"{Path(MODULES).stem}.txt", "\n".join(pairs) + "\n")):
        (out / f".{file}").write_text(text, encoding="utf-8")
        (out / f".{file}").replace(out / file)
    return Manifest(base=base, max_rank=rank, modules=modules, command=shlex.join(command))
