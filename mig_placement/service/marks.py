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
"""Health marks on disk: they outlive the agent, not a reboot."""

import dataclasses
import logging
import pathlib
from typing import Any

from mig_placement import exception
from mig_placement.hardware import health
from mig_placement.hardware import model
from mig_placement.service import files

LOG = logging.getLogger(__name__)

_NAME = "health.json"


def path(run_dir: pathlib.Path) -> pathlib.Path:
    return run_dir / _NAME


def read(run_dir: pathlib.Path) -> health.Marks:
    """The marks; a file that cannot be read is put aside with a warning."""
    try:
        value = files.read_json(path(run_dir))
        return frozenset(_mark(item) for item in value or [])
    except (
        exception.ConfigError,
        LookupError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:
        LOG.warning(
            "health marks are lost: instances that an XID closed are offered"
            " again; look for XIDs in dmesg; %s",
            files.of_no_use(path(run_dir), error),
        )
        return frozenset()


def _mark(item: Any) -> health.Mark:
    return health.Mark(
        model.Ailment(
            gpu_uuid=str(item["gpu_uuid"]),
            xid=int(item["xid"]),
            gi_id=None if item["gi_id"] is None else int(item["gi_id"]),
        ),
        identity=tuple(str(part) for part in item["identity"]),
    )


def write(run_dir: pathlib.Path, marks: health.Marks) -> None:
    """:raises ConfigError: the run directory cannot be written to."""
    items = [
        {**dataclasses.asdict(mark.ailment), "identity": list(mark.identity)}
        for mark in marks
    ]
    files.write_json(path(run_dir), sorted(items, key=str))


def clear(run_dir: pathlib.Path) -> int:
    """Forget all marks; how many there were.

    :raises ConfigError: the run directory cannot be written to.
    """
    known = read(run_dir)
    if known:
        write(run_dir, frozenset())
    return len(known)
