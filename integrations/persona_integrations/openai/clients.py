"""The official clients of OpenAI, whose chats are tailored: `PersonalOpenAI` and `PersonalAsyncOpenAI`."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import httpx2
from openai import AsyncOpenAI, OpenAI

from persona_integrations.openai.desk import Desk
from persona_integrations.openai.http import PersonalHttp, PersonalHttpAsync
from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError
from persona_sdk.explanation import Explanation
from persona_sdk.signals import Edit, Preference, Rating

__all__ = ["PersonalAsyncOpenAI", "PersonalOpenAI", "personal"]

Client = TypeVar("Client", bound=OpenAI | AsyncOpenAI)


class PersonalOpenAI(OpenAI):
    """OpenAI's client, whose chats are tailored to the person of each call; `personalize` makes one of any other.

    `feedback` and `explain` take a response, one of its chunks or events, a raw response, or the response's id.
    """

    def for_user(self, user_id: str) -> Self:
        """Return this client for one person, whom the header `X-Persona-User` of a call still overrides."""
        return self.copy(http_client=self._http.for_user(user_id))

    def feedback(
        self,
        response: object,
        *,
        thumb: float | bool | None = None,
        edited: str | None = None,
        over: object = None,
        rejected: str | None = None,
    ) -> Rating | Edit | Preference:
        """Record what somebody did with an answer; see `Personalizer.feedback`. `over` is another response, or its id.

        Raises:
            NotFoundError: no answer is known by the response's id (any more).
            InputError: a response has no id; or none, or several, of the four are given.
        """
        other = None if over is None else _id_of(_parsed(over))
        known = _id_of(_parsed(response))
        return self._desk.personalizer.feedback(known, thumb=thumb, edited=edited, over=other, rejected=rejected)

    def explain(self, response: object) -> Explanation:
        """Explain why an answer was tailored as it was.

        Raises:
            NotFoundError: no answer is known by the response's id (any more).
            InputError: the response has no id.
        """
        return _explained(self._desk.personalizer, _id_of(_parsed(response)))

    @property
    def _http(self) -> PersonalHttp:
        return cast("PersonalHttp", self._client)

    @property
    def _desk(self) -> Desk:
        return self._http.desk

    if not TYPE_CHECKING:  # for types, they are the client's own

        def copy(self, **options: Any) -> Self:
            """Copy the client with other options, as the client itself does; the copy is tailored, too."""
            return _checked(super().copy(**_still_personal(self._http, options)))

        with_options = copy


class PersonalAsyncOpenAI(AsyncOpenAI):
    """OpenAI's asynchronous client, whose chats are tailored to the person of each call; see `PersonalOpenAI`."""

    def for_user(self, user_id: str) -> Self:
        """Return this client for one person, whom the header `X-Persona-User` of a call still overrides."""
        return self.copy(http_client=self._http.for_user(user_id))

    async def feedback(
        self,
        response: object,
        *,
        thumb: float | bool | None = None,
        edited: str | None = None,
        over: object = None,
        rejected: str | None = None,
    ) -> Rating | Edit | Preference:
        """Record what somebody did with an answer; see `PersonalOpenAI.feedback`."""
        other = None if over is None else _id_of(await _aparsed(over))
        known = _id_of(await _aparsed(response))
        feedback = self._desk.personalizer.afeedback
        return await feedback(known, thumb=thumb, edited=edited, over=other, rejected=rejected)

    async def explain(self, response: object) -> Explanation:
        """Explain why an answer was tailored as it was; see `PersonalOpenAI.explain`."""
        known = _id_of(await _aparsed(response))
        return await asyncio.to_thread(_explained, self._desk.personalizer, known)

    @property
    def _http(self) -> PersonalHttpAsync:
        return cast("PersonalHttpAsync", self._client)

    @property
    def _desk(self) -> Desk:
        return self._http.desk

    if not TYPE_CHECKING:  # for types, they are the client's own

        def copy(self, **options: Any) -> Self:
            """Copy the client with other options, as the client itself does; the copy is tailored, too."""
            return _checked(super().copy(**_still_personal(self._http, options)))

        with_options = copy


def personal(
    client: OpenAI | AsyncOpenAI, personalizer: Personalizer, *, user_id: str | None, learn: bool
) -> PersonalOpenAI | PersonalAsyncOpenAI:
    """Return a copy of a client whose chats are tailored; see `personalize`."""
    if not isinstance(client, OpenAI | AsyncOpenAI):
        raise InputError(f"personalize takes an OpenAI or AsyncOpenAI client, not {type(client).__name__}")
    # The one attribute that there is no public way to: the HTTP client is given to a client, but not given back.
    given: object = client._client
    inner = given.inner if isinstance(given, PersonalHttp | PersonalHttpAsync) else given
    desk = Desk(personalizer, user_id, learn)
    if isinstance(inner, httpx2.Client) and isinstance(client, OpenAI):
        return _checked(_as(client.copy(http_client=PersonalHttp(inner, desk)), PersonalOpenAI))
    if isinstance(inner, httpx2.AsyncClient) and isinstance(client, AsyncOpenAI):
        return _checked(_as(client.copy(http_client=PersonalHttpAsync(inner, desk)), PersonalAsyncOpenAI))
    raise InputError(
        "personalize needs a client that sends with httpx2, not with the older httpx: give it "
        "http_client=httpx2.Client(…), or none"
    )


def _as(copied: OpenAI | AsyncOpenAI, kind: type[Client]) -> Client:
    """Make a copy of a client, which is ours to change, one of the personal kind: its own methods stay as they are.

    So does the name of its class, which is sent to servers.
    """
    own: Any = type(copied)
    if not issubclass(own, kind):
        bases = (kind,) if issubclass(kind, own) else (kind, own)
        made: Any = type(own.__name__, bases, {"__module__": __name__, "__doc__": kind.__doc__})
        copied.__class__ = made
    return cast("Client", copied)


def _still_personal(http: PersonalHttp | PersonalHttpAsync, options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a copy such that another HTTP client given in them is tailored, too."""
    given = options.get("http_client")
    if given is None or isinstance(given, PersonalHttp | PersonalHttpAsync):
        return options
    return {**options, "http_client": http.over(given)}


def _checked(client: Client) -> Client:
    if client.workload_identity is not None and client.workload_identity.get("type") == "x509":
        raise InputError("a client with an X.509 identity sends past its HTTP client, and cannot be personalised")
    return client


def _parsed(response: Any) -> Any:
    """Return what a raw response holds; anything else as it is."""
    parse = getattr(response, "parse", None)
    return parse() if callable(parse) else response


async def _aparsed(response: Any) -> Any:
    parsed = _parsed(response)
    return await parsed if inspect.isawaitable(parsed) else parsed


def _id_of(response: object) -> str:
    """Return the id of a response. Events of streams are about a `response`, or a `chunk` of one."""
    owners = [getattr(response, "response", None), getattr(response, "chunk", None), response]
    ids = [response, *(getattr(owner, "id", None) for owner in owners)]
    found = next((i for i in ids if isinstance(i, str) and i), None)
    if found is None:
        text = "this has no id of an answer: give the response, one of its chunks, or its id"
        raise InputError(text, field="response")
    return found


def _explained(personalizer: Personalizer, response_id: str) -> Explanation:
    personalizer.call(response_id)  # or it might be taken for the name of a person
    return personalizer.explain(response_id)
