"""Resources: a URI for everybody, whatever their id is, and nothing in what is read there that acts."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mcp import MCPError
from mcp.shared.uri_template import UriTemplate

from persona_integrations.mcp.resources import KINDS, uri
from persona_sdk.engine import Personalizer
from persona_sdk.signals import Utterance
from tests.integrations.mcp.talking import claim, connected, text_at

ODD = [
    "a/b",
    "a/traits.json",
    "..",
    ".",
    "me",
    "zoë",
    "用户 一",
    "a%2Fb",
    "a+b c",
    "?q=1",
    "#",
    "a@b:80",
    "\u202eevil",
    "😀",
]
#: What `markdown` itself makes: a heading, paragraphs, and lists.
PLAIN = {"inline", "text", "text_special", "softbreak"} | {
    f"{kind}_{end}" for kind in ("heading", "paragraph", "bullet_list", "list_item") for end in ("open", "close")
}
NAMES = ["", "/traits.json", "/signals.json"]


async def test_a_persona_is_read_as_text_and_as_json(known: Personalizer) -> None:
    async with connected(known) as client:
        [persona] = (await client.read_resource("persona://ada")).contents
        [traits] = (await client.read_resource("persona://ada/traits.json")).contents
        [signals] = (await client.read_resource("persona://ada/signals.json")).contents
        assert await text_at(client, "persona://ada/") == persona.text
    assert (persona.mime_type, traits.mime_type, signals.mime_type) == ("text/markdown", *["application/json"] * 2)
    assert persona.text.startswith("# ada\n\nPersona version 1, learnt from 13 signals.\n\nIt predicts 100%")
    assert "- Does not eat meat. (said, pinned)\n  - because they said: 'I don't eat meat'\n" in persona.text
    read = json.loads(traits.text)
    assert [t["id"] for t in read["traits"]] == ["said:eat meat/against", "style:length/against"]
    latest = json.loads(signals.text)
    assert latest["signals"] == len(latest["latest"]) == 13
    assert latest["latest"][0]["texts"] == {"text": "I don't eat meat."}
    assert latest["latest"][1]["texts"]["chosen"] == "Do it like 11."
    assert latest["latest"][1]["texts"]["prompt"] == "How do I do thing 11?"
    assert len(latest["latest"][1]["texts"]["rejected"]) <= 240


async def test_rulings_are_shown_and_every_kind_of_signal(known: Personalizer) -> None:
    known.reject("ada", "said:eat meat")
    known.rate("ada", -0.5, prompt="Hm?", response="No.")
    known.edited("ada", "Yes!", prompt="Hm?", original="Yes.")
    known.regenerated("ada", prompt="Hm?", response="No.", kept="Nope.")
    known.regenerated("ada", prompt="Hm?", response="No.")
    async with connected(known, user="ada") as client:
        assert "- rejected by them: Does not eat meat." in await text_at(client, "persona://me")
        read = json.loads(await text_at(client, "persona://me/signals.json"))
    unkept, kept, edited, rated = read["latest"][:4]
    assert unkept["texts"] == {"prompt": "Hm?", "answer": "No."}
    assert kept["texts"] == {"prompt": "Hm?", "answer": "No.", "kept": "Nope."}
    assert edited["texts"] == {"prompt": "Hm?", "original": "Yes.", "edited": "Yes!"}
    assert (rated["kind"], rated["score"], rated["texts"]["answer"]) == ("rating", -0.5, "No.")


async def test_only_the_newest_signals_are_shown(empty: Personalizer) -> None:
    empty.observe([Utterance(user_id="ada", text=f"Remark {number}.") for number in range(103)])
    async with connected(empty, user="ada") as client:
        read = json.loads(await text_at(client, "persona://me/signals.json"))
    assert read["signals"] == 103
    assert [s["texts"]["text"] for s in read["latest"]] == [f"Remark {n}." for n in range(102, 2, -1)]


async def test_of_somebody_unknown_it_is_said_that_nothing_is_known(known: Personalizer) -> None:
    async with connected(known) as client:
        assert await text_at(client, "persona://eve") == "# eve\n\nnothing is known of this person yet\n"
        assert json.loads(await text_at(client, "persona://eve/traits.json"))["known"] is False
        assert json.loads(await text_at(client, "persona://eve/signals.json"))["latest"] == []
    assert known.users() == ["ada"]


async def test_every_id_has_a_uri(empty: Personalizer) -> None:
    for user in ODD:
        empty.said(user, f"I live in {ODD.index(user)}-town.")
    async with connected(empty) as client:
        listed = {r.uri: r for r in (await client.list_resources()).resources}
        templates = [
            UriTemplate.parse(t.uri_template) for t in (await client.list_resource_templates()).resource_templates
        ]
        assert len(listed) == len(ODD)
        for user in ODD:
            for kind, template, path in zip(KINDS, templates, NAMES, strict=True):
                at = uri(user, kind)
                assert at == f"persona://{quote(user, safe='')}{path}" == template.expand({"user_id": user})
                read = await text_at(client, at)
                if path:
                    assert json.loads(read)["user_id"] == user
                else:
                    assert at in listed
            town = json.loads(await text_at(client, uri(user, KINDS[2])))["latest"][0]["texts"]["text"]
            assert town == f"I live in {ODD.index(user)}-town."
            assert (await client.read_resource(uri(user, KINDS[1]))).contents[0].uri == uri(user, KINDS[1])


def markup(text: str) -> set[str]:
    """Return the kinds of markup that a reader of Markdown sees in a text."""
    tokens = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"]).parse(text)
    headings = [t.tag for t in tokens if t.type == "heading_open"]
    assert headings == ["h1"]
    return {part.type for token in tokens for part in (token, *(token.children or ()))}


@given(st.text(min_size=1, max_size=512).filter(str.strip))
def test_a_uri_names_one_person(user: str) -> None:
    for kind in KINDS:
        at = uri(user, kind)
        assert at.isascii()
        path = at.removeprefix("persona://").partition("/")[2]
        assert f"/{path}" == (kind.path or "/")
        assert UriTemplate.parse(f"persona://{{user_id}}{kind.path}").match(at) == {"user_id": user}


@pytest.mark.parametrize(
    "at",
    ["persona://", "persona://ada/nope", "persona:/ada", "ada", "file:///etc/passwd", "persona://%FF", "persona://a%00",
     "persona://ada/traits.json/", "persona://ada?x", "PERSONA://ada", "persona://" + "x" * 513, "persona://%20"],
)  # fmt: skip
async def test_other_uris_are_refused(known: Personalizer, at: str) -> None:
    async with connected(known) as client:
        if at == "persona://ada?x":  # an id that nobody has
            assert "nothing is known" in await text_at(client, at)
            return
        with pytest.raises(MCPError) as failure:
            await client.read_resource(at)
        assert failure.value.error.code == -32602
        assert await text_at(client, "persona://ada")


async def test_people_are_listed_a_page_at_a_time(empty: Personalizer) -> None:
    people = [f"person {n:03}" for n in range(205)]
    empty.observe([Utterance(user_id=user, text="Hello.") for user in people])
    found, cursor = [], None
    async with connected(empty) as client:
        for _ in range(3):
            page = await client.list_resources(cursor=cursor)
            found += page.resources
            cursor = page.next_cursor
    assert cursor is None
    assert [r.name for r in found] == people
    assert found[0].uri == "persona://person%20000"
    assert found[0].mime_type == "text/markdown"


async def test_of_the_one_bound_to_everything_is_listed_and_of_nobody_else(known: Personalizer) -> None:
    known.said("bob", "Hello.")
    async with connected(known, user="ada") as client:
        listed = (await client.list_resources()).resources
        assert [r.uri for r in listed] == [f"persona://me{path}" for path in NAMES]
        assert (await client.list_resource_templates()).resource_templates == []
        for resource in listed:
            assert await text_at(client, resource.uri)
        assert await text_at(client, "persona://ada") == await text_at(client, "persona://me")


async def test_nothing_in_what_people_say_acts_as_markup(empty: Personalizer) -> None:
    evil = "![x](https://evil.example/?q=1) <b>bold</b> `code` *star* | # head [link](javascript:alert)"
    claim(empty, evil, evil, evil)
    async with connected(empty) as client:
        text = await text_at(client, uri(evil, KINDS[0]))
        [listed] = (await client.list_resources()).resources
    assert text.count("evil.example") == 4
    assert markup(text) <= PLAIN
    assert "<" not in listed.name
    assert "<" not in listed.title


#: Texts in which marks of Markdown meet letters and spaces.
MARKED = st.text(st.sampled_from("ab1 .-+>#*_[]()!<&;:/\\`~|=\n\t'\"") | st.characters(), min_size=1, max_size=40)


@settings(max_examples=200)
@given(said=MARKED, user=MARKED)
@example(said="1. a", user="2) b")
@example(said="---", user="===")
@example(said="- - a", user="+ b")
@example(said="&lt;b&gt; &#91;a&#93;(b)", user="a\n# b")
def test_markdown_holds_no_links_and_no_html(said: str, user: str) -> None:
    from persona_integrations.mcp.views import PersonaView, RulingView, TraitView, markdown

    trait = TraitView(
        id="a", statement=said, said=True, status="pinned", weight=1, interval=(1, 1), scope=[], evidence=[said]
    )
    shown = PersonaView(
        user_id=user, known=True, note="", version=1, pinned=False, learnt_from=1, lift="", traits=[trait],
        rulings=[RulingView(id="b", ruling="rejected", statement=said)],
    )  # fmt: skip
    text = markdown(shown)
    assert markup(text) <= PLAIN
    assert text.count("\n") == 9
