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
"""Which function carries what: wanted, found amiss, and brought about."""

import dataclasses

import pytest

from mig_placement import exception
from mig_placement import restore
from mig_placement.geometry import functions
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.geometry import plan
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.geometry import verdict
from mig_placement.hardware import model
from tests.unit import pictures
from tests.unit.data import models

_MDEV = functions.Way(functions.Attach.MDEV)
_VFIO = functions.Way(functions.Attach.VFIO)
_SMALL = model.VgpuType(463, "A100X-1-5C", "1g.5gb", 1, 5120)
_LARGE = model.VgpuType(465, "A100X-3-20C", "3g.20gb", 1, 20480)


def _function(number: int, **changes: object) -> model.VirtualFunction:
    address = model.function_address(pictures.address(0), 4 + number)
    values: dict[str, object] = {
        "mdev_types": frozenset(),
        "is_variant": True,
        **changes,
    }
    return model.VirtualFunction(address, **values)  # type: ignore[arg-type]


def _gpu(instances: int = 2, *there: model.VirtualFunction) -> model.Gpu:
    return pictures.gpu(
        instances=instances,
        profiles=models.profiles(models.A100),
        vgpu_types=(_SMALL, _LARGE),
        sriov=model.Sriov(16, 4, 1, there),
    )


def _layout(*profiles: str) -> layout.GpuLayout:
    return layout.GpuLayout(
        True,
        tuple(
            layout.DeclaredInstance(name, None, (name,)) for name in profiles
        ),
        1,
    )


@pytest.mark.parametrize(
    ("distance", "address"),
    [(4, "0000:c1:00.4"), (7, "0000:c1:00.7"), (8, "0000:c1:01.0")],
)
def test_a_function_follows_its_gpu_in_routing_ids(
    distance: int, address: str
) -> None:
    assert model.function_address("0000:c1:00.0", distance) == address


def test_a_function_may_lie_on_the_next_bus() -> None:
    assert model.function_address("0001:41:1f.7", 1) == "0001:42:00.0"


def test_the_lowest_functions_are_wanted_profile_by_profile() -> None:
    need = functions.wanted(_gpu(), _layout("3g.20gb", "1g.5gb", "1g.5gb"), {})
    assert [(each.pci_address, each.profile) for each in need] == [
        ("0000:c1:00.4", "1g.5gb"),
        ("0000:c1:00.5", "1g.5gb"),
        ("0000:c1:00.6", "3g.20gb"),
    ]


def test_a_type_of_its_own_instance_is_preferred() -> None:
    shared = model.VgpuType(1546, "DC-1-2Q", "1g.5gb", 12, 2048)
    alone = model.VgpuType(1561, "DC-1-24Q", "1g.5gb", 1, 24576)
    gpu = dataclasses.replace(_gpu(), vgpu_types=(shared, alone))
    assert functions.vgpu_type(gpu, "1g.5gb", {}) == alone
    chosen = functions.vgpu_type(gpu, "1g.5gb", {"1g.5gb": "DC-1-2Q"})
    assert chosen == shared


def test_a_type_of_another_profile_is_refused() -> None:
    with pytest.raises(exception.LayoutError) as caught:
        functions.vgpu_type(_gpu(), "1g.5gb", {"1g.5gb": "A100X-3-20C"})
    assert "needs 3g.20gb" in str(caught.value)
    assert "[nova] vgpu_types" in str(caught.value)


def test_a_profile_without_a_type_is_refused() -> None:
    with pytest.raises(exception.LayoutError, match="no vGPU type for 2g"):
        functions.wanted(_gpu(), _layout("2g.10gb"), {})


def test_more_instances_than_functions_are_refused() -> None:
    gpu = dataclasses.replace(_gpu(), sriov=model.Sriov(1, 4, 1))
    with pytest.raises(exception.LayoutError, match="2 instances need"):
        functions.wanted(gpu, _layout("1g.5gb", "1g.5gb"), {})


def _reasons(
    gpu: model.Gpu, declared: layout.GpuLayout, way: functions.Way
) -> list[str]:
    return [each.reason for each in functions.findings(gpu, declared, way)]


def test_without_functions_sriov_is_off() -> None:
    assert _reasons(_gpu(), _layout("1g.5gb"), _MDEV) == ["SRIOV_DISABLED"]


def test_a_gpu_without_instances_needs_no_functions() -> None:
    assert _reasons(_gpu(0), _layout(), _MDEV) == []
    off = layout.GpuLayout(False, (), 1)
    assert _reasons(_gpu(0), off, _VFIO) == []


def test_a_divided_instance_is_refused() -> None:
    declared = layout.GpuLayout(
        True,
        (layout.DeclaredInstance("3g.20gb", None, ("1c.3g.20gb",) * 3),),
        1,
    )
    with pytest.raises(exception.LayoutError, match="is divided"):
        functions.findings(_gpu(0, _function(0)), declared, _MDEV)


def test_an_untyped_function_is_amiss_with_vfio() -> None:
    gpu = _gpu(2, _function(0, current_type=463), _function(1))
    (finding,) = functions.findings(gpu, _layout(*["1g.5gb"] * 2), _VFIO)
    assert finding.reason is verdict.Reason.VGPU_TYPE_MISSING
    assert "1 of 2" in finding.detail
    assert "0000:c1:00.5" in finding.detail


def _steps(
    gpu: model.Gpu,
    declared: layout.GpuLayout,
    way: functions.Way,
    in_use: tuple[int, ...] = (),
) -> list[str]:
    """:param in_use: places of instances that must stay."""
    one = _plan(gpu, declared, way, in_use)
    return [type(step).__name__ for step in one.steps]


def _plan(
    gpu: model.Gpu,
    declared: layout.GpuLayout,
    way: functions.Way,
    in_use: tuple[int, ...] = (),
) -> gpu_plan.GpuPlan:
    held = [
        gpu_plan.InUse(0, target.located(gpu.instances[place]), "a VM")
        for place in in_use
    ]
    wanted = layout.NodeLayout("x", "", {0: declared})
    (one,) = plan.plan(model.Node("", (gpu,)), wanted, held, (), way)
    return one


def test_sriov_comes_before_the_instances() -> None:
    gpu = dataclasses.replace(_gpu(0), mig_mode=False, mig_pending=False)
    assert _steps(gpu, _layout("1g.5gb"), _VFIO) == [
        "SetMode",
        "EnableSriov",
        "CreateGpuInstance",
        "CreateComputeInstance",
        "SetVgpuType",
    ]


def test_instances_in_use_keep_sriov_off() -> None:
    assert "EnableSriov" in _steps(_gpu(), _layout("1g.5gb"), _MDEV)
    assert _steps(_gpu(1), _layout("1g.5gb"), _MDEV, in_use=(0,)) == []


@pytest.mark.parametrize("way", [_MDEV, _VFIO])
def test_what_waits_for_sriov_loses_nothing_meanwhile(
    way: functions.Way,
) -> None:
    one = _plan(_gpu(2), _layout("1g.5gb", "1g.5gb"), way, in_use=(0,))
    assert one.steps == ()
    assert len(one.after) == 2
    assert [each.slot.placement.start for each in one.waiting] == [0]


def test_types_come_after_the_instances() -> None:
    gpu = _gpu(0, _function(0), _function(1))
    assert _steps(gpu, _layout("1g.5gb", "1g.5gb"), _VFIO) == [
        *["CreateGpuInstance", "CreateComputeInstance"] * 2,
        "SetVgpuType",
        "SetVgpuType",
    ]


def test_a_vgpu_goes_before_the_instance_that_carries_it() -> None:
    gpu = _gpu(1, _function(0, current_type=463, gi_id=0), _function(1))
    assert _steps(gpu, _layout("3g.20gb"), _VFIO) == [
        "ClearVgpuType",
        "DestroyGpuInstance",
        "CreateGpuInstance",
        "CreateComputeInstance",
        "SetVgpuType",
    ]


def test_the_function_of_a_vm_is_left_alone() -> None:
    gpu = _gpu(1, _function(0, current_type=463, gi_id=0), _function(1))
    assert "ClearVgpuType" not in _steps(
        gpu, _layout("3g.20gb"), _VFIO, in_use=(0,)
    )


def test_a_function_that_is_as_wanted_needs_no_step() -> None:
    gpu = _gpu(1, _function(0, current_type=463, gi_id=0))
    wanted = layout.GpuLayout(
        True, (layout.DeclaredInstance("1g.5gb", None, None),), 1
    )
    assert _steps(gpu, wanted, _VFIO) == []


def test_a_type_that_needs_no_instance_is_left_alone() -> None:
    """Time-sliced, on a GPU that matches while another one does not."""
    gpu = dataclasses.replace(
        _gpu(0, _function(0, current_type=471), _function(1)),
        mig_mode=False,
        mig_pending=False,
    )
    assert _steps(gpu, layout.GpuLayout(False, (), 1), _VFIO) == []


def _undivided(profile: str) -> layout.GpuLayout:
    return layout.GpuLayout(
        True, (layout.DeclaredInstance(profile, None, None),), 1
    )


@pytest.mark.parametrize("mig", [True, False])
def test_a_function_with_somebody_elses_type_is_named(mig: bool) -> None:
    """It may be a VM's that is shut off, and the driver refuses another."""
    gpu = dataclasses.replace(
        _gpu(0, _function(0, current_type=471), _function(1)),
        mig_mode=mig,
        mig_pending=mig,
    )
    one = _plan(gpu, _undivided("1g.5gb"), _VFIO)
    assert one.steps == ()
    (line,) = restore.waiting_lines(one)
    assert line.startswith("GPU 0: waiting for 0000:c1:00.4 to lose a vGPU")


@pytest.mark.parametrize(("mig", "waits"), [(True, False), (False, True)])
def test_a_type_on_a_spare_function_is_only_in_the_way_of_mig(
    mig: bool, waits: bool
) -> None:
    gpu = dataclasses.replace(
        _gpu(0, _function(0), _function(1, current_type=471)),
        mig_mode=mig,
        mig_pending=mig,
    )
    assert _plan(gpu, _undivided("1g.5gb"), _VFIO).waits == waits


@pytest.mark.parametrize("way", [_MDEV, functions.Way()])
def test_only_vfio_takes_types_away(way: functions.Way) -> None:
    """They may be those of VMs that are shut off, under another option."""
    gpu = _gpu(1, _function(0, current_type=463, gi_id=0))
    assert _steps(gpu, _undivided("1g.5gb"), way) == []
    assert _steps(gpu, _undivided("2g.10gb"), functions.Way()) == [
        "ClearVgpuType",
        "DestroyGpuInstance",
        "CreateGpuInstance",
    ]


@pytest.mark.parametrize("way", [_MDEV, _VFIO])
def test_what_cannot_be_attached_is_not_planned(way: functions.Way) -> None:
    divided = layout.GpuLayout(
        True,
        (layout.DeclaredInstance("3g.20gb", None, ("1c.3g.20gb",) * 3),),
        1,
    )
    with pytest.raises(exception.LayoutError, match="is divided"):
        _plan(_gpu(1, _function(0)), divided, way)


@pytest.mark.parametrize("way", [_MDEV, _VFIO])
def test_a_vm_s_instance_gets_no_compute_instance(way: functions.Way) -> None:
    """The guest makes its own; the host never does while the VM runs."""
    gpu = _gpu(2, _function(0, current_type=463, gi_id=0), _function(1))
    one = _plan(gpu, _layout("1g.5gb", "1g.5gb"), way, in_use=(0,))
    made = [
        step.slot.placement.start
        for step in one.steps
        if isinstance(step, steps.CreateComputeInstance)
    ]
    assert made == [1]
    assert [each.slot.placement.start for each in one.waiting] == [0]


def test_a_driver_that_does_not_tell_the_instance_loses_no_vm() -> None:
    """Before 580 there is no gpu_instance_id."""
    gpu = _gpu(2, _function(0, current_type=463), _function(1))
    bigger = _layout("3g.20gb", "3g.20gb")
    assert "ClearVgpuType" not in _steps(gpu, bigger, _VFIO, in_use=(0,))


def test_without_the_instance_told_a_vgpu_goes_before_its_profile() -> None:
    gpu = _gpu(2, _function(0, current_type=463), _function(1))
    assert _steps(gpu, _layout("1g.5gb"), _VFIO) == [
        "ClearVgpuType",
        "DestroyGpuInstance",
        "CreateComputeInstance",
        "SetVgpuType",
    ]


@pytest.mark.parametrize("way", [_MDEV, _VFIO])
@pytest.mark.parametrize("in_use", [(), (0,)])
def test_with_sriov_on_nothing_is_destroyed_to_switch_mig_off(
    way: functions.Way, in_use: tuple[int, ...]
) -> None:
    """The driver would refuse the last step, and all was gone before it."""
    gpu = _gpu(2, _function(0, current_type=463, gi_id=0), _function(1))
    one = _plan(gpu, layout.GpuLayout(False, (), 1), way, in_use)
    assert one.steps == ()
    assert one.waits
    assert one.after == tuple(map(target.located, gpu.instances))
    line, *users = restore.waiting_lines(one)
    assert line.startswith("GPU 0: waiting for SR-IOV to be switched off")
    assert line.endswith(f"sriov-manage -d {gpu.pci_address}")
    assert len(users) == len(in_use)


def test_mig_that_is_off_waits_for_nothing() -> None:
    gpu = dataclasses.replace(
        _gpu(0, _function(0)), mig_mode=False, mig_pending=False
    )
    one = _plan(gpu, layout.GpuLayout(False, (), 1), _VFIO)
    assert not one.waits
