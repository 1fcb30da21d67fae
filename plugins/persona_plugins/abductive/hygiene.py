"""What a proposed sentence must be before anybody tests or remembers it: short, general, about the user, their own.

A model's sentence is not evidence, and it was written with strangers' text in view. So what stands here is checked
whatever the model was told: no wording copied from what it read, nobody named, nothing protected, no orders.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from persona_sdk.text import as_data, content_words, words

__all__ = ["CATEGORIES", "Checked", "Reason", "check", "compared", "gist", "negated", "same"]

#: Why a sentence cannot be used.
Reason: TypeAlias = Literal[
    "", "empty", "form", "length", "language", "instruction", "identifier", "protected", "copied", "vague"
]
FEWEST_WORDS, MOST_WORDS = 3, 30
#: So many words in a row shared with a text are copied from it.
COPIED = 6
#: Share of their content words that two sentences have in common when they say the same.
ALIKE = 0.6
_LONGEST = 2_000


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# -- protected attributes: what the law of most places keeps from being guessed --------------------------------------

_ANYWHERE = {
    "religion": _words(
        "religion religions religious muslim muslims islam islamic christian christians christianity jewish jew jews",
        "judaism hindu hindus hinduism buddhist buddhism sikh catholic catholics protestant mormon evangelical",
        "atheist atheism agnostic church mosque synagogue temple bible biblical quran pray prayer prayers worship god",
        "jesus allah rabbi imam priest pastor faith spiritual spirituality baptist methodist lutheran anglican pagan",
        "kosher halal ramadan scripture scriptures devout pious churches churchgoer churchgoing mosques praying prays",
        "worships gospel gospels sermon sermons psalm psalms hymn hymns torah talmud koran sabbath shabbat",
        "congregation parish baptised baptized rosary christ",
    ),
    "ethnicity": _words("ethnicity ethnic racial biracial latino latina latinx hispanic caucasian aboriginal gypsy"),
    "origin": _words("immigrant immigrants refugee refugees nationality expatriate citizenship homeland migrant"),
    "health": _words(
        "diabetes diabetic cancer depression depressed anxiety bipolar schizophrenia schizophrenic ptsd ocd hiv",
        "asthma asthmatic arthritis epilepsy epileptic pregnant pregnancy infertility infertile miscarriage obese",
        "obesity ill illness illnesses disease diseases disorder disorders diagnosis diagnosed addiction addict",
        "alcoholic insomnia dementia alzheimer alzheimer's migraine migraines allergy allergies allergic coeliac",
        "celiac medication medications symptom symptoms sick sickness insulin antidepressant antidepressants",
        "antibiotics therapy therapies psychotherapy chemotherapy chemo dialysis inhaler painkillers statins prozac",
        "xanax ritalin adderall ssri ssris rehab overweight underweight bmi hypertension cholesterol menopause ivf",
        "prescription prescriptions vaccinated unvaccinated",
    ),
    "disability": _words(
        "disability disabilities disabled wheelchair autistic autism adhd dyslexia dyslexic neurodivergent asperger",
        "aspergers paraplegic quadriplegic amputee impairment impaired handicapped handicap wheelchairs crutches",
        "braille prosthesis prosthetic cochlear",
    ),
    "orientation": _words(
        "gay lesbian lesbians bisexual queer asexual homosexual homosexuality heterosexual pansexual lgbt lgbtq",
        "lgbtqia sexuality sexual",
    ),
    "gender": _words("transgender transsexual nonbinary cisgender gender"),
    "politics": _words(
        "republican republicans democrat democrats socialist socialism communist communism marxist libertarian",
        "libertarians tory tories conservatives liberals leftist leftists anarchist fascist fascism politically vote",
        "votes voted voter voters voting zionist trump biden activist feminist feminism abortion abortions",
        "immigration brexit maga centrist centrists capitalism capitalist prolife prochoice",
    ),
    "union": _words("union unions unionist unionised unionized"),
    "age": _words(
        "elderly teenager teenagers teenage teen teens adolescent millennial millennials boomer boomers pensioner",
        "octogenarian septuagenarian twenties thirties forties fifties sixties seventies eighties retired retiree",
        "retirees grandchild grandchildren grandkids grandson grandsons granddaughter granddaughters",
    ),
}
_PHRASES = {
    "disability": re.compile(
        r"\b(?:hard of hearing|hearing (?:loss|aids?)|screen[ -]?readers?|guide dogs?|sign language|low vision"
        r"|white cane|(?:mobility|walking) aids?)\b"
    ),
    "gender": re.compile(r"\bnon-binary\b"),
    "health": re.compile(
        r"\b(?:(?:mental|chronic|eating) (?:health|pain|fatigue|condition|disorder)s?|blood (?:pressure|sugar)"
        r"|los\w+ weight|weight loss|diet for (?:\w+ )?health|(?:for )?(?:health|medical) reasons"
        r"|(?:lactose|gluten) intoleran\w+|(?:sees?|visits?) (?:a |their )?(?:therapist|psych(?:iatr|olog)ist)s?)\b"
    ),
    "ethnicity": re.compile(r"\b(?:skin colou?r|of colou?r)\b"),
    "politics": re.compile(
        r"\b(?:political (?:views?|opinions?|beliefs?|party|affiliation|leanings?)|(?:pro|anti)[ -](?:life|choice|gun)"
        r"|(?:left|right|liberal|conservative)[ -](?:wing|leaning|of[ -]cent\w+)|gun (?:control|rights?|laws?|owner\w*)"
        r"|(?:conservative|progressive|liberal) (?:values|policies|politics|views|causes|party|candidates?)"
        r"|(?:higher|lower|more|raising|cutting) taxes|tax(?:es|ing)? (?:cuts|(?:(?:on|for) )?the (?:rich|wealthy))"
        r"|wealth tax|welfare (?:state|program\w*|benefits?|spending|cuts)|(?:on|supports|opposes) welfare|open borders"
        r"|death penalty|capital punishment|(?:gay|same-sex) marriage|border (?:control|wall|security)"
        r"|affirmative action|minimum wage|universal health ?care)\b"
    ),
    "religion": re.compile(r"\b(?:(?:sunday|friday|weekly) services?|(?:attends?|goes to) (?:services?|mass))\b"),
    "age": re.compile(
        r"\b(?:years?[ -]old|middle[ -]aged|senior citizens?|young (?:adult|person|people)s?|gen z|aged \d+|\d0s"
        r"|empty[ -]nest\w*|born in (?:19|20)\d\d|(?:in|attends) (?:high|middle|primary|elementary) school"
        r"|(?:on|draws|receives) a pension)\b"
    ),
}
_DEMONYMS = _words(
    "african american arab arabic asian australian belgian brazilian british bulgarian canadian chinese croatian czech",
    "danish dutch egyptian english ethiopian european finnish french german greek hungarian indian indonesian iranian",
    "irish israeli italian japanese kenyan korean lebanese malaysian mexican moroccan nepalese nigerian norwegian",
    "pakistani persian peruvian polish portuguese romanian russian scottish serbian somali spanish swedish swiss",
    "syrian thai tunisian turkish ukrainian vietnamese welsh",
)
#: Protected only as what somebody *is*: "is black", but not "likes black coffee"; "is French", not "French cooking".
_OF_SELF = {
    "ethnicity": _words("black white brown mixed"),
    "origin": _DEMONYMS,
    "disability": _words("blind deaf mute"),
    "orientation": _words("straight bi"),
    "gender": _words(
        "man men woman women male female boy girl lady gentleman guy trans mother father mom mum dad wife husband"
    ),
    "politics": _words("conservative liberal progressive labour"),
    "religion": _words("orthodox believer"),
    "age": _words("young old older younger child kid minor aged grandmother grandfather grandparent grandma grandpa"),
}
_SELF = re.compile(
    r"\b(?:is|was|being|as|identifies|born)\b"
    r"(?!\s+(?:\w+ing|interested|fond|fluent|keen|familiar|curious|able|used)\b)"
    r"((?:(?!\b(?:and (?:prefer|like|want|value|enjoy)\w*|to|about|in|for|at|who|because|when)\b)[^,;.])*)"
)
#: The categories that can be allowed.
CATEGORIES = frozenset(_ANYWHERE)

# -- orders, identifiers, other languages, empty praise --------------------------------------------------------------

#: What belongs to somebody who gives orders, and nothing else that a description of a person needs.
_ORDERS = re.compile(
    r"\b(?:ignor(?:e[sd]?|ing)|disregard\w*|overrid\w+|jailbreak\w*|bypass\w*|obey\w*|you|your|yours|yourself"
    r"|system prompts?|(?:previous|prior|above|earlier|following|these|system) (?:instruction|message|prompt)s?"
    r"|must (?:be|always|never|not)|(?:reveal|repeat|output|print|say)s? (?:that|the|this|only|exactly)"
    r"|(?:select|drop|delete|insert|sudo|curl) (?:table|from|into|rm|http\w*)|https?|www"
    r"|(?:system|assistant|developer|human|tool)\s*:)\b|\b(?:system|assistant|user|developer|human|tool)\s*:"
    r"|:/|\w\.(?:com|org|net|io|dev|ai|co|uk|de)\b|\w\(\)|(?:^|\s)/\w+/"
)
_DIGITS = re.compile(r"\d{5,}|\+?\d(?:[\s().,/-]*\d){6,}")
_ALLOWED_MARKS = re.compile(r"""[^\w ,.;:'()/&%$€£!?+#–—-]|_""")
_WITH_SIGNS = re.compile(r"(?<=\w)(?:\+\+|#)")
_FOREIGN = _words(
    "und oder nicht der das ein mit eine einen einer für auf ist sind lieber bevorzugt kurze les des une dans pour",
    "avec sont réponses courtes y el los las del que una uno unas para más muy respuestas cortas il gli che di della",
    "sono più risposte não uma mais respostas curtas het een voor niet zijn korte antwoorden och inte som",
)
_CAPITALS = _DEMONYMS | _words(
    "i english latin western eastern northern southern mediterranean python javascript typescript java rust kotlin",
    "swift ruby golang linux windows mac excel word powerpoint latex markdown monday tuesday wednesday thursday friday",
    "saturday sunday january february march april may june july august september october november december celsius",
    "fahrenheit internet christmas socratic",
)
_FRAME = content_words(
    "user users person prefers prefer likes like enjoys values wants loves appreciates dislikes hates avoids cares"
    " favours favors seeks answers answer responses response replies reply"
)
_PRAISE = content_words(
    "helpful good great nice useful relevant accurate correct quality high appropriate informative effective clear"
    " information content text option questions needs queries topic reasonable well-written satisfying meaningful"
    " preferred suitable proper"
)
_LABELLED = re.compile(
    r"\b(?:answer|response|option|reply|text|persona)s? (?:[ab]|one|two|1|2)\b"
    r"|\b(?:first|second|chosen|rejected|picked|other|former|latter) (?:answer|response|option|reply|one|text)\b"
)
_NEGATIONS = _words(
    "not no never none neither nor without cannot avoid avoids avoided avoiding dislike dislikes disliked hate hates",
    "hated refuse refuses detest detests despise despises loathe loathes reject rejects rejected stopped quit dont",
)
#: What sets one thing against another; "more than ten years" does not, nor does "over" where nothing is liked.
_CONTRAST = re.compile(
    r"\b(?:rather than|instead of|versus|compared (?:to|with)|as opposed to|(?P<over>over)|(?P<as>as (?:much|often) as)"
    r"|than(?! (?:\d|(?:an? )?(?:hour|minute|day|week|month|year|few|one|two|three|ten)\b)))\b",
    re.IGNORECASE,
)
_CHOOSES = re.compile(r"\b(?:prefer|choose|chose|favou?r|pick|select|value|like|love|take|hate)", re.IGNORECASE)
#: "Prefers tea to coffee", but not "prefers to read", "prefers answers to be short", "prefers listening to music".
_PREFERS_TO = re.compile(
    r"\bprefer\w* (?!to\b)(?:(?!\b(?:listening|going|talking|speaking|straight|back|close|closer|up) )[^,;]){1,80}?"
    r"( to )(?!(?:be|have|get|come|go|include|contain|use|keep|stay|start|end|read|look|sound|feel|do|make|take|show"
    r"|tell|give|explain|ask|the point)\b)",
    re.IGNORECASE,
)
_LESS = re.compile(r"\b(?:less|fewer|worse)\b", re.IGNORECASE)

# -- the subject ----------------------------------------------------------------------------------------------------

_VERBS = (
    "prefer like want enjoy value need love dislike hate favour favor appreciate seek tend care avoid trust find look "
    "think expect live work study believe feel decide choose"
).split()
_IRREGULAR = {"are": "is", "have": "has", "do": "does", "were": "was", "don't": "doesn't", "aren't": "isn't"}
_THIRD = {v: v + ("es" if v.endswith(("s", "x", "sh", "ch")) else "s") for v in _VERBS} | _IRREGULAR
_SUBJECT = re.compile(
    r"(?:(?:the|this|an?)\s+)?(?:user|person|individual)\s+(?:(?:who|that)\b)?|some(?:one|body)\s+(?:who|that)\b|s?he\b",
    re.IGNORECASE,
)
_BARE = re.compile(rf"(?:{'|'.join(sorted(set(_THIRD.values())))})\b", re.IGNORECASE)
_THEY = re.compile(r"they\s+([a-z']+)\b", re.IGNORECASE)
_SAID_OF = re.compile(
    r"The user (?:(?:[a-z]+ly|often|also|always|never|sometimes|seldom|still|now|no longer|rather|both) )*"
    r"(?:[a-z]+s|[a-z]+ed|would|may|might|can|could|cannot|can't|will|won't|(?:doe|i|ha|wa)sn't|wouldn't|went|grew)\b"
    r"|The user's [\w ,'-]+? (?:is|are|was|has|have)\b"
)
_LABEL = re.compile(
    r"(?:(?:chosen|rejected|inferred)?\s*(?:persona|output|statement|hypothesis|preference|fact|explanation|sentence)"
    r"\s*\d*\s*[:–—-]+|(?:[-•·*]|\d{1,2}[.)])\s)\s*",
    re.IGNORECASE,
)
_UNFINISHED = _words("and or but the a an of to with for in on that who which than by as from is are very more")


class Checked(NamedTuple):
    """A sentence as it can be used, or None and why it cannot."""

    sentence: str | None
    reason: Reason = ""


def check(
    sentence: str, sources: Sequence[str] = (), *, allowed: frozenset[str] = frozenset(), own: str = ""
) -> Checked:
    """Return a proposed sentence as it can be tested and remembered, or why not (paper: 2501.11549, section 3).

    `sources` are texts it must not copy from, `allowed` the categories of protected attributes it may speak of, `own`
    is what the person themselves said: names that occur in it may stand.
    """
    line = _first_line(sentence)
    if not line:
        return Checked(None, "empty")
    found = _about_the_user(line)
    if found is None:
        ordered = _ORDERS.search(line.lower()) is not None
        return Checked(None, "instruction" if ordered else "language" if _is_foreign(line) else "form")
    for reason, wrong in (
        ("instruction", lambda: _ORDERS.search(found.lower()) or as_data(found, len(found) + 1) != found),
        ("language", lambda: _is_foreign(found) or not _SAID_OF.match(found)),
        ("form", lambda: _ALLOWED_MARKS.search(_WITH_SIGNS.sub("", found)) or words(found)[-1] in _UNFINISHED),
        ("length", lambda: not FEWEST_WORDS <= len(found.split()) <= MOST_WORDS),
        ("identifier", lambda: _DIGITS.search(found) or _names(found, own)),
        ("protected", lambda: _protected(found) - allowed),
        ("copied", lambda: _copied(found, sources)),
        ("vague", lambda: _LABELLED.search(found.lower()) or _says_nothing(found)),
    ):
        if wrong():
            return Checked(None, reason)  # type: ignore[arg-type]  # the names are those of `Reason`
    return Checked(found)


def same(a: str, b: str) -> bool:
    """Whether two sentences say nearly the same: the same words weigh, and both affirm or both deny."""
    one, other = gist(a), gist(b)
    if not one or not other:
        return words(a) == words(b)
    return negated(a) == negated(b) and len(one & other) >= ALIKE * len(one | other)


def gist(sentence: str) -> frozenset[str]:
    """Return the stems that say what a sentence is about: of what it compares, what it puts first."""
    sides = compared(sentence)
    return sides[0] if sides else frozenset(content_words(sentence) - _FRAME)


def compared(text: str) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return the stems of what a text puts first, and of what it sets that against; None if it compares nothing."""
    chosen, denied = _CHOOSES.search(text), negated(text)
    for found in _CONTRAST.finditer(text):
        start, end = found.span()
        if not (found["over"] and not (chosen and chosen.start() < start)) and not (found["as"] and not denied):
            less = _LESS.search(text, 0, start)
            break
    else:
        if not (prefers := _PREFERS_TO.search(text)):
            return None
        (start, end), less = prefers.span(1), None
    first, other = (content_words(part) - _FRAME - {"less", "fewer", "wors"} for part in (text[:start], text[end:]))
    first, other = (other, first) if less else (first, other)
    return (frozenset(first), frozenset(other - first)) if first and other - first else None


def negated(text: str) -> bool:
    """Whether a text denies something."""
    return any(w in _NEGATIONS or w.endswith("n't") for w in words(text))


# -- the steps ------------------------------------------------------------------------------------------------------


def _first_line(text: str) -> str:
    """The first line that says something, without list marks, labels and quotation marks around it."""
    text = unicodedata.normalize("NFKC", text[:_LONGEST]).translate(_PLAIN).replace("**", "")
    for line in text.splitlines():
        bare, before = line.strip(), None
        while bare != before:
            before = bare
            bare = _LABEL.sub("", bare, count=1) if _LABEL.match(bare) else bare
            if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "*_'\"":
                bare = bare[1:-1]
            bare = bare.strip()
        if any(c.isalnum() for c in bare):
            return re.sub(r"\s+", " ", bare)
    return ""


_PLAIN = str.maketrans({"’": "'", "‘": "'", "“": "'", "”": "'", '"': "'", "‐": "-", "‑": "-"})


def _about_the_user(line: str) -> str | None:
    """The first sentence of a line with "The user" as its subject; None if it has another."""
    end = next((m for m in re.finditer(r"[.!?](?=\s|'|\Z)", line) if not _abbreviated(line[: m.start()])), None)
    if end is not None and end.group() == "?":
        return None
    body = (line[: end.start()] if end is not None else line).rstrip(" .!?,;:'-–—")
    if body.isupper():
        body = body.lower()
    if body[:10].lower().startswith("the user's"):
        return f"The user's{body[10:]}."
    if subject := _SUBJECT.match(body):
        rest = body[subject.end() :].strip()
    elif they := _THEY.match(body):
        rest = _singular(they[1].lower(), body[they.end() :])
    elif _BARE.match(body):
        rest = body[:1].lower() + body[1:]
    else:
        return None
    return f"The user {rest}." if rest else None


_MODAL = _words("would may might can could cannot will")
_SECOND_VERB = re.compile(rf"\b(and|but)\s+({'|'.join(_THIRD)})\b", re.IGNORECASE)
_OTHERS_VERB = re.compile(r"\b(?:who|which|that|they|to)\b", re.IGNORECASE)


def _singular(verb: str, rest: str) -> str:
    """What follows "They", as it follows "The user"; "" where its verbs are not known or may have another subject."""
    if verb in _MODAL:
        return verb + rest
    second = _SECOND_VERB.search(rest)
    if verb not in _THIRD or (second and _OTHERS_VERB.search(rest[: second.start()])):
        return ""
    return _THIRD[verb] + _SECOND_VERB.sub(lambda m: f"{m[1]} {_THIRD[m[2].lower()]}", rest)


def _abbreviated(before: str) -> bool:
    return before.lower().endswith((" e.g", "(e.g", " i.e", "(i.e", " etc", " vs", " e", " i", "(e", "(i"))


def _is_foreign(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    if sum(c.isascii() for c in letters) < 0.9 * len(letters):
        return True
    return any(w in _FOREIGN for w in words(text))


def _names(sentence: str, own: str) -> bool:
    """Whether a word after the first one has a capital, as names have, and is neither well known nor the person's."""
    said = set(re.findall(r"[^\W\d_]+", own))
    for word in re.findall(r"[^\W\d_]+", sentence)[1:]:
        acronym = word.isupper() and len(word) <= 5 and word.isascii()
        known = acronym or word.islower() or word.lower() in _CAPITALS or word in said
        if not known and not word[0].islower():
            return True
    return False


def _protected(sentence: str) -> frozenset[str]:
    """The categories of protected attributes a sentence speaks of."""
    text = sentence.lower()
    said = _singly(words(text))
    found = {category for category, listed in _ANYWHERE.items() if listed & said}
    found |= {category for category, phrase in _PHRASES.items() if phrase.search(text)}
    for clause in _SELF.findall(text):
        of_self = _singly(words(clause)) - ({"straight"} if "straight to" in text else set())
        found |= {category for category, listed in _OF_SELF.items() if listed & of_self}
    return frozenset(found)


def _singly(found: Iterable[str]) -> set[str]:
    return {part for word in found for part in (word, word.removesuffix("'s"))}


def _copied(sentence: str, sources: Sequence[str]) -> bool:
    said = words(sentence)
    runs = [f" {' '.join(said[i : i + COPIED])} " for i in range(len(said) - COPIED + 1)]
    texts = [f" {' '.join(words(source))} " for source in sources]
    return any(run in text for text in texts for run in runs)


def _says_nothing(sentence: str) -> bool:
    short = re.findall(r"\b[A-Z][A-Z+#]+", sentence)  # "AI", "C++": too short to be content words
    return not (content_words(sentence) - _FRAME - _PRAISE or short)
