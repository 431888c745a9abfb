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
# mypy: disable-error-code="import-not-found,misc"
"""Nova's own code reads our fragments as we mean them."""

import json
import os
import pathlib
import random
import tempfile
import unittest
from typing import Any
from unittest import mock

# As nova-compute, the conductor and the scheduler of Nova 34 run.
os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")
# First: it sets the process up for that.
import nova.conf  # isort: skip
import nova.conf.devices
import nova.conf.pci
import nova.conf.scheduler
from nova import exception
from nova import objects
from nova.compute import pci_placement_translator as translator
from nova.pci import devspec
from nova.pci import request
from nova.pci import whitelist
from nova.virt.libvirt import driver
from oslo_config import cfg

from mig_placement.nova import check
from mig_placement.nova import config_files
from mig_placement.nova import device_spec
from mig_placement.nova import needed
from mig_placement.nova import render
from mig_placement.placement import names
from tests.unit import vgpu

CARD = "0000:c1:00.0"
HOST = "node1.example.org"
MDEV = vgpu.config(["1g.5gb"] * 3 + ["2g.10gb"], ["1g.5gb"])
VFIO = vgpu.config(["1g.5gb"] * 3, ["3g.20gb"] * 2, attach="vfio")


def _nova_options(*texts: str) -> cfg.ConfigOpts:
    """Texts as files of a Nova service, with its own options."""
    conf = cfg.ConfigOpts()
    for module in (nova.conf.devices, nova.conf.pci, nova.conf.scheduler):
        module.register_opts(conf)
    with tempfile.TemporaryDirectory() as folder:
        paths = _files(folder, texts)
        conf([f"--config-file={path}" for path in paths], project="nova")
    return conf


def _our_options(*texts: str) -> config_files.Found:
    with tempfile.TemporaryDirectory() as folder:
        return config_files.read(_files(folder, texts))


def _files(folder: str, texts: tuple[str, ...]) -> list[str]:
    paths = [
        pathlib.Path(folder, f"nova-{number}.conf")
        for number in range(len(texts))
    ]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


def _mdev_driver(conf: cfg.ConfigOpts) -> Any:
    """What libvirt's driver knows of mdev types after its start."""
    made = driver.LibvirtDriver.__new__(driver.LibvirtDriver)
    made.pgpu_type_default = None
    made.pgpu_type_mapping = {}
    made.mdev_class_mapping = {}
    made.mdev_classes = set()
    made.mdev_type_max_mapping = {}
    made.virtual_mdevs = set()
    with mock.patch.object(driver, "CONF", conf):
        made.supported_vgpu_types = made._get_supported_vgpu_types()
    return made


def _aliases(conf: cfg.ConfigOpts) -> Any:
    """What every service does at its start."""
    request.get_alias_from_config.cache_clear()
    with mock.patch.object(request, "CONF", conf):
        return request.get_alias_from_config()


def _device(address: str, card: str | None = None) -> dict[str, Any]:
    return {
        "address": address,
        "parent_addr": card,
        "vendor_id": "10de",
        "product_id": "20b0",
    }


def _providers(
    conf: cfg.ConfigOpts, config: needed.NovaConfig
) -> dict[str, Any]:
    """Nova's PCI providers, every function and GPU being there."""
    view = translator.PlacementView(HOST, [])
    cards = {card.pci_address for card in config.cards}
    with (
        mock.patch.object(devspec, "CONF", conf),
        mock.patch.object(
            devspec.utils,
            "is_physical_function",
            lambda *fields: "{}:{}:{}.{}".format(*fields) in cards,
        ),
    ):
        specs = whitelist.Whitelist(conf.pci.device_spec)
        for card in config.cards:
            devices = [_device(card.pci_address)]
            devices += [
                _device(each, card.pci_address) for each in card.functions
            ]
            for each in devices:
                spec = specs.device_assignable(each)
                if spec is not None:
                    view.process_dev(_pci_device(each), spec)
    return dict(view.rps)


def _pci_device(device: dict[str, Any]) -> Any:
    kind = "type-VF" if device["parent_addr"] else "type-PF"
    return objects.PciDevice(
        status="available", dev_type=kind, instance_uuid=None, **device
    )


class MdevTest(unittest.TestCase):
    def test_nova_takes_each_function_for_its_type_and_class(self) -> None:
        found = _mdev_driver(_nova_options(render.render(MDEV)))
        types = {
            address: each.name
            for each in MDEV.mdev_types
            for address in each.addresses
        }
        classes = {
            address: each.resource_class
            for each in MDEV.mdev_types
            for address in each.addresses
        }
        self.assertEqual(types, found.pgpu_type_mapping)
        self.assertEqual(classes, dict(found.mdev_class_mapping))
        self.assertIsNone(found.pgpu_type_default)
        self.assertEqual(5, len(types))

    def test_a_class_without_addresses_is_lost_and_named(self) -> None:
        lines = render.render(MDEV).splitlines()
        text = "\n".join(e for e in lines if "device_addresses" not in e)
        found = _mdev_driver(_nova_options(text))
        self.assertEqual({}, found.mdev_class_mapping)
        self.assertIn(found.pgpu_type_default, found.supported_vgpu_types)
        named = check.check(MDEV, _our_options(text))
        self.assertIn("device_addresses", {each.option for each in named})

    def test_an_address_of_two_types_stops_nova_and_is_named(self) -> None:
        first = MDEV.mdev_types[0].addresses[0]
        text = render.render(MDEV).replace("0000:c1:00.7", first)
        with self.assertRaises(exception.InvalidLibvirtMdevConfig):
            _mdev_driver(_nova_options(text))
        why = " ".join(e.why for e in check.check(MDEV, _our_options(text)))
        self.assertIn("refuses to start", why)

    def test_nova_compares_addresses_as_texts(self) -> None:
        config = vgpu.config(*[[]] * 9, ["1g.5gb"])
        text = render.render(config).replace("0000:ca", "0000:CA")
        found = _mdev_driver(_nova_options(text))
        self.assertIsNone(found._get_vgpu_type_per_pgpu("pci_0000_ca_00_4"))
        why = " ".join(e.why for e in check.check(config, _our_options(text)))
        self.assertIn("0000:CA:00.4 is never 0000:ca:00.4", why)


class VfioTest(unittest.TestCase):
    def test_nova_has_one_provider_for_each_gpu(self) -> None:
        conf = _nova_options(render.render(VFIO))
        found = _providers(conf, VFIO)
        self.assertEqual(
            {
                f"{HOST}_0000:C1:00.0": ("CUSTOM_VGPU_1G_5GB", 3),
                f"{HOST}_0000:C2:00.0": ("CUSTOM_VGPU_3G_20GB", 2),
            },
            {
                n: (each.resource_class, each.total)
                for n, each in found.items()
            },
        )
        for each in found.values():
            self.assertEqual(
                {"CUSTOM_MIG_VF", "COMPUTE_MANAGED_PCI_DEVICE"}, each.traits
            )
        self.assertTrue(conf.pci.report_in_placement)
        self.assertTrue(conf.filter_scheduler.pci_in_placement)

    def test_nova_writes_a_provider_s_address_in_capitals(self) -> None:
        config = vgpu.config(*[[]] * 9, ["1g.5gb"], attach="vfio")
        found = _providers(_nova_options(render.render(config)), config)
        (name,) = found
        self.assertEqual(f"{HOST}_0000:CA:00.0", name)
        self.assertEqual(names.pci_provider_name(HOST, "0000:ca:00.0"), name)
        self.assertTrue(names.is_pci_provider(name, HOST))

    def test_libvirt_leaves_the_functions_to_nvidias_driver(self) -> None:
        conf = _nova_options(render.render(VFIO))
        specs = whitelist.Whitelist(conf.pci.device_spec).specs
        self.assertEqual({"false"}, {e.get_tags()["managed"] for e in specs})

    def test_both_parts_have_the_aliases(self) -> None:
        for part in needed.Part:
            text = render.render(VFIO, frozenset({part}))
            found = _aliases(_nova_options(text))
            self.assertEqual({"mig-1g-5gb", "mig-3g-20gb"}, set(found))
            (spec,) = found["mig-1g-5gb"][1]
            self.assertEqual("CUSTOM_VGPU_1G_5GB", spec["resource_class"])
            self.assertEqual("type-VF", spec["dev_type"])

    def test_nova_compute_stops_without_pci_in_placement(self) -> None:
        # Why the compute part has an option that reads like the scheduler's.
        text = render.render(VFIO, frozenset({needed.Part.COMPUTE}))
        text = text.replace("pci_in_placement = true", "")
        with self.assertRaises(exception.PciInvalidAlias):
            _aliases(_nova_options(text))

    def test_an_alias_in_two_files_stops_nova_and_is_named(self) -> None:
        texts = [
            render.render(VFIO, frozenset({part})) for part in needed.Part
        ]
        with self.assertRaises(exception.PciInvalidAlias):
            _aliases(_nova_options(*texts))
        named = check.check(VFIO, _our_options(*texts))
        self.assertEqual({"alias"}, {each.option for each in named})

    def _stops(self, old: str, new: str) -> str:
        text = render.render(VFIO)
        self.assertEqual(1, text.count(old))
        text = text.replace(old, new)
        with self.assertRaises(exception.PlacementPciException):
            _providers(_nova_options(text), VFIO)
        found = check.check(VFIO, _our_options(text))
        return " ".join(each.why for each in found)

    def test_a_glob_that_takes_the_gpu_stops_nova_and_is_named(self) -> None:
        why = self._stops('"0000:c1:00.4"', '"0000:c1:00.*"')
        self.assertIn("it covers the GPU itself", why)

    def test_a_gpus_address_stops_nova_and_is_named(self) -> None:
        why = self._stops('"0000:c1:00.4"', '"0000:c1:00.0"')
        self.assertIn("it covers the GPU itself", why)

    def test_other_traits_on_a_gpu_stop_nova_and_are_named(self) -> None:
        why = self._stops(
            'c1:00.4", "managed": "no",',
            'c1:00.4", "managed": "no", "live_migratable": "yes",',
        )
        self.assertIn("they differ on one GPU", why)


class UnderstandingTest(unittest.TestCase):
    """Our reading of Nova's options against Nova's."""

    def test_specs_cover_what_they_cover_for_nova(self) -> None:
        drawn = random.Random(34)
        covered = 0
        for _ in range(2000):
            spec = _some_spec(drawn)
            ours = [
                each.covers_function(address, VFIO.cards[0])
                for each in device_spec.device_specs(json.dumps(spec))
                for address in VFIO.cards[0].functions
            ]
            theirs = [
                self._covers(spec, _device(address, CARD))
                for address in VFIO.cards[0].functions
            ]
            self.assertEqual(theirs, ours, spec)
            (one,) = device_spec.device_specs(json.dumps(spec))
            self.assertEqual(
                self._covers(spec, _device(CARD)),
                one.covers_card(VFIO.cards[0]),
                spec,
            )
            covered += any(ours)
        self.assertGreater(covered, 200)

    def _covers(self, spec: dict[str, Any], device: dict[str, Any]) -> bool:
        with mock.patch.object(
            devspec.utils,
            "is_physical_function",
            lambda *fields: "{}:{}:{}.{}".format(*fields) == CARD,
        ):
            made = devspec.PciDeviceSpec(dict(spec))
            return bool(made.match(device))

    def test_classes_and_traits_are_normalized_as_by_nova(self) -> None:
        for name in (
            "CUSTOM_MIG_1G_5GB",
            "mig_1g_5gb",
            "custom_mig_1g_5gb",
            "MIG 1g.5gb",
            "vgpu-1g--5gb",
            "CUSTOM_a.b",
        ):
            self.assertEqual(
                translator._normalize_resource_class(name),
                device_spec.normal(name),
            )
            self.assertEqual(
                translator.get_traits(name), {device_spec.normal(name)}
            )


def _some_spec(drawn: random.Random) -> dict[str, Any]:
    """Any spec, most of them of the first GPU."""
    spec: dict[str, Any] = {}
    if drawn.random() < 0.3:
        spec["vendor_id"] = drawn.choice(["10de", "10DE", "*", "8086"])
    if drawn.random() < 0.1:
        spec["product_id"] = "20b0"
    address = _some_address(drawn)
    if address:
        spec["address"] = address
    return spec


def _some_address(drawn: random.Random) -> str | dict[str, str]:
    def field(*usual: str) -> str:
        return drawn.choice([*usual * 3, "*", ""])

    if drawn.random() < 0.4:
        patterns = {
            "domain": ["0000", ".*"],
            "bus": ["c1", "c[12]", "c", ".*"],
            "slot": ["00", "0[0-2]", "01"],
            "function": ["[0-3]", "4", "0", ".*", "[45]"],
        }
        return {
            name: drawn.choice(some)
            for name, some in patterns.items()
            if drawn.random() < 0.8
        }
    text = f"{field('00', '0', '01')}.{field('4', '0', '5')}"
    if drawn.random() < 0.9:
        text = f"{field('c1', 'c2')}:{text}"
        if drawn.random() < 0.8:
            text = f"{field('0000', '0')}:{text}"
    return text
