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
"""What goes over HTTP: answers of a bounded size, and no strange redirect.

keystoneauth and requests read an answer whole, however long it is and
however long it takes, and carry the token, and the password, wherever a
redirect leads. Both happen below all of their own retries and logs here, in
requests' hook for a response whose body has not been read yet.
"""

import io
import re
import time
from typing import Any
from urllib import parse

import requests
import urllib3
import urllib3.util

# All GPU providers of 10,000 nodes are some 10 MB.
MAX_BYTES = 32 << 20
# The time-out of [placement] is for a single read; this is for all of them.
MAX_SECONDS = 60.0
# So little that unpacking it cannot take much: gzip packs 1,000 to 1. But
# twice is a million to 1, and urllib3 before 2.6 unpacks a chunk whole.
_CHUNK = 16 << 10
_PACKED = frozenset({"", "identity", "gzip", "deflate"})
_ACCEPTED = "gzip, deflate"

_MAX_TEXT = 100
# Those that keystoneauth follows.
_REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})
# OpenSSL's "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: ...".
_TLS_REASON = re.compile(r"\[SSL[^]]*\] ([^(\"]{1,150})")
_PORTS = {"http": 80, "https": 443}
# In no URL as RFC 3986 has them. Where the host ends at a backslash, and
# what is left out of it, differs from one parser to the next.
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")


class UnboundedAnswer(requests.exceptions.RequestException):
    """It is longer, or takes longer, than any answer that is meant well."""


class StrangeRedirect(requests.exceptions.RequestException):
    """It leads where no credentials of ours belong."""


def guard(session: Any) -> None:
    """Let a keystoneauth session take no more than it should.

    :param session: keystoneauth1's; also openstacksdk's.
    """
    # requests has "br" and "zstd" besides where they are installed.
    session.session.headers["Accept-Encoding"] = _ACCEPTED
    session.session.hooks["response"].append(_take)


def unguard(session: Any) -> None:
    """Undo one ``guard``, but for the packing that is asked for."""
    session.session.hooks["response"].remove(_take)


def _take(response: requests.Response, **_: object) -> None:
    """Read the body in requests' place, which does so without a limit."""
    try:
        _refuse_strange_redirect(response)
        _refuse_other_packing(response)
        response.raw = io.BytesIO(_body(response.raw))
    except urllib3.exceptions.HTTPError as error:
        response.close()
        raise requests.exceptions.ChunkedEncodingError(error) from error
    except requests.exceptions.RequestException:
        # What is left of it must not be taken for the next answer.
        response.close()
        raise


def _body(raw: Any) -> bytes:
    """:raises UnboundedAnswer: there is no end to it."""
    body = bytearray()
    until = time.monotonic() + MAX_SECONDS
    # read1 returns what is there, read waits for all of it (urllib3 1.26).
    read = getattr(raw, "read1", raw.read)
    while chunk := read(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > MAX_BYTES:
            raise UnboundedAnswer(f"the answer exceeds {MAX_BYTES} bytes")
        if time.monotonic() > until:
            raise UnboundedAnswer(f"no end of it in {MAX_SECONDS:g} s")
    return bytes(body)


def _refuse_other_packing(response: requests.Response) -> None:
    encoding = response.headers.get("Content-Encoding", "")
    if encoding.strip().lower() not in _PACKED:
        raise UnboundedAnswer(
            "it is packed in another way than was asked for"
            f" ({encoding[:_MAX_TEXT]})"
        )


def _refuse_strange_redirect(response: requests.Response) -> None:
    location = response.headers.get("Location", "")
    is_redirect = response.status_code in _REDIRECTS
    if is_redirect and not may_follow(response.url, location):
        raise StrangeRedirect(
            f"it redirects to another place ({location[:_MAX_TEXT]})"
        )


def may_follow(url: str, location: str) -> bool:
    """Whether credentials for a URL may be sent to where it redirects.

    To the same scheme, host and port, or from http to https on the host;
    never with a user or password in it.
    """
    if _AMBIGUOUS.search(location):
        return False
    try:
        before = _origin(url)
        after = _origin(parse.urljoin(url, location))
    except ValueError:
        # No URL, or one with brackets, a port or a name that are none.
        return False
    if before[0] == "http" and after[0] == "https":
        return before[1] == after[1]
    return before == after


def _origin(url: str) -> tuple[str | None, str | None, int | None]:
    """By urllib3, since it is what connects.

    :raises ValueError: it is no URL, or says more than where to go.
    """
    parts = urllib3.util.parse_url(url)
    if parts.auth:
        raise ValueError("a user or a password is in it")
    return (
        parts.scheme,
        parts.host,
        parts.port or _PORTS.get(parts.scheme or ""),
    )


def tls_trouble(error: Exception) -> str:
    """What of keystoneauth's long line an operator needs."""
    found = _TLS_REASON.search(str(error))
    reason = found[1].strip() if found else "no reason given"
    return f"no trusted TLS connection ({reason})"
