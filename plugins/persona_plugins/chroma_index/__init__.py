"""The `chroma_index` plugin: an index kept by ChromaDB, in a folder of this process or on a server."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.index import VectorIndex


def _chroma(where: str) -> VectorIndex:
    from persona_plugins.chroma_index.index import ChromaIndex  # noqa: PLC0415 - imports numpy

    return ChromaIndex(where)


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the indexes "chroma", "chroma:FOLDER" and "chroma:http://host:port"."""
    registry.add_index("chroma", _chroma)
