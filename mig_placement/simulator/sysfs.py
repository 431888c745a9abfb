# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The sysfs of a simulated node: a directory, and writes that refuse.

What reading shows lies in files below ``<state file>.sysfs``, made anew
with every change. A file cannot refuse a write, so ``write`` does what the
kernel would.
"""

import collections.abc
import errno
import os
import shutil
import stat

from mig_placement.simulator import catalog
from mig_placement.simulator import state as states
from mig_placement.simulator import vgpu

SUFFIX = ".sysfs"
# Opening a socket says ENXIO, as an attribute without a value does.
_NO_VALUE = None
_BUS = "devices/pci0000:00"
_DRIVER = "bus/pci/drivers/nvidia"

# By path: a file's content, a link's target ("->..."), or no value.
Tree = dict[str, str | None]


def root(path: str) -> str:
    """Where the sysfs of a state file is."""
    return os.path.abspath(path) + SUFFIX


def tree(state: states.State) -> Tree:
    """All that the node shows in sysfs."""
    shown: Tree = {}
    for gpu in state.gpus:
        kind = vgpu.supported(state, gpu)
        if kind is not None and state.driver_present and not gpu.lost:
            shown.update(_physical(gpu, kind))
            for number, function in enumerate(gpu.functions):
                shown.update(_virtual(state, gpu, kind, number, function))
    return shown


def _physical(gpu: states.Gpu, kind: catalog.Vgpu) -> Tree:
    own = vgpu.pf_address(gpu)
    shown = _device(gpu, own)
    there = f"{_BUS}/{own}"
    shown[f"{there}/sriov_totalvfs"] = f"{kind.functions}\n"
    shown[f"{there}/sriov_numvfs"] = f"{len(gpu.functions)}\n"
    shown[f"{there}/sriov_offset"] = f"{kind.offset}\n"
    shown[f"{there}/sriov_stride"] = "1\n"
    for number in range(len(gpu.functions)):
        link = f"->../{vgpu.address(gpu, number)}"
        shown[f"{there}/virtfn{number}"] = link
    return shown


def _device(gpu: states.Gpu, address: str) -> Tree:
    there = f"{_BUS}/{address}"
    device = gpu.kind().pci_device_id >> 16
    return {
        f"{there}/vendor": "0x10de\n",
        f"{there}/device": f"0x{device:04x}\n",
        f"{there}/driver": f"->../../../{_DRIVER}",
        f"bus/pci/devices/{address}": f"->../../../{there}",
        f"{_DRIVER}/{address}": f"->../../../../{there}",
    }


def _virtual(
    state: states.State,
    gpu: states.Gpu,
    kind: catalog.Vgpu,
    number: int,
    function: states.Function,
) -> Tree:
    address = vgpu.address(gpu, number)
    shown = _device(gpu, address)
    there = f"{_BUS}/{address}"
    shown[f"{there}/physfn"] = f"->../{vgpu.pf_address(gpu)}"
    if state.vgpu == "mdev":
        shown[f"class/mdev_bus/{address}"] = f"->../../{there}"
        shown.update(_mdev(state, gpu, kind, there, function))
    else:
        shown.update(_variant(state, gpu, kind, there, function))
    return shown


def _mdev(
    state: states.State,
    gpu: states.Gpu,
    kind: catalog.Vgpu,
    there: str,
    function: states.Function,
) -> Tree:
    shown: Tree = {}
    free = vgpu.creatable(state, gpu, function)
    for each in kind.types:
        folder = f"{there}/mdev_supported_types/nvidia-{each.type_id}"
        shown[f"{folder}/available_instances"] = f"{int(each in free)}\n"
        shown[f"{folder}/device_api"] = "vfio-pci\n"
        shown[f"{folder}/name"] = f"{kind.prefix} {each.name}\n"
        shown[f"{folder}/description"] = (
            f"num_heads=1, frl_config=60, framebuffer={each.framebuffer_mib}M,"
            f" max_resolution=4096x2160, max_instance={kind.functions}\n"
        )
    if function.uuid:
        mine = f"{there}/{function.uuid}"
        shown[f"{mine}/mdev_type"] = (
            f"->../mdev_supported_types/nvidia-{function.type_id}"
        )
        shown[f"bus/mdev/devices/{function.uuid}"] = f"->../../../{mine}"
    return shown


def _variant(
    state: states.State,
    gpu: states.Gpu,
    kind: catalog.Vgpu,
    there: str,
    function: states.Function,
) -> Tree:
    lines = [
        f"{each.type_id:<5d} : {kind.prefix} {each.name}\n"
        for each in vgpu.creatable(state, gpu, function)
    ]
    gi_id = next(
        (f"{gi.gi_id}\n" for gi in gpu.instances if gi.serial == function.gi),
        _NO_VALUE,
    )
    return {
        f"{there}/nvidia/creatable_vgpu_types": (
            "ID    : vGPU Name\n" + "".join(lines)
        ),
        f"{there}/nvidia/current_vgpu_type": f"{function.type_id}\n",
        f"{there}/nvidia/gpu_instance_id": gi_id,
    }


def show(path: str, state: states.State) -> None:
    """Make the directory what the state says; under the state's lock.

    :raises OSError: it cannot be written.
    """
    top = root(path)
    wanted = tree(state)
    for there in _files_below(top):
        if there not in wanted:
            os.unlink(os.path.join(top, there))
    for there, content in wanted.items():
        _put(os.path.join(top, there), content)
    _remove_empty(top)


def _files_below(top: str) -> list[str]:
    found = []
    for folder, folders, files in os.walk(top):
        links = [
            each
            for each in folders
            if os.path.islink(os.path.join(folder, each))
        ]
        for name in (*files, *links):
            found.append(os.path.relpath(os.path.join(folder, name), top))
    return found


def _remove_empty(top: str) -> None:
    for folder, _folders, _files in os.walk(top, topdown=False):
        if folder != top and not os.listdir(folder):
            os.rmdir(folder)


def _put(path: str, content: str | None) -> None:
    if _shown(path) == (content,):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    new = f"{path}.new"
    if content is None:
        os.mknod(new, stat.S_IFSOCK | 0o600)
    elif content.startswith("->"):
        os.symlink(content[2:], new)
    else:
        with open(new, "w", encoding="ascii") as file:
            file.write(content)
    # At once: a reader finds the old value or the new one.
    os.rename(new, path)


def _shown(path: str) -> tuple[str | None] | None:
    """What is there, in a tuple; None where nothing is."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return (f"->{os.readlink(path)}",)
        if stat.S_ISSOCK(mode):
            return (_NO_VALUE,)
        with open(path, encoding="ascii") as file:
            return (file.read(),)
    except OSError:
        return None


def remove(path: str) -> None:
    """Take the directory away, if it is there."""
    shutil.rmtree(root(path), ignore_errors=True)


def written(state: states.State, path: str, text: str) -> None:
    """What a write to a file of sysfs changes.

    :param path: below the root, its links not followed further than to
        the device.
    :raises OSError: as the kernel and NVIDIA's driver refuse it.
    """
    if not state.privileged:
        raise vgpu.refusal(errno.EACCES, "not privileged")
    parts = path.strip("/").split("/")
    for wanted, does in _WRITABLE.items():
        if _matches(parts, wanted.split("/")):
            does(state, parts, text.strip())
            return
    raise vgpu.refusal(errno.EACCES, f"{path} cannot be written")


def _matches(parts: list[str], pattern: list[str]) -> bool:
    return len(parts) == len(pattern) and all(
        want in {"*", part} for part, want in zip(parts, pattern, strict=True)
    )


def _set_type(state: states.State, parts: list[str], text: str) -> None:
    if not text.isdigit():
        raise vgpu.refusal(errno.EINVAL, f"{text!r} is no number")
    gpu, function = vgpu.find(state, parts[3])
    if state.vgpu != "vfio":
        raise vgpu.refusal(errno.ENOENT, "no variant driver")
    if int(text):
        vgpu.create(state, gpu, function, int(text))
    else:
        vgpu.clear(function)


def _create_mdev(state: states.State, parts: list[str], text: str) -> None:
    gpu, function = vgpu.find(state, parts[3])
    if state.vgpu != "mdev":
        raise vgpu.refusal(errno.ENOENT, "no mdev bus")
    if any(each.uuid == text for one in state.gpus for each in one.functions):
        raise vgpu.refusal(errno.EEXIST, "that uuid exists")
    type_id = int(parts[5].removeprefix("nvidia-"))
    vgpu.create(state, gpu, function, type_id, text)


def _remove_mdev(state: states.State, parts: list[str], text: str) -> None:
    for gpu in state.gpus:
        for function in gpu.functions:
            if function.uuid == parts[3]:
                vgpu.clear(function)
                return
    raise vgpu.refusal(errno.ENOENT, "no such mdev")


_WRITABLE: dict[
    str, collections.abc.Callable[[states.State, list[str], str], None]
] = {
    "bus/pci/devices/*/nvidia/current_vgpu_type": _set_type,
    "bus/pci/devices/*/mdev_supported_types/*/create": _create_mdev,
    "bus/mdev/devices/*/remove": _remove_mdev,
}
