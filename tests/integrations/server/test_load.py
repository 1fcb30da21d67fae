"""Two hundred streams at once, some of which break: everybody gets their own answer, and nothing of it is lost."""

import asyncio
from collections import Counter

import httpx2
import openai

from persona_sdk import Personalizer
from tests.support.gateways import counted, eventually, gateway
from tests.support.upstream import upstream

FAULTS = ("", "", "[pace=0.01]", "[slow=0.3]", "", "[cut]", "[500]", "[reset]", "[split=7]", "[429]")


async def ask(client, number):
    """Return what became of one stream: its text and id, or the kind of its failure."""
    text = f"Question {number} {FAULTS[number % len(FAULTS)]}"
    said, id_ = [], ""
    try:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": text}], stream=True, user=f"user {number}"
        )
        async for chunk in stream:
            id_ = chunk.id
            if chunk.choices and chunk.choices[0].delta.content:
                said.append(chunk.choices[0].delta.content)
    except (openai.APIError, httpx2.TransportError) as error:
        return type(error).__name__, "".join(said)
    return id_, "".join(said)


async def ask_all(url, count):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=60) as client:
        return await asyncio.gather(*(ask(client, number) for number in range(count)))


def test_two_hundred_streams_with_faults(tmp_path):
    count, database = 200, f"sqlite:///{tmp_path}/persona.db"
    with upstream() as behind, Personalizer(database, calls="memory", learning="manual") as personalizer:
        options = {"learning": "thread", "learning_interval": 0.05, "queue": 16}
        with gateway(behind.url, database, personalizer=personalizer, **options) as url:
            results = asyncio.run(ask_all(url, count))
            assert behind.most_at_once > 20
            for number, (id_, text) in enumerate(results):
                match FAULTS[number % len(FAULTS)]:
                    case "[cut]":
                        assert id_ in ("APIConnectionError", "RemoteProtocolError"), id_
                    case "[500]":
                        assert id_ == "InternalServerError"
                    case "[429]":
                        assert id_ == "RateLimitError"
                    case "[reset]":
                        assert id_ == "InternalServerError"  # 502, in the gateway's words
                    case fault:
                        assert text == f"echo: Question {number} {fault}"
            whole = [(n, id_) for n, (id_, _) in enumerate(results) if id_.startswith("chatcmpl")]
            eventually(lambda: counted(url, "persona_gateway_records_total", what="answer") == len(whole))
            eventually(lambda: counted(url, "persona_gateway_records_total", what="notice") == count)
            with httpx2.Client(base_url=url) as client:
                for number, id_ in whole:
                    posted = client.post("/v1/feedback", json={"response_id": id_, "thumb": "up"})
                    assert posted.status_code == 201, (number, posted.text)
            assert counted(url, "persona_gateway_in_flight") == 0
            broken = Counter(FAULTS[n % len(FAULTS)] for n in range(count))
            assert counted(url, "persona_gateway_broken_total", side="upstream") == broken["[cut]"] + broken["[reset]"]
            assert counted(url, "persona_gateway_records_total", outcome="failed") == 0
        assert behind.at_once == 0
        kinds = [[s.kind for s in personalizer.signals(f"user {n}")] for n in range(count)]
        assert kinds == [["utterance", "rating"] if id_.startswith("chatcmpl") else ["utterance"] for id_, _ in results]
        for number, id_ in whole:
            assert personalizer.call(id_).user_id == f"user {number}"
