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
"""One pass of the picture: observe, compare, bring Placement in step."""

import collections
import collections.abc
import contextlib
import functools
import logging

from oslo_config import cfg

from mig_placement import conf
from mig_placement import exception
from mig_placement import last
from mig_placement import picture
from mig_placement.geometry import functions
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import health
from mig_placement.hardware import model
from mig_placement.placement import client
from mig_placement.placement import desired
from mig_placement.placement import model as model_of_placement
from mig_placement.placement import names
from mig_placement.placement import nova_devices
from mig_placement.placement import sync
from mig_placement.service import files
from mig_placement.service import hold
from mig_placement.service import lock
from mig_placement.service import marks
from mig_placement.service import nvml
from mig_placement.service import way

LOG = logging.getLogger(__name__)

_MOST_EVENTS = 10_000


def rules(settings: conf.Settings) -> desired.Rules:
    """:raises ConfigError: a class or trait of [mapping] cannot be used."""
    names.check_overrides(settings.classes)
    names.check_extra_traits(settings.traits)
    return desired.Rules(
        scope=desired.Scope(settings.scope),
        classes=settings.classes,
        traits=settings.traits,
        way=way.way(settings),
    )


def synchronizer(
    options: cfg.ConfigOpts,
    root_name: str,
    attach: functions.Attach,
    observe: client.Observe = client.unobserved,
) -> sync.Synchronizer:
    """What brings Placement in step; sends nothing yet.

    :param observe: is told how long each request took.
    :raises ConfigError: the credentials are not complete.
    """
    # Imported here: keystoneauth takes long, and not all tell Placement.
    from mig_placement.placement import connection

    return sync.Synchronizer(
        connection.connect(options, observe),
        root_name,
        nova_devices.is_device(attach, root_name),
    )


class Declared:
    """The layout file, parsed again only when it changed."""

    def __init__(self, settings: conf.Settings) -> None:
        self._path = settings.layout_file
        self._seen: object = ()
        self._value: layout_file.LayoutFile | exception.LayoutError

    def read(self) -> layout_file.LayoutFile | exception.LayoutError:
        """The file, or why it cannot be had."""
        seen = files.signature(self._path)
        if seen is None or seen != self._seen:
            self._seen = seen
            try:
                self._value = layout_file.load(self._path)
            except exception.LayoutError as error:
                self._value = error
        return self._value


class Observer:
    """Looks at the node and judges it.

    :param keeps_marks: for the agent, which alone writes the health marks:
        between another's reading and writing an XID of its would be lost.
    :raises ConfigError: a class or trait of [mapping] cannot be used.
    """

    def __init__(
        self,
        settings: conf.Settings,
        library: nvml.Nvml,
        *,
        keeps_marks: bool = False,
    ) -> None:
        self._keeps_marks = keeps_marks
        self.rules = rules(settings)
        self._settings = settings
        self._nvml = library
        self._declared = Declared(settings)
        self._judged = last.Last(picture.judged)
        self._unwritten: health.Marks = frozenset()
        # Whether no other process changed the geometry as a block began in
        # which none may.
        self._is_free = True
        # An event comes once: it waits for a look that sees the node.
        self._unjudged: collections.deque[model.Event] = collections.deque(
            maxlen=_MOST_EVENTS
        )

    def remember(self, events: collections.abc.Iterable[model.Event]) -> None:
        """Write down what events say, for an agent that is to end."""
        self._unjudged.extend(events)
        if self._unjudged:
            self.look()

    def look(
        self, events: collections.abc.Iterable[model.Event] = ()
    ) -> desired.Picture:
        """The picture as it is now. Every doubt is in it, as a finding."""
        self._unjudged.extend(events)
        held = hold.read(self._settings.state_dir)
        if held is not None:
            # The release of it forgets what XIDs said, these too.
            self._unjudged.clear()
            return picture.closed(verdicts.Reason.HOLD, str(held))
        if not self._is_free or lock.apply_runs(self._settings.run_dir):
            # It has closed the gate; what exists now will not exist soon.
            return picture.closed(
                verdicts.Reason.RESTORING,
                "another process changes the geometry",
            )
        try:
            node = self._nvml.observe()
        except exception.HardwareError as error:
            return picture.closed(verdicts.Reason.HARDWARE_ERROR, str(error))
        return self._judged(
            node,
            self._declared.read(),
            self._settings.host,
            self._settings.label,
            self.rules,
            self._ailments(node),
        )

    def _ailments(self, node: model.Node) -> frozenset[model.Ailment]:
        known = marks.read(self._settings.run_dir)
        seen = health.record(
            known | self._unwritten,
            self._unjudged,
            node,
            self._settings.ignored_xids,
        )
        self._unjudged.clear()
        valid = health.still_there(seen, node)
        self._unwritten = frozenset()
        if valid != known and self._keeps_marks:
            self._write_marks(valid)
        return health.ailments(valid)

    def _write_marks(self, valid: health.Marks) -> None:
        try:
            marks.write(self._settings.run_dir, valid)
        except exception.ConfigError as error:
            # An event comes once: what it said must not be lost.
            self._unwritten = valid
            LOG.error(
                "health marks are not saved: an agent that starts anew would"
                " offer instances again that an XID closed; %s",
                error,
            )

    def wanted(self, node: model.Node) -> layout.NodeLayout:
        """The layout of the node.

        :raises LayoutError: there is none that it can have.
        """
        declared = self._declared.read()
        if isinstance(declared, exception.LayoutError):
            raise declared
        settings = self._settings
        return layout.resolve(declared, settings.host, settings.label, node)


class Cycle(Observer):
    """Looks at the node and tells Placement."""

    def __init__(
        self,
        settings: conf.Settings,
        library: nvml.Nvml,
        synchronizer: sync.Synchronizer,
        *,
        keeps_marks: bool = False,
    ) -> None:
        super().__init__(settings, library, keeps_marks=keeps_marks)
        self._synchronizer = synchronizer

    @contextlib.contextmanager
    def undisturbed(
        self, *, wake: bool = False
    ) -> collections.abc.Iterator[None]:
        """For a look and what is told of it: no other process changes the
        geometry meanwhile, or the look says that one does.

        :param wake: for who is not the agent, which is to look after it.
        """
        with lock.undisturbed(self._settings.run_dir, wake=wake) as is_free:
            self._is_free = is_free
            try:
                yield
            finally:
                self._is_free = True

    def tell(self, seen: desired.Picture) -> sync.Outcome:
        """Bring Placement to what the picture asks for.

        :raises PlacementError: it does not hold that now.
        """
        return self._synchronizer.sync(self._decide(seen))

    def would_tell(self, seen: desired.Picture) -> sync.Outcome:
        """What ``tell`` would write.

        :raises PlacementError: Placement cannot be read.
        """
        return self._synchronizer.dry_run(self._decide(seen))

    def close(self, seen: desired.Picture) -> model_of_placement.Tree | None:
        """Tell, and read back what Placement then holds.

        :returns: None where nova-compute has no root there yet, so that
            nothing can be offered.
        :raises PlacementError: it does not hold that now.
        """
        try:
            outcome = self.tell(seen)
        except exception.RootNotFound:
            return None
        # Without a write, what was read to decide that is what it holds.
        return self.read() if outcome.actions else self.usages()

    def read(self) -> model_of_placement.Tree | None:
        """What Placement holds now; None where it knows no such node.

        :raises PlacementError: Placement cannot be read.
        """
        try:
            return self._synchronizer.reread()
        except exception.RootNotFound:
            return None

    @property
    def tree(self) -> model_of_placement.Tree | None:
        """The tree as last read or written; None before."""
        return self._synchronizer.tree

    def usages(self) -> model_of_placement.Tree | None:
        """The tree last read, with what is allocated now.

        :raises PlacementError: Placement cannot be read.
        """
        return self._synchronizer.with_fresh_usages()

    def _decide(self, seen: desired.Picture) -> sync.Decide:
        return functools.partial(
            desired.desired, picture=seen, rules=self.rules
        )
