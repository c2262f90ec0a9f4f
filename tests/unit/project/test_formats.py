"""Every form of a string: what it takes, what it makes of it, what it refuses."""

from __future__ import annotations

import re

import pytest

from lamella.project.events import CRON, EVENT, Event
from lamella.project.formats import FORMATS, Format, FormatError, control_character
from lamella.project.version import VERSION, VersionSource

MORE: dict[str, Format] = {"event": EVENT, "cron": CRON, "version": VERSION}


def form(name: str) -> Format:
    return MORE.get(name) or FORMATS[name]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("duration", "90s", 90),
        ("duration", "15m", 900),
        ("duration", "1h30m", 5400),
        ("duration", "7d", 604_800),
        ("duration", "2w", 1_209_600),
        ("duration", "0s", 0),
        ("size", "512MiB", 536_870_912),
        ("size", "2GB", 2_000_000_000),
        ("size", "1.5KiB", 1536),
        ("size", "7B", 7),
        ("size", "1TB", 10**12),
        ("mode", "0755", 0o755),
        ("mode", "644", 0o644),
        ("mode", "04755", 0o4755),
        ("sha256", "sha256:" + "A" * 64, "a" * 64),
        ("bootstrap", "debian/trixie@20260101", "debian/trixie@20260101T000000Z"),
        ("port", "8080", "8080/tcp"),
        ("port", "053/udp", "53/udp"),
        ("version", "git:docker/v*", VersionSource("git", "docker/v*")),
        ("version", "cargo:.", VersionSource("cargo", ".")),
        ("version", "python:a/b", VersionSource("python", "a/b")),
        ("version", "file:VERSION", VersionSource("file", "VERSION")),
        ("version", "1.2.3-rc.1+x", VersionSource("literal", "1.2.3-rc.1+x")),
        ("event", "push:main", Event("push", "main")),
        ("event", "tag:v{version}", Event("tag", "v{version}")),
        ("event", "schedule:0 6 * * 1", Event("schedule", "0 6 * * 1")),
        ("event", "pull_request", Event("pull_request")),
        ("event", "upstream", Event("upstream")),
        ("event", "manual", Event("manual")),
    ],
)
def test_what_a_string_stands_for(name: str, text: str, expected: object) -> None:
    assert form(name).convert(text) == expected


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("owner", ["0:0", "me", "me:staff", "10001", "_x:4294967294", "a.b-c$"]),
        ("path", [".", "a", "a/b.c", "./a/", "..a", "a b"]),
        ("absolute", ["/", "/a", "/a b/c", "/a/"]),
        ("step_path", ["/a", "a/b"]),
        ("glob", ["**/*.pem", "!a/[b-d]?", "a/[]x]", "migrations/**", "[!a]b"]),
        ("url", ["https://a.example", "http://a.example:80/x?y#z"]),
        (
            "base",
            [
                "debian:bookworm-slim",
                "scratch",
                "oci:dir",
                "oci-archive:x.tar",
                "docker-archive:x.tar",
                "a.b/c@sha256:" + "0" * 64,
            ],
        ),
        ("reference", ["registry.example/acme/shop:1.0"]),
        ("repository", ["registry.example:5000/acme/shop", "shop"]),
        ("tag", ["latest", "1.0-x_y", "A" * 128]),
        ("platform", ["linux/amd64", "linux/arm/v7"]),
        ("published", ["80", "8080:80", "127.0.0.1:8080:80/udp", "127.0.0.1::80", "[::1]:8080:80"]),
        ("mount", ["a:/b", "./a:/b:ro", "/a:/b:rw,z"]),
        ("http_probe", ["/", "/healthz?x=1", ":8081/x"]),
        ("cron", ["0 3 * * 0", "*/15 0-6 1,15 1-12/2 7"]),
        ("package", ["g++", "libc6:arm64", "curl=7.88.1-10+deb12u5", "@development-tools", "python3.10"]),
        ("tool", ["cargo-deny", "sqlx-cli@0.8", "npm:@scope/x@1.2", "uv:ruff", "npm:bun@1.3.14"]),
        ("bootstrap", ["debian/bookworm", "ubuntu/noble@20260101T000000Z"]),
        ("feature", ["a", "crate/feat", "dep?/x", "c++20"]),
        ("triple", ["x86_64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf", "wasm32-wasip1"]),
        ("distribution", ["a", "zope.interface", "A_b-c"]),
        ("python_version", ["3", "3.12", "3.12.4"]),
        ("script", ["build", "build:openapi", "@x/y.z"]),
        ("hub", ["acme/small-encoder"]),
        ("signal", ["SIGTERM", "SIGRTMIN+3", "9"]),
        ("severity", ["critical", "critical,high"]),
        ("image_or_all", ["*", "web"]),
    ],
)
def test_strings_that_stay_as_they_are(name: str, texts: list[str]) -> None:
    for text in texts:
        assert form(name).convert(text) == text
        pattern = form(name).pattern
        assert pattern is None or re.search(pattern, text), "the JSON schema's pattern takes it too"


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("duration", ["", "90", "s", "1.5h", "5 m", "7y", "-1s", "1h 30m", "1" * 10 + "s"]),
        ("size", ["", "5", "5 MB", "5mb", "MB", "1.2345GB", "-1B", "5PB"]),
        ("mode", ["", "8", "75", "0o755", "17777", "755x"]),
        ("owner", ["", "a b", "me:", ":me", "4294967295", "a:b:c", "\u0661"]),
        ("path", ["", "/a", "a/../b", "..", "a\\b", "C:/x"]),
        ("absolute", ["", "a", "/a/../b", "/./a", "//a"]),
        ("step_path", ["../a", "/../a"]),
        ("glob", ["", "/a", "../*", "***", "a[b", "[", "a/***/b"]),
        ("url", ["", "ftp://a", "https://", "https://a b", "https://me:pw@a.example/x", "a.example"]),
        ("sha256", ["", "a" * 63, "sha512:" + "a" * 64, "g" * 64]),
        ("base", ["", "Debian", "a:b:c", "oci:", "a@sha256:1"]),
        ("reference", ["A/b", "a b"]),
        ("repository", ["a:1", "a@sha256:" + "0" * 64, "A"]),
        ("tag", ["", ".a", "-a", "a/b", "a:b", "A" * 129, "1.0+x"]),
        ("platform", ["amd64", "linux/x86_64", "linux", "Linux/amd64", "a/b/c/d"]),
        ("port", ["", "0", "65536", "80/http", "a", "80/"]),
        ("published", ["", "a:80", "80:", "99999:80", "1:2:3:4", "0"]),
        ("mount", ["", "/a", ":/b", "a:b", "a:/b:xx", "a:/b:ro:z"]),
        ("http_probe", ["", "healthz", "http://x/", "/a b", "/$x", '/"', ":999999/"]),
        ("cron", ["", "* * * *", "60 * * * *", "* 24 * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *", "* * * * * *"]),
        ("event", ["", "push", "push:", "tag:", "schedule:x", "merge", "manual:x", "push:a b"]),
        ("version", ["", "v", "latest", "svn:x", "git:v", "git:*.*", "git:a b*", "cargo:/x", "file:../V"]),
        ("package", ["", "-y", "a b", "a;b", "$x"]),
        ("tool", ["", "-x", "pip:x", "a@", "a b"]),
        ("bootstrap", ["debian", "debian/", "Debian/x", "debian/x@2026"]),
        ("crate", ["", "a/b", "-x", "a b"]),
        ("env_name", ["", "1A", "A-B", "A=B", "A B"]),
        ("image_name", ["", "A", "a/b", "a--", "-a", "a b"]),
        ("axis_value", ["", "a|b", "a,b", "a b", "-a"]),
        ("hub", ["a", "a/b/c", "/a"]),
        ("signal", ["TERM", "SIG", "sigterm"]),
        ("severity", ["", "bad", "high,", "high critical"]),
    ],
)
def test_strings_that_are_refused(name: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(FormatError):
            form(name).convert(text)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("v1.2.3", "1.2.3"), ("v", None), ("x1.2", None), ("vnext", None), ("v2024.01", "2024.01")],
)
def test_a_version_from_a_tag(tag: str, expected: str | None) -> None:
    assert VersionSource("git", "v*").from_tag(tag) == expected


def test_a_pattern_with_text_on_both_sides() -> None:
    source = VersionSource("git", "rel-*-final")
    assert source.from_tag("rel-1.0-final") == "1.0"
    assert source.from_tag("rel-final") is None


def test_control_characters() -> None:
    assert control_character("a\x00") == "U+0000"
    assert control_character("a\nb") == "U+000A"
    assert control_character("a\nb\tc", lines=True) is None
    assert control_character("a\rb", lines=True) == "U+000D"
    assert control_character("\u202e") == "U+202E"
    assert control_character("\u2028") == "U+2028"
    assert control_character("ü 😀 \u00a0") is None


def test_every_form_says_what_it_is() -> None:
    for name, item in FORMATS.items():
        assert item.name == name
        assert item.text
