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
"""Nova's fake libvirt, on a host whose GPUs are the simulated node's.

All that it shows is read when it is asked for. It refuses what libvirt and
the driver would: an mdev without a GPU instance, and a guest whose device
is not there.
"""

import dataclasses
import functools
from typing import Any
from xml.etree import ElementTree

from nova.tests.fixtures import libvirt as fakelibvirt

from tests.nova import cards as gpu_cards

_VENDOR = "10de"
# The A100 SXM4 of 40 GB; a VF's product is its PF's.
_PRODUCT = "20b0"


@dataclasses.dataclass(frozen=True)
class GuestDevice:
    """A host device in a guest's XML.

    :param kind: ``mdev`` or ``pci``.
    :param managed: whether libvirt rebinds it to vfio-pci.
    :param vf: where it is, or was.
    :param usable: whether QEMU could open it.
    """

    kind: str
    managed: bool
    vf: str
    usable: bool


class Hypervisor(fakelibvirt.Connection):
    """libvirt of one host; it lives on while nova-compute restarts.

    :param mdev: whether the kernel still has mdevs.
    """

    def __init__(
        self, name: str, cards: gpu_cards.Cards, *, mdev: bool
    ) -> None:
        super().__init__(
            "qemu:///system",
            hostname=name,
            host_info=fakelibvirt.HostInfo(
                cpu_nodes=2, cpu_sockets=1, cpu_cores=2, cpu_threads=2
            ),
            pci_info=_Functions(cards, mdev=mdev),
            mdev_info=_Mdevs(cards),
        )
        self._cards = cards
        # libvirt's own, which outlive the mdevs.
        self._defined: dict[str, gpu_cards.Mdev] = {}

    # What nova-compute calls.

    def nodeDeviceCreateXML(self, xml: str, flags: int) -> None:
        self.create_mdev(_parse(xml))

    def nodeDeviceDefineXML(self, xml: str, flags: int) -> "_DefinedMdev":
        mdev = _parse(xml)
        self._defined[mdev.uuid] = mdev
        return _DefinedMdev(self, mdev)

    def listAllDevices(self, flags: int) -> list[Any]:
        inactive = (
            fakelibvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV
            | fakelibvirt.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE
        )
        if flags & inactive != inactive:
            return super().listAllDevices(flags)
        active = {mdev.uuid for mdev in self._cards.mdevs()}
        return [
            _DefinedMdev(self, mdev)
            for mdev in self._defined.values()
            if mdev.uuid not in active
        ]

    def _mark_running(self, dom: fakelibvirt.Domain) -> None:
        try:
            self._check_devices(dom)
        except fakelibvirt.libvirtError:
            dom._state = fakelibvirt.VIR_DOMAIN_SHUTOFF
            raise
        super()._mark_running(dom)

    def _check_devices(self, dom: fakelibvirt.Domain) -> None:
        """QEMU opens each device, or does not start."""
        held = {
            device.vf
            for vm in self._running_vms.values()
            # A migration has left it behind, which is a stub's doing.
            if vm.UUIDString() != dom.UUIDString()
            for device in self._devices(vm)
        }
        for device in self._devices(dom):
            if not device.usable or device.vf in held:
                raise _error(f"device not found or in use: {device}")

    # What tests ask and do.

    def create_mdev(self, mdev: gpu_cards.Mdev) -> None:
        """Raises libvirt's error where the driver refuses."""
        try:
            self._cards.create_mdev(mdev)
        except OSError as error:
            raise _error(f"Unable to start mediated device: {error}") from None

    def devices_of(self, uuid: str) -> list[GuestDevice]:
        """The host devices in the XML of a VM."""
        return self._devices(self.lookupByUUIDString(uuid))

    def held_vfs(self) -> set[str]:
        """VFs of all VMs, running or not."""
        return {
            device.vf
            for dom in self._vms.values()
            for device in self._devices(dom)
        }

    def has_mdevs(self) -> bool:
        """Whether libvirt has some to start."""
        return bool(self._defined)

    def remove_mdev(self, uuid: str) -> None:
        """As an operator's ``mdevctl stop`` and ``undefine``."""
        self._cards.remove_mdev(uuid)
        self._defined.pop(uuid, None)

    def reboot(self) -> None:
        """All VMs are off; nova-compute must have been stopped."""
        for dom in self._running_vms.values():
            dom._state = fakelibvirt.VIR_DOMAIN_SHUTOFF
            dom._id = -1
        self._running_vms.clear()

    def _devices(self, dom: fakelibvirt.Domain) -> list[GuestDevice]:
        tree = ElementTree.fromstring(dom.XMLDesc(0))
        found = tree.findall("./devices/hostdev")
        return [self._device(element) for element in found]

    def _device(self, element: ElementTree.Element) -> GuestDevice:
        address = element.find("./source/address")
        assert address is not None
        kind = element.get("type", "")
        if kind == "mdev":
            uuid = address.get("uuid", "")
            active = {mdev.uuid for mdev in self._cards.mdevs()}
            vf, usable = self._defined[uuid].vf, uuid in active
        else:
            vf = _pci_address(address)
            usable = self._cards.has_type(vf)
        return GuestDevice(kind, element.get("managed") == "yes", vf, usable)


def _pci_address(element: ElementTree.Element) -> str:
    domain, bus, slot, function = (
        int(element.get(key, ""), 16)
        for key in ("domain", "bus", "slot", "function")
    )
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"


class _DefinedMdev(fakelibvirt.NodeDevice):
    """An mdev that libvirt knows, whether it exists or not."""

    def __init__(self, host: Hypervisor, mdev: gpu_cards.Mdev) -> None:
        super().__init__(host, _mdev_device(mdev).XMLDesc(0))
        self._mdev = mdev

    def setAutostart(self, autostart: bool) -> None:
        """Nova sees to it itself, at its start."""

    def create(self, flags: int) -> int:
        self._connection.create_mdev(self._mdev)
        return 0


class _Mdevs(fakelibvirt.HostMdevDevicesInfo):
    def __init__(self, cards: gpu_cards.Cards) -> None:
        self._cards = cards

    @property
    def devices(self) -> dict[str, fakelibvirt.FakeMdevDevice]:
        return {
            _mdev_name(mdev): _mdev_device(mdev)
            for mdev in self._cards.mdevs()
        }

    def get_device_by_name(self, name: str) -> fakelibvirt.FakeMdevDevice:
        device = self.devices.get(name)
        if not device:
            raise _error(f"no node device with matching name {name}")
        return device


class _Functions(fakelibvirt.HostPCIDevicesInfo):
    """The GPUs' PFs and VFs."""

    def __init__(self, cards: gpu_cards.Cards, *, mdev: bool) -> None:
        self._cards = cards
        self._mdev = mdev
        # Nova asks for them one by one, and each time for all.
        self._known: tuple[object, dict[str, _Function]] = (None, {})

    @property
    def devices(self) -> dict[str, "_Function"]:
        version = self._cards.version()
        if self._known[0] != version:
            self._known = version, self._read()
        return self._known[1]

    def _read(self) -> dict[str, "_Function"]:
        found = {}
        for card in self._cards.now():
            functions = [_physical(card)]
            functions += [
                _virtual(vf, card, mdev=self._mdev) for vf in card.vfs
            ]
            found.update({_name(item.where): item for item in functions})
        return found


class _Function(fakelibvirt.FakePCIDevice):
    """A PCI function of any address and with any capabilities."""

    def __init__(
        self, where: str, capabilities: str, *, parent: str, mdev: bool = False
    ) -> None:
        self.where = where
        self.is_capable_of_mdevs = mdev
        bus, slot, function = _numbers(where)
        self.pci_device = self.pci_device_template % {
            "bus": bus,
            "slot": slot,
            "function": function,
            "vend_id": _VENDOR,
            "vend_name": "NVIDIA Corporation",
            "prod_id": _PRODUCT,
            "prod_name": "GA100 [A100 SXM4 40GB]",
            "driver": "nvidia",
            "capability": capabilities,
            "vpd_capability": "",
            "iommu_group": 40,
            "numa_node": 0,
            "parent": parent,
        }


def _physical(card: gpu_cards.Card) -> _Function:
    vfs = "".join(map(_xml_address, [vf.address for vf in card.vfs]))
    # Its own bus says maxCount also while SR-IOV is off.
    capability = (
        f"<capability type='virt_functions' maxCount='16'>{vfs}</capability>"
    )
    return _Function(
        card.address, capability, parent=_Function.pci_default_parent
    )


def _virtual(
    vf: gpu_cards.Vf, card: gpu_cards.Card, *, mdev: bool
) -> _Function:
    capability = (
        "<capability type='phys_function'>"
        f"{_xml_address(card.address)}</capability>"
    )
    if mdev:
        types = "".join(
            f"<type id='{name}'><name>GRID {name}</name>"
            "<deviceAPI>vfio-pci</deviceAPI>"
            f"<availableInstances>{units}</availableInstances></type>"
            for name, units in vf.available.items()
        )
        capability += f"<capability type='mdev_types'>{types}</capability>"
    return _Function(
        vf.address, capability, parent=_name(card.address), mdev=mdev
    )


def _xml_address(where: str) -> str:
    bus, slot, function = _numbers(where)
    return _Function.addr_templ % {
        "bus": bus,
        "slot": slot,
        "function": function,
    }


def _numbers(where: str) -> tuple[int, int, int]:
    """Bus, slot and function of ``0000:41:00.4``."""
    _, bus, rest = where.split(":")
    slot, function = rest.split(".")
    return int(bus, 16), int(slot, 16), int(function)


def _name(where: str) -> str:
    """libvirt's name of a PCI function."""
    return "pci_" + where.replace(":", "_").replace(".", "_")


def _where(name: str) -> str:
    domain, bus, slot, function = name.removeprefix("pci_").split("_")
    return f"{domain}:{bus}:{slot}.{function}"


def _mdev_name(mdev: gpu_cards.Mdev) -> str:
    return "mdev_" + mdev.uuid.replace("-", "_")


def _mdev_device(mdev: gpu_cards.Mdev) -> fakelibvirt.FakeMdevDevice:
    return fakelibvirt.FakeMdevDevice(
        _mdev_name(mdev), mdev.type, _name(mdev.vf)
    )


def _parse(xml: str) -> gpu_cards.Mdev:
    tree = ElementTree.fromstring(xml)
    kind = tree.find("./capability/type")
    assert kind is not None
    return gpu_cards.Mdev(
        tree.findtext("./capability/uuid", ""),
        _where(tree.findtext("./parent", "")),
        kind.get("id", ""),
    )


_error = functools.partial(
    fakelibvirt.make_libvirtError,
    fakelibvirt.libvirtError,
    error_code=fakelibvirt.VIR_ERR_NO_NODE_DEVICE,
    error_domain=fakelibvirt.VIR_FROM_NODEDEV,
)
