"""What the benchmarks share: figures beside their alternatives, a table, a JSON file, progress on stderr."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PACKAGES = ("persona-sdk", "numpy", "pydantic", "sqlalchemy", "langchain-core")


@dataclass(frozen=True)
class Figure:
    """One measured value beside an alternative measured in the same run."""

    what: str
    value: float
    unit: str
    beside: str
    other: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ratio(self) -> float:
        return self.value / self.other if self.other else float("nan")

    @property
    def met(self) -> bool | None:
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    @property
    def aim(self) -> str:
        if self.met is None:
            return ""
        sign, bound = ("≤", self.at_most) if self.at_most is not None else ("≥", self.at_least)
        return f"{sign} {bound:,g}: {'met' if self.met else 'MISSED'}"


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small version, for a first look")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    return parser


def machine() -> str:
    """Describe the machine without naming it."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {os.getloadavg()[0]:.1f} at the end"


def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, **found}


def number(value: float) -> str:
    """Write a figure with three significant digits or more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(title: str, figures: Sequence[Figure], remarks: Sequence[str], file: Path | None) -> None:
    """Print the table and write the JSON file, if one is wanted."""
    rows = [("", "figure", "", "beside it", "", "ratio", "aim")]
    rows += [(f.what, number(f.value), f.unit, f.beside, number(f.other), f"{f.ratio:.3g}", f.aim) for f in figures]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {1, 4, 5}
    print(f"\n{title}\n")
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    known = versions()
    print("\n" + "\n".join([*remarks, machine(), ", ".join(f"{name} {version}" for name, version in known.items())]))
    if file:
        figures_out = [{**asdict(f), "ratio": f.ratio, "met": f.met} for f in figures]
        content = {
            "title": title,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": known,
            "figures": figures_out,
            "remarks": list(remarks),
        }
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """Write a progress line."""
    print(f"  … {text}", file=sys.stderr, flush=True)


def ticking(what: str, items: Sequence[T], every: float = 2.0) -> Iterator[T]:
    """Iterate with a progress line every few seconds."""
    start = last = time.monotonic()
    for i, item in enumerate(items):
        now = time.monotonic()
        if now - last > every:
            last = now
            left = (now - start) / i * (len(items) - i) if i else 0.0
            say(f"{what}: {i:,} of {len(items):,}, {now - start:.0f} s, about {left:.0f} s left")
        yield item
    if time.monotonic() - start > 1:
        say(f"{what}: {len(items):,} in {time.monotonic() - start:.1f} s")


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of the values are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)
