"""Exports: what a server of many adapters loads, and nothing that it could not."""

import json
import shlex
from pathlib import Path, PurePosixPath

import pytest
from safetensors.numpy import load_file

from persona_sdk.errors import InputError, NotFoundError, StorageError
from persona_sdk.tuning import exporting
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.exporting import export
from tests.support.adapters import card_of, key, lora

BASE = "Qwen/Qwen2.5-0.5B-Instruct"


def test_the_layout(adapters, family, tmp_path):
    out = tmp_path / "served"
    made = export(adapters, ["shared", "own-ann", "shared"], out, base=BASE)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == [
        "lora_modules.json",
        "lora_modules.txt",
        *(f"own-ann{rest}" for rest in ("", "/adapter_config.json", "/adapter_model.safetensors")),
        *(f"shared{rest}" for rest in ("", "/adapter_config.json", "/adapter_model.safetensors")),
    ]
    ours = json.loads((adapters.path("shared") / "adapter_config.json").read_text())
    assert ours["base_model_name_or_path"] == "/home/somebody/base"
    config = json.loads((out / "shared/adapter_config.json").read_text())
    assert config == {**ours, "base_model_name_or_path": BASE}
    held = [load_file(folder / "adapter_model.safetensors") for folder in (out / "shared", adapters.path("shared"))]
    assert all((held[0][name] == held[1][name]).all() for name in held[1])
    assert held[0].keys() == held[1].keys()
    every = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert key("a").encode() not in every
    assert json.loads((out / "lora_modules.json").read_text()) == [
        {"name": name, "path": str(out / name), "base_model_name": BASE} for name in ("shared", "own-ann")
    ]
    assert (out / "lora_modules.txt").read_text().splitlines() == [f"{n}={out / n}" for n in ("shared", "own-ann")]
    assert made.command == (
        f"vllm serve {BASE} --enable-lora --max-lora-rank 8 --max-loras 2 --max-cpu-loras 2"
        f" --lora-modules shared={out / 'shared'} own-ann={out / 'own-ann'}"
    )


def test_cards_come_along_when_asked_and_paths_as_the_server_sees_them(adapters, family, tmp_path):
    odd = "/mnt/with space"
    made = export(adapters, ["shared"], tmp_path / "out", base=BASE, seen_as=PurePosixPath(odd), cards=True)
    assert key("a") in (tmp_path / "out/shared/persona_card.json").read_text()
    assert made.modules[0].path == f"{odd}/shared"
    assert shlex.split(made.command)[-1] == f"shared={odd}/shared"


@pytest.mark.parametrize(
    ("ranks", "most"), [((1,), 1), ((2, 4), 8), ((9, 8), 16), ((64,), 64), ((257,), 320), ((512,), 512)]
)
def test_the_server_is_started_for_the_largest_rank_in_steps_it_knows(adapters, tmp_path, ranks, most):
    for rank in ranks:
        adapters.add(lora(tmp_path / f"made{rank}", r=rank), card_of(f"rank-{rank}"))
    made = export(adapters, adapters.names(), tmp_path / "out", base=BASE)
    assert made.max_rank == most
    assert f"--max-lora-rank {most} " in made.command


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"bias": "lora_only", "lora_bias": True}, "bias, lora_bias"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"peft_type": "OFT"}, "peft_type"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"r": 1024}, "r"),
        ({"r": None}, "r"),
        ({"target_parameters": ["x"]}, "target_parameters"),
    ],
)
def test_what_a_server_could_not_load_is_refused(adapters, tmp_path, config, says):
    adapters.add(lora(tmp_path / "made", **config), card_of("odd"))
    adapters.add(lora(tmp_path / "fine"), card_of("fine"))
    with pytest.raises(InputError, match=f"odd: multi-LoRA servers cannot load it, because of {says} in its"):
        export(adapters, ["fine", "odd"], tmp_path / "out", base=BASE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("odd", ["base_model.model.lm_head.weight", "base_model.model.q_proj.lora_magnitude_vector"])
def test_tensors_that_are_none_of_loras_are_refused(adapters, tmp_path, odd):
    adapters.add(lora(tmp_path / "made", tensors=[odd]), card_of("odd"))
    with pytest.raises(InputError, match="odd: 1 of its tensors are none of LoRA's"):
        export(adapters, ["odd"], tmp_path / "out", base=BASE)


def test_what_peft_writes_is_taken(adapters, tmp_path):
    """As this version of PEFT writes it, with everything it can say of itself."""
    import torch
    from peft import LoraConfig, get_peft_model

    class Base(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.q_proj = torch.nn.Linear(8, 8)

        def forward(self, x):
            return self.q_proj(x)

    model = get_peft_model(Base(), LoraConfig(r=8, target_modules=["q_proj"], use_rslora=True))
    model.save_pretrained(tmp_path / "made")
    adapters.add(tmp_path / "made", card_of("plain"))
    assert export(adapters, ["plain"], tmp_path / "out", base=BASE).max_rank == 8
    assert adapters.problems() == []


def test_what_may_not_be_used_is_not_exported(adapters, family, tmp_path):
    adapters.forget("default", "d", "retrain")
    with pytest.raises(InputError, match="shared: holds signals of people who were forgotten"):
        export(adapters, ["other", "shared"], tmp_path / "out", base=BASE)
    with pytest.raises(NotFoundError, match="'nonsense'"):
        export(adapters, ["other", "nonsense"], tmp_path / "out", base=BASE)
    with pytest.raises(InputError, match="there is no adapter to export"):
        export(adapters, [], tmp_path / "out", base=BASE)
    assert not (tmp_path / "out").exists()
    adapters.settle("mark")
    export(adapters, ["shared"], tmp_path / "out", base=BASE)


def test_adapters_of_different_bases_are_not_exported_together(adapters, tmp_path):
    for name, base in (("one", "a"), ("two", "b")):
        adapters.add(lora(tmp_path / name), card_of(name, base=base))
    with pytest.raises(InputError, match="trained on 2 different base models"):
        export(adapters, ["one", "two"], tmp_path / "out", base=BASE)


def test_exports_are_named_when_somebody_is_forgotten(adapters, family, add, tmp_path):
    out = tmp_path / "out"
    export(adapters, ["shared", "other"], out, base=BASE)
    assert adapters.problems() == []
    became = {one.name: one.exports for one in adapters.forget("default", "d", "drop")}
    assert became["shared"] == (str(out / "shared"),)
    assert became["cluster"] == ()
    (problem,) = adapters.problems()
    assert problem.startswith(f"{out / 'shared'}: is the export of an adapter that is no longer used; unload it")
    (out / "shared").rename(tmp_path / "elsewhere")
    assert adapters.problems() == []
    (tmp_path / "elsewhere").rename(out / "shared")
    add("shared", "ab")
    export(adapters, ["shared"], out, base=BASE)
    assert adapters.problems() == []
    assert {one.name: one.exports for one in adapters.listed()}["shared"] == (str(out / "shared"),)


def test_an_earlier_export_is_replaced_whole(adapters, add, tmp_path):
    out = tmp_path / "out"
    add("shared", "a", value=1.0)
    export(adapters, ["shared"], out, base=BASE, cards=True)
    (out / "shared/left over").write_text("x")
    add("shared", "a", value=2.0, replace=True)
    export(adapters, ["shared"], out, base="other")
    assert {p.name for p in (out / "shared").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert float(load_file(out / "shared/adapter_model.safetensors").popitem()[1].max()) == 2.0
    assert {p.name for p in out.iterdir()} == {"shared", "lora_modules.json", "lora_modules.txt"}


@pytest.mark.parametrize("where", ["copy", "rename"])
def test_a_failing_copy_leaves_the_earlier_export(adapters, add, tmp_path, monkeypatch, where):
    out = tmp_path / "out"
    add("shared", "a", value=1.0)
    export(adapters, ["shared"], out, base=BASE)
    rename = Path.rename

    def full(*_):
        raise OSError(28, "No space left on device")

    def into_place(self, target):
        return full() if target == out / "shared" and self.suffix != ".old" else rename(self, target)

    if where == "copy":
        monkeypatch.setattr(exporting.shutil, "copyfile", full)
    else:
        monkeypatch.setattr(Path, "rename", into_place)
    with pytest.raises(StorageError, match="No space left on device"):
        export(adapters, ["shared"], out, base="other")
    assert json.loads((out / "shared/adapter_config.json").read_text())["base_model_name_or_path"] == BASE
    assert {p.name for p in out.iterdir()} == {"shared", "lora_modules.json", "lora_modules.txt"}


def test_one_that_is_withdrawn_while_it_is_copied_is_taken_back(adapters, family, tmp_path, monkeypatch):
    copy = exporting.shutil.copyfile

    def slow(source, target):
        copy(source, target)
        Adapters(adapters.folder).forget("default", "d", "retrain")

    monkeypatch.setattr(exporting.shutil, "copyfile", slow)
    with pytest.raises(InputError, match="was withdrawn or replaced meanwhile"):
        export(adapters, ["shared"], tmp_path / "out", base=BASE)
    assert not (tmp_path / "out/shared").exists()


def test_a_folder_that_is_no_export_is_not_replaced(adapters, family, tmp_path):
    out = tmp_path / "out"
    (out / "shared").mkdir(parents=True)
    (out / "shared/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"out/shared: is there already, and is no export of an adapter; move it away"):
        export(adapters, ["other", "shared"], out, base=BASE)
    assert [path.name for path in out.rglob("*")] == ["shared", "thesis.txt"]
    assert adapters.listed()[0].exports == ()
    (out / "shared/thesis.txt").unlink()
    export(adapters, ["other", "shared"], out, base=BASE)  # an empty folder may be
    (tmp_path / "file").mkdir()
    (tmp_path / "file/other").write_text("x")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/other").symlink_to(out / "other")
    for place in ("file", "link"):
        with pytest.raises(InputError, match="is no export"):
            export(adapters, ["other"], tmp_path / place, base=BASE)


def test_an_export_from_another_registry_is_replaced(adapters, family, tmp_path):
    lora(tmp_path / "out/shared", value=7.0)
    export(adapters, ["shared"], tmp_path / "out", base=BASE)
    assert float(load_file(tmp_path / "out/shared/adapter_model.safetensors").popitem()[1].max()) == 0.0


def test_a_failed_export_hides_no_earlier_copy(adapters, add, tmp_path, monkeypatch):
    out = tmp_path / "out"
    add("shared", "ad", value=1.0)
    export(adapters, ["shared"], out, base=BASE)
    add("shared", "ad", value=2.0, replace=True)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as held:
        held.setattr(exporting.shutil, "copyfile", full)
        with pytest.raises(StorageError, match="No space left"):
            export(adapters, ["shared"], out, base=BASE)
    assert adapters.listed()[0].exports == ()  # it is the old version that lies there
    (problem,) = adapters.problems()
    assert str(out / "shared") in problem
    export(adapters, ["shared"], out, base=BASE)
    assert adapters.problems() == []
    with monkeypatch.context() as held:
        held.setattr(exporting.shutil, "copyfile", full)
        with pytest.raises(StorageError, match="No space left"):
            export(adapters, ["shared"], out, base=BASE)
    assert adapters.listed()[0].exports == (str(out / "shared"),)


def test_a_second_export_into_a_folder_keeps_the_first_listed(adapters, family, tmp_path):
    out = tmp_path / "out"
    adapters.add(lora(tmp_path / "big", r=20), card_of("big", "z"))
    export(adapters, ["big", "shared"], out, base=BASE)
    made = export(adapters, ["other"], out, base=BASE, seen_as=PurePosixPath("/mnt"))
    assert [one.name for one in made.modules] == ["other", "big", "shared"]
    assert made.max_rank == 32
    listed = json.loads((out / "lora_modules.json").read_text())
    assert [one["path"] for one in listed] == ["/mnt/other", "/mnt/big", "/mnt/shared"]
    with pytest.raises(InputError, match=r"has exports for the base Qwen.*which one server cannot have beside x"):
        export(adapters, ["other"], out, base="x")
    adapters.forget("default", "d")
    (out / "big/adapter_config.json").unlink()
    assert [one.name for one in export(adapters, ["other"], out, base=BASE).modules] == ["other"]
    (out / "lora_modules.json").write_text("{")
    assert [one.name for one in export(adapters, ["other"], out, base=BASE).modules] == ["other"]
