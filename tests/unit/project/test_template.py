"""Templates: what they look like, what their variables are, what stays for later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.canonical import FrozenMap, canonical_json
from lamella.project.template import (
    Deferred,
    Scope,
    Template,
    TemplateError,
    TemplateFacts,
    Variable,
    parse_template,
    platform_variables,
    render,
    variable_axes,
)

FACTS = TemplateFacts("v1.4.0-rc.1", "abc", 1_767_225_600, "/w", 7)
SCOPE = Scope(
    FACTS,
    FrozenMap({"accelerator": "cuda", "profile": "dev", "platform": "linux/arm64"}),
    FrozenMap({"rust": "1.95"}),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{x}}", "{x}"),
        ("{{x}", "{x}"),
        ("}", "}"),
        ("a } b", "a } b"),
        ("{{{version}}}", "{v1.4.0-rc.1}"),
        ('{{"a": {{"b": 1}}}}', '{"a": {"b": 1}}'),
        ("{version}-{major}-{minor}", "v1.4.0-rc.1-1-4"),
        ("{commit} {cwd} {uid}", "abc /w 7"),
        (
            "{date} {date:%Y.%m.%d} {date:%H:%M:%S %j %y %V %G %u %%}",
            "2026-01-01 2026.01.01 00:00:00 001 26 01 2026 4 %",
        ),
        ("{arch} {machine} {target}", "arm64 aarch64 aarch64-unknown-linux-gnu"),
        ("{accelerator}/{profile}/{platform}", "cuda/dev/linux/arm64"),
        ("rust{args.rust}", "rust1.95"),
    ],
)
def test_what_a_text_becomes(text: str, expected: str) -> None:
    assert render(parse_template(text), SCOPE) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "'{' opens a variable that is not closed"),
        ("{version", "'{' opens a variable that is not closed"),
        ("{}", "'{}' is not a variable"),
        ("{a b}", "'{a b}' is not a variable"),
        ("${HOME:-x}", "'{HOME:-x}': only date takes a format"),
        ("{1}", "'{1}' is not a variable"),
        ("{date:}", "has a format that is not understood"),
        ("{date:%x}", "has a format that is not understood"),
        ("{args.}", "'{args.}' is not a variable"),
        ("{foo.bar}", "'{foo.bar}' is not a variable"),
    ],
)
def test_what_is_no_template(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{version}", "{version} has no value: no version is known"),
        ("{major}", "{major} has no value: no version is known"),
        ("{commit}", "{commit} has no value here"),
        ("{date}", "{date} has no value here"),
        ("{cwd}", "{cwd} has no value here"),
        ("{uid}", "{uid} has no value here"),
        ("{args.x}", "{args.x} has no value"),
        ("{arch}", "there is no variable {arch}"),
        ("{nope}", "there is no variable {nope}"),
    ],
)
def test_a_variable_without_a_value(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(parse_template(text), Scope())
    assert caught.value.message == message


def test_platforms_that_have_no_triple_or_are_none() -> None:
    for platform, text, message in (
        ("linux/mips64", "{target}", "{target} is not known for linux/mips64"),
        ("a/b/c/d", "{arch}", "platform 'a/b/c/d' is not of the form"),
    ):
        with pytest.raises(TemplateError) as caught:
            render(parse_template(text), Scope(axes=FrozenMap({"platform": platform})))
        assert caught.value.message.startswith(message)


@pytest.mark.parametrize("version", ["today", "7"])
def test_a_version_without_the_number_asked_for(version: str) -> None:
    with pytest.raises(TemplateError, match="has no such number"):
        render(parse_template("{minor}"), Scope(TemplateFacts(version)))


def test_the_bases_environment_waits() -> None:
    found = render(parse_template("/x:{base.PATH}:{version}/{base.HOME}"), SCOPE)
    assert isinstance(found, Deferred)
    assert found.parts == ("/x:", Variable("base.PATH"), ":v1.4.0-rc.1/", Variable("base.HOME"))
    assert found.resolve({"PATH": "/bin", "HOME": "/root"}) == "/x:/bin:v1.4.0-rc.1//root"
    assert (found.names, str(found)) == (("PATH", "HOME"), "/x:{base.PATH}:v1.4.0-rc.1/{base.HOME}")
    with pytest.raises(KeyError):
        found.resolve({"PATH": "/bin"})
    assert b'"kind":"deferred"' in canonical_json(found)


def test_what_a_text_depends_on() -> None:
    axes = {"accelerator": 1, "platform": 1}
    assert variable_axes("{accelerator}-{version}", axes.keys()) == {"accelerator"}
    assert variable_axes("{machine}", axes.keys()) == {"platform"}
    assert variable_axes("{", axes.keys()) == set()
    assert platform_variables(parse_template("{arch}"))
    assert not platform_variables(parse_template("{accelerator}"))
    assert Variable("date", "%Y").text == "{date:%Y}"


@given(st.text())
def test_text_with_doubled_braces_is_itself(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert render(parse_template(escaped), Scope()) == text


@given(st.text(alphabet="{}ab.:%$ version"))
def test_any_text_is_a_template_or_an_error(text: str) -> None:
    try:
        template = parse_template(text)
    except TemplateError:
        return
    assert isinstance(template, Template)
    assert "".join(part if isinstance(part, str) else part.text for part in template.parts).count("{") <= text.count(
        "{"
    )
