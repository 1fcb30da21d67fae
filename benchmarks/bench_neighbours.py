"""Nearest of many: ChromaIndex in a folder beside exact search and usearch, by speed, recall, memory and disk.

Each engine runs in a process of its own, on the same vectors: 384 dimensions, single precision. A person is one of
n/100 kinds (a random direction), plus a deviation of half that length within 32 directions that all share, plus noise
of a fifth. Those who ask were not put in. `--sizes 10000 100000 1000000` takes about an hour on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from harness import Figure, arguments, percentile, report, say, seconds, ticking

SEED, DIMENSIONS, CHUNK, NEAREST = 7, 384, 5000, 10
RECALL, P50 = 0.99, 3.0
FEW = 100  # single puts, removals
NAME = "people"
MOST_EXACT = 100_000  # every write copies all that an ExactIndex holds: it is not made for more


class People:
    """Made-up vectors, the same in every process; `chunk(i)` are 5,000 of them."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(SEED)
        self.count = count
        self._kinds = _units(rng.standard_normal((max(count // 100, 1), DIMENSIONS), dtype=np.float32))
        self._shared = rng.standard_normal((32, DIMENSIONS), dtype=np.float32) / np.float32(DIMENSIONS**0.5)

    def chunk(self, number: int, size: int = CHUNK) -> np.ndarray:
        rng = np.random.default_rng([SEED, number])
        kind = self._kinds[rng.integers(0, len(self._kinds), size)]
        own = rng.standard_normal((size, 32), dtype=np.float32) @ self._shared * np.float32(0.5 / 32**0.5)
        noise = rng.standard_normal((size, DIMENSIONS), dtype=np.float32) * np.float32(0.2 / DIMENSIONS**0.5)
        return _units(kind + own + noise)

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        for number in ticking(f"{self.count:,} vectors put", range(self.count // CHUNK), every=20):
            yield number * CHUNK, self.chunk(number)

    def asking(self, count: int) -> np.ndarray:
        return self.chunk(10**6, count)

    def new(self) -> np.ndarray:
        return self.chunk(10**6 + 1, FEW)


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Engine(ABC):
    """What is measured; keys are numbers. `save` writes to disk what is not there yet, `reopen` starts anew from it."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder

    @abstractmethod
    def put(self, first: int, rows: np.ndarray) -> None: ...

    @abstractmethod
    def remove(self, key: int) -> None: ...

    @abstractmethod
    def nearest(self, row: np.ndarray) -> Sequence[int]: ...

    def save(self) -> None:
        return

    def reopen(self) -> None:
        return


class Numpy(Engine):
    """Exact search without any index: a matrix, a product, a partition."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count)
        self._rows, self._size = np.empty((count + FEW, DIMENSIONS), np.float32), 0

    def put(self, first: int, rows: np.ndarray) -> None:
        self._rows[first : first + len(rows)] = rows
        self._size = max(self._size, first + len(rows))

    def remove(self, key: int) -> None:
        self._size -= 1
        self._rows[key] = self._rows[self._size]

    def nearest(self, row: np.ndarray) -> Sequence[int]:
        found = self._rows[: self._size] @ row
        best = np.argpartition(-found, NEAREST)[:NEAREST]
        return best[np.argsort(-found[best])].tolist()

    def save(self) -> None:
        np.save(self.folder / "rows.npy", self._rows[: self._size])


class Usearch(Engine):
    """The same kind of graph in a small library; its file is written whole, and a crash loses what came since."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count)
        from usearch.index import Index  # noqa: PLC0415 - counted in the memory of this engine only

        self._index = Index(ndim=DIMENSIONS, metric="cos", dtype="f32", connectivity=16, expansion_add=100)
        self._index.expansion_search = 150

    def put(self, first: int, rows: np.ndarray) -> None:
        self._index.add(np.arange(first, first + len(rows)), rows)

    def remove(self, key: int) -> None:
        self._index.remove(key)

    def nearest(self, row: np.ndarray) -> Sequence[int]:
        return self._index.search(row, NEAREST).keys.tolist()

    def save(self) -> None:
        self._index.save(str(self.folder / "index.usearch"))

    def reopen(self) -> None:
        self._index.load(str(self.folder / "index.usearch"))


class Plugin(Engine):
    """An index of this project."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count)
        self._index = self._open()

    @abstractmethod
    def _open(self): ...

    def put(self, first: int, rows: np.ndarray) -> None:
        keys = [f"{key:064x}" for key in range(first, first + len(rows))]
        self._index.put(NAME, keys, rows, range(first, first + len(rows)))

    def remove(self, key: int) -> None:
        self._index.remove(NAME, [f"{key:064x}"])

    def nearest(self, row: np.ndarray) -> Sequence[int]:
        return [int(found.key, 16) for found in self._index.nearest(NAME, row, NEAREST)]

    def reopen(self) -> None:
        self._index.close()
        self._index = self._open()


class Exact(Plugin):
    """`ExactIndex`, in memory: exact search behind the interface."""

    def _open(self):
        from persona_plugins.exact_index.index import ExactIndex  # noqa: PLC0415 - as above

        return ExactIndex()

    def reopen(self) -> None:
        """Keep it: nothing is on disk."""


class Chroma(Plugin):
    """`ChromaIndex` in a folder, as it is used by default."""

    def _open(self):
        from persona_plugins.chroma_index.index import ChromaIndex  # noqa: PLC0415 - as above

        return ChromaIndex(str(self.folder / "chroma"))


ENGINES = {"numpy": Numpy, "exact": Exact, "usearch": Usearch, "chroma": Chroma}


def resident() -> float:
    """Return the memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def measure(name: str, count: int, folder: Path) -> dict[str, float]:
    """Measure one engine in this process; the first leaves the right answers for the others."""
    people = People(count)
    people.chunk(0)
    asking = people.asking(1000 if count <= 100_000 else 300)
    before = resident()
    engine = ENGINES[name](folder, count)
    adding = 0.0
    for first, rows in people.chunks():
        adding += seconds(lambda first=first, rows=rows: engine.put(first, rows))
    engine.nearest(asking[0])
    memory = resident() - before
    times, found = [], []
    for row in asking:
        start = time.perf_counter()
        keys = engine.nearest(row)
        times.append(time.perf_counter() - start)
        found.append(keys)
    truth = folder.parent / "truth.json"
    if not truth.exists():
        truth.write_text(json.dumps(found))
    right = sum(len(set(a) & set(b)) for a, b in zip(found, json.loads(truth.read_text()), strict=True))
    new = people.new()
    puts = [seconds(lambda at=at: engine.put(count + at, new[at : at + 1])) for at in range(FEW)]
    removals = [seconds(lambda at=at: engine.remove(at * 7)) for at in range(FEW)]
    engine.save()
    engine.reopen()
    first_answer = seconds(lambda: engine.nearest(asking[0]))
    return {
        "p50": 1e3 * percentile(times, 0.5),
        "p99": 1e3 * percentile(times, 0.99),
        "recall": right / (NEAREST * len(asking)),
        "memory": memory,
        "disk": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6,
        "rate": count / adding,
        "put": 1e3 * percentile(puts, 0.5),
        "put99": 1e3 * percentile(puts, 0.99),
        "remove": 1e3 * percentile(removals, 0.5),
        "first": 1e3 * first_answer,
    }


def in_process(name: str, count: int, folder: Path) -> dict[str, float]:
    """Measure one engine in a process of its own."""
    folder.mkdir()
    say(f"{name}, {count:,}")
    command = [sys.executable, __file__, "--engine", name, "--sizes", str(count), "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def figures(count: int, of: dict[str, dict[str, float]]) -> list[Figure]:
    """Put each of ChromaIndex's figures beside the alternative that is best at it."""
    chroma, usearch, numpy = of["chroma"], of["usearch"], of["numpy"]
    size, exact, exactly = f"{count:,}", of.get("exact", numpy), "exact index" if "exact" in of else "numpy"
    return [
        Figure(f"{size}: recall@{NEAREST}", chroma["recall"], "", "usearch", usearch["recall"], at_least=RECALL),
        Figure(f"{size}: nearest, p50", chroma["p50"], "ms", exactly, exact["p50"], at_most=exact["p50"]),
        *([Figure(f"{size}: nearest, p50", chroma["p50"], "ms", "numpy", numpy["p50"])] * ("exact" in of)),
        Figure(f"{size}: nearest, p50", chroma["p50"], "ms", "usearch", usearch["p50"]),
        *([Figure(f"{size}: nearest, p50", chroma["p50"], "ms", "the aim", P50, at_most=P50)] * (count >= 10**6)),
        Figure(f"{size}: nearest, p99", chroma["p99"], "ms", exactly, exact["p99"]),
        Figure(f"{size}: memory", chroma["memory"], "MB", "usearch", usearch["memory"]),
        Figure(f"{size}: disk", chroma["disk"], "MB", "usearch", usearch["disk"]),
        Figure(f"{size}: batches put", chroma["rate"], "vectors/s", "usearch", usearch["rate"]),
        Figure(f"{size}: one put, p50", chroma["put"], "ms", "usearch", usearch["put"]),
        Figure(f"{size}: one put, p99", chroma["put99"], "ms", "usearch", usearch["put99"]),
        Figure(f"{size}: one removed, p50", chroma["remove"], "ms", "usearch", usearch["remove"]),
        Figure(f"{size}: opened, first answer", chroma["first"], "ms", "usearch", usearch["first"]),
    ]


def main() -> None:
    """Measure every engine at every size."""
    parser = arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="numbers of vectors")
    parser.add_argument("--engine", choices=ENGINES, help="measure one, and print its figures as JSON")
    parser.add_argument("--folder", type=Path, help="where that one keeps its files")
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(measure(args.engine, args.sizes[0], args.folder)))
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    made: list[Figure] = []
    for count in [10_000] if args.quick else args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            names = [name for name in ENGINES if name != "exact" or count <= MOST_EXACT]
            of = {name: in_process(name, count, Path(folder) / name) for name in names}
        made += figures(count, of)
        say(json.dumps(of))
    remarks = [
        "one query at a time; products of matrices on one thread; `exact index` is in memory, and reads no file",
        "usearch is saved once, at the end: what came since is lost in a crash",
    ]
    report("Neighbours", made, remarks, args.json)


if __name__ == "__main__":
    main()
