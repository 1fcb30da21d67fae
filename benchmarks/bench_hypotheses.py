"""Are personas that were tested better than the same model's personas believed as written?

Made-up people, each with one planted trait (`persona_sdk.simulation.planted`); personas from the first 70 % of their
choices predict the others. The local model proposes and, with `likelihood`, scores. --help lists what can be changed,
--json FILE keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from persona_sdk.evaluation.choices import ChoiceRow, SourceReport, evaluate_choices
from persona_sdk.hooks import PluginHost
from persona_sdk.journal import Remembered
from persona_sdk.settings import Settings
from persona_sdk.simulation.planted import people

#: Scorer, whether the model proposes, and the inferrers measured with them. Proposals are scored by embedding: each is
#: one person's own, and the likelihood of every answer under each of them would take hours on a small machine.
RUNS = (
    ("embedding", True, ("abductive-untested", "abductive", "contrastive", "contrastive+abductive")),
    ("likelihood", False, ("abductive", "contrastive+abductive")),
)


def rows(arguments: argparse.Namespace, seed: int) -> list[ChoiceRow]:
    """Return everybody's choices, the last 30 % of each person's to be predicted."""
    made = people(arguments.people, arguments.choices, topics=arguments.topics, seed=seed)
    first = 0.7 * arguments.choices
    return [ChoiceRow("planted", s, probe=i >= first) for person in made for i, s in enumerate(person.choices)]


def measure(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Measure inferrers over the seeds: with the model's proposals, and with likelihoods of common sentences."""
    found = []
    for scorer, proposals, names in RUNS:
        if scorer not in arguments.scorers.split(","):
            continue
        settings = Settings.load(model="local", options={"abductive": {"scorer": scorer, "proposals": proposals}})
        registry = PluginHost(settings).registry
        journal = Remembered()
        for name in names:
            inferrer = registry.inferrer(name, settings)
            began, before = time.perf_counter(), inferrer.spent()
            reports = [
                evaluate_choices(rows(arguments, seed), inferrer, journal=journal).sources["planted"]
                for seed in range(arguments.seeds)
            ]
            spent, seconds = inferrer.spent() - before, time.perf_counter() - began
            found.append(line(name, scorer, reports, (spent.calls, spent.scored, spent.failed, seconds)))
            print(shown(found[-1]), flush=True)
    return found


def line(
    name: str, scorer: str, reports: Sequence[SourceReport], cost: tuple[int, int, int, float]
) -> dict[str, object]:
    """Put the figures of one inferrer together: means over seeds, and their spread."""
    calls, scored, failed, seconds = cost
    people_seen = sum(r.users for r in reports)
    pairs = sum(r.n + r.fit for r in reports)

    def mean(arm: str) -> float:
        return statistics.mean(r.accuracy[arm] for r in reports)

    return {
        "inferrer": name,
        "scorer": scorer,
        "persona": mean("persona"),
        "spread": statistics.stdev(r.accuracy["persona"] for r in reports) if len(reports) > 1 else 0.0,
        "verified": mean("verified"),
        "shared": mean("shared"),
        "other": mean("other"),
        "log_loss": statistics.mean(r.log_loss["persona"] for r in reports),
        "believed": sum(r.verified_users for r in reports) / people_seen,
        "calls_per_user": calls / people_seen,
        "failed": failed,
        "scored": scored,
        "pairs_per_minute": 60 * pairs / seconds,
    }


def shown(figures: dict[str, object]) -> str:
    """Return one line of the table."""
    cells = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in figures.values())
    return " | ".join(cells)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--choices", type=int, default=24)
    parser.add_argument("--topics", type=int, default=4, help="questions; fewer of them, fewer answers to score")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scorers", default="embedding,likelihood")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print("inferrer | scorer | persona | spread | verified | shared | other | log loss | believed | calls a user | "
          "failed | scored | pairs a minute")  # fmt: skip
    found = measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
