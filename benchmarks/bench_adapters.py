"""Many adapters on one base model: changing from one to another, and answering eight people at once.

The base is SmolLM2 with 135M parameters, in single precision, on one thread; adapters are LoRA on all its linear
modules, of rank 8, 16 and 32, with random weights: what they say does not matter here. Every figure stands beside what
PEFT does by itself on the same model, in the same run, in turn.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import Figure, arguments, median, report, say, seconds

PEOPLE, RANKS = 8, (8, 16, 32, 16)
FASTER, SWAP = 3.0, 10.0
QUESTIONS = [
    "How do I descale a kettle?",
    "What should I cook tonight? There are eggs, rice, and half a cabbage.",
    "Explain how a bicycle stays upright.",
    "Write a note to my neighbour about the hedge, please. It has grown over the path again.",
    "What is a good name for a boat?",
    "How long does it take to walk from one end of the town to the other?",
    "Is it going to matter if I water the plants at noon?",
    "Tell me about the moon.",
]


def adapters(base: Path, folder: Path, count: int) -> list[str]:
    """Make adapters with PEFT, and return their names."""
    import torch  # noqa: PLC0415 - takes a second
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - takes seconds
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - as above

    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - as above
    from persona_sdk.tuning.cards import Card  # noqa: PLC0415 - as above
    from persona_sdk.tuning.training.bases import base_of  # noqa: PLC0415 - as above

    registry, of, names = Adapters(folder / "adapters"), base_of(base), []
    for number in range(count):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = LoraConfig(r=RANKS[number % 4], target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = get_peft_model(model, config)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.002)
        tuned.save_pretrained(folder / f"made-{number}")
        names.append(f"person-{number}")
        registry.add(folder / f"made-{number}", Card(name=names[-1], base=of))
    return names


class Peft:
    """PEFT by itself: every adapter in the model, and `generate`."""

    def __init__(self, base: Path, folder: Path, names: Sequence[str], prompts: Sequence[Sequence[int]]) -> None:
        import torch  # noqa: PLC0415 - takes a second
        from peft import PeftModel  # noqa: PLC0415 - takes seconds
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as above

        from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - as above

        registry = Adapters(folder)
        self.paths = {name: registry.path(name) for name in names}
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        first = names[0]
        self.model = PeftModel.from_pretrained(model, self.paths[first], adapter_name=first).eval()
        self.loading = [seconds(lambda n=n: self.model.load_adapter(self.paths[n], n)) for n in names[1:]]
        self.model.set_requires_grad(names, False)
        self.names, self.prompts = list(names), [list(prompt) for prompt in prompts]

    def one(self, place: int, tokens: int) -> None:
        """Answer one person with their adapter set."""
        self.model.set_adapter(self.names[place])
        self._generate([self.prompts[place]], tokens)

    def mixed(self, tokens: int) -> None:
        """Answer everybody in one batch, with `adapter_names`."""
        self._generate(self.prompts, tokens, adapter_names=self.names)

    def _generate(self, prompts: Sequence[Sequence[int]], tokens: int, **more: Any) -> None:
        import torch  # noqa: PLC0415 - takes a second

        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                **more,
            )


class Ours:
    """`TunedChat`, told that no token ends an answer, so that all say equally much."""

    def __init__(self, base: Path, folder: Path, names: Sequence[str]) -> None:
        from persona_plugins.lora.chat import TunedChat  # noqa: PLC0415 - takes a second

        self.chat = TunedChat(folder, base=base, device="cpu", dtype="float32", max_batch=PEOPLE)
        self.here = self.chat._served()
        self.here.speech.ends = frozenset()
        self.names = list(names)
        self.loading = [seconds(lambda n=n: self.here.pool.release(self.here.pool.take(n))) for n in names]

    def prompts(self) -> list[list[int]]:
        return [self.here.speech.prompt([{"role": "user", "content": asked}]) for asked in QUESTIONS]

    def one(self, place: int, tokens: int) -> None:
        self.chat.invoke(QUESTIONS[place], model=self.names[place], max_tokens=tokens)

    def mixed(self, tokens: int) -> None:
        """Answer everybody, as an app with a thread for each person would ask."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - here only

        with ThreadPoolExecutor(PEOPLE) as threads:
            list(threads.map(lambda place: self.one(place, tokens), range(PEOPLE)))

    def base(self, tokens: int) -> None:
        self.chat.batch(QUESTIONS, model="base", max_tokens=tokens)


def in_turn(runs: int, *calls: Callable[[], object]) -> list[float]:
    """Return the median seconds of each call; they take turns, so that all share the machine's moods."""
    took: list[list[float]] = [[] for _ in calls]
    for run in range(runs):
        for place, call in enumerate(calls):
            took[place].append(seconds(call))
        say(f"run {run + 1} of {runs}: " + ", ".join(f"{times[-1]:.2f} s" for times in took))
    return [median(times) for times in took]


def changing(ours: Ours, peft: Peft, rounds: int) -> dict[str, float]:
    """Return milliseconds: of changes of adapters, and of what a named row adds to the time of a token."""
    import torch  # noqa: PLC0415 - takes a second

    taken = [ours.here.pool.take(name) for name in ours.names]
    one, other = [taken[1]], [taken[3]]  # equal ranks
    seven, eight = taken[:7], [*taken[:6], taken[7]]  # the last one is another's
    ids = torch.full((1, 1), 5)

    @torch.inference_mode()
    def theirs(**named: Any) -> None:
        peft.model(input_ids=ids, **named)

    @torch.inference_mode()
    def plan(rows: Sequence[Any]) -> None:
        ours.here.model._plan(rows, 1)

    calls: dict[str, Callable[[], object]] = {
        "one": lambda: plan(one),
        "other": lambda: plan(other),
        "seven": lambda: plan(seven),
        "eight": lambda: plan(eight),
        "set back": lambda: peft.model.set_adapter(ours.names[3]),
        "set": lambda: peft.model.set_adapter(ours.names[1]),
        "plain": lambda: ours.here.model([None], input_ids=ids),
        "named": lambda: ours.here.model(one, input_ids=ids),
        "their named": lambda: theirs(adapter_names=[ours.names[1]]),
        "set once": theirs,
    }
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            took[name].append(1e3 * seconds(call))
    for weights in taken:
        ours.here.pool.release(weights)
    return {name: median(times) for name, times in took.items()}


def measure(base: Path, folder: Path, tokens: int, runs: int) -> list[Figure]:
    names = adapters(base, folder, PEOPLE)
    say(f"{PEOPLE} adapters made")
    ours = Ours(base, folder / "adapters", names)
    peft = Peft(base, folder / "adapters", names, ours.prompts())
    say("loaded")
    took = changing(ours, peft, 20)
    mixed, after, theirs, one_by_one, plain = in_turn(
        runs,
        lambda: ours.mixed(tokens),
        lambda: [ours.one(place, tokens) for place in range(PEOPLE)],
        lambda: peft.mixed(tokens),
        lambda: [peft.one(place, tokens) for place in range(PEOPLE)],
        lambda: ours.base(tokens),
    )
    made = PEOPLE * tokens
    what, unit = f"{PEOPLE} people at once", "tokens/s"
    return [
        Figure(what, made / mixed, unit, "one after the other", made / after),
        Figure(what, made / mixed, unit, "PEFT, one after the other", made / one_by_one),
        Figure(what, made / mixed, unit, "PEFT, adapter_names", made / theirs),
        Figure(what, made / mixed, unit, "the base, no adapters", made / plain),
        Figure("… so many times as fast", after / mixed, "", "PEFT alone", one_by_one / theirs, at_least=FASTER),
        Figure("another adapter", took["other"], "ms", "PEFT, set_adapter", took["set"], at_most=SWAP),
        Figure("another one of seven in a batch", took["eight"], "ms", "PEFT, set_adapter", took["set"]),
        Figure("a token of one row, adapter named", took["named"], "ms", "the base", took["plain"]),
        Figure("a token of one row, adapter named", took["named"], "ms", "PEFT, adapter_names", took["their named"]),
        Figure("a token of one row, adapter named", took["named"], "ms", "PEFT, once it is set", took["set once"]),
        Figure(
            "an adapter read", 1e3 * median(ours.loading[1:]), "ms", "PEFT, load_adapter", 1e3 * median(peft.loading)
        ),
    ]


def main() -> None:
    """Measure."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = arguments((__doc__ or "").partition("\n")[0])
    args = parser.parse_args()
    import torch  # noqa: PLC0415 - after the environment is set
    from transformers.utils import logging  # noqa: PLC0415 - as above

    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        if args.quick:
            sys.path.insert(0, str(Path(__file__).parents[1]))
            from tests.support.tiny import tiny_base  # noqa: PLC0415 - only here

            with contextlib.redirect_stderr(None):
                base = tiny_base(Path(temporary) / "base")
        else:
            from persona_sdk.tuning.training.bases import prepare  # noqa: PLC0415 - as above

            say("unpacking SmolLM2, the first time")
            base = prepare("local")
        started = time.perf_counter()
        made = measure(base, Path(temporary), *((16, 2) if args.quick else (32, 3)))
        say(f"{time.perf_counter() - started:.0f} s")
    remarks = [
        f"one thread, single precision; {PEOPLE} conversations of different length, answers of equal length",
        "tokens/s count what is answered, and the time includes reading the conversations",
        "a tiny model with random weights: figures say nothing but that it runs" if args.quick else "SmolLM2, 135M",
        ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "peft")),
    ]
    report("Adapters", made, remarks, args.json)


if __name__ == "__main__":
    main()
