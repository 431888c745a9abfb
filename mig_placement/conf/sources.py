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
import difflib
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

_TO_READ = "let this user read it, or run as one who may"
# Two letters changed places, or one is another.
_NEAR = 0.8
_ALIKE = 0.6
# How oslo.config writes where an option came from.
_LOCATION = re.compile(r"from LocationInfo\(.*?detail='([^']*)'\)")

# What a $ in a value leads to. Their texts quote what follows it.
_SUBSTITUTION = (
    cfg.NoSuchOptError,
    cfg.NoSuchGroupError,
    cfg.TemplateSubstitutionError,
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
    return [path for path in (*named, *inside) if may_be_there(path)]


def may_be_there(path: pathlib.Path) -> bool:
    """Whether it is, or this user is not let see whether it is."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def check(paths: collections.abc.Iterable[pathlib.Path]) -> None:
    """:raises ConfigError: a file is not one to be read whole."""
    for path in paths:
        status = _status(path)
        if path == pathlib.Path(os.devnull):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, "not a plain file")
        if status.st_size > MAX_BYTES:
            raise _refused(path, f"more than {MAX_BYTES} bytes")


def _status(path: pathlib.Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise exception.ConfigError(
            f"cannot be read ({error.strerror})",
            where=str(path),
            mend=_TO_READ,
        ) from error


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


def unknown(
    paths: collections.abc.Iterable[pathlib.Path],
    known: collections.abc.Mapping[str, collections.abc.Collection[str]],
    shared: collections.abc.Container[str] = (),
) -> list[str]:
    """What oslo.config passes over in silence: misspelt options.

    :param known: the options of each group of ours. What else a file has
        may be somebody else's, unless it is nearly the name of a group.
    :param shared: groups that have others' options as well, of which only
        what is nearly one of ours is told.
    """
    return [
        f"{path}: {line}"
        for path in paths
        for group, names in _sections(path).items()
        for line in _unknown(group, names, known, group in shared)
    ]


def _sections(path: pathlib.Path) -> dict[str, dict[str, list[str]]]:
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(str(path), sections).parse()
    return sections


def _unknown(
    group: str,
    names: collections.abc.Iterable[str],
    known: collections.abc.Mapping[str, collections.abc.Collection[str]],
    is_shared: bool,
) -> list[str]:
    if group not in known:
        near = difflib.get_close_matches(group, known, 1, _NEAR)
        return [f"[{group}] is no section{_meant(near)}"] if near else []
    options = {name.replace("-", "_"): name for name in names}
    close = {
        each: difflib.get_close_matches(
            each, known[group], 1, _NEAR if is_shared else _ALIKE
        )
        for each in sorted(options.keys() - set(known[group]))
    }
    return [
        f"[{group}] has no option {options[each]}{_meant(near)}"
        for each, near in close.items()
        if near or not is_shared
    ]


def _meant(near: list[str]) -> str:
    return f", did you mean {near[0]}?" if near else ""


def error_text(error: BaseException) -> str:
    """What oslo.config has against a file, without the line itself.

    Nor what follows a $, which oslo.config takes for an option's name and
    which may be a password's.
    """
    cause = error.__context__
    if isinstance(error, _SUBSTITUTION):
        return "an option's value has a $ that names no other option"
    if isinstance(error, cfg.ConfigFileParseError):
        where = f"{error.config_file}:{getattr(cause, 'lineno', '?')}"
        return f"{where}: {getattr(cause, 'msg', 'it cannot be parsed')}"
    return _LOCATION.sub(r"in \1", str(error)).rstrip(".")


def mend(error: BaseException, otherwise: str = "correct the file") -> str:
    """What is to be done about a file that oslo.config does not take."""
    if isinstance(error, _SUBSTITUTION):
        return "write $$ for a $"
    if isinstance(error, cfg.ConfigFilesNotFoundError):
        return "name a file that is there"
    if isinstance(error, cfg.ConfigFilesPermissionDeniedError):
        return _TO_READ
    return otherwise
