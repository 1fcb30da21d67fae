"""The words people use to say how they want answers. Tables only: the grammar that reads them is in `styles`."""

from __future__ import annotations

from typing import TypeAlias

from persona_plugins.contrastive.statements.words import Phrases

__all__: list[str] = []

#: A style dimension, and whether the phrase means more (+1) or less (−1) of it.
Sense: TypeAlias = tuple[str, int]


def _senses(table: dict[Sense, str]) -> dict[str, Sense]:
    return {phrase.strip(): sense for sense, phrases in table.items() for phrase in phrases.split("|")}


#: Things an answer may contain.
NOUNS = Phrases(
    _senses(
        {
            (
                "length",
                1,
            ): "detail | details | lots of detail | long explanations | depth | elaboration | walls of text",
            ("length", -1): "brevity | concision | conciseness | one liners | short and sweet",
            ("lists", 1): "bullet points | bullets | bullet lists | lists | numbered lists | bulleted lists"
            " | bullet point lists | numbered points | numbering | bullet pointed lists | listicles",
            ("lists", -1): "prose | flowing text | full paragraphs | plain paragraphs | continuous text",
            ("code", 1): "code | code examples | code snippets | code samples | code blocks | sample code | actual code"
            " | snippets | working code | code first",
            ("headings", 1): "headings | headers | section titles | section headings | subheadings | headlines",
            ("questions", 1): "follow up questions | clarifying questions | questions | follow ups | questions back"
            " | counter questions",
            ("formality", 1): "formality | formal tone | formal language | formal english | formal style",
            ("formality", -1): "slang | casual tone | casual language | informality | colloquialisms",
            (
                "warmth",
                1,
            ): "small talk | smalltalk | pleasantries | chit chat | chitchat | flattery | compliments | praise"
            " | pep talks | encouragement | niceties | warmth | friendliness | empathy"
            " | cheerleading | cheerfulness",
            ("hedging", 1): "disclaimers | caveats | hedging | warnings | hedges | qualifiers",
            ("directness", 1): "directness | bluntness | straight talk | honesty | candour | candor | blunt honesty",
            ("directness", -1): "preamble | preambles | filler | fluff | padding | sugar coating | waffle | waffling"
            " | beating around the bush | introductions | throat clearing | long introductions | intros",
            ("reading_level", 1): "jargon | technical jargon | technical terms | big words | buzzwords | fancy words"
            " | technical language | long words | complicated words | difficult words | complex language",
            ("reading_level", -1): "plain english | plain language | simple language | layman's terms | simple terms"
            " | simple words | simple english | everyday language | lay terms | laymans terms | easy words",
            ("examples", 1): "examples | concrete examples | real examples | worked examples | real life examples"
            " | practical examples | real world examples | analogies | illustrations | case studies",
            ("emoji", 1): "emoji | emoticons | smileys | smiley faces",
            (
                "numbers",
                1,
            ): "numbers | figures | statistics | stats | hard numbers | hard data | exact numbers | data points"
            " | exact figures | percentages | actual numbers",
        }
    )
)
#: How an answer may be.
ADJECTIVES = Phrases(
    _senses(
        {
            (
                "length",
                -1,
            ): "short | shorter | brief | briefer | concise | terse | succinct | compact | short and sweet | crisp"
            " | short and to the point | one line | one sentence | snappy | bite sized | minimal"
            " | laconic | pithy | briefly | concisely | succinctly",
            (
                "length",
                1,
            ): "long | longer | detailed | thorough | in depth | comprehensive | elaborate | verbose | wordy"
            " | lengthy | exhaustive | long winded | in detail | extensive | rambling",
            ("lists", 1): "bulleted | bullet point | bullet pointed",
            ("formality", 1): "formal | professional | businesslike | stiff | business like | formally",
            (
                "formality",
                -1,
            ): "casual | informal | relaxed | conversational | chatty | laid back | colloquial | casually | informally",
            ("warmth", 1): "warm | friendly | gentle | encouraging | supportive | empathetic | cheerful | kind | warmer"
            " | friendlier | kinder | gentler | nice | bubbly",
            ("warmth", -1): "cold | matter of fact | impersonal | dry | unemotional | clinical",
            ("hedging", 1): "hedged | cautious | noncommittal | wishy washy | non committal",
            ("directness", 1): "direct | blunt | frank | straightforward | straight | candid | to the point | blunter"
            " | straight to the point | no nonsense | honest | upfront | brutally honest | directly"
            " | bluntly",
            ("directness", -1): "vague | evasive | roundabout | indirect | beating around the bush | flowery",
            ("reading_level", -1): "simple | simpler | plain | beginner friendly | non technical | easy to understand"
            " | easy to read | easy | jargon free | easy to follow | accessible | simply"
            " | in plain english | in simple terms | in simple words",
            (
                "reading_level",
                1,
            ): "technical | academic | advanced | sophisticated | expert level | complicated | scholarly",
        }
    )
)
#: What those adjectives may be said of, so that they speak of answers and not of films.
ANSWERS = Phrases.of(
    [
        "answers | responses | replies | explanations | tone | style | language | wording",
        "english | sentences | feedback",
        "writing style | instructions | messages | terms | words | descriptions | tone of voice",
        "paragraphs | communication",
        "ones | summaries | communication style | answer | texts | overviews | tones",
    ],
    True,
)
#: A single answer is this answer: "a short answer, please" is an errand.
ONE_ANSWER = frozenset({"answer"})

#: Whole things one may ask an answerer to do.
DEEDS = Phrases(
    _senses(
        {
            ("length", 1): "go into detail | go into more detail | go into depth | ramble | ramble on | write essays"
            " | write an essay | elaborate | go in depth | write walls of text | drone on | waffle"
            " | waffle on"
            " | rambling | explain in detail | explain things in detail"
            " | explain everything in detail | go deep",
            ("length", -1): "answer briefly | answer concisely | reply briefly | respond briefly | respond concisely"
            " | answer in one sentence | reply concisely | answer in a sentence | be short"
            " | answer in short | be quick"
            " | keep it to one paragraph | keep it to a paragraph | answer in one line"
            " | reply in one sentence",
            ("code", 1): "show me the code | show the code | just show me the code | show me code | give me the code"
            " | just give me the code | just the code",
            ("questions", 1): "ask me questions | asking me questions | ask questions | asking questions | quizzing me"
            " | ask follow up questions | asking follow up questions | end with a question"
            " | ending with a question"
            " | ask clarifying questions | asking clarifying questions | ask me clarifying questions"
            " | ask me follow up questions | ask so many questions | asking so many questions"
            " | answer with a question"
            " | end with questions | ask me back | asking me follow up questions"
            " | asking me so many questions",
            ("warmth", 1): "talk to me like a friend | flatter me | flattering me | praise me | praising me"
            " | compliment me | complimenting me | cheer me on | be nice to me",
            ("hedging", 1): "hedge | hedging | hedge your answers | hedging your answers | hedge everything"
            " | hedging everything | sit on the fence | equivocate | tell me to see a doctor"
            " | hedge your bets",
            (
                "directness",
                1,
            ): "get to the point | get straight to the point | cut to the chase | give it to me straight"
            " | tell it to me straight | tell me straight | be straight with me | come to the point"
            " | cut the crap"
            " | give me the bottom line first | start with the answer | lead with the answer"
            " | just give me the answer"
            " | tell it like it is | say it straight | just answer the question | answer first"
            " | give the answer first",
            ("directness", -1): "sugar coat | sugar coat it | sugar coat things | sugar coating | sugar coating it"
            " | sugar coating things | sugar coat anything | beat around the bush | beating around the bush"
            " | pull punches | pull your punches | mince words | mince your words | tiptoe around"
            " | sugar coat your answers"
            " | sugar coat the truth | dance around it | pussyfoot",
            (
                "reading_level",
                -1,
            ): "explain it simply | explain things simply | explain simply | explain everything simply"
            " | dumb it down | explain like i am five | explain it like i am five"
            " | explain things like i am five"
            " | explain it to me like i am five | explain like i am 5 | explain it like i am 5"
            " | eli5 | dumb things down"
            " | explain things to me simply | use words i can understand | answer in plain english"
            " | dumbing it down"
            " | explain it to me simply | explain it in simple terms"
            " | explain things in simple terms | keep the words simple"
            " | explain it in plain english | dumbing things down | put it simply | put things simply",
            ("examples", 1): "give me an example every time | explain with examples | illustrate with examples"
            " | show me examples",
            ("formality", -1): "talk to me casually | talk casually | swear | swearing",
        }
    )
)
#: How each sense reads when it was asked for as a deed or a manner.
WANTS: dict[Sense, str] = {
    ("length", 1): "Wants detailed answers.",
    ("length", -1): "Wants answers kept short.",
    ("lists", 1): "Wants bulleted lists.",
    ("lists", -1): "Wants answers without bulleted lists.",
    ("code", 1): "Wants to be shown code.",
    ("code", -1): "Wants no code.",
    ("headings", 1): "Wants headings.",
    ("headings", -1): "Wants no headings.",
    ("questions", 1): "Wants to be asked questions.",
    ("questions", -1): "Does not want to be asked questions.",
    ("formality", 1): "Wants a formal tone.",
    ("formality", -1): "Wants an informal tone.",
    ("warmth", 1): "Wants a warm tone.",
    ("warmth", -1): "Wants a matter-of-fact tone.",
    ("hedging", 1): "Wants cautious answers.",
    ("hedging", -1): "Wants answers without hedging.",
    ("directness", 1): "Wants direct answers.",
    ("directness", -1): "Wants answers that are not blunt.",
    ("reading_level", 1): "Wants technical language.",
    ("reading_level", -1): "Wants things explained simply.",
    ("examples", 1): "Wants examples.",
    ("examples", -1): "Wants no examples.",
    ("emoji", 1): "Wants emoji.",
    ("emoji", -1): "Wants no emoji.",
    ("numbers", 1): "Wants numbers.",
    ("numbers", -1): "Wants no numbers.",
}

MORE = frozenset("more lots plenty many extra much longer".split())
LESS = frozenset("less fewer no without zero minimal few not".split())
#: Amounts and articles that may stand before a style phrase without changing it.
FILL = frozenset("a an the any some your my all of very really overly so such too as lot nice lots bit".split())
#: Between what is kept and how: "I like things explained simply".
DONE = frozenset("explained kept written put phrased worded said to be".split())
#: Words that may stay over after a style phrase.
LEFT_OVER = frozenset(
    "please thanks thank you thx at all in general now for me with that too as possible always either instead "
    "by default again to me every time though really ever from on going forward future the any more after ok "
    "okay everywhere over here much and mate cheers generally most overall anyway though".split()
)
ABOUT_ANSWERS = frozenset(
    "answers answer responses response replies reply messages explanations writing output".split()
)
#: Standing orders: what makes an instruction hold beyond this answer.
ALWAYS = Phrases.of(
    [
        "always | never | from now on | going forward | in future | in the future | every time",
        "by default | in general",
        "generally | each time | as a rule | henceforth | at all times | from here on",
        "ever again | any more | from now",
    ],
    True,
)
#: Openings of an instruction that say nothing themselves.
OPENINGS = Phrases.of(
    [
        "please | just | kindly | can you | could you | would you | will you | can you please",
        "could you please",
        "i want you to | i need you to | i would like you to | i would prefer you to",
        "i would prefer if you | try to",
        "make sure to | remember to | be sure to | make sure you | i prefer when you",
        "i prefer it when you | and | but | , | so",
        "i like it when you | i like when you | i would prefer it if you | i would rather you",
        "would you please | also | ok",
        "i want your answers to | i want answers to | your answers should",
        "your answers should always | and please",
        "your responses should | answers should | i need your answers to",
        "i prefer your answers to | let's | okay",
        "i love it when you | i love when you | i prefer you to | i prefer that you",
        "i prefer if you | i appreciate it when you",
    ],
    True,
)
UNWANTED_OPENINGS = Phrases.of(
    [
        "i hate it when you | i hate when you | i do not like it when you | i dislike it when you",
        "i do not want you to",
        "i do not like when you | i dislike when you | i can not stand it when you",
        "i do not need you to | i would rather you did not",
        "i would prefer you not to | i do not enjoy it when you | i would rather you do not",
        "i would prefer you did not",
        "your answers should not | i would prefer if you did not",
    ],
    True,
)
STOPPING = Phrases.of(
    [
        "stop | quit | avoid | skip | drop | cut | ditch | leave out | spare me | enough with",
        "enough of | lose | no more",
        "no | refrain from | cut out | cut down on | omit | without | do not | never | cease",
        "save me | do not bother with",
        "you do not need to | you do not have to | no need for | no need to | there is no need to",
        "less | fewer | minimise",
        "minimize | ease off on | lay off | go easy on | forget",
    ],
    True,
)
#: Verbs that put a style phrase into an answer; the second group only counts beside "always" or after a denial.
INCLUDING = Phrases.of(
    [
        "use | using | include | including | give me | giving me | answer in | write in",
        "speak in | stick to | provide",
        "providing | reply in | respond in | answer with | adopt | talk in | writing in | give",
        "giving | respond with",
        "reply with | be using | starting with | start with | begin with | put in | prefer | have",
        "throw in | resort to",
        "explain things in | explain things with | explain in | format things as",
        "format answers as | format your answers as",
        "throwing in | answering in | putting in | answering with | talking in",
        "format your answers with | structure answers with",
    ],
    True,
)
ADDING = Phrases.of(
    ["add | adding | show me | show | write | make | insert | put | send | send me | do | writing"], True
)
KEPT = Phrases.of(
    [
        "it | things | answers | your answers | responses | your responses | replies",
        "your replies | the answers | everything",
        "all answers | explanations | your explanations | all your answers | all responses",
        "your tone | the tone | the language",
        "your language | my answers | them | your messages | the explanations",
    ],
    True,
)
KEPT_ALWAYS = Phrases.of(
    [
        "answers | your answers | responses | your responses | replies | your replies",
        "all answers | explanations | my answers",
        "all your answers | your explanations | your tone | your language | the answers | your messages",
    ],
    True,
)
#: A piece of work asked for in a turn; unmarked instructions beside it are about that piece.
WORK_VERBS = frozenset(
    "write draft compose create generate make design build prepare produce rewrite translate summarise "
    "summarize edit proofread rephrase paraphrase shorten polish correct reword fix format convert improve "
    "outline revise".split()
)
#: Words that tie an instruction to one piece of work.
ONE_OFF = frozenset("this these that below above following one first second last next it's summary email essay".split())
#: Verbs of answering that a standing order may have; others ("always wear a helmet") are advice, not orders.
ANSWERING = frozenset(
    "give use answer reply respond write include show cite call address assume add mention explain format quote list "
    "convert suggest recommend offer provide spell speak express".split()
)
