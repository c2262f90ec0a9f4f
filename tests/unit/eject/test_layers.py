"""What each kind of layer becomes, in small projects."""

from __future__ import annotations

import pytest

from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, HostileInputError
from lamella.testing.scenarios import Scenario
from tests.unit.eject.projects import BOTH, EVERYTHING, ejected, locked, project, schema_example
from tests.unit.planning.project_mixed import PACKAGE_LOCK

HEAD = """
[project]
schema = 1
name = "shop"
version = "1.0.0"
"""
DEBIAN = """
[layer.base]
bootstrap = "debian/bookworm"
apt = ["python3"]
users = [{ name = "app", uid = 10001, gid = 10001 }]
"""


def dockerfile(toml: str, files: dict[str, bytes | str] | None = None, selection: Selection = BOTH) -> str:
    """The Dockerfile of a small project."""
    given = Scenario(HEAD + toml, {"a.txt": "a\n", **(files or {})})
    return ejected(locked(given), selection=selection)["Dockerfile"].text


def stage(text: str, name: str) -> list[str]:
    """The lines of one stage after its FROM."""
    lines = [*text.splitlines(), ""]
    start = next(number for number, line in enumerate(lines) if line.endswith(f" AS {name}"))
    return lines[start + 1 : lines.index("", start)]


def image(toml: str, files: dict[str, bytes | str] | None = None) -> list[str]:
    """The lines of image ``shop`` on a bootstrapped Debian."""
    return stage(dockerfile(DEBIAN + toml, files), "shop")


def test_a_bootstrapped_base_is_stood_in_for_and_says_so() -> None:
    text = dockerfile(DEBIAN + '[image.shop]\nlayers = ["base"]\n')
    assert "FROM debian:bookworm-slim AS base" in text
    assert "mmdebstrap --variant=minbase --include=ca-certificates bookworm base.tar" in text
    assert "      ca-certificates \\" in text, "the bootstrapped base has it, the image in its place has not"


def test_a_dated_base_says_that_its_date_is_not_kept() -> None:
    text = dockerfile('[layer.base]\nbootstrap = "debian/trixie@20260101T000000Z"\n[image.shop]\nlayers = ["base"]\n')
    assert "as of 20260101T000000Z" in text
    assert "The date is not kept" in text


def test_a_pulled_base_is_pinned_for_every_platform() -> None:
    given = locked(Scenario(f'{HEAD}[layer.base]\nfrom = "python:3.12"\n[image.shop]\nlayers = ["base"]\n', {}))
    pin = given.lock.bases["python:3.12"]
    assert f"FROM python:3.12@{pin.index} AS base" in ejected(given)["Dockerfile"].text


def test_users_are_added_with_their_numbers() -> None:
    lines = stage(dockerfile(DEBIAN + '[image.shop]\nlayers = ["base"]\n'), "base")
    assert "RUN groupadd --gid 10001 app \\" in lines
    assert lines[-1] == " && install -d -m 0755 -o 10001 -g 10001 /home/app"


def test_an_image_that_starts_nothing_keeps_the_shell_of_a_bootstrapped_base() -> None:
    assert image('[image.shop]\nlayers = ["base"]\n') == ['CMD ["/bin/sh"]']


def test_the_configuration_is_written_as_instructions() -> None:
    lines = image(
        '[image.shop]\nlayers = ["base"]\nuser = "app"\nworkdir = "/w"\nentrypoint = ["/a", "$b"]\ncmd = ["c d"]\n'
        'env = { A = "$1", PATH = "/x:{base.PATH}" }\nexpose = [80, "53/udp"]\nvolumes = ["/v"]\n'
        'labels = { "a.b" = "c d" }\nstop_signal = "SIGINT"\nhealthcheck = { cmd = ["/ok"], interval = "5s" }\n'
    )
    assert lines == [
        'LABEL a.b="c d"',
        "ENV PATH=/x:${PATH} \\",
        '    A="\\$1"',
        'VOLUME ["/v"]',
        "EXPOSE 53/udp 80/tcp",
        "WORKDIR /w",
        "USER app",
        "STOPSIGNAL SIGINT",
        "HEALTHCHECK --interval=5s --timeout=10s --start-period=5s --retries=3 \\",
        '  CMD ["/ok"]',
        'ENTRYPOINT ["/a", "$b"]',
        'CMD ["c d"]',
    ]


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ('{ from = "a.txt", to = "/opt/a.txt" }', "COPY --link a.txt /opt/a.txt"),
        ('{ from = "a.txt", to = "/opt/in/" }', "COPY --link a.txt /opt/in/a.txt"),
        ('{ from = "conf", to = "/etc/shop" }', "COPY --link conf /etc/shop/"),
        ('{ from = "conf/*.ini", to = "/etc/shop" }', "COPY --link conf/a.ini conf/b.ini /etc/shop/"),
        ('{ from = "a.txt", to = "/a.txt", mode = "0600" }', "COPY --link --chmod=0600 a.txt /a.txt"),
        ('{ from = "a.txt", to = "/a.txt", owner = "app" }', "COPY --link --chown=10001:10001 a.txt /a.txt"),
        ('{ from = "a.txt", to = "/srv/a.txt", owner = "app" }', "COPY --chown=10001:10001 a.txt /srv/a.txt"),
        ('{ from = "a.txt", to = "/bin/a.txt" }', "COPY a.txt /bin/a.txt"),
        ('{ from = "a.txt", to = "/tmp/a.txt" }', "COPY a.txt /tmp/a.txt"),
        ('{ from = "a.txt", to = "/home/app/a.txt" }', "COPY a.txt /home/app/a.txt"),
    ],
)
def test_a_copy_is_linked_only_where_that_changes_nothing(item: str, line: str) -> None:
    """COPY --link brings the directories above its target along and follows no symlink of the base."""
    files: dict[str, bytes | str] = {"conf/a.ini": "a", "conf/b.ini": "b", "conf/c.txt": "c"}
    lines = image(f'[layer.f]\nfiles = [{item}]\n[image.shop]\nlayers = ["base", "f"]\ncmd = ["x"]\n', files)
    assert lines == [line, 'CMD ["x"]']


def test_directories_get_their_owner() -> None:
    lines = image('[image.shop]\nlayers = ["base"]\ncmd = ["x"]\ndirs = { "/data" = "app", "/run/x" = "0:0" }\n')
    assert lines == [
        "RUN install -d -m 0755 /run/x \\",
        " && install -d -m 0755 -o app -g app /data",
        'CMD ["x"]',
    ]


def test_runtime_defaults_are_a_here_document() -> None:
    lines = image(
        '[image.shop]\nlayers = ["base"]\ncmd = ["x"]\n'
        '[image.shop.defaults]\nfile = "/etc/d.yaml"\nvalues = { a = "$x", b = 1 }\n'
    )
    assert lines[:4] == ["COPY --link --chmod=0644 <<'EOF' /etc/d.yaml", "a: $x", "b: 1", "EOF"]


def test_a_download_with_a_checksum_is_one_instruction() -> None:
    digest = "a" * 64
    lines = image(
        f'[layer.t]\nto = "/usr/local/bin/t"\nfetch = [{{ url = "https://files.example/t", sha256 = "{digest}", '
        'to = "/usr/local/bin/t", mode = "0755" }]\n[image.shop]\nlayers = ["base", "t"]\n'
    )
    assert lines[0] == (
        f'ADD --link --chmod=0755 --checksum=sha256:{digest} ["https://files.example/t", "/usr/local/bin/t"]'
    )


def test_the_file_says_what_it_needs() -> None:
    base = DEBIAN + '[image.shop]\nlayers = ["base"]\n'
    assert "Needs BuildKit 0.10 or newer (Docker 23)." in dockerfile(base)
    digest = "a" * 64
    fetched = f'[layer.t]\nto = "/t"\nfetch = [{{ url = "https://files.example/t", sha256 = "{digest}", to = "/t" }}]\n'
    assert "Needs BuildKit 0.12" in dockerfile(base.replace('["base"]', '["base", "t"]') + fetched)


def test_several_ways_to_a_download_are_tried_in_order() -> None:
    ways = (
        '{ url = "https://one.example/t.tgz", sums = "https://one.example/S", extract = "b/t", to = "/t" }',
        '{ url = "https://two.example/t", sums = "https://two.example/S", to = "/t" }',
    )
    text = dockerfile(
        f'{DEBIAN}[layer.t]\nto = "/t"\nfetch = [{", ".join(ways)}]\n[image.shop]\nlayers = ["base", "t"]\n'
    )
    line = next(line for line in stage(text, "t-fetch") if "one.example" in line)
    first, second = line.split(" ) || ( ")
    assert "sha256sum --check --strict" in first
    assert "tar --extract --file t.tgz b/t" in first
    assert "two.example" in second


def test_a_name_that_awk_would_read_is_refused() -> None:
    with pytest.raises(HostileInputError, match="checksum file"):
        dockerfile(
            DEBIAN
            + '[layer.t]\nto = "/t"\nfetch = [{ url = "https://one.example/a\\"b", sums = "https://one.example/S", '
            'to = "/t" }]\n[image.shop]\nlayers = ["base", "t"]\n'
        )


def test_commands_see_their_inputs_and_nothing_of_the_network() -> None:
    text = dockerfile(
        DEBIAN + '[layer.r]\nrun = [["sh", "tools/x.sh", "a b"]]\ninputs = ["tools/*.sh"]\nenv = { A = "1" }\n'
        'secrets = ["s"]\n[secrets]\ns = { env = "S" }\n[image.shop]\nlayers = ["base", "r"]\n',
        {"tools/x.sh": "x"},
    )
    assert stage(text, "r") == [
        "RUN --network=none \\",
        "    --mount=type=bind,source=tools,target=/lamella/src/tools \\",
        "    --mount=type=secret,id=s,required \\",
        "    export A=1 \\",
        " && cd /lamella/src \\",
        " && sh tools/x.sh 'a b'",
    ]


def test_a_page_is_built_once_and_natively() -> None:
    given = schema_example("C-service-ui")
    text = ejected(given)["Dockerfile"].text
    assert "FROM --platform=$BUILDPLATFORM oven/bun" in text
    assert stage(text, "ui-build") == [
        "WORKDIR /lamella/src/ui",
        "ENV CI=1 \\",
        "    NEXT_TELEMETRY_DISABLED=1 \\",
        "    ASTRO_TELEMETRY_DISABLED=1",
        "COPY ui/package-lock.json ui/package.json ./",
        "RUN --mount=type=cache,id=shop-npm,target=/root/.npm \\",
        "    npm ci --ignore-scripts",
        "COPY ui ./",
        "RUN npm run build",
    ]


def test_a_service_of_javascript_takes_its_production_packages() -> None:
    files: dict[str, bytes | str] = {
        "package.json": '{"name": "ui", "version": "0.3.0", "scripts": {"start": "node server.js"}, '
        '"dependencies": {"left-pad": "^1.3.0"}}',
        "package-lock.json": PACKAGE_LOCK,
        "server.js": "1",
    }
    text = dockerfile(
        '[layer.base]\nfrom = "node:22"\n[layer.app.node]\ndir = "."\n[image.shop]\nlayers = ["base", "app"]\n', files
    )
    assert "    npm ci --ignore-scripts --omit=dev" in stage(text, "app-packages")
    assert "COPY --link --from=app-packages /lamella/src/node_modules /app/node_modules/" in stage(text, "shop")
    assert stage(text, "shop")[-1] == 'ENTRYPOINT ["node", "/app/server.js"]'


def test_profiles_share_what_is_equal() -> None:
    text = ejected(schema_example("A-rust-workspace"))["Dockerfile"].text
    assert text.count("COPY crates crates/") == 1
    assert " AS app-sources\n" in text
    assert "--profile dev" in "\n".join(stage(text, "app-build-dev"))
    assert "--profile release" in "\n".join(stage(text, "app-build-prod"))


def test_what_differs_by_architecture_is_chosen_by_it() -> None:
    text = ejected(schema_example("D-python-ml"), selection=EVERYTHING)["Dockerfile"].text
    assert "FROM ml-venv-cpu-${TARGETARCH} AS ml-venv-cpu\n" in text
    assert " AS ml-venv-cpu-arm64\n" in text
    assert "COPY --link --from=ml-venv-cpu /opt/venv /opt/venv" in stage(text, "ml-cpu")


def test_a_layer_above_another_adds_only_its_own_files() -> None:
    given = schema_example("D-python-ml")
    files = ejected(given)
    lines = stage(files["Dockerfile"].text, "app")
    assert "    --mount=type=bind,from=uv,source=/opt/uv/bin/uv,target=/usr/local/bin/uv \\" in lines
    assert any("UV_LINK_MODE=copy" in line for line in lines)
    assert "rich==" in files["deps.requirements.txt"].text
    assert "numpy" not in files["deps.requirements.txt"].text


def test_locked_packages_stand_beside_the_dockerfile_or_in_it() -> None:
    given = project(
        HEAD + DEBIAN + '[layer.deps.python]\nrequirements = ["r.txt"]\n[image.shop]\nlayers = ["base", "deps"]\n',
        {"r.txt": "rich\n"},
    )
    files = ejected(given, place="docker")
    assert files["deps.requirements.txt"].text.splitlines()[1].startswith("rich==")
    assert "COPY docker/deps.requirements.txt docker/deps.requirements.txt" in files["Dockerfile"].text
    assert "!docker/deps.requirements.txt" in files["Dockerfile.dockerignore"].text
    prod = Selection(("shop",), profile="prod")
    (alone,) = ejected(given, selection=prod, monolithic=True).values()
    assert "COPY <<'EOF' /lamella/src/deps.requirements.txt" in alone.text


def test_a_pinned_requirement_file_is_used_as_it_is() -> None:
    pinned = f"rich==13.0 --hash=sha256:{'a' * 64}\n"
    given = project(
        HEAD + DEBIAN + '[layer.deps.python]\nrequirements = ["r.txt"]\n[image.shop]\nlayers = ["base", "deps"]\n',
        {"r.txt": "-r more/r.txt\n", "more/r.txt": pinned},
    )
    files = ejected(given)
    assert "deps.requirements.txt" not in files
    lines = stage(files["Dockerfile"].text, "deps-venv")
    assert "COPY r.txt ./" in lines
    assert "COPY more/r.txt more/" in lines
    assert lines[-1].endswith("--require-hashes r.txt")


# ---- what cannot be ejected ------------------------------------------------------------------------------------------


def test_tools_of_the_host_cannot_be_ejected() -> None:
    toml = (
        """
[layer.tools]
host = true
[layer.x]
on = "tools"
run = [["true"]]
[layer.app]
needs = { tools = { "/usr/bin/true" = "/true" } }
"""
        + DEBIAN
    )
    with pytest.raises(ConfigError, match="this machine's own tools"):
        dockerfile(toml + '[image.shop]\nlayers = ["base", "app"]\n')


def test_a_pinned_image_cannot_be_ejected_yet() -> None:
    with pytest.raises(ConfigError, match="not yet ejected"):
        dockerfile(DEBIAN + '[image.shop]\nlayers = ["base"]\npin = "registry.example/a:1"\n')


def test_a_single_file_is_for_one_image() -> None:
    with pytest.raises(ConfigError, match="one image of one cell"):
        ejected(schema_example("D-python-ml"), monolithic=True)


def test_a_control_character_in_a_value_is_refused() -> None:
    toml = DEBIAN + '[image.shop]\nlayers = ["base"]\nlabels = { a = "x\\u0007" }\n'
    with pytest.raises((HostileInputError, ConfigError)):
        dockerfile(toml)


def test_axes_become_targets_with_the_flags_of_their_device() -> None:
    only = Selection(only=FrozenMap({"accelerator": ("cpu", "cuda", "rocm", "musa"), "profile": ("prod",)}))
    files = ejected(schema_example("B-variants"), "compose", only)
    text = files["compose.prod.yaml"].text
    assert "driver: nvidia" in text
    assert '      - "/dev/kfd"' in text
    assert '      - "/dev/musa"' in text, "the project's own table wins"
    assert "    group_add:\n      - video\n    " in text
