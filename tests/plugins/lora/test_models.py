"""Bases of other kinds: positions that are learnt, windows of attention, several ends of a turn, bytes as tokens."""

import pytest

from persona_plugins.lora.speech import Reader, Speech
from tests.plugins.lora import made

pytest.importorskip("torch")
ASKED = ["Hi.", "How do I descale a kettle? " * 3, "Prefers short answers."]


def gpt2(words):
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=words, n_embd=32, n_layer=2, n_head=4, n_positions=256))


def with_a_window(words):
    from transformers import MistralConfig, MistralForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return MistralForCausalLM(
        MistralConfig(vocab_size=words, num_key_value_heads=2, sliding_window=8, head_dim=8, **shape)
    )


def qwen(words):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=words, num_key_value_heads=2, head_dim=8, **shape))


@pytest.mark.parametrize("kind", [gpt2, with_a_window, qwen])
def test_other_architectures_say_what_they_say_by_themselves(base, tmp_path, kind):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from persona_plugins.lora.chat import TunedChat
    from persona_sdk.tuning.adapters import Adapters

    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(3)
    kind(len(tokenizer)).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    adapters = Adapters(tmp_path / "adapters")
    for seed, name in enumerate(("ann", "bob")):
        made.add(adapters, tmp_path / "base", name, seed)
    chat = TunedChat(adapters.folder, base=tmp_path / "base", max_tokens=10, device="cpu")
    chat._served().speech.ends = frozenset()
    expected = []
    for name, text in zip(("ann", "bob", "base"), ASKED, strict=True):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        model = model if name == "base" else PeftModel.from_pretrained(model, adapters.path(name))
        asked = [{"role": "user", "content": text}]
        ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            found = model.eval().generate(**ids, min_new_tokens=10, max_new_tokens=10, do_sample=False)
        expected.append(tokenizer.decode(found[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    streams = [chat.stream(text, model=name) for name, text in zip(("ann", "bob", "base"), ASKED, strict=True)]
    likely = [([{"role": "user", "content": text}], "ab " * n) for n, text in enumerate(ASKED, start=1)]
    together = chat.log_likelihoods(likely, "ann")
    assert [one.total for one in together] == pytest.approx(
        [chat.log_likelihoods([one], "ann")[0].total for one in likely], abs=1e-3
    )
    begun = [(next(stream).content, stream) for stream in streams]  # each joins those before
    assert [first + "".join(chunk.content for chunk in rest) for first, rest in begun] == expected


@pytest.fixture(scope="module")
def tokenizer(base):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


@pytest.mark.parametrize("text", ["a 😀 b", "é", "  two  spaces ", "日本語", "answers. Prefers", "x\ufffd"])
def test_text_comes_in_whole_characters_and_is_all_there(tokenizer, text):
    speech = Speech(tokenizer)
    reader = Reader(speech)
    parts = [reader.add(token) for token in speech.answer(text)[:-1]]
    assert "".join([*parts, reader.end()]) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in parts)


@pytest.mark.parametrize(
    ("stop", "said"),
    [("END", "one two "), ("two ENDS", "one "), ("ENDX", "one two END or"), ("o", ""), ("", "one two END or")],
)
def test_no_part_of_a_stop_string_is_given_out(tokenizer, stop, said):
    speech = Speech(tokenizer)
    reader = Reader(speech, [stop])
    parts = []
    for token in speech.answer("one two ENDS or" if "S" in stop else "one two END or")[:-1]:
        parts.append(reader.add(token))
        if reader.stopped:
            break
    assert "".join([*parts, reader.end()]) == said
    assert reader.stopped == (said != "one two END or")


def test_the_end_of_a_turn_is_what_the_template_writes_behind_an_answer(tokenizer):
    from types import SimpleNamespace

    from transformers import PreTrainedTokenizerFast

    turn, text = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    like_llama = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|endoftext|>")
    like_llama.chat_template = tokenizer.chat_template
    like_llama.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    speech = Speech(like_llama, SimpleNamespace(eos_token_id=[text, 7]))
    assert speech.end == turn
    assert speech.ends == {turn, text, 7}
    assert speech.answer("x")[-1] == turn


def test_a_template_that_refuses_a_conversation(tokenizer):
    from transformers import PreTrainedTokenizerFast

    from persona_sdk.errors import ModelError

    strict = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|im_end|>")
    strict.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no: ' + m.content) }}{% endif %}"
        "{{ m.content }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(ModelError, match=r"takes no conversation of system, user") as failed:
        Speech(strict).prompt([{"role": "system", "content": "secret"}, {"role": "user", "content": "Hi"}])
    assert "secret" not in str(failed.value)
