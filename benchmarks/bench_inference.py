"""People inferred per second on one core, 20 choices each, beside a plain logistic regression for each of them."""

from __future__ import annotations

import cProfile
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Figure, arguments, report, say, ticking
from threadpoolctl import threadpool_limits
from workload import people, preferences

from persona_plugins.contrastive.features import features
from persona_plugins.contrastive.inferrer import Contrastive
from persona_sdk import InferenceRequest, Personalizer, Population, Preference
from persona_sdk.signals import choices_of

CHOICES, FRESH = 20, 5
POPULATION = 200
AIM = 1000.0
#: People whose texts (40 each) fit into the reader's cache of 16,384 texts, so that a second pass finds them there.
BLOCK = 250

Features = Mapping[str, float]
Pair = tuple[Features, Features]
History = tuple[str, list[Preference]]


@dataclass
class Clock:
    """Wall and processor seconds, and how many people they were spent on."""

    wall: float = 0.0
    cpu: float = 0.0
    people: int = 0

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._wall
        self.cpu += time.process_time() - self._cpu

    def time(self, work: Callable[[History], Any], block: Iterable[History]) -> None:
        """Do some work for everyone in a block."""
        with self:
            for history in block:
                work(history)
                self.people += 1

    @property
    def rate(self) -> float:
        return self.people / self.wall


def ridge(rows: np.ndarray, penalty: float = 1.0, steps: int = 25) -> np.ndarray:
    """Fit a logistic regression of "chosen" on differences by Newton's method, in the space the rows span."""
    gram = rows @ rows.T
    weight = np.zeros(len(rows))
    for _ in range(steps):
        p = 0.5 * (1.0 + np.tanh(0.5 * gram @ weight))
        curvature = np.maximum(p * (1.0 - p), 1e-9)
        target = gram @ weight + (1.0 - p) / curvature
        new = np.linalg.solve(gram + np.diag(penalty / curvature), target)
        moved, weight = float(np.abs(new - weight).max()), new
        if moved < 1e-6:
            break
    return rows.T @ weight


def plain(pairs: Sequence[Pair], asked: Sequence[Pair] = ()) -> list[bool]:
    """Do what one would without a hierarchy: scale this person's features, fit, and predict."""
    index: dict[str, int] = {}
    for pair in pairs:
        for side in pair:
            for name in side:
                index.setdefault(name, len(index))
    rows, fresh = _differences(pairs, index), _differences(asked, index)
    scale = np.sqrt(np.mean(rows**2, axis=0)) + 1e-9
    scale *= np.sqrt(len(index))  # the mean squared length of a difference is 1, as in the SDK
    weights = ridge(rows / scale, penalty=0.25)
    return [bool(u > 0) for u in (fresh / scale) @ weights]


def plain_held_out(pairs: Sequence[Pair]) -> None:
    """Fit, and fit again without each choice in turn: what the SDK's lift says, by brute force."""
    plain(pairs)
    for i in range(len(pairs)):
        plain([*pairs[:i], *pairs[i + 1 :]], pairs[i : i + 1])


def _differences(pairs: Sequence[Pair], index: Mapping[str, int]) -> np.ndarray:
    out = np.zeros((len(pairs), len(index)))
    for i, (chosen, rejected) in enumerate(pairs):
        for side, sign in ((chosen, 1.0), (rejected, -1.0)):
            for name, value in side.items():
                j = index.get(name)
                if j is not None:
                    out[i, j] += sign * value
    return out


def read(history: History) -> list[Pair]:
    """Read a person's texts anew."""
    return [(features(c.chosen), features(c.rejected)) for c in choices_of(history[1])]


def prepared(known: Sequence[History], asked: Sequence[History], url: str) -> tuple[Personalizer, float, Population]:
    """Return a personalizer that has a population, fitted on `known`, and signals to learn from; and the refit's time.

    The population is fitted before the others choose, so that their texts are new to whoever learns from them.
    """
    personalizer = Personalizer(url, learning="manual")
    personalizer.observe([signal for _, signals in known for signal in signals])
    start = time.perf_counter()
    population = personalizer.refit()
    refit = time.perf_counter() - start
    if population is None:
        sys.exit("no population was fitted")
    say(f"refit on {len(known)} people in {refit:.1f} s")
    personalizer.observe([signal for _, signals in asked for signal in signals])
    return personalizer, refit, population


def measure_learn(known: Sequence[History], asked: Sequence[History], url: str) -> tuple[float, Clock, Population]:
    """Learn from everyone in `asked`: read signals, infer, verify, remember."""
    personalizer, refit, population = prepared(known, asked, url)
    with personalizer:
        clock = Clock()
        clock.time(lambda history: personalizer.learn(history[0]), ticking("learn", asked))
    return refit, clock, population


class Inferring:
    """`Contrastive.infer` and the plain alternative over the same people, in blocks that fit the reader's cache."""

    def __init__(self, known: Sequence[History], population: Population) -> None:
        self._inferrer = Contrastive()
        self._population = population
        self._other: Mapping[str, Any] | None = None
        self._other = self._inferrer.infer(self.request(known[0])).state
        self.clocks = {name: Clock() for name in ("cold", "warm", "plain cold", "plain", "plain held out")}
        self.traits: list[int] = []

    def request(self, history: History) -> InferenceRequest:
        """Ask as `learn` asks."""
        user_id, signals = history
        return InferenceRequest("default", user_id, signals[:CHOICES], self._population, other_state=self._other)

    def infer(self, history: History) -> None:
        """Infer one person."""
        self.traits.append(len(self._inferrer.infer(self.request(history)).traits))

    def measure(self, block: Sequence[History]) -> None:
        """Infer a block from texts never read before, then again, and beside it without the SDK."""
        self.clocks["cold"].time(self.infer, block)
        self.clocks["warm"].time(self.infer, block)
        self.clocks["plain cold"].time(lambda history: plain(read(history)), block)
        pairs = {history[0]: read(history) for history in block}
        self.clocks["plain"].time(lambda history: plain(pairs[history[0]]), block)
        self.clocks["plain held out"].time(lambda history: plain_held_out(pairs[history[0]]), block[:20])

    def accuracy(self, histories: Sequence[History], asked: Mapping[str, list[Preference]]) -> tuple[float, float]:
        """Return the shares of fresh choices predicted right, by the SDK and by the alternative."""
        ours: list[bool] = []
        theirs: list[bool] = []
        for history in histories:
            fresh = asked[history[0]]
            ours += [p > 0.5 for p in self._inferrer.predict(self.request(history), choices_of(fresh))]
            theirs += plain(read(history), read((history[0], fresh)))
        return sum(ours) / len(ours), sum(theirs) / len(theirs)


def profile(title: str, work: Callable[[], object]) -> None:
    """Print where the time goes, by function."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    print(f"\nprofile: {title}")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(15)


def profiles(known: Sequence[History], first: Sequence[History], inferring: Inferring) -> None:
    """Profile learning, then inference from texts not in the reader's cache, then the same again."""
    personalizer, _, _ = prepared(known[:40], first[:BLOCK], "sqlite://")
    with personalizer:
        profile("learn, SQLite in memory", lambda: [personalizer.learn(user_id) for user_id, _ in first[:BLOCK]])
    for title in ("infer, cold texts", "infer, features read"):
        profile(title, lambda: [inferring.infer(history) for history in known[40:]])


def figures(refit: float, learn: Clock, memory: Clock, clocks: Mapping[str, Clock]) -> list[Figure]:
    """Put each rate beside its alternative."""
    unit = "people/s"
    cold, warm, plain_cold = clocks["cold"].rate, clocks["warm"].rate, clocks["plain cold"].rate
    no_memory = "plain ridge, cold texts, no memory"
    refits = "plain ridge and 20 refits to hold out"
    return [
        Figure("learn, SQLite file", learn.rate, unit, no_memory, plain_cold),
        Figure("learn, SQLite in memory", memory.rate, unit, no_memory, plain_cold),
        Figure("infer, cold texts", cold, unit, "plain ridge, cold texts", plain_cold, at_least=AIM),
        Figure("infer, features read", warm, unit, "plain ridge, features read", clocks["plain"].rate, at_least=AIM),
        Figure("infer, features read", warm, unit, refits, clocks["plain held out"].rate),
        Figure("refit", refit, "s", f"{POPULATION} × infer, cold texts", POPULATION / cold),
    ]


def remarks(count: int, learn: Clock, inferring: Inferring, accuracy: tuple[float, float]) -> list[str]:
    """Say what stands behind the figures."""
    cpu = {"learn": learn, **inferring.clocks}
    return [
        f"{count:,} people a line ({20 * count // BLOCK} for the refits), {CHOICES} choices each; one thread",
        "processor ms a person: " + ", ".join(f"{name} {c.cpu / c.people * 1e3:.2f}" for name, c in cpu.items()),
        f"{np.mean(inferring.traits):.1f} traits a person; of {FRESH * BLOCK:,} fresh choices, infer predicts "
        f"{accuracy[0]:.1%} and plain ridge {accuracy[1]:.1%}",
    ]


def main() -> None:
    """Measure, and show a profile if one is wanted."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    args = parser.parse_args()
    count = BLOCK if args.quick else 8 * BLOCK
    rng = random.Random(7)
    group = people(POPULATION + 3 * count, rng)
    made = [(person.user_id, preferences(person, CHOICES, rng)) for person in ticking("choices made up", group)]
    known, rest = made[:POPULATION], made[POPULATION:]
    first, second, third = rest[:count], rest[count : 2 * count], rest[2 * count :]
    with tempfile.TemporaryDirectory() as folder:
        refit, learn, population = measure_learn(known, first, f"sqlite:///{Path(folder) / 'bench.db'}")
    _, memory, _ = measure_learn(known, second, "sqlite://")
    inferring = Inferring(known, population)
    for start in ticking("blocks inferred five ways", range(0, count, BLOCK)):
        inferring.measure(third[start : start + BLOCK])
    fresh = {person.user_id: preferences(person, FRESH, rng) for person in group[-count:][:BLOCK]}
    accuracy = inferring.accuracy(third[:BLOCK], fresh)
    told = remarks(count, learn, inferring, accuracy)
    report("Inference", figures(refit, learn, memory, inferring.clocks), told, args.json)
    if args.profile:
        profiles(known, first, inferring)


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
