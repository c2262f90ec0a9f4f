"""What a container needs to reach an accelerator, where the project has no ``device`` table of its own for it."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.project.delivery import DeviceSpec

__all__ = ["BUILT_IN", "device_of"]

BUILT_IN = FrozenMap(
    {
        "cuda": DeviceSpec(gpus="all", probe=("nvidia-smi", "-L"), fallback="cpu"),
        "rocm": DeviceSpec(devices=("/dev/kfd", "/dev/dri"), groups=("video", "render"), fallback="cpu"),
        "vulkan": DeviceSpec(devices=("/dev/dri",), groups=("video", "render"), fallback="cpu"),
        "intel": DeviceSpec(devices=("/dev/dri",), groups=("video", "render"), fallback="cpu"),
        "cann": DeviceSpec(
            devices=("/dev/davinci0", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"), fallback="cpu"
        ),
        "musa": DeviceSpec(runtime="mthreads", env=FrozenMap({"MTHREADS_VISIBLE_DEVICES": "all"}), fallback="cpu"),
    }
)
"""Device flags as the vendors' container toolkits document them."""


def device_of(axes: FrozenMap[str, str], own: FrozenMap[str, DeviceSpec]) -> DeviceSpec | None:
    """The device of a cell: of the first axis value that has one, the project's before the built-in."""
    for value in axes.values():
        found = own.get(value) or BUILT_IN.get(value)
        if found is not None:
            return found
    return None
