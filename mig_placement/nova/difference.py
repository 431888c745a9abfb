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
"""A difference between nova.conf and what the layout needs."""

import dataclasses

SHARED = (
    "a class of mig_placement's own: with a device of Nova's in it as well,"
    " builds fail or VMs get no slice"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One option that has to change.

    :ivar section: without the brackets.
    :ivar have: as in the files; empty where it is not there.
    :ivar need: a value, or what has to be done.
    :ivar why: what comes of it, or what it is.
    """

    section: str
    option: str
    have: str
    need: str
    why: str
