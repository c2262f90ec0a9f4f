"""What people type: a Makefile around bake and compose, and a shell script around docker buildx build."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.eject.bake import secret_source, target_name
from lamella.eject.make_text import make_target, make_word, script_word
from lamella.eject.recipe import Recipe, Target
from lamella.eject.text import check_text, wrapped
from lamella.project.settings import SecretSpec

__all__ = ["makefile_text", "script_text"]


def makefile_text(recipe: Recipe, *, bake: str, composes: FrozenMap[str, str]) -> str:
    """``composes`` are the compose files by profile; all paths are seen from the Makefile's folder."""
    lines = [
        *wrapped(
            f"Builds and runs {recipe.project} with Docker alone, written by lamella eject.\n"
            "DOCKER: the command of Docker. ARGS: further words for bake or compose."
        ),
        "",
        "DOCKER ?= docker",
        "ARGS ?=",
        f"BAKE = $(DOCKER) buildx bake --file {make_word(bake)}",
        "",
        ".DEFAULT_GOAL := help",
    ]
    rules = _rules(recipe, composes)
    lines += [f".PHONY: {' '.join(['help', *(name for name, _, _ in rules)])}", ""]
    width = max(len(name) for name, _, _ in rules) + 2
    awk = f"""@awk 'BEGIN {{FS = ":.*## "}} /^[a-zA-Z0-9_.-]+:.*## / {{printf "  make %-{width}s %s\\n", $$1, $$2}}'"""
    lines += ["help: ## Show this list", f"\t{awk} $(MAKEFILE_LIST)"]
    for name, text, command in rules:
        lines += ["", f"{make_target(name)}: ## {check_text(text, 'Makefile')}", f"\t{command}"]
    return "\n".join(lines) + "\n"


def _rules(recipe: Recipe, composes: FrozenMap[str, str]) -> list[tuple[str, str, str]]:
    """(target, help, command) of every rule."""
    rules = [("build", "Build the images for development", "$(BAKE) $(ARGS)")]
    if any(target.profile == "prod" for target in recipe.targets):
        rules.append(("build-prod", "Build the images that are published", "$(BAKE) prod $(ARGS)"))
        rules.append(("push", "Build and push them", "$(BAKE) prod --push $(ARGS)"))
    for target in recipe.targets:
        name = target_name(target)
        rules.append(
            (f"image-{name}", f"Build {target.image.name} ({_cell(target)})", f"$(BAKE) {make_word(name)} $(ARGS)")
        )
    for profile, file in composes.items():
        call = f"$(DOCKER) compose --file {make_word(file)}"
        end = "" if profile == "dev" else f"-{profile}"
        rules.append((f"up{end}", f"Build and start ({profile})", f"{call} up --build --detach --wait $(ARGS)"))
        rules.append((f"logs{end}", f"Follow what it says ({profile})", f"{call} logs --follow $(ARGS)"))
        rules.append((f"down{end}", f"Stop it ({profile})", f"{call} down $(ARGS)"))
        if profile == "dev":
            rules.append(("watch", "Build again when a watched file changes", f"{call} watch $(ARGS)"))
    rules.append(("print", "Show what would be built", "$(BAKE) --print $(ARGS) all"))
    return rules


def _cell(target: Target) -> str:
    return ", ".join(target.axes.values())


def script_text(
    recipe: Recipe, *, dockerfile: str, context: str, file: str, secrets: FrozenMap[str, SecretSpec]
) -> str:
    """A POSIX shell script with one function per image; paths are seen from the script's folder."""
    names = [target_name(target) for target in recipe.targets]
    lines = [
        "#!/bin/sh",
        *wrapped(
            f"Builds images of {recipe.project} with docker buildx build, written by lamella eject.\n\n"
            f"  {file} IMAGE [ARGUMENT…]    an image; further arguments go to docker buildx build\n"
            f"  {file} all                  every image\n\n"
            "DOCKER: the command of Docker."
        ),
        "set -eu",
        'cd "$(dirname -- "$0")"',
        "DOCKER=${DOCKER:-docker}",
        "",
        "build() {",
        f'  "$DOCKER" buildx build --file {script_word(dockerfile)} "$@" {script_word(context)}',
        "}",
        "",
        "image() {",
        "  name=$1",
        "  shift",
        '  case "$name" in',
    ]
    flags = [flag for name in recipe.secrets for flag in ("--secret", secret_source(name, secrets, context))]
    for name, target in zip(names, recipe.targets, strict=True):
        words = ["--target", target.stage, *flags]
        words += [word for reference in target.references for word in ("--tag", reference)]
        lines.append(f'    {script_word(name)}) build {" ".join(script_word(word) for word in words)} "$@" ;;')
    shown = " ".join([*names, "all"])
    lines += [
        "    all)",
        f"      for each in {' '.join(script_word(name) for name in names)}; do",
        '        image "$each" "$@"',
        "      done",
        "      ;;",
        "    *)",
        f"      printf '%s\\n' {script_word(f'usage: {file} IMAGE [ARGUMENT...]; IMAGE is one of: {shown}')} >&2",
        "      exit 2",
        "      ;;",
        "  esac",
        "}",
        "",
        'image "${1:-help}" "${@:2}"',
    ]
    lines[-1:] = ['[ "$#" -gt 0 ] || set -- help', 'image "$@"']
    return "\n".join(lines) + "\n"
