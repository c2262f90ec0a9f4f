"""The settings table as a page for people: ``docs/reference/lamella-toml.md``."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.project.schema.grammar import (
    ListOf,
    MapOf,
    OneOf,
    Row,
    Table,
    TableOf,
    Type,
    describe,
)
from lamella.project.schema.root import root_table

__all__ = ["reference_page"]

_HEAD = """# lamella.toml

<!-- Written by scripts/project_reference.py from the settings table; a test holds it. Do not edit it by hand. -->

Every table and key. Paths are relative to the file. An unknown key is an error with the nearest known name. The schema
for editors is [lamella.schema.json](lamella.schema.json).

## Rules

- **Templates.** A string may hold `{version}` `{major}` `{minor}` `{commit}` `{date:FMT}` `{arch}` `{machine}`
  `{target}` `{cwd}` `{uid}`, an axis (`{accelerator}`, `{profile}`, `{platform}`), an argument (`{args.X}`) and, in
  `env`, `labels`, `entrypoint` and `cmd`, the base's environment (`{base.PATH}`). `{{` and `}}` are plain braces; a `}`
  alone is one, too. A variable used in a layer is in that layer's key. A variable without a value is an error where it
  stands. `{date:FMT}` takes `%Y %y %m %d %H %M %S %j %V %G %u`, in UTC.
- **Cells.** `profile` (dev, prod) and `platform` are axes of every project. The first value of an axis is its default;
  profile: dev; platform: this machine's. An image that does not have the default cell takes its first legal one.
- **when.** `when.AXIS.VALUE` lays keys over a layer, image or channel; `"cuda|rocm"` names several values, `when`
  inside `when` is "and". Tables merge, arrays and scalars replace, `add.KEY` appends. The deeper `when` wins; two of
  equal depth with different values are an error. Keys that exclude each other (`from`, `bootstrap`, `host`) replace
  each other.
- **Tags.** An image's `tags` are for prod cells; dev cells have those under `when.profile.dev`. A tag with `{arch}`,
  `{machine}`, `{target}` or `{platform}` names one manifest, any other an index over the platforms. Two cells that
  would write one tag are an error. Without `tags` a prod cell has `{version}` (when the project has a version) and
  `latest`. A `+` of the version becomes `-`.
- **Local names.** An image's name in local stores is `PROJECT/IMAGE:dev` (or `prod`), with the values of axes that are
  not at their default: `shop/api:dev-cuda`.
- **Layers.** Exactly one kind each: base (`from`, `bootstrap`, `host`, package lists, `repos`, `users`, `tools`),
  `files`, `fetch`, `cargo`, `python`, `node`, `model` or `run`. A layer with `needs` alone is a files layer. A key that
  would do nothing in a layer of its kind is an error.
- **to** that ends in `/` is a folder: the binary, or the copied or fetched file, keeps its name in it.
- **Durations** are `90s`, `15m`, `1h30m`, `7d`, `2w`; **sizes** `512MiB`, `2GB`; **modes** octal strings like `"0755"`.
- **Strings** hold no control characters and no bidirectional overrides; arguments of commands, `advice`, `note` and
  values of `defaults` may hold line breaks and tabs. No string is longer than 131071 bytes.
- **Not yet** marks keys that are checked and wait for their feature. A command that would use one refuses with exit
  code 2.

## Found out later

These defaults need a look into the tree, the lock or the base, and are decided when a plan is made: `cargo.bin`
(`default-run` or the only binary), a base without `from`, `bootstrap` and `host` (the final FROM of an existing
Dockerfile, else bootstrapped Debian slim), `entrypoint` (the image's only binary, or the only console script), `python`
(the project's), `on` (the stack's own toolchain), `user` and `workdir` (the base's).
"""


def reference_page() -> str:
    """The page as Markdown."""
    parts = [_HEAD, *(_section(table) for table in _tables(root_table()))]
    return "\n".join(parts)


def _tables(root: Table) -> Iterator[Table]:
    """All tables below ``root``, each once, a table before those inside it."""
    seen: set[str] = set()

    def below(table: Table) -> Iterator[Table]:
        for row in table.rows:
            for inner in _inner(row.type):
                if inner.name not in seen:
                    seen.add(inner.name)
                    yield inner
                    yield from below(inner)

    yield from below(root)
    for name in ("axes", "args"):
        row = root.by_key[name]
        yield Table(name, f"{row.doc[:1].upper()}{row.doc[1:]}.", (Row("NAME", _item(row.type), row.doc),))


def _item(kind: Type) -> Type:
    return kind.item if isinstance(kind, MapOf) else kind


def _inner(kind: Type) -> Iterator[Table]:
    """The tables that a value of ``kind`` holds."""
    if isinstance(kind, TableOf):
        yield kind.table
    elif isinstance(kind, (ListOf, MapOf)):
        yield from _inner(kind.item)
    elif isinstance(kind, OneOf):
        for option in kind.options:
            yield from _inner(option)


def _section(table: Table) -> str:
    lines = [f"## {_title(table)}", "", table.doc]
    if table.later is not None:
        lines += ["", f"**Not yet:** {table.later.note} (refused by `{table.later.use}`)."]
    for group in table.one_of:
        lines += ["", f"Exactly one of {_names(group)}."]
    for group in table.at_most_one:
        lines += ["", f"At most one of {_names(group)}."]
    if table.varied:
        lines += ["", "`when` and `add` may stand here."]
    lines += ["", "| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    lines += [_line(row) for row in table.rows]
    return "\n".join([*lines, ""])


def _title(table: Table) -> str:
    return f"[[{table.name.removesuffix('[]')}]]" if table.name.endswith("[]") else f"[{table.name}]"


def _names(group: tuple[str, ...]) -> str:
    return ", ".join(f"`{key}`" for key in group)


def _line(row: Row) -> str:
    meaning = row.doc
    if row.later is not None:
        values = f" {_names(row.later.values)}" if row.later.values else ""
        result = f"refused by `{row.later.use}`" if row.later.use else "a plan says so"
        meaning += f" (**not yet**{values}: {row.later.note}; {result})"
    cells = (f"`{row.key}`", _value(row.type), _default(row), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(kind: Type) -> str:
    """The type of a value in a few words."""
    if isinstance(kind, ListOf):
        items = "tables" if isinstance(kind.item, TableOf) else _value(kind.item)
        return f"{_value(kind.item)}, or array of these" if kind.bare else f"array: {items}"
    if isinstance(kind, MapOf):
        return f"table: {kind.key.text} = {_value(kind.item)}"
    if isinstance(kind, OneOf):
        return kind.text
    return "table" if isinstance(kind, TableOf) else describe(kind)


def _default(row: Row) -> str:
    if row.required:
        return "required"
    if row.shown:
        return row.shown
    if row.default is None:
        return ""
    if isinstance(row.default, tuple):
        return ", ".join(f"`{item}`" for item in row.default)
    shown = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
    return f"`{shown}`" if shown else "empty"
