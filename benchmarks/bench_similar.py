"""Similar people end to end: from a person's id to those who are most alike, through memory and index.

    python benchmarks/bench_similar.py [--quick] [--sizes 10000 100000] [--index chroma:FOLDER] [--json FILE]

People belong to kinds: each kind leans to 60 of 3,000 names, and each person of it to those, with noise, and to 20 of
their own. Beside it stands the same search by numpy over all leanings at once, without an index. What is timed is
`neighbours(user)` as an app calls it: read the person's leaning, sketch it, ask the index, read those found from
memory, compare exactly.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from harness import Figure, arguments, median, percentile, report, say, seconds

from persona_plugins.chroma_index.index import ChromaIndex
from persona_plugins.similar_personas.options import Options
from persona_plugins.similar_personas.people import SimilarPersonas, Source
from persona_plugins.similar_personas.sketch import sketch
from persona_plugins.sql_memory import codec
from persona_plugins.sql_memory.memory import SqlMemory
from persona_plugins.sql_memory.tables import digest, leanings, names, persons, tenants

TENANT, NAMES, KINDS_PER_PERSON, ASKED = "default", 3000, 50, 300
_BATCH = 5000


def people(count: int) -> Iterator[dict[str, float]]:
    """Return so many people's leanings, the same ones each time."""
    rng = random.Random(0)
    vocabulary = [f"w:word{i}" for i in range(NAMES)]
    kinds = [
        {name: rng.gauss(0, 1) for name in rng.sample(vocabulary, 60)}
        for _ in range(max(20, count // KINDS_PER_PERSON))
    ]
    for n in range(count):
        kind = kinds[n % len(kinds)]
        leaning = {name: weight + rng.gauss(0, 0.5) for name, weight in kind.items()}
        leaning.update({name: rng.gauss(0, 0.5) for name in rng.sample(vocabulary, 20)})
        yield {name: float(f"{weight:.5g}") for name, weight in leaning.items()}


def filled(folder: Path, count: int) -> SqlMemory:
    """Return a memory of so many people, written in bulk: learning them one by one is not what is measured here."""
    memory = SqlMemory(f"sqlite:///{folder / 'persona.db'}")
    memory.users(TENANT)
    rows: list[tuple[int, str, str]] = []
    with memory._store.writing() as connection:
        connection.execute(tenants.insert(), {"scope": digest(TENANT), "name": TENANT})
    for n, weights in enumerate(people(count), 1):
        rows.append((n, f"user{n}", codec.dump_state(weights) or ""))
        if len(rows) == _BATCH or n == count:
            with memory._store.writing() as connection:
                known = [
                    {"person": p, "digest": digest(TENANT, u), "scope": digest(TENANT), "last_seq": 1}
                    for p, u, _ in rows
                ]
                connection.execute(persons.insert(), known)
                connection.execute(names.insert(), [{"person": p, "user_id": u} for p, u, _ in rows])
                about = {"through": 1, "choices": 9, "inferrer": "made-up", "scope": digest(TENANT)}
                connection.execute(leanings.insert(), [{"person": p, "weights": w, **about} for p, _, w in rows])
            rows = []
    return memory


def exact(count: int, asked: list[int], limit: int) -> tuple[list[float], list[set[str]]]:
    """Return how long it takes to compare with everybody's sketch by numpy, and who is nearest by whole leanings."""
    column = {f"w:word{i}": i for i in range(NAMES)}
    sketches = np.array([sketch(weights) for weights in people(count)], np.float32)
    whole = np.zeros((count, NAMES), np.float32) if count <= 100_000 else None
    if whole is not None:
        for row, weights in zip(whole, people(count), strict=True):
            row[[column[name] for name in weights]] = list(weights.values())
        whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    times, truth = [], []
    for n in asked:
        times.append(seconds(lambda n=n: np.argpartition(-(sketches @ sketches[n]), limit)[:limit]))
        among = whole if whole is not None else sketches
        nearest = np.argsort(-(among @ among[n]))[: limit + 1]
        truth.append({f"user{i + 1}" for i in nearest.tolist() if i != n})
    return times, truth


def measure(count: int, spec: str) -> list[Figure]:
    """Measure one size."""
    folder = Path(tempfile.mkdtemp())
    try:
        say(f"{count:,} people: filling memory")
        memory = filled(folder, count)
        index = ChromaIndex(spec or str(folder / "index"))
        inferrer = SimpleNamespace(name="made-up")
        source = Source(memory, lambda: inferrer, lambda: index, lambda: None)  # type: ignore[arg-type, return-value]
        similar = SimilarPersonas(source, Options(), background=False)
        say(f"{count:,} people: building the index")
        built = seconds(lambda: similar.follow(TENANT))
        asked = random.Random(1).sample(range(count), min(ASKED, count))
        for n in asked[:20]:
            similar.neighbours(TENANT, f"user{n + 1}")
        times = [seconds(lambda n=n: similar.neighbours(TENANT, f"user{n + 1}")) for n in asked]
        found = [{one.user_id for one in similar.neighbours(TENANT, f"user{n + 1}")} for n in asked]
        beside, truth = exact(count, asked, 10)
        right = sum(len(f & t) for f, t in zip(found, truth, strict=True)) / sum(map(len, truth))
        similar.close()
        index.close()
        memory.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    of = f"at {count:,} people"
    aim = 3.0 if count >= 1_000_000 else None
    p50, p99 = 1000 * median(times), 1000 * percentile(times, 0.99)
    matrix = "numpy over all sketches"
    return [
        Figure(f"neighbours(user), p50, {of}", p50, "ms", matrix, 1000 * median(beside), at_most=aim),
        Figure(f"neighbours(user), p99, {of}", p99, "ms", matrix, 1000 * percentile(beside, 0.99)),
        Figure(f"of the 10 truly nearest, found, {of}", right, "", "all of them", 1.0),
        Figure(f"index built from memory, {of}", count / built, "people/s", "", float("nan")),
    ]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--index", default="", help="a folder or a server's URL; a temporary folder by default")
    given = parser.parse_args()
    figures = [figure for size in ([2000] if given.quick else given.sizes) for figure in measure(size, given.index)]
    remarks = [
        "80 weights a person, of 3,000 names; nearest by whole leanings up to 100,000 people, by sketches beyond"
    ]
    report("Similar people, end to end", figures, remarks, given.json)


if __name__ == "__main__":
    main()
