"""Every rule of the first pass, with its words and its place."""

from __future__ import annotations

import pytest

from tests.unit.project.project_files import HEAD, IMAGE, hints, load, problems

LAYER = HEAD + "[layer.x]\n"  # what follows begins in line 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the project table
        ("", ["1:1: the table [project] is missing"]),
        ("[project]\n", ["1:1: project.name is missing", "1:1: project.schema is missing"]),
        ('[project]\nschema = 2\nname = "x"\n', ["2:10: project.schema: 2 is not 1"]),
        ('[project]\nschema = "1"\nname = "x"\n', ["2:10: project.schema: 1 is expected, not a string"]),
        ('[project]\nschema = true\nname = "x"\n', ["2:10: project.schema: 1 is expected, not a boolean"]),
        ("project = 3\n", ["1:11: project: a table is expected, not an integer"]),
        ('[project]\nschema = 1\nname = "Shop"\n', ["3:8: project.name: 'Shop' is not a lower-case name"]),
        # unknown names
        (HEAD + "[layers.x]\nfrom = 'a'\n", ["4:2: unknown table 'layers'"]),
        (LAYER + "form = 'debian'\n", ["5:1: unknown key 'form' in layer.x"]),
        (LAYER + "bin = 'x'\n", ["5:1: unknown key 'bin' in layer.x"]),
        (LAYER + "[layer.x.cargo]\nbins = 'x'\n", ["6:1: unknown key 'bins' in layer.x.cargo"]),
        (LAYER + "when.profile.dev.form = 'a'\n", ["5:18: unknown key 'form' in layer.x.when.profile.dev"]),
        (LAYER + "'a\\u0007' = 1\n", ["5:1: unknown key 'a\\\\u0007' in layer.x"]),
        (LAYER + '"a\\u0007" = 1\n', ["5:1: unknown key 'a\\x07' in layer.x"]),
        # types
        (LAYER + "apt = 'curl'\n", ["5:7: layer.x.apt: an array of strings is expected, not a string"]),
        (
            LAYER + "apt = ['curl', 3]\n",
            ["5:16: layer.x.apt: a package name, optionally with =VERSION is expected, not an integer"],
        ),
        (LAYER + "host = 'yes'\n", ["5:8: layer.x.host: true or false is expected, not a string"]),
        (LAYER + "users = { name = 'a' }\n", ["5:9: layer.x.users: an array of tables is expected, not a table"]),
        (LAYER + "cargo = 'x'\n", ["5:9: layer.x.cargo: a table is expected, not a string"]),
        (
            LAYER + "needs = { a = 3 }\n",
            ["5:15: layer.x.needs.a: a path, or a table of source = target is expected, not an integer"],
        ),
        (
            LAYER + "run = 'make'\n",
            ["5:7: layer.x.run: an array of strings, or an array of these is expected, not a string"],
        ),
        ("layer = [1]\n" + HEAD, ["1:9: layer: a table is expected, not an array"]),
        (HEAD + "[layer]\nx = 1\n", ["5:5: layer.x: a table is expected, not an integer"]),
        # required keys and groups
        (LAYER + "users = [{ name = 'a' }]\n", ["5:10: layer.x.users.uid is missing"]),
        (LAYER + "from = 'a'\nhost = true\n", ["6:1: layer.x: from and host exclude each other"]),
        (LAYER + "files = []\n", ["5:9: layer.x.files is empty"]),
        (LAYER + "run = [[]]\n", ["5:8: layer.x.run is empty"]),
        (LAYER + "fetch = [{ to = '/x' }]\n", ["5:10: layer.x.fetch needs one of url, file"]),
        (
            LAYER + "fetch = [{ to = '/x', file = 'a', url = 'https://a.example' }]\n",
            ["5:35: layer.x.fetch: file and url exclude each other"],
        ),
        (HEAD + "[secrets]\na = { optional = true }\n", ["5:5: secrets.a needs one of env, file"]),
        # bounds
        (
            LAYER + "users = [{ name = 'a', uid = -1 }]\n",
            ["5:30: layer.x.users.uid: -1 is not an integer from 0 to 4294967294"],
        ),
        (HEAD + "[image.a]\nexpose = [0]\n", ["5:11: image.a.expose: 0 is not an integer from 1 to 65535"]),
        (HEAD + "[image.a.run]\ncpus = 0\n", ["5:8: image.a.run.cpus: 0 is not a number from 0.01 to 4096"]),
        (HEAD + "[image.a.run]\ncpus = nan\n", ["5:8: image.a.run.cpus: nan is not a number from 0.01 to 4096"]),
        (HEAD + "[bench]\nreuse = { base = 1.5 }\n", ["5:18: bench.reuse.base: 1.5 is not a number from 0 to 1"]),
        # words
        (LAYER + "missing = 'biuld'\n", ['5:11: layer.x.missing: \'biuld\' is not one of "build", "pull", "fail"']),
        # names of tables
        (HEAD + "[layer.'a b']\nfrom = 'a'\n", ["4:8: layer: name: 'a b' is not a name"]),
        (HEAD + "[image.A]\n", ["4:8: image: name: 'A' is not a lower-case name"]),
        (
            LAYER + "env = { 'A-B' = '1' }\n",
            ["5:9: layer.x.env: name: 'A-B' is not the name of an environment variable"],
        ),
        # free values
        (
            HEAD + "[image.a.defaults.values]\na = 2024-01-01\n",
            ["5:5: image.a.defaults.values.a: a date or time cannot stand here"],
        ),
        (HEAD + "[image.a.defaults.values]\na = [inf]\n", ["5:6: image.a.defaults.values.a: inf cannot stand here"]),
        # templates
        (LAYER + "from = 'debian:{verzion}'\n", ["5:8: layer.x.from: there is no variable {verzion}"]),
        (LAYER + "from = 'debian:{args.suite}'\n", ["5:8: layer.x.from: there is no argument 'suite'"]),
        (LAYER + "run = ['sh', '-c', 'echo ${HOME} }']\n", ["5:20: layer.x.run: there is no variable {HOME}"]),
        (LAYER + "run = ['a { b']\n", ["5:8: layer.x.run: '{' opens a variable that is not closed"]),
        (LAYER + "run = ['a {b c}']\n", ["5:8: layer.x.run: '{b c}' is not a variable"]),
        (LAYER + "run = ['{version:x}']\n", ["5:8: layer.x.run: '{version:x}': only date takes a format"]),
        (LAYER + "run = ['{date:%c}']\n", ["5:8: layer.x.run: '{date:%c}' has a format that is not understood"]),
        (LAYER + "run = ['{axis.x}']\n", ["5:8: layer.x.run: '{axis.x}' is not a variable"]),
        (LAYER + "to = '{base.HOME}/x'\n", ["5:6: layer.x.to: {base.HOME} cannot stand here"]),
        (LAYER + "missing = '{profile}'\n", ["5:11: layer.x.missing: variables cannot stand here, {profile} does"]),
        ('[project]\nschema = 1\nname = "{arch}"\n', ["3:8: project.name: variables cannot stand here, {arch} does"]),
        (
            HEAD + "[cycle]\nbefore = [['a', '{cfg}']]\nvars = ['config']\n",
            ["5:17: cycle.before: there is no variable {cfg}"],
        ),
        # when and add
        (LAYER + "when.flavor.a.from = 'x'\n", ["5:6: layer.x.when: there is no axis 'flavor'"]),
        (LAYER + "when.profile.prd.from = 'x'\n", ["5:14: layer.x.when: axis profile has no value 'prd'"]),
        (LAYER + "when.profile.'dev|x'.from = 'a'\n", ["5:14: layer.x.when: axis profile has no value 'x'"]),
        (LAYER + "when = 3\n", ["5:8: layer.x.when: a table is expected, not an integer"]),
        (LAYER + "when.profile = 3\n", ["5:16: layer.x.when.profile: a table is expected, not an integer"]),
        (LAYER + "when.profile.dev = 3\n", ["5:20: layer.x.when.profile.dev: a table is expected, not an integer"]),
        (LAYER + "add.from = 'x'\n", ["5:5: layer.x.add.from: add appends to arrays, from is none"]),
        (LAYER + "add.env = { A = 'x' }\n", ["5:5: layer.x.add.env: add appends to arrays, env is none"]),
        (LAYER + "add.atp = ['x']\n", ["5:5: unknown key 'atp' in layer.x.add"]),
        (
            LAYER + "add.cargo.features = [1]\n",
            ["5:23: layer.x.add.cargo.features: a feature name is expected, not an integer"],
        ),
        (LAYER + "add = []\n", ["5:7: layer.x.add: a table is expected, not an array"]),
        (HEAD + "[bench]\nwhen.profile.dev = {}\n", ["5:1: unknown key 'when' in bench"]),
        # axes and cells
        (HEAD + "[axes]\nversion = ['a']\n", ["5:1: axes.version: version is the name of a variable"]),
        (HEAD + "[axes]\nprofile = ['a']\n", ["5:1: axes.profile: profile is built in: dev and prod"]),
        (HEAD + "[axes]\na = ['b', 'c', 'b']\n", ["5:16: axes.a: 'b' is listed twice"]),
        (HEAD + "[axes]\na = []\n", ["5:5: axes.a is empty"]),
        (HEAD + "[axes]\na = ['b|c']\n", ["5:6: axes.a: 'b|c' is not an axis value"]),
        (HEAD + "[axes]\na = 'b'\n", ["5:5: axes.a: an array of strings is expected, not a string"]),
        (HEAD + "[axes]\nplatform = ['amd64']\n", ["5:13: axes.platform: 'amd64' is not how this platform is written"]),
        (HEAD + "[cells]\nexclude = [{ acceleratr = 'x' }]\n", ["5:14: cells.exclude: there is no axis 'acceleratr'"]),
        (
            HEAD + "[cells]\nexclude = [{ profile = ['dev', 'x'] }]\n",
            ["5:32: cells.exclude: axis profile has no value 'x'"],
        ),
        (HEAD + IMAGE + "[image.web.cells]\nprofile = 'x'\n", ["9:11: image.web.cells: axis profile has no value 'x'"]),
    ],
)
def test_a_rule_and_its_place(text: str, expected: list[str]) -> None:
    found = problems(text)
    for line in expected:
        assert any(item.startswith(line) for item in found), found
    places = {line.split(":")[0] for line in found}
    assert places <= {line.split(":")[0] for line in expected} | {"4"}, found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "[layers.x]\n", "did you mean 'layer'?"),
        (LAYER + "form = 'debian'\n", "did you mean 'from'?"),
        (LAYER + "bin = 'x'\n", "it belongs into layer.x.cargo"),
        (LAYER + "when.flavor.a.from = 'x'\n", "known: platform, profile"),
        (LAYER + "from = 'debian:{verzion}'\n", "did you mean 'version'?; write '{{' for a brace"),
        (LAYER + "from = 'debian:{args.suite}'\n", "declare suite under [args]"),
        (LAYER + "missing = 'biuld'\n", "did you mean 'build'?"),
        (LAYER + "env = { PORT = 8080 }\n", 'write it in quotes: "8080"'),
        (LAYER + "env = { DEBUG = true }\n", 'write it in quotes: "true"'),
        (HEAD.replace("schema = 1", "schema = 2"), "this release of Lamella reads no other"),
        (LAYER + "freshness = 7\n", "write a number with s, m, h, d or w, like 90s or 7d, in quotes"),
        (LAYER + "cargo.when.profile.dev.bin = 'x'\n", "when and add stand directly in a layer, image or channel"),
        (LAYER + "add.env = { A = 'x' }\n", "tables merge by themselves"),
    ],
)
def test_the_hint_names_what_was_meant(text: str, expected: str) -> None:
    assert expected in hints(text)


def test_all_problems_come_in_one_run_in_the_order_of_the_file() -> None:
    found = problems(
        HEAD
        + "[layer.base]\nfrom = 3\nfrom_ = 'x'\n[layer.app]\non = 'nope'\nrun = ['a', '{nope}']\n"
        + "[image.web]\nlayers = ['base', 'app', 'lost']\nuser = 'a b'\n[bench]\ncold = '4 minutes'\n[oops]\n"
        + "[image.two]\nlayers = ['gone']\n"
    )
    assert [line.split(":")[0] for line in found] == ["5", "6", "9", "12", "14", "15", "17"]


def test_a_sound_file_has_no_problem() -> None:
    assert problems(HEAD + IMAGE) == []
    project = load(HEAD + IMAGE)
    assert (project.name, project.version, project.ignore) == ("shop", None, ())
    assert not project.delivery.channel
    assert project.digest.startswith("sha256:")
