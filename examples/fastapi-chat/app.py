"""A chat on the web that answers each person in their way, and learns it from what they do.

    python app.py

The two lines marked "persona" are what that costs, and one more for each button that people may press. It runs on this
machine, with the small model of persona-sdk[local]. With OPENAI_API_KEY it asks OPENAI_MODEL instead, at
OPENAI_BASE_URL if that is set. What it learns is kept where PERSONA_DATABASE_URL says, or in persona.db. PORT is 8000.
"""

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Body, Cookie, Depends, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from persona_sdk import InputError, NotFoundError, Personalizer, Settings, StorageError
from persona_sdk.chat import CALL_ID
from persona_sdk.hooks import PluginHost

STATIC = Path(__file__).with_name("static")
Text = Annotated[str, Field(min_length=1, max_length=20_000)]
Name = Annotated[str, Field(pattern=r"^\S(.{0,98}\S)?$")]
sessions: dict[str, str] = {}


class Turn(BaseModel):
    role: Literal["user", "assistant"]  # what the system says is not for the page to say
    content: Text


class Conversation(BaseModel):
    messages: list[Turn] = Field(min_length=1, max_length=200)


def who(session: Annotated[str | None, Cookie()] = None) -> str:
    """Say whose request this is. Here, people are who they say they are: put your own login in its place."""
    if session not in sessions:
        raise HTTPException(401, "say who you are first")
    return sessions[session]


User = Annotated[str, Depends(who)]


def add_chat(app: FastAPI, personalizer: Personalizer, model: Any) -> None:
    chat = personalizer.wrap(model)  # persona, line 1: the same model, told how this person likes its answers

    @app.post("/answers")
    async def answer(asked: Conversation, user: User) -> StreamingResponse:
        messages = [turn.model_dump() for turn in asked.messages]

        async def events() -> AsyncIterator[str]:
            with suppress(StorageError):  # without memory, the chat goes on
                await personalizer.anotice(user, messages)  # persona, line 2: what they say, and that they ask again
            async for chunk in chat.astream(messages, user_id=user):
                yield f"data: {json.dumps({'text': chunk.text, 'call_id': chunk.response_metadata.get(CALL_ID)})}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")


def add_buttons(app: FastAPI, personalizer: Personalizer) -> None:
    @app.post("/answers/{call_id}/thumb", status_code=204)
    def thumb(call_id: str, good: Annotated[bool, Body(embed=True)], user: User) -> None:
        personalizer.rate(user, good, response_id=call_id)

    @app.post("/answers/{call_id}/edit", status_code=204)
    def edit(call_id: str, text: Annotated[Text, Body(embed=True)], user: User) -> None:
        personalizer.edited(user, text, response_id=call_id)

    @app.get("/answers/{call_id}/why")
    def why(call_id: str, user: User) -> dict[str, str]:
        if personalizer.call(call_id).user_id != user:
            raise NotFoundError("that answer was given to somebody else")
        return {"why": str(personalizer.explain(call_id))}

    @app.get("/me")
    def me(user: User) -> dict[str, Any]:
        persona = personalizer.persona(user)  # learns first from what is new
        traits = [{"id": trait.id, "statement": trait.statement} for trait in persona.traits]
        return {"name": user, "note": persona.note, "traits": traits}

    @app.delete("/me/traits", status_code=204)
    def not_so(trait: str, user: User) -> None:
        personalizer.reject(user, trait)

    @app.delete("/me", status_code=204)
    def forget(user: User) -> None:
        personalizer.forget(user)


def create_app(personalizer: Personalizer, model: Any) -> FastAPI:
    app = FastAPI(title="A chat that gets to know you")
    add_chat(app, personalizer, model)
    add_buttons(app, personalizer)

    @app.post("/login", status_code=204)
    def login(name: Annotated[Name, Body(embed=True)], response: Response) -> None:
        token = secrets.token_urlsafe(32)
        sessions[token] = name
        # Scripts cannot read it, and other sites cannot use it. Behind TLS, add secure=True.
        response.set_cookie("session", token, httponly=True, samesite="strict")

    @app.exception_handler(InputError)
    @app.exception_handler(NotFoundError)
    async def refused(_request: Any, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404 if isinstance(error, NotFoundError) else 422)

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def make_model() -> Any:
    """The model that the environment names, or the small one on this machine."""
    if os.environ.get("OPENAI_API_KEY"):
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install

        return ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"))
    return PluginHost(Settings.load()).registry.chat_model("local").bind(max_tokens=200)


if __name__ == "__main__":
    # Answers are kept in memory, so that what is asked again is noticed, and buttons still work after a restart.
    with Personalizer(calls="memory") as personalizer:
        app, port = create_app(personalizer, make_model()), int(os.environ.get("PORT", "8000"))
        uvicorn.run(app, port=port, access_log=False)  # its paths name what is known of people
