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
"""Redirects that may be followed, and what is asked for and told."""

import pytest
from keystoneauth1 import session as ksa_session

from mig_placement import transport


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a/x", "http://a/y"),
        ("https://a:5000/x", "/y"),
        ("http://a/x", "http://A:80/y"),
        ("http://a:5000/x", "https://a/y"),
        ("https://a:5000/x", "https://a:5000/y"),
        ("https://[::1]/x", "https://[::1]:443/y"),
    ],
)
def test_a_redirect_to_the_same_place_may_be_followed(
    url: str, target: str
) -> None:
    assert transport.may_follow(url, target)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a/x", "http://b/x"),
        ("http://a/x", "http://a:81/x"),
        ("https://a/x", "http://a/x"),
        ("https://a/x", "https://a@b/x"),
        ("https://a/x", "https://a.b/x"),
        ("https://a/x", "https://a:99999/x"),
        ("https://a/x", "ftp://a/x"),
        ("https://a/x", "file:///etc/passwd"),
        ("http://a/x", "https://b/x"),
        ("https://a/x", "//b/x"),
        ("https://a/x", "https://[a/x"),
        ("https://a/x", "https://a:0x50/x"),
        # urllib3 goes to b, urllib.parse to a.
        ("http://a:5000/x", "http://b\\@a:5000/x"),
        ("http://a:5000/x", "//b\\@a:5000/x"),
        ("http://a/x", "http://a\\@b/x"),
        ("http://a/x", "http:\\\\b/x"),
        ("http://a/x", "http://a\t.b/x"),
        ("http://a/x", "http://a/x y"),
        ("http://a/x", "http://a/\x00"),
        ("http://a/x", "http://a/\xa0"),
        ("http://a/x", "http://me@a/x"),
        ("http://a/x", "http://me:secret@a/x"),
    ],
)
def test_a_redirect_to_another_place_may_not_be_followed(
    url: str, target: str
) -> None:
    assert not transport.may_follow(url, target)


def test_no_packing_is_asked_for_that_would_be_refused() -> None:
    session = ksa_session.Session()
    # As requests has it where brotli is installed.
    session.session.headers["Accept-Encoding"] = "gzip, deflate, br"
    transport.guard(session)
    assert session.session.headers["Accept-Encoding"] == "gzip, deflate"


def test_of_a_refused_certificate_the_reason_is_told() -> None:
    line = (
        "SSL exception connecting to https://a: HTTPSConnectionPool(host='a',"
        " port=443): Max retries exceeded with url: / (Caused by SSLError("
        "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]"
        " certificate verify failed: self-signed certificate (_ssl.c:1006)'"
        ")))"
    )
    assert (
        transport.tls_trouble(OSError(line)) == "no trusted TLS connection"
        " (certificate verify failed: self-signed certificate)"
    )
    assert "no reason given" in transport.tls_trouble(OSError("?"))
