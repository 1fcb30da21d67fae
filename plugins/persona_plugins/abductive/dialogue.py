"""What a person says of themselves in a dialogue, kept as a record that each turn updates (paper: arXiv 2410.03642).

The paper's inducer writes the whole persona anew at every turn, from a dialogue and the true persona. Here a model
that knows nothing reports changes only, and none counts unless this module finds it in the person's own words: it
takes a model's word for where to look, never for what is true.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeAlias

from persona_plugins.abductive.hygiene import check, compared, gist, negated, same
from persona_plugins.abductive.prompts import Added, Asks, Changes, Withdrawn, about_turn, ask
from persona_plugins.abductive.proposing import Discarded
from persona_sdk.language import Journal, Spent
from persona_sdk.signals import Utterance
from persona_sdk.text import as_data, content_words, words

__all__ = ["Held", "Portrait", "Reader"]

Kind: TypeAlias = Literal["fact", "personality", "preference"]

#: Characters of a turn that are read, from its head and from its tail.
ENDS = 2_000
#: Turns before the newest one that the model sees beside it.
EARLIER = 3
#: Statements held at most; the oldest goes when there are more, for the record is part of every question.
MOST_HELD = 40
#: Turns in a row that must have been read before the record is kept: until then, one that failed is tried again.
SETTLED = 5
_FORM = "dialogue-2"


@dataclass(frozen=True, slots=True)
class Held:
    """One thing a person said of themselves: `quote` is verbatim from turn `turn` (from 1), which is `signal_id`."""

    statement: str
    kind: Kind
    quote: str
    signal_id: str
    turn: int


@dataclass(frozen=True, slots=True)
class Portrait:
    """What is held after a person's turns: `unread` older ones were never asked about, `failed` newer ones in vain."""

    held: tuple[Held, ...] = ()
    unread: int = 0
    failed: int = 0


class Reader:
    """Reads what people say of themselves, one call per turn; at most the `most_turns` newest are asked about.

    With a journal, only turns that are new cost a call. `allowed`: the protected categories a statement may speak of.
    """

    def __init__(self, caller: Asks, *, allowed: frozenset[str] = frozenset(), most_turns: int = 60) -> None:
        self._caller, self._allowed, self._most_turns = caller, allowed, most_turns
        self._discarded = Discarded()

    def read(self, turns: Sequence[Utterance], journal: Journal | None = None) -> Portrait:
        """Return what is held after a person's turns, in their order.

        A turn whose call fails changes nothing and is counted; it is tried again until a few later ones were read.

        Raises:
            ModelError: the model answers nobody: the key, the budget. What was read is in the journal.
        """
        digests = self._digests(turns)
        done, portrait = _kept(digests, journal)
        start = max(done, len(turns) - self._most_turns)
        portrait = replace(portrait, unread=portrait.unread + start - done, failed=0)
        settled, since_failure = None, SETTLED
        try:
            for place in range(start, len(turns)):
                before = portrait
                portrait = self._fold(portrait, turns, place, journal)
                since_failure = 0 if portrait.failed > before.failed else since_failure + 1
                if since_failure >= SETTLED:
                    settled = digests[place], portrait
        finally:
            if settled is not None and journal is not None:
                journal.put({settled[0]: json.dumps(asdict(settled[1]))})
        return portrait

    def discarded(self) -> dict[str, int]:
        """Return how much of what the model said was not taken, by reason; "unanswered" counts calls."""
        return self._discarded.so_far()

    def spent(self) -> Spent:
        """Return what the model was asked."""
        return self._caller.spent()

    def _digests(self, turns: Sequence[Utterance]) -> list[str]:
        """One digest per turn, of it and all before it: what the record after it depends on."""
        digest = json.dumps([_FORM, str(getattr(self._caller, "name", "")), sorted(self._allowed)])
        found: list[str] = []
        for turn in turns:
            digest = hashlib.sha256(json.dumps([digest, turn.id, turn.text]).encode()).hexdigest()
            found.append(digest)
        return found

    def _fold(self, portrait: Portrait, turns: Sequence[Utterance], place: int, journal: Journal | None) -> Portrait:
        own = _Own(turns[place].text)
        if not own.pieces:
            return portrait
        lines = [(h.kind, f"{number}. {h.statement}") for number, h in enumerate(portrait.held, start=1)]
        messages = about_turn(
            [line for kind, line in lines if kind == "fact"],
            [line for kind, line in lines if kind != "fact"],
            [turn.text for turn in turns[max(0, place - EARLIER) : place]],
            own.shown,
        )
        changes = ask(self._caller, messages, Changes, journal)
        if changes is None:
            self._discarded.count("unanswered")
            return replace(portrait, failed=portrait.failed + 1)
        turn = turns[place]
        added = [a for a in (self._added(one, own, turn.id, place + 1) for one in changes.add) if a is not None]
        gone = {portrait.held[w.number - 1] for w in changes.withdraw if self._withdrawn(w, portrait, own, added)}
        held = [h for h in portrait.held if h not in gone]
        for new in added:
            held = [h for h in held if not _contradicts(new.statement, h.statement)]
            if not any(same(new.statement, h.statement) for h in held):
                held.append(new)
        return replace(portrait, held=tuple(held[-MOST_HELD:]))

    def _added(self, new: Added, own: _Own, signal_id: str, turn: int) -> Held | None:
        """What the model wants added, if the person said it in this turn, in these words, of themselves."""
        places = own.find(new.quote)
        if not places:
            self._discarded.count("not quoted")
            return None
        quote = places[0].quote
        statement, reason = check(new.statement, allowed=self._allowed, own=f"{quote} {quote.title()}")
        if statement is None:
            self._discarded.count(reason)
            return None
        if not any(place.says(statement, new.kind) for place in places):
            self._discarded.count("invented")
            return None
        return Held(statement, new.kind, quote, signal_id, turn)

    def _withdrawn(self, gone: Withdrawn, portrait: Portrait, own: _Own, added: Sequence[Held]) -> bool:
        """Whether the person's own words in this turn take back what the model wants withdrawn."""
        if not 1 <= gone.number <= len(portrait.held):
            self._discarded.count("no such line")
            return False
        places = own.find(gone.quote)
        if not places:
            self._discarded.count("not quoted")
            return False
        statement = portrait.held[gone.number - 1].statement
        if not any(place.takes_back(statement, replaced=bool(added)) for place in places):
            self._discarded.count("not taken back")
            return False
        return True


def _kept(digests: Sequence[str], journal: Journal | None) -> tuple[int, Portrait]:
    """The latest record kept and how many turns it has read, looked for from the newest turn back; or nothing."""
    end, batch = len(digests), 4
    while journal is not None and end > 0:
        start = max(0, end - batch)
        known = journal.get(digests[start:end])
        for place in range(end, start, -1):
            portrait = _read(known.get(digests[place - 1], ""))
            if portrait is not None:
                return place, portrait
        end, batch = start, batch * 2
    return 0, Portrait()


def _read(record: str) -> Portrait | None:
    try:
        kept = json.loads(record)
        return Portrait(tuple(Held(**one) for one in kept["held"]), int(kept["unread"]))
    except (ValueError, TypeError, KeyError):  # none, or damaged: it is read anew
        return None


def _contradicts(new: str, old: str) -> bool:
    first, second = compared(new), compared(old)
    if first and second and _meet(first[0], second[1]) and _meet(first[1], second[0]):
        return True
    one, other = gist(new), gist(old)
    shared = len(one & other)
    return negated(new) != negated(old) and shared > 0 and 2 * shared >= min(len(one), len(other))


# -- the person's own words in a turn ---------------------------------------------------------------------------------

_COVER = "\ufffc"
_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
#: Quoted mail, tables, lines of somebody else in a transcript, inline code, and longer quotations.
_QUOTED = re.compile(
    r"^[ \t]*(?:>|\||(?:assistant|ai|bot|chatgpt|claude|system|you)[ \t]*:)[^\n]*|`[^`\n]+`"
    r"|[“„«\"](?:[^\"”“»\n]*?\s){3}[^\"”“»\n]*(?:[\"”»]|$)",
    re.MULTILINE | re.IGNORECASE,
)
#: What follows is a letter, or a text to work on, or a part being played: none of it is said by the person.
_REST = re.compile(
    r"^-{3,}[ \t]*(?:original|forwarded) message.*|^on [^\n]{5,80} wrote:.*"
    r"|(?:^|[.!?\n][ \t]*)(?:(?:please|can you|could you|now)[ ,]+)*(?:translate|summari[sz]e|proofread|rephrase"
    r"|paraphrase|rewrite|correct|critique|edit|analy[sz]e)\b[^\n]*?(?::|\n).*"
    r"|(?:^|[.!?\n])(?![^.!?\n]*\b(?:my (?:\w+ )?(?:preference|taste|rule|wish|need|detail)|about me))"
    r"[^.!?\n]*\bas follows\b.*|(?<!\bi )\b(?:reads|says|goes|said|wrote)[ \t]*:.*"
    r"|\b(?:pretend|role-?play|imagine|suppose|hypothetically|act as|act like|you are now|in the voice of"
    r"|ignore (?:the|all|any|previous|everything)|disregard (?:the|all|any|previous)|system prompt).*",
    re.MULTILINE | re.IGNORECASE | re.DOTALL,
)
_WRAPPED = re.compile(r"(?<![.!?:;\s])[ \t]*\n[ \t]*(?=[a-z])(?!i\b)")
_SENTENCE = re.compile(r"[.!?]+(?=\s|\Z)|;")
_SUBJECT = r"(?:i|i'(?:m|ve|d|ll)|im|ive|we|we'(?:re|ve))"
_I = re.compile(rf"\b{_SUBJECT}\b", re.I)
#: Where a new clause begins: only before a subject, a conjunction, or a verb that says something of its own.
_CLAUSE = re.compile(
    rf"(?:,|\band\b|\s[-–—])\s+(?=(?:and |so |then |also |but |now )*(?:{_SUBJECT}|my|he|she|they|it|you|your|please"
    r"|what|how|can|could|do|should|would|is|are|love|like|hate|prefer|enjoy|work|live|have|want|need|don't|never|keep"
    r"|make|used?|no|not|write|tell|give|explain|recommend|suggest)\b)"
    r"|\s(?=(?:but|because|since|although|though|while|however)\b)",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"(?:(?:and|but|so|also|well|ok|okay|yes|no|oh|hi|hey|hello|actually|because|since|although|though|while|however|then"
    r"|please|remember|note|keep in mind|fyi|btw|by the way|honestly|for the record|save|store|memori[sz]e|that|as)\b"
    r"[\s,:]*)+",
    re.IGNORECASE,
)
_OF_SELF = re.compile(rf"\b(?:{_SUBJECT}|me|my|mine|myself|our)\b", re.IGNORECASE)
#: What a wish without "I" does not have: "remember that Bo loves tea" is no wish.
_TELLS = re.compile(r"\b(?:remember|note|is|are|was|were|has|loves?|likes?|prefers?|hates?)\b", re.IGNORECASE)
_OTHERS = re.compile(r"\b(?:who|he|she|they|his|her|their|he's|she's|they're|someone|somebody|everyone)\b", re.I)
_KIN = content_words(
    "wife husband partner brother sister mother father mom mum dad son daughter child children kid kids friend friends"
    " boss colleague colleagues uncle aunt cousin nephew niece grandmother grandfather grandma grandpa neighbour"
    " neighbor roommate flatmate girlfriend boyfriend parents family teacher client clients customer character"
)
_SUPPOSES = frozenset("if unless whether suppose".split())
_OPENS_QUESTION = _SUPPOSES | frozenset(
    "do does did am is are was can could should would will shall may what which who why how when where".split()
)
#: What opens a request for work: its subject is not the person.
_WORK = frozenset(
    "write translate compose draft generate create make rewrite summarise summarize correct fix proofread say repeat "
    "tell give show explain describe recommend suggest find list help compare plan design imagine read answer".split()
)
#: Words that support nothing by themselves: "I work as a nurse" is not "works as a teacher".
_THIN = content_words(
    "works lives plays studies drives speaks drinks eats cooks reads watches owns uses collects makes feels favourite"
    " favorite often always usually currently job"
)
_STYLED = frozenset("answers answer it replies reply responses shorter longer".split())
#: What takes something back by itself, and what does so where something else is said instead.
_STRONG_CUE = re.compile(
    r"\b(?:no longer|any ?(?:more|longer)|stopped|quit|gave up|given up|changed? my mind|used to|not true|forget"
    r"|scratch that|(?:was|were) wrong|correction|take (?:that|it) back)\b",
    re.I,
)
_WEAK_CUE = re.compile(r"\b(?:actually|now|instead|moved|switched|these days|nowadays|rather|since)\b", re.IGNORECASE)
#: It was so, may be so, or is wished for. Wishes about one's life (`dream`) are no tastes; "I'd like it short" is.
_LESS_THAN_SO = re.compile(
    r"(?P<past>\bused to\b(?! (?:it|that|this|\w+ing)\b)|\b(?:was|were)\b(?! (?:\w+ing|told|born|raised)\b)|\bgave up\b"
    r"|\b(?:formerly|previously|given up|any ?more)\b"
    r"|(?<!wish )\bi (?:\w+ly |once )?(?:lived|worked|liked|loved|preferred|studied|owned|played|hated|had)\b)"
    r"|(?P<perhaps>\b(?:i|we)(?: \w+ly)? (?:could|might|may|should|can (?:see|picture))\b(?! \w+ (?:that|i)\b)"
    r"|\b(?:i would|i'd)\b(?! (?:\w+ly )?(?:like|love|prefer|rather|want|enjoy|appreciate|be \w+ with|never|say)\b)"
    r"|\b(?:almost|nearly)\b(?! (?:all|always|never|every|only|\w+ly)\b)|\b(?:hardly|barely|scarcely|rarely|seldom)\b"
    r"|\bdoubt|\b(?:deny|pretend|hypothetical|in theory|in my dreams|if only|supposing)\b)"
    r"|(?P<dream>(?:\b(?:would|want|hope|plan|dream|intend|aim|wish|going|(?:plann|study|train|try|hop)ing)|'d)"
    r"(?: \w+ly)?(?: like| love)? (?:to (?!be (?:\w+ed|told)\b|get |see |hear |read |know |have )|i |that i |of ))"
    r"|(?P<wish>(?:\bwould|'d)(?: \w+ly)? (?:like|love|want)\b|\bi (?:\w+ly )?(?:want|wish|hope)\b)",
    re.I,
)
_SAYS_SO = {
    "past": re.compile(r"\b(?:used to|was|were|had|formerly|previously|former)\b|^The user (?:\w+ly )?\w+ed\b"),
    "perhaps": re.compile(r"\b(?:could|might|may|should|would|can|almost|nearly|hardly|barely|rarely|seldom|doubts)\b"),
    "dream": re.compile(r"\b(?:wants?|would|wish\w*|hop(?:es|ing)|plan\w*|dream\w*|intends|aim\w*|train\w*)\b"),
    "wish": re.compile(r"\b(?:wants?|would|wish\w*|hopes|prefers?|asks?|seeks?|likes|values|needs)\b"),
}


class _Own:
    """The parts of a turn that its writer says for themselves; of a long turn its head and its tail."""

    def __init__(self, text: str) -> None:
        covered = _QUOTED.sub(_cover, _FENCED.sub(_cover, text))
        ends = [covered] if len(covered) <= 2 * ENDS else [covered[:ENDS], covered[-ENDS:]]
        parts = [part for end in ends for part in re.split(f"{_COVER}+", _REST.sub(_COVER, end))]
        lines = [line for part in parts for line in _WRAPPED.sub(" ", part).splitlines()]
        self.pieces = [piece for line in lines if words(piece := as_data(line, 2 * len(line) + 9))]
        self.shown = " […] ".join(self.pieces)

    def find(self, quote: str) -> list[_Place]:
        """The places where a quote stands word for word, whatever its capitals and spaces."""
        wanted = as_data(quote, 2 * len(quote) + 9).strip(" .,;:!?…'")
        if not words(wanted):
            return []
        pattern = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)", re.IGNORECASE)
        return [_Place(piece, found.start(), found.end()) for piece in self.pieces for found in pattern.finditer(piece)]


def _cover(match: re.Match[str]) -> str:
    return _COVER * (match.end() - match.start())


class _Place:
    """Where a quote stands in a piece: the clauses it touches, and what stands before them in the sentence."""

    def __init__(self, piece: str, start: int, end: int) -> None:
        self.quote = piece[start:end]
        first, last = _around(_SENTENCE, piece, start, end)
        self._sentence, self._question = piece[first:last], piece[last : last + 1] == "?"
        a, b = _around(_CLAUSE, self._sentence, start - first, end - first)
        self._clause, self._before = self._sentence[a:b], self._sentence[:a]
        #: The clause up to the quote's end, and its words without "well, remember that …".
        self._until = self._sentence[a : end - first]
        self._opening = words(_LEAD_IN.sub("", self._clause, count=1) if _LEAD_IN.match(self._clause) else self._clause)

    def says(self, statement: str, kind: Kind) -> bool:
        """Whether the person says this here of themselves, in these words, neither asking nor supposing it."""
        said = gist(statement) or frozenset(content_words(statement))
        said = said - _THIN or said
        shared = sum(any(_kindred(word, other) for other in content_words(self.quote)) for word in said)
        if 2 * shared <= len(said) or not _agrees(statement, self._clause):
            return False
        return self._meant(statement) and not self._asked() and self._of_self(statement, kind)

    def takes_back(self, statement: str, *, replaced: bool) -> bool:
        """Whether what was held is taken back here: by words that do, or by something else on its subject."""
        if self._asked() and not _STRONG_CUE.search(self._sentence):
            return False
        if _STRONG_CUE.search(self._sentence) or (replaced and _WEAK_CUE.search(self._sentence)):
            return True
        said, here = gist(statement), content_words(self.quote)
        shared = sum(any(_kindred(word, other) for other in here) for word in said)
        return shared > 0 and not (shared == len(said) and _agrees(statement, self._clause))

    def _meant(self, statement: str) -> bool:
        """Whether this is said to be so today, or the statement, too, says less."""
        clauses = [*_CLAUSE.split(self._before), self._until]
        own = max((n for n, clause in enumerate(clauses) if _I.search(clause)), default=0)
        cues = _LESS_THAN_SO.finditer(" ".join(clauses[own:]))  # from the last clause that has its own subject
        return all(_SAYS_SO[str(cue.lastgroup)].search(statement) for cue in cues)

    def _asked(self) -> bool:
        opening = self._opening[:1]
        return opening != [] and opening[0] in (_OPENS_QUESTION if self._question else _SUPPOSES)

    def _of_self(self, statement: str, kind: Kind) -> bool:
        about, clause = content_words(statement), self._until
        if "the user" in self._sentence.lower() or "this user" in self._sentence.lower():
            return False
        if (others := _OTHERS.search(clause)) and not about & content_words(clause[: others.start()]):
            return False  # "a guy who loves chess", but "I have a brother who loves chess" is of the person, too
        if (kin := _KIN & content_words(clause)) and not kin & about:
            return False
        if self._opening and self._opening[0] in _WORK and not (kind == "preference" and _STYLED & set(self._opening)):
            return False
        if _OF_SELF.search(self._clause):
            return True
        if _OF_SELF.search(self._before) and not _OTHERS.search(self._before):
            return True  # "I have two dogs and work as a nurse"
        return kind == "preference" and not _TELLS.search(clause)  # "shorter, please"


def _around(boundary: re.Pattern[str], text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch of `text` between the boundaries around [start, end)."""
    marks = list(boundary.finditer(text))
    first = max((m.end() for m in marks if m.end() <= start), default=0)
    last = min((m.start() for m in marks if m.start() >= end), default=len(text))
    return first, last


def _kindred(one: str, other: str) -> bool:
    """Whether two stems are forms of one word: "short" and "shorter"."""
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= 4 and long.startswith(short) and len(long) - len(short) <= 3)


def _meet(some: Collection[str], others: Collection[str]) -> bool:
    return any(_kindred(one, other) for one in some for other in others)


def _agrees(statement: str, text: str) -> bool:
    """Whether a statement denies and ranks as a text does, and ranks nothing that is not ranked there."""
    if negated(text) != negated(statement):
        return False
    here, said = compared(text), compared(statement)
    if here and said:
        return _meet(said[0], here[0]) and _meet(said[1], here[1])
    return not said and not (here and _meet(content_words(statement), here[1]))
