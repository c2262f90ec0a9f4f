"""What containers need for accelerators: the known families, and what a project says of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from lamella.canonical import FrozenMap
from lamella.project.delivery import DeviceSpec, Raw
from lamella.values import replace

__all__ = ["BUILT_IN", "device_of", "devices_of", "docker_flags", "plain_text"]

_RENDERING = DeviceSpec(
    devices=("/dev/dri",),
    groups=("video",),
    note="where /dev/dri belongs to a group render that the image does not have, add its number on your machine: "
    "--group-add $(stat -c %g /dev/dri/renderD128)",
    fallback="cpu",
)
"""What all graphics drivers of the kernel share."""

BUILT_IN: FrozenMap[str, DeviceSpec] = FrozenMap(
    {
        "cuda": DeviceSpec(
            gpus="all",
            probe=("nvidia-smi", "-L"),
            title="NVIDIA CUDA",
            hardware="an NVIDIA GPU and the NVIDIA Container Toolkit",
            fallback="cpu",
        ),
        "rocm": replace(
            _RENDERING, devices=("/dev/kfd", "/dev/dri"), title="AMD ROCm", hardware="an AMD GPU with ROCm"
        ),
        "vulkan": replace(_RENDERING, title="Vulkan", hardware="a GPU with a Vulkan driver"),
        "intel": replace(_RENDERING, title="Intel GPU", hardware="an Intel GPU"),
        "cann": DeviceSpec(
            devices=("/dev/davinci0", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"),
            title="Ascend CANN",
            hardware="an Ascend NPU and its driver",
            fallback="cpu",
        ),
        "musa": DeviceSpec(
            runtime="mthreads",
            env=FrozenMap({"MTHREADS_VISIBLE_DEVICES": "all"}),
            title="Moore Threads MUSA",
            hardware="a Moore Threads GPU and its container toolkit",
            fallback="cpu",
        ),
    }
)
"""By axis value, as the makers' own container guides have them. Groups are only those that Debian's images know: Docker
looks a group's name up in the image, and refuses to start a container with one that is not there."""


def device_of(value: str, own: FrozenMap[str, DeviceSpec]) -> DeviceSpec | None:
    """The device of an axis value: the known one with what the project's ``[device.VALUE]`` says laid over it."""
    known, written = BUILT_IN.get(value), own.get(value)
    if known is None or written is None:
        return written or known
    plain = DeviceSpec()
    said = {item.name for item in fields(DeviceSpec) if getattr(written, item.name) != getattr(plain, item.name)}
    return replace(known, **{name: getattr(written, name) for name in said})


def devices_of(values: Iterable[str], own: FrozenMap[str, DeviceSpec]) -> tuple[DeviceSpec, ...]:
    """The devices of a cell, whose axes have ``values``; most values have none."""
    found = (device_of(value, own) for value in values)
    return tuple(device for device in found if device is not None)


def docker_flags(device: DeviceSpec) -> tuple[str, ...]:
    """The options of ``docker run`` that give a container the device."""
    flags: list[str] = []
    if device.gpus:
        flags += ["--gpus", device.gpus]
    if device.runtime:
        flags += ["--runtime", device.runtime]
    for path in device.devices:
        flags += ["--device", path]
    for group in device.groups:
        flags += ["--group-add", group]
    for name, value in device.env.items():
        flags += ["--env", f"{name}={plain_text(value)}"]
    return tuple(flags)


def plain_text(text: Raw) -> str:
    """A text as it is written, its variables not filled in."""
    if isinstance(text, str):
        return text
    return "".join(part if isinstance(part, str) else part.text for part in text.parts)
