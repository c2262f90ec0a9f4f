from __future__ import annotations

import pytest

from lamella.transport.redaction import BODY_SHOWN, clean_body, redact, redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@host.example/a/b", "https://host.example/a/b"),
        ("https://host.example/a?X-Signature=abc&Expires=1", "https://host.example/a?[hidden]"),
        ("https://host.example:8443/a#token", "https://host.example:8443/a"),
        ("http://[::1", "[hidden]"),
    ],
)
def test_a_url_is_shown_without_credentials_and_query(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_known_secrets_and_authorization_values_are_taken_out_of_text() -> None:
    text = "GET https://me:s3cret@x.example/?sig=1 with Authorization: Bearer abcdefghijkl and hunter22"
    cleaned = redact(text, ("hunter22",))
    assert cleaned == "GET https://x.example/?[hidden] with Authorization: Bearer [hidden] and [hidden]"


def test_a_secret_that_holds_another_is_taken_out_whole() -> None:
    assert redact("abc-def", ("abc", "abc-def")) == "[hidden]"


def test_an_error_body_is_one_short_printable_line() -> None:
    body = b"\x1b[31mno\r\n\x00 such\t" + "\u202ething ".encode() + b"x" * 1000
    cleaned = clean_body(body)
    assert cleaned.startswith("[31mno such thing xxx")
    assert cleaned.isprintable()
    assert len(cleaned.removesuffix("…").encode()) == BODY_SHOWN
