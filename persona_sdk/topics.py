"""A small map from words to topics of everyday questions, so that "dinner" and "meat" meet without a model.

It only has to tell topics apart when both sides are known: what matches no topic is judged by its words alone.
"""

from __future__ import annotations

from functools import cache

from persona_sdk.text import content_words, stem

__all__ = ["topics_in"]

_TOPICS = {
    "food": """food eat eating meal meals dinner lunch breakfast supper snack recipe recipes cook cooking bake baking
        restaurant dish dishes cuisine vegetarian vegan meat beef pork chicken fish seafood shellfish shrimp prawns
        vegetables fruit cheese dairy milk egg eggs gluten nuts peanuts peanut sugar dessert cake bread pasta rice soup
        salad spicy coffee tea wine beer alcohol drink drinks allergy allergic diet grocery groceries kitchen barbecue
        brunch sushi curry pizza chocolate mushrooms tofu hungry""",
    "travel": """travel trip trips holiday vacation flight flights fly flying airport airline hotel hostel train trains
        bus ferry itinerary tour tourist visit visiting abroad passport visa luggage beach sightseeing museum museums
        destination city weekend camping hiking hike road cruise resort backpacking commute""",
    "music": """music song songs album albums band bands artist artists concert concerts jazz rock pop metal classical
        hip hop rap playlist guitar piano violin drums sing singing listen opera techno""",
    "reading": """book books novel novels read reading author authors fiction non-fiction poetry poem story stories
        library magazine literature thriller biography""",
    "screen": """film films movie movies series show shows tv television cinema watch watching documentary documentaries
        anime netflix actor comedy horror streaming""",
    "games": """game games gaming videogame console playstation xbox nintendo chess puzzle board rpg multiplayer""",
    "sport": """sport sports gym workout workouts exercise running run runner marathon cycling bike swim swimming yoga
        football soccer basketball tennis climbing training fitness weights team""",
    "health": """health doctor doctors medicine medication sleep sleeping stress anxiety pain headache diet weight
        symptom symptoms therapy therapist hospital pregnant injury knee back tired mental allergy allergic diabetes""",
    "money": """money budget price prices cost costs cheap expensive invest investing savings loan mortgage bank tax
        taxes salary rent insurance pension stocks bill bills debt spend pay payment euros dollars pounds""",
    "work": """work job jobs career office meeting meetings colleague colleagues boss manager email emails interview
        resume cv presentation slides report client clients team deadline business company employer remote promotion""",
    "code": """code coding program programming python java javascript typescript rust sql bug debug function api script
        software developer compiler class database regex git docker linux terminal variable exception async library
        framework test tests algorithm""",
    "study": """study studying exam exams school university college homework course courses learn learning lesson teach
        teacher student essay mathematics maths math physics chemistry biology history language grammar lecture""",
    "home": """home house apartment flat garden gardening plants plant furniture clean cleaning repair paint decorate
        kitchen bedroom bathroom diy tools electricity supplier heating lawn""",
    "family": """family wife husband partner child children kid kids son daughter baby parent parents mother father
        wedding birthday anniversary gift gifts present friend friends date dating pet pets dog dogs cat cats""",
    "shopping": """buy buying shop shopping purchase product products brand brands laptop phone camera headphones
        clothes clothing shoes dress jacket car gift recommendation store online order""",
}


@cache
def _index() -> dict[str, frozenset[str]]:
    index: dict[str, set[str]] = {}
    for topic, listed in _TOPICS.items():
        for word in listed.split():
            index.setdefault(stem(word), set()).add(topic)
    return {word: frozenset(topics) for word, topics in index.items()}


def topics_in(text: str) -> frozenset[str]:
    """Return the topics that a text touches; empty when it touches none of the known ones."""
    index = _index()
    return frozenset(topic for word in content_words(text) for topic in index.get(word, ()))
