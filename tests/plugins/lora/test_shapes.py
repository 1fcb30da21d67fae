"""Bases that lay the tokens of all rows one below another in some modules, and those that send tokens elsewhere."""

import pytest

from persona_sdk.errors import InputError
from tests.plugins.lora import made

torch = pytest.importorskip("torch")

ROWS = ["ann", None, "bob", "ann"]


def opt(words):
    from transformers import OPTConfig, OPTForCausalLM

    shape = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return OPTForCausalLM(OPTConfig(vocab_size=words, word_embed_proj_dim=32, max_position_embeddings=256, **shape))


def with_a_shared_expert(words):
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = Qwen2MoeConfig(
        vocab_size=words, num_key_value_heads=2, shared_expert_intermediate_size=48, **shape, **experts
    )
    return Qwen2MoeForCausalLM(config)


@pytest.mark.parametrize(
    ("kind", "flat"), [(opt, "fc1"), (with_a_shared_expert, "shared_expert.up_proj")], ids=["opt", "qwen2_moe"]
)
@pytest.mark.parametrize("tokens", [7, 1], ids=["reading", "writing"])
def test_every_row_is_computed_as_peft_would(base, tmp_path, kind, flat, tokens):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from persona_plugins.lora.side_by_side import SideBySide
    from persona_plugins.lora.weights import linear_modules, load

    torch.manual_seed(3)
    kind(600).save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    linear = linear_modules(model)
    held = {None: None}
    for seed, (name, rank) in enumerate((("ann", 4), ("bob", 8))):
        folder = made.peft_folder(tmp_path / "base", tmp_path / name, seed, r=rank)
        held[name] = load(name, folder, linear, torch.float32, "cpu")
        assert any(module.endswith(flat) for module in held[name].modules)
    ids = torch.randint(5, 300, (len(ROWS), tokens))
    beside = SideBySide(model)
    for names in (ROWS, ["ann"] * 4, ["bob", None, None, None]):
        found = beside([held[name] for name in names], input_ids=ids).logits
        for row, name in enumerate(names):
            alone = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
            alone = (PeftModel.from_pretrained(alone, tmp_path / name) if name else alone).eval()
            with torch.inference_mode():
                expected = alone(input_ids=ids[row : row + 1]).logits[0]
            torch.testing.assert_close(found[row], expected, atol=3e-4, rtol=1e-3)


class Mixed(torch.nn.Module):
    """Sends some tokens to some modules, as a mixture's experts are sent; one module is never computed."""

    device = "cpu"

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(50, 8)
        self.all, self.turned, self.part = (torch.nn.Linear(8, 8) for _ in range(3))
        self.heads = torch.nn.Linear(4, 4)
        self.experts = torch.nn.ModuleList([torch.nn.Linear(8, 8)])
        self.unused = torch.nn.Linear(8, 8)

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, **more):
        rows = self.all(self.words(input_ids))
        flat = rows.flatten(0, 1)
        self.turned(rows.transpose(0, 1))
        self.part(flat[:4])
        self.experts[0](flat)  # by chance all of them
        return self.heads(rows.view(*rows.shape[:2], 2, 4))


def weights(name, **modules):
    from persona_plugins.lora.weights import Weights

    return Weights(name, made.Path(name), modules, 2, 0)


def test_modules_that_are_sent_some_tokens_are_not_served(base, tmp_path):
    from persona_plugins.lora.weights import linear_modules, load

    linear = linear_modules(Mixed())
    assert set(linear) == {"all", "heads"}
    folder = made.peft_folder(base, tmp_path / "x", 0, target_modules=["q_proj"])
    with pytest.raises(InputError, match="computed for every token"):
        load("x", folder, linear, torch.float32, "cpu")


@pytest.mark.parametrize("module", ["turned", "part"])
def test_what_is_computed_otherwise_than_it_was_is_no_answer(module):
    from persona_plugins.lora.side_by_side import SideBySide

    ann = weights("ann", **{module: (torch.ones(2, 8), torch.ones(2, 8))})
    with pytest.raises(RuntimeError, match=f"{module}: computed for"):
        SideBySide(Mixed())([ann, None, None], input_ids=torch.zeros(3, 4, dtype=torch.long))


@pytest.mark.parametrize("tokens", [4, 1])
def test_modules_that_are_computed_for_each_head(tokens):
    from persona_plugins.lora.side_by_side import SideBySide

    model = Mixed()
    ann, bob = (weights(name, heads=(torch.randn(2, 4), torch.randn(2, 4))) for name in ("ann", "bob"))
    ids, beside = torch.randint(0, 50, (2, tokens)), SideBySide(model)  # as many rows as heads
    together = beside([ann, bob], input_ids=ids)
    for row, one in enumerate((ann, bob)):
        plain = model(ids[row : row + 1])
        given = model.all(model.words(ids[row : row + 1])).view(1, tokens, 2, 4)
        down, up = one.modules["heads"]
        torch.testing.assert_close(together[row], (plain + given @ down.T @ up)[0])
