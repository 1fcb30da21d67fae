"""`PersonaRetriever`: what is known of a person and relevant to a query, as documents."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import Field

from persona_sdk.engine import Personalizer
from persona_sdk.models import Tailored, Trait

__all__ = ["PersonaRetriever"]


class PersonaRetriever(BaseRetriever):
    """Finds what is known of a person and has something to say about a query; nothing more.

    The person is `configurable.user_id` of the call's config (given or inherited), else `user_id=` of the call, else
    the one given here; about nobody there are no documents. There is one document per relevant trait, the surest first:
    its text is the trait's statement, its metadata has `key`, `weight` (log-odds), `interval` (80 %), `status` and
    `quotes`, the person's own words behind it. They are about a person, and partly by them: data for a model, never
    instructions. What cannot be read in time is not waited for, and there are no documents then.

    Raises, when asked:
        InputError: the user id is unusable.
        PluginError: a tailor that is `required` failed.
    """

    personalizer: Personalizer = Field(exclude=True, repr=False)
    user_id: str | None = None

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002 - LangChain's name
        """Return what is relevant to a query, as documents."""
        return super().invoke(input, config, **self._named(config, kwargs))

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002 - LangChain's name
        """Return what is relevant to a query, as documents."""
        return await super().ainvoke(input, config, **self._named(config, kwargs))

    def _named(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with who is asked about: what retrieves does not get to see the config."""
        configured = (ensure_config(config).get("configurable") or {}).get("user_id")
        named = (configured, kwargs.get("user_id"), self.user_id)
        return {**kwargs, "user_id": next((u for u in named if u is not None), None)}

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, user_id: str | None = None
    ) -> list[Document]:
        return [] if user_id is None else _documents(self.personalizer.tailor(user_id, query))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, user_id: str | None = None
    ) -> list[Document]:
        return [] if user_id is None else _documents(await self.personalizer.atailor(user_id, query))


def _documents(tailored: Tailored) -> list[Document]:
    return [_document(trait) for trait in tailored.gate.traits]


def _document(trait: Trait) -> Document:
    metadata = {
        "key": trait.key,
        "weight": trait.weight,
        "interval": list(trait.interval),
        "status": trait.status,
        "quotes": [e.quote for e in trait.evidence if e.quote],
    }
    return Document(id=trait.id, page_content=trait.statement, metadata=metadata)
