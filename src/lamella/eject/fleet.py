"""A builder of pods in Kubernetes for the platforms of a project, as the script that makes it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lamella.eject.make_text import script_word
from lamella.eject.text import wrapped
from lamella.oci.platform import Platform

__all__ = ["fleet_text"]

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


def fleet_text(project: str, platforms: Sequence[Platform], *, file: str) -> str:
    """A POSIX shell script with one ``docker buildx create`` for each platform.

    Each deployment's pods run on nodes of their own architecture (the label ``kubernetes.io/arch`` that every kubelet
    sets). buildx contacts no cluster for this; pods come with the first build.
    """
    name = _NOT_IN_NAMES.sub("-", project.lower()).strip("-")
    lines = [
        "#!/bin/sh",
        *wrapped(
            f"Makes a builder of pods in Kubernetes for {project}, written by lamella eject: one deployment for each "
            "platform, on nodes that run its programs themselves.\n\n"
            f"  {file} [ARGUMENT…]    arguments go to docker buildx create: --driver-opt requests.cpu=4\n\n"
            "KUBECONFIG says which cluster. NAME, NAMESPACE: the builder and where its pods are. REPLICAS: pods for "
            "each platform. DOCKER: the command of Docker. Pods are started by the first build."
        ),
        "set -eu",
        "DOCKER=${DOCKER:-docker}",
        f"NAME=${{NAME:-{script_word(name)}}}",
        "NAMESPACE=${NAMESPACE:-default}",
        "REPLICAS=${REPLICAS:-1}",
        "",
    ]
    for number, platform in enumerate(platforms):
        append = " --append" if number else ""
        node = _NOT_IN_NAMES.sub("-", f"{platform.architecture}{platform.variant}")
        selector = f"nodeselector=kubernetes.io/arch={platform.architecture}"
        lines += [
            f'"$DOCKER" buildx create{append} --name "$NAME" --driver kubernetes --node "$NAME-{node}" \\',
            f"  --platform {script_word(str(platform))} \\",
            f'  --driver-opt "namespace=$NAMESPACE,replicas=$REPLICAS,{selector}" "$@"',
        ]
    return "\n".join([*lines, "", "printf 'build with: lamella build --builder %s\\n' \"$NAME\""]) + "\n"
