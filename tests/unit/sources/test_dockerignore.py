"""The cases are those by which Docker's own matcher is judged, and lines where it surprises; see the module."""

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.sources.dockerignore import NO_STATE, parse_dockerignore

ONE_LINE = [
    ("**", "file", True),
    ("**/", "file", True),
    ("**", "dir/file", True),
    ("**/**", "dir/file", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir/dir2/file", True),
    ("dir/**", "dir", False),
    ("**/dir", "dir", True),
    ("**/dir", "dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/**", "dir/dir2/dir3/file", True),
    ("**file", "file", True),
    ("**file", "dir/dir/file", True),
    ("**/file", "dir/file", True),
    ("**/file*", "dir/dir/file.txt", True),
    ("**/file*txt", "dir/dir/file.txt", True),
    ("**/file*.txt*", "dir/dir/file.txt", True),
    ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/**/*.txt2", "dir/dir/file.txt", False),
    ("**/*.txt", "file.txt", True),
    ("**/**/*.txt", "file.txt", True),
    ("a**/*.txt", "a/file.txt", True),
    ("a**/*.txt", "a/dir/dir/file.txt", True),
    ("a/*.txt", "a/dir/file.txt", False),
    ("a/*.txt", "a/file.txt", True),
    ("a/*.txt**", "a/file.txt", True),
    ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[^b-d]e", "aze", True),
    ("a[!b-d]e", "aze", False),
    ("a[!b-d]e", "a!e", True),
    (".*", ".foo", True),
    (".*", "foo", False),
    ("abc.def", "abcdef", False),
    ("abc.def", "abcZdef", False),
    ("abc.def", "abc.def", True),
    ("abc?def", "abcZdef", True),
    ("abc?def", "abcdef", False),
    (r"a\\", "a\\", True),
    (r"a\*b", "a*b", True),
    (r"a\*b", "ab", False),
    ("**/foo/bar", "foo/bar", True),
    ("**/foo/bar", "dir/dir2/foo/bar", True),
    ("**/.foo", ".foo", True),
    ("**/.foo", "bar.foo", False),
    ("a(b)c/def", "a(b)c/def", True),
    ("a(b)c/def", "a(b)c/xyz", False),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    ("dist/*.whl", "dist/pkg-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", True),
    ("a*", "ab/c", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("a?b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("a[^a]b", "a☺b", True),
    ("[a-ζ]*", "\N{GREEK SMALL LETTER ALPHA}", True),
    ("*[a-ζ]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    (r"[\]a]", "]", True),
    (r"[\-]", "-", True),
    (r"[x\-]", "-", True),
    (r"[x\-]", "z", False),
    (r"[\-x]", "x", True),
    ("[[:alpha:]]1", "z1", True),
    ("[[:alpha:]]1", "_1", False),
    ("docs", "docs/README.md", True),
    ("docs", "src/docs", False),
    ("docs/", "docs/README.md", True),
    ("/docs", "docs/README.md", True),
    ("./docs/../docs", "docs/a", True),
    ("../docs", "docs/a", False),
    (".", "a", False),
    ("/", "a", False),
    ("*.md", "docs/README.md", False),
    ("a|b*", "ax", True),
    ("a|b*", "zb", True),
    ("x{2}*", "xxy", True),
    ("x{,2}*", "x{,2}", True),
    ("file", "file\n", False),
    ("fil?", "file\n", False),
]


@pytest.mark.parametrize(("line", "path", "ignored"), ONE_LINE)
def test_one_line(line: str, path: str, ignored: bool) -> None:
    assert parse_dockerignore(line.encode()).ignored(path) == ignored


@pytest.mark.parametrize(
    ("lines", "path", "ignored"),
    [
        (["!fileutils.go", "*.go"], "fileutils.go", True),
        (["*.go", "!fileutils.go"], "fileutils.go", False),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/README.md"], "docs/other.md", True),
        (["docs/", "!docs/README.md"], "docs/README.md", False),
        (["docs/*", "!docs/README.md"], "docs/README.md", False),
        (["**", "!util/docker/web"], "util/docker/web/foo", False),
        (["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", True),
        (["**", "!dist/*.whl"], "dist/a.whl", False),
        (["**", "!dist/*.whl"], "dist/a.tar", True),
        (["*", "!src/**/*.rs"], "src/deep/er/main.rs", False),
        (["*", "!src/**/*.rs"], "src/deep/er/notes.md", True),
        (["*", "!src", "src/secret"], "src/secret/key", True),
        (["*", "!src", "src/secret"], "src/main.rs", False),
        (["**/node_modules", "!keep/node_modules"], "keep/node_modules/x", False),
        (["**/node_modules", "!keep/node_modules"], "keep/a/node_modules/x", True),
        (["*", "/!src"], "src/a", False),
        (["*", "! src"], "src/a", False),
    ],
)
def test_later_lines_win(lines: list[str], path: str, ignored: bool) -> None:
    assert parse_dockerignore("\n".join(lines).encode()).ignored(path) == ignored


def test_comments_blank_lines_white_space_and_a_byte_order_mark() -> None:
    data = b"\xef\xbb\xbf# first\n\n  docs \t\r\n #notacomment\n\\#escaped\nlast"
    rules = parse_dockerignore(data)
    assert [(line.text, line.number) for line in rules.lines] == [
        ("docs", 3),
        ("#notacomment", 4),
        (r"\#escaped", 5),
        ("last", 6),
    ]
    assert rules.ignored("#escaped")


def test_a_mark_is_only_taken_off_the_first_line() -> None:
    assert parse_dockerignore(b"a\n\xef\xbb\xbfb").ignored("\ufeffb")


def test_an_empty_file_ignores_nothing() -> None:
    rules = parse_dockerignore(b"")
    assert not rules
    assert not rules.ignored("a")


@pytest.mark.parametrize(
    "line",
    ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "!", "! ", "!/", "[z-a]", r"a\y*", "/!"],
)
def test_a_malformed_line_is_an_error_with_its_place(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dockerignore(f"fine\n{line}\n".encode())
    assert [problem.line for problem in caught.value.problems] == [2]


def test_all_malformed_lines_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dockerignore(b"[\nok\n!\n" + b"x" * 70_000)
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4]


def test_bytes_that_are_no_text_match_themselves() -> None:
    assert parse_dockerignore(b"caf\xe9*").ignored("caf\udce9.txt")


def test_the_line_that_ignores_is_named() -> None:
    rules = parse_dockerignore(b"# top\ntarget\n*.log\n!keep.log")
    assert rules.reason("target/debug/x") == ".dockerignore:2: target"
    assert rules.reason("a.log") == ".dockerignore:3: *.log"
    assert rules.reason("keep.log") == ""


@pytest.mark.parametrize(
    ("lines", "directory", "skip"),
    [
        (["node_modules"], "node_modules", True),
        (["*", "!src/main.rs"], "docs", True),
        (["*", "!src/main.rs"], "src", False),
        (["*", "!src/deep/main.rs"], "src", False),
        (["*", "!src"], "src/deep", False),
        (["*", "!**/Cargo.toml"], "docs", False),
        (["*", "!a*"], "docs", False),
    ],
)
def test_an_ignored_directory_is_left_out_only_if_nothing_below_can_come_back(
    lines: list[str], directory: str, skip: bool
) -> None:
    assert parse_dockerignore("\n".join(lines).encode()).can_skip(directory) == skip


def test_walking_down_gives_the_same_as_asking_for_the_path() -> None:
    rules = parse_dockerignore(b"a\n!a/b\na/b/c\n**/x\n!**/x/keep")
    for path in ("a", "a/b", "a/b/c", "a/b/d", "x/keep", "q/x/keep/y", "q/x/z", "a/z/x/keep"):
        state, verdict = NO_STATE, False
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            verdict, state = rules.step("/".join(parts[:end]), state)
        assert verdict == rules.ignored(path)
