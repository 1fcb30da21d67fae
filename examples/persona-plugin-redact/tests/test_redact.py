"""The contract of every tailor, and what this one is for."""

import logging

import persona_plugin_redact as plugin
import pytest

from persona_sdk.models import ChatCall, GateDecision, Message, Tailored
from persona_sdk.testing import TailorContract, make_context


class TestRedact(TailorContract):
    @pytest.fixture
    def tailor(self):
        return plugin.Redact()


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Write to ann.lee+x@mail.example.org now", "Write to [e-mail] now"),
        ("4111 1111 1111 1111 and 4111111111111111", "[card] and [card]"),
        ("Call +44 20 7946 0958.", "Call [phone]."),
        ("In 2024 we sold 1500 cups at 12:30", "In 2024 we sold 1500 cups at 12:30"),
    ],
)
def test_takes_out_what_is_private(text, sent):
    assert plugin.redact(text) == sent
    assert plugin.redact([{"type": "text", "text": text}]) == [{"type": "text", "text": sent}]


def test_logs_how_many_messages_it_changed(caplog):
    call = ChatCall(messages=(Message(role="user", content="I am bo@example.org"),), user_id="bo")
    new, step = plugin.Redact().tailor(call, make_context())
    with caplog.at_level(logging.INFO):
        gate = GateDecision(open=True, reason="test")
        plugin.persona_on_tailored(tailored=Tailored(call_id="c1", call=new, gate=gate, steps=(step,)))
    assert caplog.messages == ["call c1: 1 of 1 messages redacted"]
