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
"""[layout]: what the operator declared."""

from oslo_config import cfg

GROUP = "layout"
OPTS = [
    cfg.StrOpt(
        "file",
        default="/etc/mig-placement/layout.yaml",
        help="The layout file, in mig-parted's format or our extension.",
    ),
    cfg.StrOpt(
        "config",
        default="",
        help="Label under mig-configs that this node is to have, where the"
        " file's mig-nodes does not say it.",
    ),
    cfg.StrOpt(
        "apply",
        default="none",
        choices=[
            ("none", "Only watch; another tool makes the instances."),
            (
                "native",
                "The agent makes them through NVML. What it may have to bring"
                " back besides needs root: MIG mode, SR-IOV and vGPU types.",
            ),
            ("command", "The agent runs apply_command."),
        ],
        help="Who brings the layout back when the geometry is another.",
    ),
    cfg.StrOpt(
        "apply_command",
        default="",
        help="With apply = command: the operator's own tool, as a command"
        " line without a shell, for example nvidia-mig-parted apply -f"
        " /etc/mig-placement/layout.yaml -c mixed. Only what is observed"
        " afterwards counts, not its exit status.",
    ),
    cfg.FloatOpt(
        "apply_timeout",
        default=300,
        min=1,
        max=3600,
        help="Seconds after which apply_command, reset_command or"
        " sriov_command is killed.",
    ),
    cfg.BoolOpt(
        "allow_gpu_reset",
        default=False,
        help="Whether a GPU that nobody uses may be reset where its MIG mode"
        " waits for that (Ampere); needs root.",
    ),
    cfg.StrOpt(
        "reset_command",
        default="nvidia-smi --gpu-reset --id={pci_address}",
        help="How one GPU is reset; {pci_address} and {index} are put in.",
    ),
    cfg.StrOpt(
        "sriov_command",
        default="/usr/lib/nvidia/sriov-manage -e {pci_address}",
        help="How the virtual functions of one GPU are switched on, where"
        " [nova] attach needs them; {pci_address} and {index} are put in."
        " Needs root.",
    ),
]
