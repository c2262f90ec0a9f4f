"""BuildKit's own reading of a RUN line, layer by layer, for round trips (moby/buildkit ``frontend/dockerfile``)."""

from __future__ import annotations

import csv
import io


def read_flags(line: str) -> tuple[list[str], str]:
    """Flags of an instruction and what follows them: ``parser/split_command.go``, extractBuilderFlags."""
    flags: list[str] = []
    rest = line
    while rest.lstrip().startswith("--"):
        word, rest = _read_flag(rest.lstrip())
        flags.append(word)
    return flags, rest.lstrip()


def _read_flag(text: str) -> tuple[str, str]:
    """One flag, byte by byte as BuildKit does it."""
    word, quote, index = "", "", 0
    while index < len(text):
        char = text[index]
        if char == "\\":
            index += 1
            word += text[index : index + 1]
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "'\"":
            quote = char
        elif char.isspace():
            return word, text[index:]
        else:
            word += char
        index += 1
    return word, ""


def read_mount(flag: str, *, words: bool) -> dict[str, str]:
    """Options of ``--mount=...``: ``instructions/commands_runmount.go``, parseMount; flags have an empty value."""
    text = flag.removeprefix("--mount=")
    fields = next(csv.reader(io.StringIO(text), strict=True))
    options: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition("=")
        options[name] = read_word(value) if words and name != "from" else value
    return options


def read_word(text: str) -> str:
    """One shell word without variables: ``shell/lex.go``; a variable would be an error of the writer."""
    out, index = "", 0
    while index < len(text):
        char = text[index]
        if char == "\\":
            index += 1
            out += text[index]
        elif char in "$'\"":
            raise AssertionError(f"{char} is not quoted in {text!r}")
        else:
            out += char
        index += 1
    return out
