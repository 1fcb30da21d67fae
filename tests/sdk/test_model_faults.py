"""Which faults of a model may pass, and how long a server asks to be left alone."""

from persona_sdk.faults import is_transient, retry_after


def test_what_counts_as_transient():
    class ReadTimeoutError(Exception):
        pass

    class RefusedError(Exception):
        status_code = 400

    class BrokeError(Exception):
        status_code, code = 429, "insufficient_quota"

    assert all(map(is_transient, [TimeoutError(), ConnectionResetError(), ReadTimeoutError()]))
    assert not any(map(is_transient, [RefusedError(), BrokeError(), ValueError(), FileNotFoundError()]))

    class Response:
        headers = None

    Response.headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}

    BrokeError.response = Response()
    assert retry_after(BrokeError()) == 0  # long past
    Response.headers = {"retry-after-ms": "1500"}
    assert retry_after(BrokeError()) == 1.5
    for odd in ("soon", "nan", "inf", "-3", ""):
        Response.headers = {"retry-after": odd}
        assert retry_after(BrokeError()) == 0
