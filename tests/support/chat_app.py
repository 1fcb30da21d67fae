"""A chat app as its server sees it: every request is the whole conversation so far, and is answered with one text."""

import itertools

_ids = itertools.count(1)

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,Zq7Zq7Zq7"}}


def user(text):
    """Return what a person says."""
    return {"role": "user", "content": text}


def assistant(text, **more):
    """Return what a model says."""
    return {"role": "assistant", "content": text, **more}


def request(personalizer, user_id, messages, answer=None):
    """Serve one request; return what was noticed, and the response id. Without an answer, the model failed."""
    noticed = personalizer.notice(user_id, messages)
    tailored = personalizer.tailor(user_id, messages)
    response_id = f"response-{next(_ids)}"
    if answer is not None:
        personalizer.answered(tailored, answer, response_id)
    return noticed, response_id


class Chat:
    """One conversation of one person. Its methods return what was noticed of the request that each one makes."""

    def __init__(self, personalizer, user_id, system=None):
        self.personalizer, self.user_id = personalizer, user_id
        self.front = [] if system is None else [{"role": "system", "content": system}]
        self.said = []

    def say(self, text, answer):
        """Go on with what the person says next."""
        self.said.append(user(text))
        return self._ask(answer)

    def again(self, answer):
        """Press the button for another answer; the one before it is shown no more."""
        self.said = self.said[:-1]
        return self._ask(answer)

    def edit(self, text, answer):
        """Send the last question again, in other words."""
        self.said = [*self.said[:-2], user(text)]
        return self._ask(answer)

    def back_to(self, answer):
        """Show another one of the last question's answers."""
        self.said[-1] = assistant(answer)

    def _ask(self, answer):
        noticed, _ = request(self.personalizer, self.user_id, [*self.front, *self.said], answer)
        self.said.append(assistant(answer))
        return noticed


def kinds(signals):
    """What the signals are."""
    return [s.kind for s in signals]


def said(p, user_id="ann"):
    """What somebody said."""
    return [s.text for s in p.signals(user_id) if s.kind == "utterance"]


def again(p, user_id="ann"):
    """The answers that somebody wanted another one for."""
    return [s.response for s in p.signals(user_id) if s.kind == "regeneration" and s.kept is None]


def stayed(p, user_id="ann"):
    """The answers that somebody stayed with, each with the one it was preferred to."""
    return [(s.kept, s.response) for s in p.signals(user_id) if s.kind == "regeneration" and s.kept is not None]
