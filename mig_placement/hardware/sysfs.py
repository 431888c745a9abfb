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
"""SR-IOV functions and their vGPUs, as sysfs has them: read and write."""

import collections.abc
import contextlib
import errno
import os
import pathlib
import re
import time

from mig_placement import exception
from mig_placement.hardware import model

# Writes text to a path below the root; raises OSError.
Write = collections.abc.Callable[[str, str], None]

_DEVICES = "bus/pci/devices"
_MDEVS = "bus/mdev/devices"
_DRIVER = "bus/pci/drivers/nvidia"
_MAX_BYTES = 64 << 10
_MAX_FUNCTIONS = 256
# Seconds.
_PLUGIN_WAIT = 10.0
_PLUGIN_POLL = 0.2
_NUMBER = re.compile(r"\s*([0-9]{1,9})\s*")
_MDEV_TYPE = re.compile(r"nvidia-([0-9]{1,9})")
# The driver writes "1147  : NVIDIA L40S-1Q", NVIDIA's guide has the id last.
_CREATABLE = re.compile(r"\s*(?:(\d{1,9})\s*:.*|.*\s(\d{1,9})\s*)")

# The mdev's type by its function's address.
_Mdevs = dict[str, int]


class Sysfs:
    """A sysfs below a root.

    :param write: in place of writing to the file, for a simulated one.
    """

    def __init__(self, root: pathlib.Path, write: Write | None = None) -> None:
        self._root = root
        self._write = write or self._write_file

    def sriov(self, pci_address: str) -> model.Sriov | None:
        """SR-IOV of a GPU; None where it has none.

        :raises HardwareError: sysfs holds what no kernel writes.
        """
        there = f"{_DEVICES}/{pci_address}"
        total = self._number(f"{there}/sriov_totalvfs")
        if not total:
            return None
        addresses = self._functions(there)
        mdevs = self._mdevs() if addresses else {}
        return model.Sriov(
            total=total,
            offset=self._number(f"{there}/sriov_offset") or 0,
            stride=self._number(f"{there}/sriov_stride") or 1,
            functions=tuple(self._function(each, mdevs) for each in addresses),
        )

    def _functions(self, there: str) -> list[str]:
        """Addresses of the functions that exist, in their order."""
        numbers = sorted(
            int(name.removeprefix("virtfn"))
            for name in self._names(there)
            if re.fullmatch(r"virtfn\d{1,4}", name)
        )
        addresses = []
        for number in numbers[:_MAX_FUNCTIONS]:
            # One that goes while it is looked at is not there.
            with contextlib.suppress(FileNotFoundError):
                link = os.readlink(self._root / there / f"virtfn{number}")
                addresses.append(_address(link))
        return addresses

    def _function(self, address: str, mdevs: _Mdevs) -> model.VirtualFunction:
        there = f"{_DEVICES}/{address}"
        current = self._number(f"{there}/nvidia/current_vgpu_type")
        return model.VirtualFunction(
            pci_address=address,
            mdev_types=self._mdev_types(there),
            mdev_type=mdevs.get(address, 0),
            is_variant=current is not None,
            current_type=current or 0,
            gi_id=self._gi_id(there) if current else None,
        )

    def _gi_id(self, there: str) -> int | None:
        """None without a vGPU (ENXIO), and for what is no instance's id:
        how a time-sliced vGPU shows that it has none is not documented."""
        text = self._text(f"{there}/nvidia/gpu_instance_id")
        match = _NUMBER.fullmatch(text) if text else None
        return int(match[1]) if match else None

    def _mdev_types(self, there: str) -> frozenset[int]:
        names = self._names(f"{there}/mdev_supported_types")
        found = (_MDEV_TYPE.fullmatch(name) for name in names)
        return frozenset(int(match[1]) for match in found if match)

    def _mdevs(self) -> _Mdevs:
        """Type of the mdev, by its function's address."""
        found = {}
        for uuid in self._names(_MDEVS):
            there = self._root / _MDEVS / uuid
            with contextlib.suppress(FileNotFoundError):
                parent = pathlib.PurePath(os.readlink(there)).parent.name
                kind = os.path.basename(os.readlink(there / "mdev_type"))
                match = _MDEV_TYPE.fullmatch(kind)
                if match:
                    found[_address(parent)] = int(match[1])
        return found

    def set_type(self, pci_address: str, type_id: int) -> None:
        """Give a function a vGPU type, or take it away with 0.

        :raises HardwareError: the driver refuses, or it is another one
            afterwards.
        """
        path = f"{_DEVICES}/{pci_address}/nvidia/current_vgpu_type"
        # Clearing is not idempotent, nor is setting: read first.
        if self._number(path) == type_id:
            return
        if type_id and type_id not in self.creatable(pci_address):
            raise _refused(
                pci_address,
                f"vGPU type {type_id} cannot be created now",
                "see nvidia/creatable_vgpu_types; it needs a free GPU"
                " instance of its profile",
            )
        try:
            self._write_type(path, type_id)
        except OSError as error:
            raise _refused(
                pci_address,
                f"the driver refuses vGPU type {type_id}"
                f" ({error.strerror or error})",
                "look at dmesg",
            ) from error
        if self._number(path) != type_id:
            raise _refused(
                pci_address,
                f"vGPU type {type_id} was written and is not read back",
                "look at dmesg",
            )

    def _write_type(self, path: str, type_id: int) -> None:
        """:raises OSError: the driver refuses it."""
        until = time.monotonic() + _PLUGIN_WAIT
        while True:
            try:
                return self._write(path, f"{type_id}\n")
            except OSError as error:
                # The plug-in of a VM that has ended is not gone at once.
                if error.errno != errno.EBUSY or time.monotonic() > until:
                    raise
            time.sleep(_PLUGIN_POLL)

    def creatable(self, pci_address: str) -> frozenset[int]:
        """Ids of the types that a function can have now; changes with
        every write to one of its siblings."""
        path = f"{_DEVICES}/{pci_address}/nvidia/creatable_vgpu_types"
        lines = (self._text(path) or "").splitlines()
        found = (_CREATABLE.fullmatch(line) for line in lines)
        return frozenset(int(match[1] or match[2]) for match in found if match)

    def is_bound(self, pci_address: str) -> bool:
        """Whether NVIDIA's driver has the device."""
        return (self._root / _DEVICES / pci_address / "driver").exists()

    def bind(self, pci_address: str) -> None:
        """Give a GPU back to NVIDIA's driver; sriov-manage takes it away,
        and leaves it so where it dies midway.

        :raises HardwareError: the kernel refuses.
        """
        try:
            self._write(f"{_DRIVER}/bind", pci_address)
        except OSError as error:
            raise _refused(
                pci_address,
                f"the driver does not take it back ({error.strerror})",
                "look at dmesg",
            ) from error

    # The files.

    def _names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self._root / path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(path, str(error.strerror)) from error

    def _text(self, path: str) -> str | None:
        """None where there is no such file, or it has no value."""
        try:
            with open(self._root / path, "rb") as file:
                return file.read(_MAX_BYTES).decode(errors="replace")
        except PermissionError as error:
            raise _unreadable(path, str(error.strerror)) from error
        except OSError:
            return None

    def _number(self, path: str) -> int | None:
        text = self._text(path)
        if text is None:
            return None
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise _unreadable(path, f"{text[:20]!r} is no number")
        return int(match[1])

    def _write_file(self, path: str, text: str) -> None:
        # Without O_CREAT: a file that is not there is not sysfs's.
        fd = os.open(self._root / path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _address(link: str) -> str:
    name = os.path.basename(link)
    try:
        return model.normal_pci_address(name)
    except ValueError as error:
        raise _unreadable(link[:80], str(error)) from error


def _unreadable(path: str, why: str) -> exception.HardwareError:
    return exception.HardwareError(
        f"cannot be used ({why})",
        where=f"sysfs {path}",
        mend="see whether [hardware] sysfs_root is where sysfs is mounted,"
        " and run as root",
    )


def _refused(address: str, what: str, mend: str) -> exception.HardwareError:
    return exception.HardwareError(
        what, where=f"PCI device {address}", mend=mend
    )
