"""What a chat call pays: `tailor` and `prefer` beside the least a hand-rolled SQLite file would cost on this disk."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Figure, arguments, median, percentile, report, say, ticking
from workload import offer, people, preferences

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk import Persona, Personalizer, Preference, Trait
from persona_sdk.models import Lineage

EACH = 20
BATCH = 5000
TRAITS = 5
QUESTION = "Which hotel shall I book for the weekend in Lisbon?"
MESSAGES = [{"role": "system", "content": "You help people to travel."}, {"role": "user", "content": QUESTION}]

#: Find a persona by hand, in the same file: the digest is indexed, the version is a row.
SELECT = (
    "SELECT v.persona FROM persona_persons p JOIN persona_names n USING (person) "
    "JOIN persona_versions v ON v.row = p.current_row WHERE n.person = ?"
)

BY_HAND = "SELECT, json.loads, join"

Known = list[tuple[Persona, dict[str, Any] | None]]


@dataclass
class Sizes:
    """How much is done."""

    users: int
    warm: int
    cold: int
    prefer: int
    paced: int
    processes: int


FULL = Sizes(users=100_000, warm=5000, cold=5000, prefer=1000, paced=150, processes=9)
QUICK = Sizes(users=2000, warm=500, cold=300, prefer=200, paced=30, processes=3)


def inferred_personas(count: int) -> Known:
    """Infer a few personas for real, and bring each to five traits, so that all users have one of that size."""
    rng = random.Random(3)
    with Personalizer("sqlite://", learning="manual") as personalizer:
        for person in people(count, rng):
            personalizer.observe(preferences(person, EACH, rng))
        personalizer.refit()
        users = personalizer.users()
        personas = [personalizer.learn(user) for user in ticking("personas inferred", users)]
    found = [trait for persona in personas for trait in persona.traits]
    keys = {trait.key: trait for trait in found}
    if len(keys) < TRAITS:
        sys.exit("too few traits were inferred to make personas of")
    out: Known = []
    for persona in personas:
        own = {t.key: t for t in persona.traits}
        while len(own) < TRAITS:
            key = rng.choice(list(keys))
            own[key] = keys[key]
        traits: tuple[Trait, ...] = tuple(own.values())[:TRAITS]
        summary = " ".join(t.statement for t in traits)
        state = {"weights": {f"w:word{i}": [rng.gauss(0, 1)] for i in range(200)}}
        out.append((persona.model_copy(update={"traits": traits, "summary": summary}), state))
    return out


def build(file: Path, users: int) -> None:
    """Fill a database: everyone's signals in batches, then a persona for each, all through the memory plugin."""
    personas = inferred_personas(60)
    rng = random.Random(5)
    texts = [offer("hotel", rng)[0] for _ in range(4000)]
    memory = SqlMemory(f"sqlite:///{file}")
    for start in ticking("signals stored, by 5,000", range(0, users * EACH, BATCH)):
        memory.append(
            [
                Preference(user_id=f"user-{i // EACH}", prompt=QUESTION, chosen=chosen, rejected=rejected)
                for i in range(start, min(start + BATCH, users * EACH))
                for chosen, rejected in [rng.sample(texts, 2)]
            ]
        )
    for i in ticking("personas stored", range(users)):
        user_id = f"user-{i}"
        progress = memory.progress("default", user_id)
        persona, state = personas[i % len(personas)]
        lineage = Lineage(inferrer="contrastive", through=progress.last if progress else 0, signals=EACH)
        memory.remember(persona.model_copy(update={"user_id": user_id, "lineage": lineage}), state)
    memory.close()


@contextmanager
def bare(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a file with the pragmas the memory plugin uses."""
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("secure_delete = ON", "temp_store = MEMORY", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    yield connection
    connection.close()


def by_hand(connection: sqlite3.Connection, number: int) -> list[dict[str, str]]:
    """Tailor without the SDK: look the persona up, put all its sentences in front."""
    (stored,) = connection.execute(SELECT, (number,)).fetchone()
    block = "\n".join(f"- {trait['statement']}" for trait in json.loads(stored)["traits"])
    return [{"role": "system", "content": MESSAGES[0]["content"] + "\n\n" + block}, MESSAGES[1]]


def in_turn(what: str, count: int, *calls: Callable[[int], object], pause: float = 0.0) -> list[list[float]]:
    """Time several calls in turn, so that a busy moment hits all alike; milliseconds by call."""
    took: list[list[float]] = [[] for _ in calls]
    for i in ticking(what, range(count)):
        for call, times in zip(calls, took, strict=True):
            time.sleep(pause)
            start = time.perf_counter()
            call(i)
            times.append((time.perf_counter() - start) * 1e3)
    return took


def p50_p99(
    what: str, beside: str, ours: Sequence[float], other: Sequence[float], aim: float | None = None
) -> list[Figure]:
    """Make the two figures of one measurement."""
    return [
        Figure(f"{what}, p50", percentile(ours, 0.5), "ms", f"{beside}, p50", percentile(other, 0.5), at_most=aim),
        Figure(f"{what}, p99", percentile(ours, 0.99), "ms", f"{beside}, p99", percentile(other, 0.99)),
    ]


def load(file: Path) -> None:
    """Read the file once, so that the system has it in memory, as it would have on a machine that serves it."""
    with file.open("rb") as handle:
        while handle.read(1 << 24):
            pass


def evict(file: Path) -> None:
    """Ask the system to forget what it keeps of the file, so that it is read from the disk again."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_tailor(file: Path, sizes: Sizes, rng: random.Random) -> list[Figure]:
    """Time tailoring for the same few people, and for ever new ones."""
    found: list[Figure] = []
    numbers = rng.sample(range(sizes.users), 2 * sizes.cold)
    with bare(file) as connection, Personalizer(f"sqlite:///{file}", learning="manual") as personalizer:
        for i in range(20):
            personalizer.tailor(f"user-{i}", MESSAGES)
        opened = personalizer.tailor("user-0", MESSAGES)
        say(f"a tailored call: {opened.gate.reason}, {opened.tokens_added} tokens added")
        ours, other = in_turn(
            "tailor, the same users",
            sizes.warm,
            lambda i: personalizer.tailor(f"user-{i % 20}", MESSAGES),
            lambda i: by_hand(connection, i % 20 + 1),
        )
        found += p50_p99("tailor, 20 users again and again", BY_HAND, ours, other, aim=1.0)
        ours, other = in_turn(
            "tailor, new users",
            sizes.cold,
            lambda i: personalizer.tailor(f"user-{numbers[2 * i]}", MESSAGES),
            lambda i: by_hand(connection, numbers[2 * i + 1] + 1),
        )
        found += p50_p99("tailor, each user for the first time", BY_HAND, ours, other, aim=3.0)
    return found


def measure_from_disk(file: Path, sizes: Sizes, rng: random.Random) -> list[Figure]:
    """Time tailoring for new people when the system has nothing of the file in memory."""
    count = min(1000, sizes.cold)
    numbers = rng.sample(range(1, sizes.users), 2 * count)
    evict(file)
    with bare(file) as connection, Personalizer(f"sqlite:///{file}", learning="manual") as personalizer:
        personalizer.tailor("user-0", MESSAGES)  # connect
        by_hand(connection, 1)
        ours, other = in_turn(
            "tailor, new users, from disk",
            count,
            lambda i: personalizer.tailor(f"user-{numbers[2 * i]}", MESSAGES),
            lambda i: by_hand(connection, numbers[2 * i + 1] + 1),
        )
    return p50_p99("tailor, first time, file not in memory", BY_HAND, ours, other)


_FIRST = """
import time
start = time.perf_counter()
{imports}
ready = time.perf_counter()
{call}
print((time.perf_counter() - ready) * 1e3)
"""


def measure_first_call(file: Path, processes: int) -> Figure:
    """Time the first tailored call of a fresh process, construction apart."""
    ours = _FIRST.format(
        imports=f"from persona_sdk import Personalizer; p = Personalizer('sqlite:///{file}', learning='manual')",
        call=f"p.tailor('user-7', {MESSAGES!r})",
    )
    other = _FIRST.format(
        imports="import json, sqlite3",
        call=f"json.loads(sqlite3.connect({str(file)!r}).execute({SELECT!r}, (8,)).fetchone()[0])",
    )

    def once(script: str) -> float:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return float(done.stdout)

    runs = [(once(ours), once(other)) for _ in ticking("fresh processes", range(processes))]
    return Figure(
        "tailor, first call of a process, median", median(r[0] for r in runs), "ms",
        "connect, SELECT, json.loads", median(r[1] for r in runs),
    )  # fmt: skip


def measure_prefer(file: Path, sizes: Sizes, rng: random.Random, folder: Path) -> list[Figure]:
    """Time `prefer` beside one row of the same bytes, and beside one page made durable."""
    texts = [offer("hotel", rng)[0] for _ in range(2 * sizes.prefer + 600)]
    payload = Preference(user_id="user-1", prompt=QUESTION, chosen=texts[0], rejected=texts[1]).model_dump_json()
    page = os.open(folder / "page", os.O_CREAT | os.O_RDWR)
    os.pwrite(page, b"x" * 4096, 0)
    os.fsync(page)

    def prefer(personalizer: Personalizer, i: int) -> None:
        user = f"user-{rng.randrange(sizes.users)}"
        personalizer.prefer(user, prompt=QUESTION, chosen=texts[i], rejected=texts[i + 1])

    def insert(i: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO signals (payload) VALUES (?)", (f"{i:06}{payload[6:]}",))
        connection.execute("COMMIT")

    def sync(i: int) -> None:
        os.pwrite(page, i.to_bytes(4, "big"), 0)
        os.fsync(page)

    found: list[Figure] = []
    url = f"sqlite:///{file}"
    with bare(folder / "bare.db") as connection:
        connection.execute("CREATE TABLE signals (seq INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT)")
        insert(0)
        with Personalizer(url, learning="manual") as p:
            prefer(p, 0)
            ours, row, durable = in_turn("prefer", sizes.prefer, lambda i: prefer(p, i), insert, sync)
        found += p50_p99("prefer, learning by hand", "INSERT and COMMIT", ours, row)
        found += p50_p99("prefer, learning by hand", "fsync of a page", ours, durable)
        for learning, count, pause in (
            ("manual", sizes.paced, 0.025),
            ("background", sizes.paced, 0.025),
            ("background", sizes.prefer // 4, 0.0),
        ):
            what = f"prefer, learning {'by hand' if learning == 'manual' else 'in the background'}"
            what += ", 20 a second" if pause else ""
            with Personalizer(url, learning=learning) as p:
                prefer(p, 0)
                p.flush(30)
                ours, row = in_turn(what, count, lambda i, p=p: prefer(p, i), insert, pause=pause)
            found += p50_p99(what, "INSERT and COMMIT", ours, row)
    os.close(page)
    return found


def main() -> None:
    """Build a database, or take one built before, and measure."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--folder", type=Path, help="where to put the files: the disk that is measured")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="build the database here once, and use it again")
    args = parser.parse_args()
    sizes = QUICK if args.quick else FULL
    rng = random.Random(11)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        file = (args.keep or folder / "bench.db").absolute()
        if not file.exists():
            build(file, sizes.users)
        size = file.stat().st_size
        load(file)
        figures = measure_tailor(file, sizes, rng)
        figures.append(measure_first_call(file, sizes.processes))
        figures += measure_prefer(file, sizes, rng, folder)
        figures += measure_from_disk(file, sizes, rng)
    remarks = [
        f"{sizes.users:,} users, each {EACH} signals and a persona of {TRAITS} traits; a file of {size / 1e6:,.0f} MB",
        "by hand: no gate, no check of the text, no time limit, and the person's number is already known",
    ]
    report("The chat path", figures, remarks, args.json)


if __name__ == "__main__":
    main()
