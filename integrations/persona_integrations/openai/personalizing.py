"""`personalize`: a copy of an OpenAI client that answers each person in their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from persona_sdk.errors import MissingExtraError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

    from persona_integrations.openai.clients import PersonalAsyncOpenAI, PersonalOpenAI
    from persona_sdk.engine import Personalizer

__all__ = ["personalize"]


@overload
def personalize(
    client: OpenAI, personalizer: Personalizer, *, user_id: str | None = None, learn: bool = False
) -> PersonalOpenAI: ...


@overload
def personalize(
    client: AsyncOpenAI, personalizer: Personalizer, *, user_id: str | None = None, learn: bool = False
) -> PersonalAsyncOpenAI: ...


def personalize(
    client: OpenAI | AsyncOpenAI, personalizer: Personalizer, *, user_id: str | None = None, learn: bool = False
) -> PersonalOpenAI | PersonalAsyncOpenAI:
    """Return a copy of a client whose chat completions and responses are tailored to the person of each call.

    It is of the client's own class (`AzureOpenAI`, say) and does all the client does; copies of it are tailored, too.
    The person is the one the header `X-Persona-User` names (it is taken out before the call is sent), else the one
    bound here or by `for_user`, else the call's `safety_identifier`, else its `user`. A call that names nobody, and all
    that is no chat, goes out byte for byte as without us. With `learn`, what people say and that they ask again is
    recorded, too. The client given is not changed. Both share connections: closing one closes the other.

    Raises:
        MissingExtraError: the `openai` package is not installed, or is older than 3.
        InputError: it is no client of the `openai` package, or one whose requests cannot be tailored on their way.
    """
    try:
        from persona_integrations.openai.clients import personal  # noqa: PLC0415 - an optional install, slow
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("openai", "httpx2"):
            raise
        raise MissingExtraError("OpenAI's client needs the extra `openai`: pip install 'persona-sdk[openai]'") from None
    return personal(client, personalizer, user_id=user_id, learn=learn)
