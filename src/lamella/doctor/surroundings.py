"""Checks of what is around the machine: certificates, credentials, uv, Docker, tools, project. They change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.doctor.values import Doctor, Finding, Fix
from lamella.errors import LamellaError
from lamella.process import run
from lamella.registry.credentials import AUTH_VARIABLE, docker_config

__all__ = ["builder", "certificates", "credentials", "docker", "host_tools", "project", "uv"]

_TIMEOUT = 20.0
_PEM = b"-----BEGIN CERTIFICATE-----"


def uv(doctor: Doctor) -> Iterator[Finding]:
    """It comes with Lamella; a broken installation shows here."""
    try:
        from uv import find_uv_bin

        version = run([find_uv_bin(), "--version"], env=doctor.environ, timeout=_TIMEOUT).text
    except (ImportError, FileNotFoundError, LamellaError) as error:
        yield Finding("uv", "warning", f"cannot be run: {error}", Fix("install Lamella again"))
    else:
        yield Finding("uv", "ok", version)


def docker(doctor: Doctor) -> Iterator[Finding]:
    """Only ``--load`` and ``run --engine docker`` need it."""
    client, use = doctor.find("docker"), "only --load and run --engine docker need it"
    if client is None:
        yield Finding("docker", "ok", f"not installed; {use}")
        return
    try:
        asked = [client, "version", "--format", "{{.Server.Version}}"]
        done = run(asked, env=doctor.environ, timeout=_TIMEOUT, check=False)
    except LamellaError as error:
        yield Finding("docker", "warning", f"the client cannot be run: {error.message}; {use}")
        return
    if done.code == 0 and done.text.strip():
        yield Finding("docker", "ok", f"engine {done.text.strip()} answers")
    else:
        yield Finding("docker", "ok", f"client without an engine that answers; {use}")


def certificates(doctor: Doctor) -> Iterator[Finding]:
    """A company's bundle reaches downloads and steps."""
    if doctor.ca_bundle is None:
        return
    try:
        count = doctor.ca_bundle.read_bytes().count(_PEM)
    except OSError as error:
        yield Finding("certificates", "error", f"{doctor.ca_bundle} cannot be read: {error.strerror}")
        return
    if count:
        plural = "certificate" if count == 1 else "certificates"
        yield Finding("certificates", "ok", f"{doctor.ca_bundle} ({count} {plural}) is trusted by downloads and steps")
    else:
        text = f"{doctor.ca_bundle} holds no certificate in PEM form"
        fix = Fix("name a PEM file in LAMELLA_CA_BUNDLE, or unset it")
        yield Finding("certificates", "warning", text, fix)


def credentials(doctor: Doctor) -> Iterator[Finding]:
    """Docker's config file, where registries' credentials are, and those of the environment; helpers must be there."""
    path = doctor.docker_config / "config.json" if doctor.docker_config is not None else None
    given = AUTH_VARIABLE if doctor.environ.get(AUTH_VARIABLE) else ""
    places = " and ".join(filter(None, (given, str(path) if path is not None and path.is_file() else "")))
    if not places:
        yield Finding("registries", "ok", "no stored credentials: bases are pulled anonymously")
        return
    try:
        config = docker_config(doctor.docker_config, doctor.environ)
    except LamellaError as error:
        yield Finding("registries", "warning", f"credentials are not usable: {error}", Fix("run: docker login"))
        return
    helpers = {name for name in (*config.helpers.values(), config.default_helper) if name}
    missing = sorted(name for name in helpers if doctor.find(f"docker-credential-{name}") is None)
    known = sorted({*config.given, *config.credentials, *config.helpers})
    text = f"{places} has credentials for {', '.join(known) or 'no registry'}"
    if missing:
        programs = ", ".join(f"docker-credential-{name}" for name in missing)
        yield Finding("registries", "warning", f"{text}; {programs} is not on PATH", Fix(f"install {programs}"))
    else:
        yield Finding("registries", "ok", text)


def builder(doctor: Doctor) -> Iterator[Finding]:
    """What ``--engine buildkit`` would use."""
    try:
        text = doctor.builder()
    except LamellaError as error:
        yield Finding("builder", "ok", f"{error.message}; only --engine buildkit needs one")
        return
    yield Finding("builder", "ok", text or "not looked for", serves=bool(text))


def host_tools(doctor: Doctor) -> Iterator[Finding]:
    """What ``host = true`` would find."""
    try:
        text = doctor.tools()
    except LamellaError as error:
        yield Finding("host tools", "warning", error.message)
        return
    yield Finding("host tools", "ok", text or "none; steps install their own toolchains")


def project(doctor: Doctor) -> Iterator[Finding]:
    """The project at hand can be read."""
    try:
        text = doctor.project()
    except LamellaError as error:
        yield Finding("project", "warning", error.message, Fix(error.hint) if error.hint else None)
        return
    if text:
        yield Finding("project", "ok", text)
