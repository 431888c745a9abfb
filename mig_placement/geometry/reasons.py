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
"""What each reason means for whoever reads it at night."""

import dataclasses
import types

from mig_placement.geometry import verdict

_Reason = verdict.Reason

_RESET = "nvidia-smi -i GPU --gpu-reset"
_KEEP = "Running VMs keep their slices; no new VM gets one."


def _by_hand(command: str) -> str:
    """While the agent has a session of NVML, such a command fails."""
    return (
        "``mig-placement hold REASON``, so that the agent lets go of the GPUs;"
        f" ``{command}``; ``mig-placement release``"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """Sentences in reStructuredText, for the page of troubleshooting.

    :ivar seen: what happened, with what ``status`` or the log says of it.
    :ivar vms: what it means for VMs, running ones and new ones.
    :ivar mend: what to do, and when it opens again.
    """

    seen: str
    vms: str
    mend: str


MEANINGS = types.MappingProxyType(
    {
        _Reason.STARTING: Meaning(
            "The agent has not observed the node yet, or could not finish its"
            " first look.",
            _KEEP,
            "Wait some seconds. Where it stays, read the agent's log:"
            " ``journalctl -u mig-placement-agent``.",
        ),
        _Reason.HOLD: Meaning(
            "An operator closed the gate by hand, with ``mig-placement"
            " hold``; the words that they gave stand behind it.",
            _KEEP,
            "When the work is done: ``mig-placement release``.",
        ),
        _Reason.LAYOUT_INVALID: Meaning(
            "The layout file is missing or wrong, names no label for this"
            " node, or asks for what its GPUs cannot have.",
            _KEEP,
            "``mig-placement check`` names file, line and what would fit."
            " Mend the file: the agent reads it again by itself.",
        ),
        _Reason.CONFIG_INVALID: Meaning(
            "An option cannot be used, and the log names it. Or VMs hold a"
            " class that ``[mapping] resource_classes`` gives no profile of"
            " the GPU any more. Or Nova has more functions of the GPU than"
            " there are instances (``vfio``).",
            _KEEP,
            "For an option: mend it; systemd starts the agent again. For a"
            " class: delete those VMs, or put the mapping back. For functions:"
            " ``mig-placement nova-config --check``.",
        ),
        _Reason.HARDWARE_ERROR: Meaning(
            "NVML gives no usable answer: the driver is not loaded, the"
            " library is missing, or the agent may not use it.",
            "No new VM gets a slice. Whether running VMs still have theirs is"
            " not known: look at the driver first.",
            "``nvidia-smi -L`` and ``dmesg | grep NVRM``; load or mend the"
            " driver. ``mig-placement-status upgrade check`` says what the"
            " agent's user lacks.",
        ),
        _Reason.GPU_LOST: Meaning(
            "A GPU does not answer any more, or is not in the node.",
            "VMs on that GPU have most likely lost their device. No new VM"
            " gets a slice of it.",
            "``dmesg | grep NVRM`` tells why, XID 79 for instance. Reboot the"
            f" node, or reset the GPU: {_by_hand(_RESET)}. Where it was taken"
            " out for good, take it out of the layout; ``[agent]"
            " retire_after`` takes its provider out of Placement.",
        ),
        _Reason.GPU_UNHEALTHY: Meaning(
            "The driver reported an XID that concerns the whole GPU.",
            "VMs on that GPU may fail. No new VM gets a slice of it.",
            "Look the XID up in NVIDIA's table. Replace the GPU, or reset it:"
            f" {_by_hand(_RESET)}, which also forgets the XID.",
        ),
        _Reason.MIG_DISABLED: Meaning(
            "MIG mode is off, and the layout wants it on. From Hopper on, a"
            " reboot switches it off.",
            "There is no slice on that GPU, so that no VM has one and none"
            " gets one.",
            "``mig-placement apply``. With ``[layout] apply = native`` the"
            " agent does it. With NVIDIA's tool:"
            f" {_by_hand('nvidia-smi -i GPU -mig 1')}.",
        ),
        _Reason.MIG_ENABLED: Meaning(
            "MIG mode is on, and the layout wants it off.",
            _KEEP,
            "``mig-placement apply`` when no VM uses the GPU, or declare in"
            " the layout what is there.",
        ),
        _Reason.MODE_PENDING: Meaning(
            "MIG mode was switched, and the GPU goes on in the old mode until"
            " it is reset.",
            _KEEP + " The reset ends what runs on the GPU.",
            "Move the VMs of that GPU away, then reboot, or reset the GPU:"
            f" {_by_hand(_RESET)}. To take the switch back, set the mode that"
            " it has.",
        ),
        _Reason.INSTANCE_MISSING: Meaning(
            "GPU instances that the layout declares do not exist; after a"
            " reboot none does.",
            _KEEP,
            "``mig-placement plan``, then ``mig-placement apply``. With"
            " ``[layout] apply = native`` the agent makes them; where"
            " something else does, nvidia-mig-manager for instance, read its"
            " log.",
        ),
        _Reason.INSTANCE_EXTRA: Meaning(
            "GPU instances or compute instances exist that the layout does"
            " not declare.",
            _KEEP,
            "``mig-placement apply`` destroys those that nothing uses; or"
            " declare them: ``mig-placement export`` prints what there is.",
        ),
        _Reason.INSTANCE_UNHEALTHY: Meaning(
            "The driver reported an XID of one GPU instance, and Nova or the"
            " driver might choose that one (``mdev``, ``vfio``), or no other"
            " instance of the GPU is fit.",
            "The VM on that instance may fail; the others keep running. No"
            " new VM gets a slice of the GPU.",
            "Delete the VM, destroy the instance and create it again; or,"
            " where the VM was at fault, ``mig-placement release``.",
        ),
        _Reason.COMPUTE_INSTANCE_MISSING: Meaning(
            "A GPU instance has not the compute instances that the layout"
            " declares.",
            _KEEP,
            "``mig-placement apply``. On a vGPU host, where none is to be,"
            " write ``compute-instances: false`` into the layout.",
        ),
        _Reason.SRIOV_DISABLED: Meaning(
            "``[nova] attach`` needs virtual functions, and SR-IOV of the GPU"
            " is off; after a reboot it is.",
            "No VM has a slice of that GPU, and none gets one.",
            "With ``[layout] apply = native`` the agent does it. By hand:"
            f" {_by_hand('/usr/lib/nvidia/sriov-manage -e ADDRESS')}.",
        ),
        _Reason.VGPU_TYPE_MISSING: Meaning(
            "A virtual function has not the vGPU type that its place in the"
            " layout asks for (``vfio``).",
            _KEEP,
            "``mig-placement apply`` sets the types. A function that a VM"
            " uses keeps its type until the VM is gone.",
        ),
        _Reason.ATTACH_UNSUPPORTED: Meaning(
            "The kernel or the driver cannot attach in the way of ``[nova]"
            " attach``: there is no mdev bus, no VFIO variant driver, or not"
            " the vGPU type.",
            _KEEP,
            "Install NVIDIA's vGPU host driver, or change ``[nova] attach``;"
            " see :doc:`nova`.",
        ),
        _Reason.RESTORING: Meaning(
            "The agent, or ``mig-placement apply``, brings the layout back at"
            " this moment. All declared GPUs are closed meanwhile, whatever"
            " ``[gate] scope`` says.",
            _KEEP,
            "Wait. Where it lasts longer than some minutes, ``mig-placement"
            " status`` and the log say what it waits for, a VM on a slice"
            " that has to go for instance.",
        ),
        _Reason.SHUTDOWN: Meaning(
            "The host was shut down, or is about to be.",
            "VMs of this host are down. No new VM gets a slice.",
            "It opens when the host is up and the agent runs: ``systemctl"
            " status mig-placement-agent``.",
        ),
        _Reason.RETIRED: Meaning(
            "The host leaves service: ``mig-placement retire`` was run.",
            _KEEP,
            "Nothing, or ``mig-placement retire --wait`` once more to end it."
            " To keep the host, start the agent again.",
        ),
        _Reason.OTHER_GPU: Meaning(
            "This GPU is as declared, another one of the node is not, and"
            " ``[gate] scope`` is ``node``.",
            _KEEP,
            "Mend the other GPU; ``mig-placement status`` names it. With"
            " ``[gate] scope = gpu`` a GPU closes itself alone.",
        ),
        _Reason.UNDECLARED: Meaning(
            "The layout does not name this GPU. It does not close the others.",
            "Whoever uses it goes on; no VM gets a slice of it.",
            "Nothing, if that is meant. Else add it to the layout file.",
        ),
    }
)
