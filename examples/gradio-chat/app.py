"""A Gradio chat that answers each person in their way, and learns it from what they do.

    python app.py

The two lines marked "persona" are what that costs, and one more each for thumbs and edits. It runs on this machine,
with the small model of persona-sdk[local]. With OPENAI_API_KEY it asks OPENAI_MODEL instead, at OPENAI_BASE_URL if
that is set. What it learns is kept where PERSONA_DATABASE_URL says, or in persona.db.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import gradio as gr

from persona_sdk import Personalizer, Settings, StorageError
from persona_sdk.chat import CALL_ID
from persona_sdk.hooks import PluginHost

History = list[dict[str, Any]]


def who(name: str, request: gr.Request) -> str:
    """Whoever logged in (`launch(auth=…)`), else whoever they say they are."""
    return request.username or name.strip() or "me"


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


def message(role: str, text: str, call_id: str = "") -> dict[str, Any]:
    """A message as Gradio keeps it; its id is the call's, which thumbs and edits refer to."""
    return {"role": role, "content": [{"type": "text", "text": text}], "metadata": {"id": call_id} if call_id else None}


def call_of(message: dict[str, Any]) -> str:
    return str((message.get("metadata") or {}).get("id", ""))


class Chat:
    """What happens at the page. The page keeps the conversation; this keeps nothing but what is learnt."""

    def __init__(self, personalizer: Personalizer, model: Any) -> None:
        self.personalizer = personalizer
        self.model = personalizer.wrap(model)  # persona, line 1: the same model, told how this person likes its answers

    def answer(self, history: History, name: str, request: gr.Request) -> Iterator[History]:
        """Answer a conversation that ends with a question, part by part; leave any other alone."""
        if not history or history[-1]["role"] != "user":
            yield history
            return
        user, text, call_id = who(name, request), "", ""
        messages = [{"role": turn["role"], "content": text_of(turn)} for turn in history]
        with suppress(StorageError):  # without memory, the chat goes on
            self.personalizer.notice(user, messages)  # persona, line 2: what they say, and that they ask again
        for chunk in self.model.stream(messages, user_id=user):
            text += chunk.text
            call_id = chunk.response_metadata.get(CALL_ID, call_id)
            yield [*history, message("assistant", text, call_id)]

    def thumb(self, history: History, name: str, given: gr.LikeData, request: gr.Request) -> None:
        about = call_of(history[given.index])
        self.personalizer.rate(who(name, request), bool(given.liked), response_id=about)

    def edit(self, history: History, name: str, given: gr.EditData, request: gr.Request) -> History:
        """Learn from an answer they rewrote; a question they rewrote is asked again, without what came after it."""
        changed = history[given.index]
        if changed["role"] == "user":
            return [*history[: given.index], message("user", given.value)]
        about = call_of(changed)
        self.personalizer.edited(who(name, request), given.value, response_id=about)
        return [*history[: given.index], message("assistant", given.value, about), *history[given.index + 1 :]]

    def known(self, name: str, request: gr.Request) -> str:
        persona = self.personalizer.persona(who(name, request))  # learns first from what is new
        return "\n".join(f"• {trait.statement}" for trait in persona.traits) or persona.note

    def forget(self, name: str, request: gr.Request) -> History:
        self.personalizer.forget(who(name, request))
        return []


def say(history: History, text: str) -> tuple[History, str]:
    return ([*history, message("user", text)] if text.strip() else history), ""


def retry(history: History, given: gr.RetryData) -> History:
    return history[: given.index + 1]


def undo(history: History, given: gr.UndoData) -> tuple[History, str]:
    return history[: given.index], text_of(history[given.index])


def make_page(chat: Chat) -> gr.Blocks:
    with gr.Blocks(title="A chat that gets to know you", analytics_enabled=False, fill_height=True) as page:
        with gr.Row(scale=1):
            with gr.Column(scale=3):
                talk = gr.Chatbot(label="Chat", editable="all", buttons=["copy"], scale=1)
                line = gr.Textbox(placeholder="Ask something", show_label=False, submit_btn=True)
            with gr.Column():
                name = gr.Textbox("me", label="Who are you?", max_length=100)
                # Plain text: what people say is shown, not rendered.
                panel = gr.Textbox(label="What I know of you", lines=8, interactive=False)
                forget = gr.Button("Forget me")
        answer = {"fn": chat.answer, "inputs": [talk, name], "outputs": talk, "concurrency_limit": 8}
        known = {"fn": chat.known, "inputs": name, "outputs": panel}
        line.submit(say, [talk, line], [talk, line]).then(**answer).then(**known)
        # Asking again needs no line of its own: `notice` sees it in the conversation.
        talk.retry(retry, talk, talk).then(**answer).then(**known)
        talk.undo(undo, talk, [talk, line])
        talk.edit(chat.edit, [talk, name], talk).then(**answer).then(**known)
        talk.like(chat.thumb, [talk, name], None).then(**known)
        forget.click(chat.forget, name, talk).then(**known)
        name.submit(lambda: [], None, talk).then(**known)
        page.load(**known)
    return page


def make_model() -> Any:
    """The model that the environment names, or the small one on this machine."""
    if os.environ.get("OPENAI_API_KEY"):
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install

        return ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"))
    return PluginHost(Settings.load()).registry.chat_model("local").bind(max_tokens=200)


if __name__ == "__main__":
    # Answers are kept in memory, so that what is asked again is noticed, and thumbs still work after a restart.
    with Personalizer(calls="memory") as personalizer:
        page = make_page(Chat(personalizer, make_model()))
        # No history beside the one that `forget` erases, and nothing sent anywhere.
        page.launch(share=False, run_history=False, show_error=True, footer_links=[])
