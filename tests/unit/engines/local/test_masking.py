"""Secrets in output."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.engines.local.masking import Masker, forms

SECRET = b"hunter2-p@ss/word+\xc3\xa9"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        base64.b64encode(SECRET),
        base64.urlsafe_b64encode(SECRET),
        urllib.parse.quote(SECRET, safe="").encode(),
        urllib.parse.quote(SECRET).encode(),
        urllib.parse.quote_plus(SECRET).encode(),
        json.dumps(SECRET.decode()).encode()[1:-1],
        SECRET.hex().encode(),
        SECRET.hex().upper().encode(),
        urllib.parse.quote(urllib.parse.quote(SECRET, safe=""), safe="").encode(),
    ],
)
def test_a_secret_is_found_in_each_of_its_forms(shown: bytes) -> None:
    assert Masker([SECRET])(b"before " + shown + b" after") == b"before *** after"


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_no_trace_of_it_is_left_in_base64_wherever_it_stands(before: bytes, after: bytes) -> None:
    shown = Masker([b"correct-horse-battery"])(base64.b64encode(before + b"correct-horse-battery" + after))
    assert b"***" in shown
    assert len(shown) <= len(base64.b64encode(before + after)) + 12


def test_every_line_of_a_secret_counts_but_no_trifles() -> None:
    masker = Masker([b"-----BEGIN KEY-----\nabcdefgh\nx\n-----END KEY-----\n"])
    assert masker(b"abcdefgh x") == b"*** x"


def test_a_short_secret_of_one_line_is_masked_all_the_same() -> None:
    assert Masker([b"ab\n"])(b"cab") == b"c***"


def test_the_longest_secret_wins() -> None:
    assert Masker([b"token", b"token-long"])(b"token-long") == b"***"


def test_without_secrets_nothing_changes() -> None:
    assert Masker([])(b"text") == b"text"
    assert Masker([b"", b"\n"])(b"text") == b"text"
    assert forms(b"\n") == frozenset()
