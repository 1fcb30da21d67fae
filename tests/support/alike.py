"""People who are alike by what they say, so that a test can tell who is nearest to whom."""

from persona_sdk import Personalizer
from persona_sdk.hooks import hookimpl
from tests.support.people import Believes, InCode


class Leans(Believes):
    """Leans to every word a person said, as often as they said it."""

    def leaning(self, request):
        words = [w.strip(".") for s in request.signals if s.kind == "utterance" for w in s.text.split()]
        return {f"w:{word}": float(words.count(word)) for word in sorted(set(words))}

    def contrast(self, population, asked):
        return [
            {f"w:{w}": float((w in c.chosen.split()) - (w in c.rejected.split())) for w in c.chosen.split()}
            | {f"w:{w}": -1.0 for w in c.rejected.split() if w not in c.chosen.split()}
            for c in asked
        ]


class Indexed(InCode):
    """Offers an index given in code under the provider "given"."""

    def __init__(self, index, **products):
        super().__init__(**products)
        self.index = index

    @hookimpl
    def persona_register(self, registry):
        InCode.persona_register(self, registry)
        registry.add_index("given", lambda where: self.index)


SAID = {
    "ann": "tea rain books",
    "bob": "tea rain chess",
    "cleo": "tea opera wine",
    "dan": "football beer crisps",
}


def alike(database_url, *plugins, said=SAID, **settings):
    """Return a personalizer whose people have said something; it learns when asked to."""
    given = {"index": "exact", "learning": "manual", "time_budget": 30, "inferrer": "believes", **settings}
    plugins = plugins or (InCode(inferrer=Leans()),)
    personalizer = Personalizer(database_url, plugins=plugins, similar="similar_personas", **given)
    for user, text in said.items():
        personalizer.said(user, text, id=f"{user}-0")
    if given["learning"] == "manual":
        personalizer.learn_pending()
    return personalizer


def names(neighbours):
    return [one.user_id for one in neighbours]
