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
"""What each line of the log means for VMs, and what is to be done.

For the docs and a test, which finds each line in the code: nothing that runs
imports this.
"""

import dataclasses
import types

_NOTHING = "Nothing."
_NEITHER = "Nothing; neither running nor new ones are touched."
_CLOSED = "Running VMs keep their slices; no new VM gets one of that GPU."
_IT_GOES_ON = "Nothing: the agent goes on."


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """Sentences in reStructuredText, for the page of troubleshooting.

    :ivar vms: what it means for VMs, running ones and new ones.
    :ivar mend: what to do.
    """

    vms: str
    mend: str


# By the text that the code gives to the log, placeholders as they are.
MEANINGS = types.MappingProxyType(
    {
        # The node's name.
        "the host's name is %s now and was %s, which Placement does not know:"
        " the agent starts anew, VMs are not touched; set [agent]"
        " hypervisor_hostname": Meaning(
            "Running VMs are not touched. Until the node is found under its"
            " name, Placement offers what it was told last.",
            "``[agent] hypervisor_hostname``: without it the name is the"
            " resolver's, which did not answer in full when the agent"
            " started.",
        ),
        # The gate.
        "gate open%s": Meaning(
            "New VMs get the slices that are fit. A reason behind it names"
            " what is not offered.",
            "Nothing; where a reason stands there, what :ref:`it"
            " <gate-closed>` asks for.",
        ),
        "gate closed%s; no new VM gets a slice of this node; see"
        " 'mig-placement status'": Meaning(
            "No new VM gets a slice. Running VMs keep theirs, unless the"
            " reason says otherwise.",
            "What :ref:`the reason <gate-closed>` asks for.",
        ),
        "gate unknown%s; until Placement is told, it goes on offering what it"
        " was told last": Meaning(
            "Running VMs are not touched. New ones are scheduled by what was"
            " told last, which may be too much or too little.",
            "What the end of the line asks for; the agent tries again by"
            " itself.",
        ),
        "the gate is closed, no new VM gets a slice: %s": Meaning(
            "No new VM gets a slice. Running VMs keep theirs, unless the"
            " reason says otherwise.",
            "What :ref:`the reason <gate-closed>` asks for. ``mig-placement"
            " sync`` says it, not the agent.",
        ),
        "unexpected error (%r): the gate is closed where Placement answers,"
        " running VMs keep their slices, and the agent tries"
        " again; report it with the traceback": Meaning(
            "Running VMs keep their slices; no new VM gets one.",
            "Report it as a bug, with the traceback that follows.",
        ),
        "stopped; the gate and VMs stay as they are": Meaning(
            "Nothing changes, but nobody follows the hardware any more.",
            "Start the agent again.",
        ),
        "stopped; the gate is closed, the host shuts down": Meaning(
            "No new VM gets a slice until the agent runs again.", _NOTHING
        ),
        "the host shuts down, and the gate could not be closed: Placement"
        " goes on offering its slices until the agent starts again;"
        " %s": Meaning(
            "Nova sends no VM to a host that is down. After the boot the"
            " agent closes the gate before nova-compute starts.",
            "What the end of the line asks for, if the host is to come back.",
        ),
        "Placement was not told of this node within [gate] boot_fence_timeout,"
        " and nova-compute may start: until it is, new VMs may be sent to"
        " slices that are gone; 'mig-placement status' says what it waits"
        " for": Meaning(
            "No slice exists after a reboot until the layout is back; a new"
            " VM that is sent here meanwhile may fail to start.",
            "See that Placement and Keystone answer from this host, and that"
            " the resolver knows its full name. The agent goes on trying.",
        ),
        # Placement.
        "Placement: %s": Meaning(
            "A write follows. With ``reserved`` equal to ``total`` the class"
            " is closed, with 0 it is open.",
            _NOTHING,
        ),
        "Placement, to retire: %s": Meaning(
            "A write follows to the provider of a GPU or host that leaves"
            " service; it is never one that VMs use.",
            _NOTHING,
        ),
        "Placement does not know %s: our providers go without, and a flavor"
        " that requires it finds no host; upgrade os-traits where Placement"
        " runs, and restart it": Meaning(
            "A new VM of such a flavor finds no host; others are not touched.",
            "Upgrade ``os-traits`` where Placement runs, and restart"
            " Placement. The agent sees it when the next VM gets a slice of"
            " the node, or when it is restarted.",
        ),
        "provider %s: its GPU is gone, and it is kept: %s; no new VM gets a"
        " slice of it; delete or move those VMs": Meaning(
            "Those VMs have most likely lost their device.",
            "Delete them; the agent then retires the provider.",
        ),
        "provider %s: its GPU is gone, and it offers nothing; what is left to"
        " do: %s": Meaning(
            _NEITHER,
            "Nothing: the agent does it. With ``[agent] nova_refresh = 0``"
            " only a reboot of the host proves that Nova has forgotten it.",
        ),
        "providers of GPUs that are gone are not retired, and offer nothing"
        " meanwhile: %s": Meaning(
            _NEITHER,
            "What the end of the line asks for; the agent tries again.",
        ),
        "providers that wait to be deleted wait anew, and offer nothing"
        " meanwhile: %s": Meaning(
            _NEITHER, "Remove the file if it was damaged; else nothing."
        ),
        # Nova.
        "compute service: %s": Meaning(
            "While it is disabled, Nova sends no new VM to the host, with or"
            " without a slice.",
            "Nothing where it is disabled by us; an operator or Nova enables"
            " what they disabled.",
        ),
        "compute service: %s; it is as it was, and Placement's gate holds"
        " without it": Meaning(
            "Flavors that ask for slices by a resource class are not touched."
            " Those that go past the gate may be sent here.",
            "What the middle of the line asks for; the agent tries again.",
        ),
        "Nova's, and nothing to do: %s": Meaning(
            "No new VM gets one of them: they are not marked.",
            "Nothing; or restart nova-compute after the layout is as it is to"
            " stay, if the counts disturb.",
        ),
        # Bringing the layout back.
        "layout of %s: %s": Meaning(
            "The GPU is closed until the layout is back. What is waited for"
            " is in use and is not touched.",
            "Where it waits for a VM: move or delete that. Where it waits for"
            " a reset: ``nvidia-smi -i GPU --gpu-reset`` during a"
            " ``mig-placement hold``, or a reboot.",
        ),
        "the layout of %s was not brought back, and it stays closed; running"
        " VMs keep their slices: %s": Meaning(
            _CLOSED,
            "What the end of the line says, and ``dmesg | grep NVRM``. Then"
            " ``mig-placement apply``; the agent alone tries again when"
            " something has changed.",
        ),
        "%s is in use, stays closed and keeps its VMs: a command that it waits"
        " for is not run; stop what uses it: %s": Meaning(
            _CLOSED,
            "Move its VMs away, stop its processes, destroy its instances;"
            " the agent then goes on.",
        ),
        "%s was left without its driver by [layout] sriov_command; it stays"
        " closed while the agent binds it again": Meaning(
            "No VM had a slice of it, and none gets one.",
            "Nothing where ``status`` shows it open soon; else ``dmesg``, and"
            " reboot the node.",
        ),
        "%s shows no usable virtual function %g s after SR-IOV was switched"
        " on, and stays closed; see dmesg and 'systemctl status"
        " nvidia-vgpu-mgr'": Meaning(
            "No VM has a slice of it, and none gets one.",
            "See that NVIDIA's vGPU host driver is installed and its manager"
            " runs, and that ``[nova] attach`` is what the kernel can do.",
        ),
        "running, with its output after '|': %s": Meaning(
            "The gate is closed while it runs.", _NOTHING
        ),
        "| %s": Meaning(
            "A line that the command printed: ask its author.",
            "Nothing, unless the command fails.",
        ),
        "exit status 0: %s": Meaning(
            "GPUs that are as declared open next.", _NOTHING
        ),
        "exit status %d of a command of [layout]; the agent believes what it"
        " sees: GPUs that are not as declared stay closed; see its output"
        " above: %s": Meaning(
            _CLOSED, "Read the command's output, in the lines before this."
        ),
        "what a command of [layout] started may not be killed by this user and"
        " may change GPUs later; let it end its children, or run the agent as"
        " root: process group %d": Meaning(
            "A child that goes on may change a GPU after the gate has opened"
            " for it; the agent closes as soon as it sees that.",
            "See what the group does (``ps -g``). Let the command wait for"
            " all that it starts.",
        ),
        "a command of [layout] cannot be run (%s); GPUs that wait for it stay"
        " closed; correct it: %s": Meaning(
            _CLOSED,
            "Correct ``apply_command``, ``reset_command`` or"
            " ``sriov_command``, then ``systemctl reload"
            " mig-placement-agent``.",
        ),
        "killed after %g s ([layout] apply_timeout), a command of [layout];"
        " GPUs that wait for it stay closed; see its output above, or give it"
        " more time: %s": Meaning(
            _CLOSED,
            "Read the command's output, in the lines before this; raise"
            " ``[layout] apply_timeout`` if it is only slow.",
        ),
        # Health.
        "health marks are not saved: an agent that starts anew would offer"
        " instances again that an XID closed; %s": Meaning(
            "None now: what failed stays closed while this agent runs.",
            "Let the agent's user write to that directory; do not restart the"
            " agent before.",
        ),
        "health marks are lost: instances that an XID closed are offered"
        " again; look for XIDs in dmesg; %s": Meaning(
            "A new VM may get an instance that has failed before.",
            "``dmesg | grep Xid``; where an instance is in doubt,"
            " ``mig-placement hold`` until it is destroyed and made again.",
        ),
        # Files, metrics and the report.
        "'mig-placement status' shows an older cycle, the gate and VMs are not"
        " touched: %s": Meaning(
            _NEITHER,
            "Let the agent's user write to ``[agent] run_dir``: the end of"
            " the line names it.",
        ),
        "unexpected error (%r): 'mig-placement status' and the metrics show an"
        " older cycle, the gate and VMs are not touched; report it with the"
        " traceback": Meaning(
            _NEITHER, "Report it as a bug, with the traceback that follows."
        ),
        "metrics are served on %s": Meaning(_NOTHING, _NOTHING),
        "[metrics] listen: cannot listen on %s (%s); the agent goes on without"
        " metrics and tries again; free the address, or name"
        " another": Meaning(
            _NEITHER,
            "``ss -ltnp`` shows who has the port; or set another ``[metrics]"
            " listen``.",
        ),
        "report written to %s": Meaning(_NOTHING, "Read that file."),
        "no report on SIGUSR2 (%s); the agent goes on; pip install"
        " 'mig-placement[reports]'": Meaning(
            _NEITHER, "Install the package oslo.reports beside the agent."
        ),
        "no report on SIGUSR2; the agent goes on; see that its user may write"
        " to [oslo_reports] log_dir": Meaning(
            _NEITHER,
            "Let the agent's user write to ``[oslo_reports] log_dir``; where"
            " it may, report a bug, with the traceback that follows.",
        ),
        # Start and configuration.
        "mig-placement-agent %s starts on %s": Meaning(
            "The gate stays closed until the first look.", _IT_GOES_ON
        ),
        "configuration read again": Meaning(
            "From now on they are judged by it.", _IT_GOES_ON
        ),
        "the configuration stays as it was, and so do the gate and VMs: what"
        " was read anew cannot be used; %s": Meaning(
            _NEITHER,
            "Mend what the end of the line names, then ``systemctl reload"
            " mig-placement-agent`` again. Do not restart the agent before:"
            " it would end.",
        ),
        "the configuration cannot be used, and the gate could not be closed:"
        " Placement goes on offering what it was told last; %s": Meaning(
            "Running VMs are not touched; a new one may be sent to a slice"
            " that is gone, after a reboot for instance.",
            "The error of the configuration follows. Mend that and what the"
            " end of this line names; systemd starts the agent again.",
        ),
        "%s has a password that every user of the host may read, and change"
        " Placement with; chmod 0640 it": Meaning(
            "None now. Whoever reads it can offer slices that do not exist.",
            "``chmod 0640`` that file, and change the password.",
        ),
        "[%s] insecure: whoever answers is believed, and gets the password;"
        " set cafile in its place": Meaning(
            "None now. Whoever gets between can offer slices that do not"
            " exist.",
            "Set ``cafile`` there to the file of the authority that signs the"
            " certificates, and take ``insecure`` out.",
        ),
    }
)
