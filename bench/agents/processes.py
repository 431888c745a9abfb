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
"""Processes that the bench started: their processor time, and their end."""

import os
import pathlib
import subprocess

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 20.0


def cpu(pid: int) -> float:
    """Seconds of processor time of a process that is there, from /proc."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    # The name, in brackets, may have spaces.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def end(process: "subprocess.Popen[bytes]") -> None:
    """With SIGTERM, and with SIGKILL if it does not go."""
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
