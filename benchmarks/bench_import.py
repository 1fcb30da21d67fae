"""How long importing and constructing takes in a fresh process, and what it drags in."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from harness import Figure, arguments, median, report, ticking

HEAVY = ("torch", "transformers", "chromadb", "langchain", "langchain_core", "sqlalchemy", "numpy")
AIM = 0.150

_CHILD = """
import json, sys, time
start = time.perf_counter()
{code}
took = time.perf_counter() - start
print(json.dumps([took, [name for name in {heavy!r} if name in sys.modules]]))
"""
CASES = {
    "import persona_sdk": "import persona_sdk",
    "from persona_sdk import Personalizer": "from persona_sdk import Personalizer",
    "… and Personalizer()": "from persona_sdk import Personalizer; Personalizer()",
    "… and a first persona()": "from persona_sdk import Personalizer; Personalizer().persona('ada')",
    "import pydantic": "import pydantic; pydantic.BaseModel",
    "import sqlalchemy": "import sqlalchemy",
    "import langchain_core.messages": "import langchain_core.messages; langchain_core.messages.AIMessage",
}
OURS, OTHERS = list(CASES)[:4], list(CASES)[4:]


def once(code: str, folder: str) -> tuple[float, list[str]]:
    """Run code in a fresh process; return how long it took there, and which heavy modules it loaded."""
    script = _CHILD.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=folder)
    took, loaded = json.loads(done.stdout)
    return took, loaded


def main() -> None:
    """Measure all cases in turn, so that a busy moment hits all alike."""
    parser = arguments(__doc__ or "")
    args = parser.parse_args()
    rounds = 3 if args.quick else 15
    took: dict[str, list[float]] = {case: [] for case in CASES}
    loaded: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in ticking("fresh processes", range(rounds + 1)):
            for case, code in CASES.items():
                seconds, loaded[case] = once(code, folder)
                if turn:  # the first one compiles bytecode
                    took[case].append(seconds)
    figures = [
        Figure(
            ours,
            median(took[ours]) * 1e3,
            "ms",
            other,
            median(took[other]) * 1e3,
            at_most=AIM * 1e3 if ours in OURS[:3] and other == OTHERS[0] else None,
        )
        for ours in OURS
        for other in OTHERS
    ]
    remarks = [f"medians of {rounds} fresh processes, interpreter start not counted"]
    remarks += [f"loaded by {case!r}: {', '.join(loaded[case]) or 'none'} (of {', '.join(HEAVY)})" for case in OURS]
    report("Import and construction", figures, remarks, args.json)
    if loaded[OURS[0]]:
        sys.exit("import persona_sdk must load none of these")


if __name__ == "__main__":
    main()
