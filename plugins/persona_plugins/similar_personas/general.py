"""Words general enough to be lent: what is left of a trait's sentence without anything that could tell whose it was.

It says what may stand, not what may not: letters, and the punctuation of a plain sentence. Figures, quotation marks,
addresses, names and anything that looks like an identifier make a sentence unfit, and so does a word about what the law
of most places protects. That many people hold a sentence is asked elsewhere; this is the second lock on the same door.

In a script without capitals a name cannot be told from any other word, so nothing in one is lent.
"""

from __future__ import annotations

import re

from persona_sdk.text import words

__all__ = ["in_general"]

#: Longest sentence that is lent, in characters, and longest word: what is longer describes one case, or is an id.
_MOST, _LONGEST_WORD = 160, 24

_PARENTHESIS = re.compile(r"\s*(?:\([^()\[\]]*\)|\[[^()\[\]]*\])")
_SPACES = re.compile(r"\s+")
#: Words of letters, joined by hyphens or apostrophes, with commas, semicolons and full stops behind them.
_WORD = r"[^\W\d_]+(?:[-'’][^\W\d_]+)*"
_PLAIN = re.compile(rf"{_WORD}[,;.]?(?: {_WORD}[,;.]?)*")
_NUMBERS = frozenset(
    """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million millions
    billion billions dozen dozens
    """.split()
)
#: Religion, origin, health, disability, orientation, gender, politics, unions, age: no one's are guessed from others'.
_PROTECTED = frozenset(
    """
    religion religious muslim islam islamic christian christianity jewish jew judaism hindu hinduism buddhist buddhism
    sikh catholic protestant mormon evangelical atheist atheism agnostic church mosque synagogue temple bible biblical
    quran koran torah pray prayer worship god jesus allah rabbi imam priest pastor faith spiritual kosher halal ramadan
    gospel sermon psalm sabbath devout pious
    ethnicity ethnic racial race biracial latino latina latinx hispanic caucasian aboriginal gypsy roma african
    immigrant immigration migrant refugee asylum nationality citizenship expatriate
    health diabetes diabetic cancer depression depressed anxiety anxious bipolar schizophrenia ptsd ocd hiv asthma
    arthritis epilepsy epileptic pregnant pregnancy infertile infertility miscarriage obese obesity overweight ill
    illness disease disorder diagnosis diagnosed addiction addict alcoholic insomnia dementia migraine allergy
    allergic coeliac celiac gluten lactose medication medicine symptom sick sickness insulin antidepressant therapy
    therapist psychotherapy chemotherapy dialysis rehab menopause prescription vaccine vaccinated
    disability disabled wheelchair deaf blind autistic autism adhd dyslexia dyslexic neurodivergent asperger amputee
    paraplegic impairment impaired handicap handicapped braille
    gay lesbian bisexual queer asexual homosexual homosexuality heterosexual pansexual lgbt lgbtq sexuality sexual
    transgender transsexual nonbinary cisgender gender
    republican democrat socialist socialism communist communism marxist libertarian tory leftist anarchist fascist
    fascism political politically politics vote voter voting zionist activist feminist feminism abortion capitalism
    capitalist conservative unionist union unionised unionized
    elderly teenager teenage teen adolescent millennial boomer pensioner pension retired retiree retirement
    grandchild grandchildren grandson granddaughter widow widowed divorced
    """.split()
)


def in_general(statement: str) -> str:
    """Return a trait's sentence in words that may be lent, "" if it has to stay where it is.

    Parenthetical remarks, which hold the figures and examples of one person, are left out.
    """
    text, before = statement, ""
    while text != before:  # one parenthesis in another
        before, text = text, _PARENTHESIS.sub("", text)
    text = _SPACES.sub(" ", text).strip()
    if not text or len(text) > _MOST or not _PLAIN.fullmatch(text):
        return ""
    if any(c.isnumeric() for c in text):  # "²" and "½" are no digits, but stand in words all the same
        return ""
    said = words(text)
    named = not text[1:].islower()  # a capital within: somebody's name, a place, a brand, an acronym, an id
    told = any(len(word) > _LONGEST_WORD or word in _NUMBERS or _protected(word) for word in said)
    return "" if named or told else text


def _protected(word: str) -> bool:
    return any(part in _PROTECTED for one in (word, *word.split("'")) for part in (one, one.removesuffix("s")))
