"""Names that refer to other tables, and tables that later features read."""

from __future__ import annotations

import pytest

from lamella.project.delivery import CycleSpec, DeviceSpec, RetainSpec, ServiceSpec, StepKeys
from lamella.project.settings import CacheSpec, EngineSpec
from lamella.project.template import Template, Variable
from tests.unit.project.project_files import HEAD, IMAGE, hints, load, problems

TOP = HEAD + IMAGE  # what follows begins in line 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[check.a]\non = 'bsae'\nrun = ['a']\n", "9:6: check.a.on: there is no layer 'bsae'"),
        ("[check.a]\nneeds = { bsae = 'x' }\nrun = ['a']\n", "9:11: check.a.needs: there is no layer 'bsae'"),
        ("[check.a]\nimage = 'wbe'\nrun = ['a']\n", "9:9: check.a.image: there is no image 'wbe'"),
        ("[check.a]\nbuild = ['web', 'x']\n", "9:17: check.a.build: there is no image 'x'"),
        ("[check.a]\nsecrets = ['x']\nrun = ['a']\n", "9:12: check.a.secrets: there is no secret 'x'"),
        ("[check.a]\nservices = ['x']\nrun = ['a']\n", "9:13: check.a.services: there is no service 'x'"),
        ("[check.a]\nonly = { x = 'y' }\nrun = ['a']\n", "9:10: check.a.only: there is no axis 'x'"),
        ("[check.a]\n", "8:1: check.a needs one of run, tool, audit, build"),
        ("[check.a]\ntool = 'x'\nrun = ['y']\n", "10:1: check.a: tool and run exclude each other"),
        ("[check.a]\naudit = ['unusd']\n", "9:10: check.a.audit: 'unusd' is not one of"),
        (
            "[generate.a]\nrun = ['a']\noutputs = ['b']\nafter = ['x']\n",
            "11:10: generate.a.after: there is no generator 'x'",
        ),
        ("[generate.a]\nrun = ['a']\n", "8:1: generate.a.outputs is missing"),
        ("[service.a]\nimage = 'x'\n", "9:9: service.a.image: there is no image 'x'"),
        ("[service.a]\nfrom = 'x'\nafter = ['b']\n", "10:10: service.a.after: there is no service 'b'"),
        ("[service.a]\nfrom = 'x'\nafter = ['a']\n", "10:10: service.a.after leads back to itself: a -> a"),
        (
            (
                "[service]\na = { from = 'x', after = ['b'] }\nb = { from = 'x', after = ['c'] }\n"
                "c = { from = 'x', after = ['b'] }\n"
            ),
            "11:28: service.c.after leads back to itself: b -> c -> b",
        ),
        ("[service.a]\nfrom = 'x'\ndev = { on = 'y' }\n", "10:14: service.a.dev.on: there is no layer 'y'"),
        ("[channel.a]\non = ['manual']\nimages = ['x']\n", "10:11: channel.a.images: there is no image 'x'"),
        ("[channel.a]\non = ['manual']\nchecks = ['x']\n", "10:11: channel.a.checks: there is no gate 'x'"),
        ("[channel.a]\non = ['manual']\ninputs = ['x']\n", "10:11: channel.a.inputs: there is no argument 'x'"),
        ("[channel.a]\non = ['manual']\npromote = 'x'\n", "10:11: channel.a.promote: there is no channel 'x'"),
        ("[channel.a]\non = ['push:{nope}']\n", "9:7: channel.a.on: there is no variable {nope}"),
        ("[channel.a]\non = ['pushed']\n", "9:7: channel.a.on: 'pushed' is not an event"),
        ("[cycle]\nexport = { x = '/y' }\n", "9:12: cycle.export: there is no layer 'x'"),
        ("[bench]\nreuse = { x = 1 }\n", "9:11: bench.reuse: there is no layer or image 'x'"),
        ("[device.a]\nfallback = 'x'\n", "9:12: device.a.fallback: there is no device 'x'"),
        ("[retain.a]\nkeep = 3\n", "8:1: retain.a needs one of tags, untagged"),
        ("[ci]\nretain = 'often'\n", "9:10: ci.retain: 'often' is not a cron line"),
        ("[ci]\nrunners = { amd64 = 'x' }\n", "9:13: ci.runners: name: 'amd64' is not how this platform is written"),
        ("[engine]\njobs = 0\n", "9:8: engine.jobs: 0 is not an integer from 1 to 1024"),
        ("[workspace]\n", "8:1: workspace.projects is missing"),
    ],
)
def test_a_rule_and_its_place(text: str, expected: str) -> None:
    found = problems(TOP + text)
    assert len(found) == 1
    assert found[0].startswith(expected), found


def test_built_in_gates_need_no_table_and_generators_are_gates() -> None:
    text = "[generate.g]\nrun = ['a']\noutputs = ['b']\n[channel.a]\non = ['manual']\nchecks = ['lint', 'g']\n"
    assert problems(TOP + text) == []


def test_a_broken_table_still_counts_as_there() -> None:
    text = TOP + (
        "[layer.app]\nbogus = 1\n[service.a]\nfrom = 'x'\ndev = { on = 'app' }\n[image.two]\nlayers = ['base', 'app']\n"
    )
    assert problems(text) == ["9:1: unknown key 'bogus' in layer.app"]
    extended = TOP + "[image.a]\nbogus = 1\n[image.b]\nextends = 'a'\n[service.s]\nimage = 'a'\n"
    assert problems(extended) == ["9:1: unknown key 'bogus' in image.a"]


def test_hints_of_references() -> None:
    assert hints(TOP + "[check.a]\nimage = 'wbe'\nrun = ['a']\n") == ["did you mean 'web'?"]


def test_tables_become_values() -> None:
    text = TOP.replace("[image.web]", "[axes]\na = ['x']\n[image.web]") + (
        "[device.x]\ngpus = 'all'\nenv = { A = '{uid}' }\n[service.s]\nfrom = 'pg:{a}'\nports = [1, '2:3']\n"
        "[check.c]\nneeds = { base = '/x' }\nrun = [['a'], ['b']]\nonly = { a = 'x', profile = ['dev', 'prod'] }\n"
        "[retain.r]\nuntagged = true\nmin_age = '7d'\n[cache]\nsize = '5GiB'\nstate = false\n"
        "[engine]\njobs = 4\nmemory = '2GB'\n[cycle]\nbefore = [['go', '{cfg}']]\n"
        "export = { base = '~/{a}' }\nvars = ['cfg']\n"
    )
    project = load(text)
    assert project.cache == CacheSpec(state=False, size=5 * 2**30)
    assert project.engine == EngineSpec("auto", 4, 2_000_000_000)
    tables = project.delivery
    a = Variable("a")
    assert tables.device["x"] == DeviceSpec(gpus="all", env=tables.device["x"].env)
    assert tables.device["x"].env["A"] == Template((Variable("uid"),))
    assert tables.service["s"] == ServiceSpec(from_=Template(("pg:", a)), ports=("1", "2:3"))
    check = tables.check["c"]
    assert (check.run, dict(check.only)) == ((("a",), ("b",)), {"a": ("x",), "profile": ("dev", "prod")})
    assert dict(check.step.needs["base"]) == {".": "/x"}
    assert check.step == StepKeys(needs=check.step.needs)
    assert tables.retain["r"] == RetainSpec(untagged=True, min_age=604_800)
    assert tables.cycle == CycleSpec(
        before=(("go", Template((Variable("cfg"),))),), export=tables.cycle.export, vars=("cfg",)
    )
    assert tables.cycle.export["base"] == Template(("~/", a))


def test_ordinary_files_have_default_settings() -> None:
    project = load(TOP)
    assert (project.cache, project.engine) == (CacheSpec(), EngineSpec())
    assert project.tables is None
    assert project.delivery.cycle == CycleSpec()
