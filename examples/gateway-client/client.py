"""Two people ask through a gateway, with OpenAI's own client as it is.

    python client.py

The gateway is at GATEWAY_URL (http://127.0.0.1:8088/v1), and takes GATEWAY_KEY, of the scopes chat, feedback and admin.
It asks for OPENAI_MODEL, or for the first one that the gateway lists.
"""

import os
import time
from typing import Any

from openai import OpenAI

URL = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8088/v1")
KEY = os.environ.get("GATEWAY_KEY", "none")
SAY = {"ada": "I don't eat meat.", "bob": "I prefer short answers."}
QUESTION = "What could I cook tonight?"


class Person:
    """Somebody at an app: the app's client, which tells the gateway who is asking."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Or name them in a request itself: safety_identifier=name, which the model's server then sees as well.
        self.client = OpenAI(base_url=URL, api_key=KEY, default_headers={"X-Persona-User": name})
        self.model = os.environ.get("OPENAI_MODEL") or self.client.models.list().data[0].id

    def ask(self, question: str) -> str:
        """Ask, print the answer as it comes, and return its id."""
        print(f"\n{self.name}: {question}\n> ", end="")
        messages: Any = [{"role": "user", "content": question}]
        answer_id = ""
        for chunk in self.client.chat.completions.create(
            model=self.model, messages=messages, stream=True, max_tokens=60, temperature=0
        ):
            answer_id = chunk.id
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
        print()
        time.sleep(0.5)  # nobody judges it sooner; the gateway writes answers down just after they were given
        return answer_id

    def judge(self, answer_id: str, **what: Any) -> None:
        """Say what they did with an answer: the app needs to know nothing but its id."""
        done: Any = self.client.post("/feedback", body={"response_id": answer_id, **what}, cast_to=object)
        print(f"  [recorded: {done['kind']}]")

    def known(self) -> None:
        """Print what the gateway has learnt, which an app would show on a page of its own."""
        persona: Any = self.client.get(f"/personas/{self.name}", cast_to=object)
        print(f"\nKnown of {self.name}, version {persona['version']}:")
        for reason in persona["traits"]:
            print(f"  {reason['trait']['statement']}  ({'; '.join(reason['evidence'])})")

    def why(self, answer_id: str) -> None:
        """Print what an answer was tailored by."""
        reasons: Any = self.client.get(f"/explanations/{answer_id}", cast_to=object)
        used = [reason["trait"]["statement"] for reason in reasons["reasons"] if reason["used"]]
        print(f"  [the model was told of {self.name}: {' '.join(used) or 'nothing'}]")


if __name__ == "__main__":
    people = [Person(name) for name in SAY]
    for person in people:
        person.judge(person.ask(SAY[person.name]), thumb="down")
        person.known()
    for person in people:
        answer_id = person.ask(QUESTION)
        person.why(answer_id)
        person.judge(answer_id, edited="Lentil curry with rice, in half an hour.")
