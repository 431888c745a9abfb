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
"""What the main thread sleeps on."""

import signal
import threading
import time

from mig_placement.service import wake

_SOON = 5.0
# Far more than the bytes that a pipe of the kernel's has room for.
_MANY = 1_000


def test_a_signal_is_heard_after_any_number_of_wakes() -> None:
    waker = wake.Waker()
    with waker.listening():
        for _ in range(_MANY):
            waker.wake()
        signal.raise_signal(signal.SIGTERM)
        assert signal.SIGTERM in waker.sleep(_SOON)


def test_each_sleep_is_ended_by_a_wake_of_its_own() -> None:
    waker = wake.Waker()
    with waker.listening():
        for _ in range(3):
            waker.wake()
            assert waker.sleep(_SOON) == {0}
        assert waker.sleep(0) == frozenset()


def test_a_thread_s_wake_ends_a_sleep_that_has_begun() -> None:
    waker = wake.Waker()
    with waker.listening():
        later = threading.Timer(0.05, waker.wake)
        later.start()
        assert waker.sleep(_SOON) == {0}
        later.join()


def test_no_wake_is_lost_between_two_sleeps() -> None:
    waker = wake.Waker()
    told: list[int] = []

    def tell() -> None:
        for number in range(_MANY):
            told.append(number)
            waker.wake()

    with waker.listening():
        teller = threading.Thread(target=tell)
        teller.start()
        until = time.monotonic() + _SOON
        seen = 0
        while seen < _MANY and time.monotonic() < until:
            assert waker.sleep(_SOON), "what was told last was not seen"
            seen = len(told)
        teller.join()
    assert seen == _MANY
