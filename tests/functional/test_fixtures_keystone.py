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

"""Real credentials get the real answers."""

import pytest
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import session as ksa_session

from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import keystone_server

TRAIT = "/traits/CUSTOM_A"


def _put(session: ksa_session.Session, path: str = TRAIT) -> int:
    answer = session.put(
        path,
        endpoint_filter={"service_type": "placement"},
        microversion="1.39",
        raise_exc=False,
    )
    return int(answer.status_code)


def test_the_service_role_may_write(
    secured: keystone_server.SecuredPlacement,
) -> None:
    assert _put(secured.session()) in (201, 204)


def test_a_reader_may_not_write(
    secured: keystone_server.SecuredPlacement,
) -> None:
    assert _put(secured.session(keystone_server.READER)) == 403


def test_a_wrong_password_is_refused_by_keystone(
    secured: keystone_server.SecuredPlacement,
) -> None:
    with pytest.raises(ksa_exceptions.Unauthorized):
        _put(secured.session(keystone_server.WRONG))


def test_a_token_that_keystone_does_not_know_is_a_401(
    secured: keystone_server.SecuredPlacement,
) -> None:
    session = ksa_session.Session()
    answer = session.put(
        secured.url + TRAIT,
        headers={"X-Auth-Token": "gAAAA-no-token"},
        raise_exc=False,
    )
    assert answer.status_code == 401


def test_the_catalog_has_placement(
    secured: keystone_server.SecuredPlacement,
) -> None:
    found = secured.session().get_endpoint(service_type="placement")
    assert found == secured.url


def test_a_revoked_token_is_replaced_by_the_client(
    secured: keystone_server.SecuredPlacement,
) -> None:
    session = secured.session()
    token = session.get_token()
    session.delete(
        f"{secured.keystone.auth_url}/auth/tokens",
        headers={"X-Subject-Token": token},
    )
    assert _put(session) in (201, 204)
    assert session.get_token() != token


def test_keystone_can_be_met_through_the_fault_proxy(
    secured: keystone_server.SecuredPlacement,
) -> None:
    with faulty_server.FaultProxy(secured.keystone.url) as proxy:
        session = secured.session(auth_url=f"{proxy.url}/v3")
        proxy.add(faults.html(503), path="/auth/tokens", times=1)
        with pytest.raises(ksa_exceptions.ServiceUnavailable):
            session.get_token()
        assert session.get_token()


def test_keystone_comes_back_with_its_accounts(
    secured: keystone_server.SecuredPlacement,
) -> None:
    secured.keystone.stop(kill=True)
    with pytest.raises(ksa_exceptions.ConnectFailure):
        secured.session().get_token()
    secured.keystone.start()
    assert _put(secured.session()) in (201, 204)
