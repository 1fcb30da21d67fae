"""Says which collections in a folder of Chroma are damaged.

Loading a damaged one can end the process without an exception (Chroma 1.5.9 follows links in the graph's files without
looking where they lead), so that is done by another process: this file is also the program it runs. A process that is
killed while Chroma writes its graph to disk leaves such a folder behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["damaged"]

#: Vectors looked at in each of three places of a collection.
_LOOKED_AT = 50


def damaged(folder: Path, prefix: str, patience: float = 300.0) -> list[str] | None:
    """Return Chroma's names of the collections that cannot be loaded, None when that cannot be found out.

    `patience` is how many seconds loading everything may take.
    """
    bad: list[str] = []
    while True:
        command = [sys.executable, __file__, str(folder), prefix, *bad]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=patience, check=False)  # noqa: S603
            said = done.stdout
        except subprocess.TimeoutExpired as late:
            said = late.stdout or b""
        except OSError:
            return None
        lines = said.decode("ascii", "replace").split("\n")[:-1]
        if not lines or lines[0] != "ready":  # no Python is there to be run, or Chroma cannot be imported
            return None
        bad += [line.removeprefix("damaged ") for line in lines if line.startswith("damaged ")]
        if not lines[-1].startswith("loading "):
            return bad
        bad.append(lines[-1].removeprefix("loading "))


def _main(folder: str, prefix: str, *skipped: str) -> None:
    import chromadb  # noqa: PLC0415 - heavy
    from chromadb.config import Settings  # noqa: PLC0415 - heavy
    from chromadb.errors import ChromaError  # noqa: PLC0415 - heavy

    def say(what: str) -> None:
        sys.stdout.write(what + "\n")
        sys.stdout.flush()

    say("ready")
    try:
        client = chromadb.PersistentClient(folder, settings=Settings(_env_file=None, anonymized_telemetry=False))
        names = [c.name for c in client.list_collections() if c.name.startswith(prefix) and c.name not in skipped]
    except ChromaError:
        return  # whoever opens it gets the same exception
    for name in names:
        say(f"loading {name}")
        try:
            found = client.get_collection(name, embedding_function=None)
            count = found.count()
            for offset in {0, count // 2, max(0, count - _LOOKED_AT)}:
                _use(found, offset)
            say(f"sound {name}")
        except ChromaError:
            say(f"damaged {name}")


def _use(collection: Any, offset: int) -> None:
    """Do all that is done with a graph, and change nothing: read vectors, search for one, put it in again."""
    some = collection.get(limit=_LOOKED_AT, offset=offset, include=["embeddings", "metadatas"])
    if some["ids"]:
        collection.query(query_embeddings=some["embeddings"][:1], n_results=_LOOKED_AT, include=["distances"])
        collection.upsert(some["ids"][:1], embeddings=some["embeddings"][:1], metadatas=some["metadatas"][:1])


if __name__ == "__main__":
    _main(*sys.argv[1:])
