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

"""NVML's return codes, and the exception that carries one."""

SUCCESS = 0
UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
IN_USE = 19
INSUFFICIENT_RESOURCES = 23
ARGUMENT_VERSION_MISMATCH = 25
UNKNOWN = 999

# What the real nvmlErrorString says.
TEXTS = {
    SUCCESS: "Success",
    UNINITIALIZED: "Uninitialized",
    INVALID_ARGUMENT: "Invalid Argument",
    NOT_SUPPORTED: "Not Supported",
    NO_PERMISSION: "Insufficient Permissions",
    5: "Already Initialized",
    NOT_FOUND: "Not Found",
    INSUFFICIENT_SIZE: "Insufficient Size",
    8: "Insufficient External Power",
    DRIVER_NOT_LOADED: "Driver Not Loaded",
    TIMEOUT: "Timeout",
    11: "Interrupt Request Issue",
    12: "NVML Shared Library Not Found",
    FUNCTION_NOT_FOUND: "Function Not Found",
    14: "Corrupted infoROM",
    GPU_IS_LOST: "GPU is lost",
    RESET_REQUIRED: "GPU requires reset",
    17: "The operating system has blocked the request",
    18: "Driver/library version mismatch",
    IN_USE: "In use by another client",
    20: "Insufficient Memory",
    21: "No data",
    22: "vGPU ECC not supported",
    INSUFFICIENT_RESOURCES: "Insufficient Resources",
    24: "Frequency not supported",
    ARGUMENT_VERSION_MISMATCH: "Argument version mismatch",
    26: "Deprecated",
    27: "Not Ready",
    28: "No GPUs found",
    29: "Invalid State",
    30: "Reset type not supported",
    UNKNOWN: "Unknown Error",
}

# A GPU or compute instance id that means the whole GPU.
WHOLE_GPU = 0xFFFFFFFF

EVENT_XID = 0x8
EVENT_MIG_CONFIG_CHANGE = 0x100
# Read from an H100 with driver 580.
EVENTS_SUPPORTED = 65439


class Refused(Exception):
    """An operation that NVML would refuse.

    :ivar code: the NVML return code, never SUCCESS.
    """

    def __init__(self, code: int, why: str = "") -> None:
        self.code = code
        self.why = why or TEXTS.get(code, f"NVML error {code}")
        super().__init__(self.why)


class SimulatorError(Exception):
    """The simulated node cannot be read or cannot do what was asked.

    Its text is one line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))
