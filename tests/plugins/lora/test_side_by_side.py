"""What rows of one batch are computed with, beside PEFT itself on the same folders."""

import gc
import json
import math
import weakref

import pytest

from persona_sdk.errors import InputError
from tests.plugins.lora import made

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def here(chat):
    return chat._served()


@pytest.fixture(params=[7, 1], ids=["reading", "writing"])
def ids(request):
    """Tokens of four rows: many, or one of each, which is computed in another way."""
    torch.manual_seed(1)
    return torch.randint(5, 300, (4, request.param))


def with_peft(base, folder, ids):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.inference_mode():
        return (PeftModel.from_pretrained(model, folder).eval() if folder else model.eval())(input_ids=ids).logits


def load(folder, here):
    from persona_plugins.lora.weights import load as read

    return read("x", folder, here.pool.linear, torch.float32, "cpu")


def test_every_row_is_computed_as_peft_would_with_its_adapter_alone(base, adapters, here, ids):
    names = ["ann", None, "bob", "cy"]
    rows = [here.pool.take(name) if name else None for name in names]
    together = here.model(rows, input_ids=ids).logits
    plain = with_peft(base, None, ids)
    for row, name in enumerate(names):
        alone = with_peft(base, adapters.path(name) if name else None, ids[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, atol=2e-4, rtol=1e-4)
        assert (name is None) == torch.allclose(together[row], plain[row], atol=1e-3)


def test_whoever_comes_and_goes_nothing_of_them_stays(here, ids):
    ann, bob, cy = (here.pool.take(name) for name in ("ann", "bob", "cy"))
    alone = {w: here.model([w], input_ids=ids[:1]).logits[0] for w in (ann, bob, cy, None)}
    for rows in ([ann, bob], [bob], [cy, bob, ann], [None, cy], [cy], [None, None], [cy, ann], [ann, bob, ann, None]):
        found = here.model(rows, input_ids=ids[:1].expand(len(rows), -1)).logits
        for row, weights in enumerate(rows):
            torch.testing.assert_close(found[row], alone[weights], atol=1e-4, rtol=1e-4)


def test_rows_of_one_adapter_and_the_base_do_not_mix(here, ids):
    ann = here.pool.take("ann")
    found = here.model([None, ann], input_ids=ids[:1].expand(2, -1)).logits
    assert (found[0] - found[1]).abs().max() > 0.1
    torch.testing.assert_close(found[0], here.model([None], input_ids=ids[:1]).logits[0], atol=1e-5, rtol=1e-5)


def test_an_adapter_on_some_modules_and_one_on_others(base, here, ids, tmp_path):
    attention = load(made.peft_folder(base, tmp_path / "a", 5, r=3, target_modules=["q_proj"]), here)
    mixed = {"r": 4, "target_modules": ["down_proj", "v_proj"], "rank_pattern": {"v_proj": 2}}
    rest = load(made.peft_folder(base, tmp_path / "b", 6, **mixed), here)
    assert {len(down) for down, _ in rest.modules.values()} == {2, 4}
    together = here.model([attention, rest], input_ids=ids[:2]).logits
    for row, folder in enumerate(["a", "b"]):
        alone = with_peft(base, tmp_path / folder, ids[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, atol=2e-4, rtol=1e-4)


def test_the_shelf_is_no_wider_than_twice_what_is_needed(here):
    ann, bob, cy = (here.pool.take(name) for name in ("ann", "bob", "cy"))
    one = torch.tensor([[5]])
    here.model([ann, bob, cy], input_ids=one.expand(3, -1))
    assert here.model._shelf.width <= 2 * 14
    here.model([ann, cy], input_ids=one.expand(2, -1))
    assert here.model._shelf.width <= 2 * 6


def test_the_shelf_keeps_nobody_in_memory(here, base, tmp_path):
    folder = made.peft_folder(base, tmp_path / "x", 3)
    passing = load(folder, here)
    seen = weakref.ref(passing)
    one = torch.tensor([[5]])
    here.model([passing, here.pool.take("ann")], input_ids=one.expand(2, -1))
    del passing
    gc.collect()
    assert seen() is None
    again, ann = load(folder, here), here.pool.take("ann")
    found = here.model([again, ann], input_ids=one.expand(2, -1)).logits
    torch.testing.assert_close(found[0, 0], with_peft(base, folder, one)[0, 0], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_plain_lora_is_refused(base, here, tmp_path, config, says):
    made.peft_folder(base, tmp_path / "x", 0, **config)
    with pytest.raises(InputError, match=says):
        load(tmp_path / "x", here)


def test_an_adapter_of_a_model_of_another_size_is_refused(base, here, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = made.peft_folder(base, tmp_path / "x", 0)
    tensors = load_file(folder / "adapter_model.safetensors")
    for change in (lambda t: t[:, :-1].contiguous(), lambda t: t * math.nan):
        changed = {name: change(t) if "q_proj.lora_A" in name else t for name, t in tensors.items()}
        save_file(changed, folder / "adapter_model.safetensors")
        with pytest.raises(InputError, match=r"does not fit|infinite, or none"):
            load(folder, here)


def test_another_kind_of_adapter_is_refused(base, here, tmp_path):
    folder = made.peft_folder(base, tmp_path / "x", 0)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(InputError, match="peft_type IA3"):
        load(folder, here)
