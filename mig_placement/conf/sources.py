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
"""The files that options come from: of a sane size, and not for all eyes."""

import collections.abc
import os
import pathlib
import re
import stat

from oslo_config import cfg

from mig_placement import exception

# A nova.conf with all its comments has 200 KB.
MAX_BYTES = 1 << 20

_SECRET = re.compile(
    r"(?mi)^\w*(?:password|secret|token)\w*[ \t]*[=:][ \t]*\S"
)


def found(
    files: collections.abc.Iterable[str],
    directories: collections.abc.Iterable[str],
) -> list[pathlib.Path]:
    """The files that oslo.config reads, as far as they exist."""
    named = [pathlib.Path(path).expanduser() for path in files]
    inside = [
        path
        for directory in directories
        for path in sorted(pathlib.Path(directory).expanduser().glob("*.conf"))
    ]
    return [path for path in (*named, *inside) if path.exists()]


def check(paths: collections.abc.Iterable[pathlib.Path]) -> None:
    """:raises ConfigError: a file is not one to be read whole."""
    for path in paths:
        status = path.stat()
        if path == pathlib.Path(os.devnull):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, "not a plain file")
        if status.st_size > MAX_BYTES:
            raise _refused(path, f"more than {MAX_BYTES} bytes")


def _refused(path: pathlib.Path, what: str) -> exception.ConfigError:
    return exception.ConfigError(
        what, where=str(path), mend="name a configuration file"
    )


def told_to_all(
    paths: collections.abc.Iterable[pathlib.Path],
) -> list[pathlib.Path]:
    """Those with a password that every user of the host may read."""
    return [
        path
        for path in paths
        if path.stat().st_mode & stat.S_IROTH
        and _SECRET.search(path.read_text(errors="replace"))
    ]


def error_text(error: BaseException) -> str:
    """What oslo.config has against a file, without the line itself."""
    cause = error.__context__
    if isinstance(error, cfg.ConfigFileParseError):
        where = f"{error.config_file}:{getattr(cause, 'lineno', '?')}"
        return f"{where}: {getattr(cause, 'msg', 'it cannot be parsed')}"
    return str(error).rstrip(".")
