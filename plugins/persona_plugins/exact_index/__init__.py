"""The `exact_index` plugin: an index that compares with every vector, in memory or kept in a folder."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.index import VectorIndex


def _exact(where: str) -> VectorIndex:
    from persona_plugins.exact_index.index import ExactIndex  # noqa: PLC0415 - imports numpy

    return ExactIndex(where)


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the indexes "exact", in memory, and "exact:FOLDER"."""
    registry.add_index("exact", _exact)
