"""When not to personalise.

Most questions are best answered the way anyone would be answered; on PrefDisco (arXiv 2510.00177) 29 % of attempts to
personalise scored below a generic answer. So each trait has to show that it has something to say about this call:
style applies to any prose answer unless the question itself says how it wants to be answered, everything else only
where the conversation is about the same thing. No model is asked; every decision comes with its reason.
"""

from __future__ import annotations

import re

from persona_sdk.models import ChatCall, GateDecision, Persona, Trait
from persona_sdk.text import content_words
from persona_sdk.topics import topics_in

__all__ = ["gate"]

#: How far back in a conversation a topic counts. A topic once raised stays relevant, and the prompt stays the same.
_TURNS = 20
#: How much of a message's beginning, and of its end, is read, in characters. What is pasted in between may be a book.
_READ = 2000

#: The question asks for a rendering of given text or data; its form is not ours to choose.
_RENDERING = re.compile(
    r"^\W*(?:please |can you |could you )*(?:translate|transcribe|proofread|spell-?check|convert|reformat|transliterate"
    r"|fix (?:the |my )?(?:grammar|spelling|typos?))\b|\b(?:only|valid|as|in|to) (?:json|csv|xml|yaml|sql)\b",
    re.IGNORECASE,
)

#: By style dimension, how people say in the question itself what they want of it this time.
_ASKED = {
    "length": r"brief(?:ly)?|short(?:er|ly)?|concise(?:ly)?|one (?:word|line|sentence|paragraph)|tl;?dr|in detail|"
    r"detailed|(?<!how )long(?:er)?|at length|thorough(?:ly)?|comprehensive|in[- ]depth|essay|"
    r"\d+[- ](?:words?|sentences?|paragraphs?|pages?)|elaborate|step[- ]by[- ]step|summar(?:y|ise|ize)",
    "lists": r"bullets?|bullet points?|list(?: of)?|numbered|table|prose|paragraphs?",
    "code": r"code|snippet|script|function|pseudo-?code|without code",
    "headings": r"headings?|headlines?|sections?|outline",
    "questions": r"ask me|quiz|interview me|any questions",
    "formality": r"formal(?:ly)?|informal(?:ly)?|casual(?:ly)?|professional(?:ly)?|slang",
    "warmth": r"friendly|warm(?:ly|er)?|cold(?:ly)?|blunt(?:ly)?|polite(?:ly)?|kind(?:ly)? worded|empathetic",
    "hedging": r"how (?:sure|certain)|best guess|just guess|yes or no",
    "directness": r"blunt(?:ly)?|straight|gently|diplomatic(?:ally)?|yes or no",
    "reading_level": r"simpl[ey]|simple terms|like i'?m (?:five|5)|eli5|plain english|technical(?:ly)?|"
    r"for (?:a )?(?:child(?:ren)?|kids?|beginners?|experts?|laym[ae]n)|academic",
    "examples": r"examples?",
    "emoji": r"emojis?",
    "numbers": r"figures|numbers|statistics|how many|how much",
}
_ASKED_FOR = {dimension: re.compile(rf"(?<!\w)(?:{cues})(?!\w)", re.IGNORECASE) for dimension, cues in _ASKED.items()}


def gate(persona: Persona, call: ChatCall) -> GateDecision:
    """Decide which traits of a persona, if any, have something to say about a call."""
    if not persona:
        return GateDecision(open=False, reason=persona.note or "no persona yet")
    question = _ends(call.question)
    if not question.strip():
        return GateDecision(open=False, reason="the call has no user message with text")
    asked = "\n".join([_ends(m.text) for m in call.messages if m.role == "user"][-_TURNS:])
    topic = _Topic(asked)
    rendering = bool(_RENDERING.search(question))
    traits: list[Trait] = []
    silent: dict[str, str] = {}
    for trait in persona.traits:
        why = _why_silent(trait, question, topic, rendering=rendering)
        if why:
            silent[trait.key] = why
        else:
            traits.append(trait)
    if not traits:
        return GateDecision(open=False, reason="the persona has nothing to say about this", silent=silent)
    reason = f"{len(traits)} of {len(persona.traits)} traits apply"
    return GateDecision(open=True, reason=reason, traits=tuple(traits), silent=silent)


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _READ else f"{text[:_READ]}\n{text[-_READ:]}"


class _Topic:
    """What a conversation is about: its content words and its topics."""

    def __init__(self, text: str) -> None:
        self.words = content_words(text)
        self.topics = topics_in(text)

    def meets(self, text: str) -> bool:
        """Whether a text is about the same thing: a shared content word, or a shared topic."""
        return bool(self.words & content_words(text)) or bool(self.topics & topics_in(text))


def _why_silent(trait: Trait, question: str, topic: _Topic, *, rendering: bool) -> str:
    """Return why a trait has nothing to say, or "" when it has."""
    if trait.status not in ("verified", "pinned"):
        return f"it is {trait.status}"
    if trait.scope and not topic.meets(" ".join(trait.scope)):
        return f"it holds for {', '.join(trait.scope[:3])}, and this is about something else"
    dimension = trait.key.removeprefix("style:") if trait.key.startswith("style:") else ""
    if dimension or trait.kind == "style":
        if rendering:
            return "the question asks for a rendering of given text"
        pattern = _ASKED_FOR.get(dimension)
        if pattern and pattern.search(question):
            return "the question itself says what it wants here"
        return ""
    if not trait.scope and not topic.meets(trait.statement):
        return "the question is about something else"
    return ""
