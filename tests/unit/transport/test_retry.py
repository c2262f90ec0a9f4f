from __future__ import annotations

import pytest

from lamella.transport.retry import RetryPolicy, Timing, backoff, retry_after
from lamella.transport.settings import HttpSettings, proxy_for

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "999999999999999999999"}, 60.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:30 GMT", "date": DATE}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2005 07:28:30 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:30 GMT", "date": DATE}, None),
    ],
)
def test_retry_after_is_honoured_up_to_a_cap_and_absurd_values_are_not(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, 60.0) == seconds


def test_waiting_grows_exponentially_with_full_jitter_up_to_a_limit() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    policy = RetryPolicy(first_wait=1.0, longest_wait=5.0)
    for failures in range(1, 5):
        backoff(policy, failures, Timing(uniform=uniform))
    assert asked == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 5.0)]


@pytest.mark.parametrize(
    ("scheme", "host", "proxy"),
    [
        ("https", "a.example", "http://secure"),
        ("http", "a.example", "http://plain"),
        ("https", "localhost", ""),
        ("https", "127.0.0.5", ""),
        ("https", "[::1]", ""),
        ("https", "corp.example", ""),
        ("https", "deep.corp.example", ""),
        ("https", "notcorp.example", "http://secure"),
    ],
)
def test_the_proxy_of_a_host(scheme: str, host: str, proxy: str) -> None:
    settings = HttpSettings(http_proxy="http://plain", https_proxy="http://secure", no_proxy=(".corp.example",))
    assert proxy_for(settings, scheme, host) == proxy


def test_a_star_switches_the_proxy_off() -> None:
    assert proxy_for(HttpSettings(https_proxy="http://p", no_proxy=("*",)), "https", "a.example") == ""
