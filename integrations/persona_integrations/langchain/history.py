"""`PersonaChatMessageHistory`: any chat history of LangChain's, and a personalizer that hears what the person says."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import BaseMessage

from persona_integrations.langchain.hearing import ahear, hear, said
from persona_sdk.engine import Personalizer

__all__ = ["PersonaChatMessageHistory"]


class _InMemory(InMemoryChatMessageHistory):
    """LangChain's own, without its advice to use something else: whoever asks for a chat history wants one."""


class PersonaChatMessageHistory(BaseChatMessageHistory):
    """Keeps messages in `history` (by default in this process only), and records what the person says in them.

    Messages are stored and returned by `history` as they are, and what it raises comes out. What was stored is then
    recorded as said by `user_id`, nothing if that is None. A message with an id is recorded once, however often it is
    added to the session (`session_id`); one without an id each time. Nothing that goes wrong in recording stops a chat;
    it is logged. Clearing the history does not forget the person: `Personalizer.forget` does.
    """

    def __init__(
        self,
        personalizer: Personalizer,
        user_id: str | None,
        history: BaseChatMessageHistory | None = None,
        *,
        session_id: str | None = None,
    ) -> None:
        super().__init__()
        self._personalizer, self._user_id, self._session_id = personalizer, user_id, session_id
        self._history = _InMemory() if history is None else history

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # LangChain's is an attribute
        """The messages, as the history returns them."""
        return self._history.messages

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages, as the history returns them."""
        return await self._history.aget_messages()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages, and record what the person says in them."""
        self._history.add_messages(messages)
        if self._user_id is not None and (new := said(messages)):
            hear(self._personalizer, self._user_id, new, self._session_id)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages, and record what the person says in them."""
        await self._history.aadd_messages(messages)
        if self._user_id is not None and (new := said(messages)):
            await ahear(self._personalizer, self._user_id, new, self._session_id)

    def clear(self) -> None:
        """Remove the messages from the history."""
        self._history.clear()

    async def aclear(self) -> None:
        """Remove the messages from the history."""
        await self._history.aclear()
