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

"""What a hostile user, server or file cannot do, each proven by trying."""

import contextlib
import datetime
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import pytest
from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import noauth
from keystoneauth1 import session as ksa_session

from mig_placement import exception
from mig_placement import transport
from mig_placement.nova import compute_service
from mig_placement.nova import config_files
from mig_placement.placement import client
from mig_placement.service import lock
from tests.functional import cloud as clouds
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import keystone_server
from tests.functional import placement_app

Node = gpu_node.GpuNode

NOBODY = 65534
GIGABYTE = 1 << 30
# Python, all libraries and an answer of 32 MiB that is then refused.
MOST_MEMORY_KIB = 300 << 10

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be another user"
)


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """A folder that others come to, unlike pytest's own."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="mig-placement-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def public_node(
    folder: pathlib.Path, placement_tcp: placement_app.TcpPlacement
) -> Iterator[Node]:
    """A node as declared, in such a folder."""
    made = Node(folder, placement_tcp.options(), placement_tcp.cloud)
    made.create_gpus()
    made.create_root()
    yield made
    made.stop_agents()


def _state(node: Node) -> pathlib.Path:
    return node.folder / "state"


def _most_memory(agent: subprocess.Popen[bytes]) -> int:
    """KiB that the process had at the most."""
    text = pathlib.Path(f"/proc/{agent.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


def _refused(agent: subprocess.Popen[bytes]) -> str:
    """The one line with which an agent ends for its configuration."""
    assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE
    assert agent.stderr is not None
    lines = agent.stderr.read().decode().splitlines()
    assert len(lines) == 1
    return lines[0]


# Secrets.


class Secrets:
    """The agent's password, and the tokens that Keystone gave it."""

    def __init__(self) -> None:
        self.known = {keystone_server.AGENT.password}

    def overhear(self, answer: faults.Answer) -> faults.Answer:
        self.known.update(
            value
            for name, value in answer.headers.items()
            if name.lower() == "x-subject-token"
        )
        return answer

    def are_in(self, data: bytes) -> bool:
        return any(secret.encode() in data for secret in self.known)


_LEVELS = "keystoneauth=DEBUG,keystoneauth1=DEBUG,urllib3=DEBUG"


@pytest.fixture
def told_all(
    tmp_path: pathlib.Path, secured: keystone_server.SecuredPlacement
) -> Iterator[tuple[Node, Secrets]]:
    """A node whose agent has a password, and logs all that it can."""
    secrets = Secrets()
    with faulty_server.FaultProxy(secured.keystone.url) as proxy:
        proxy.add(faults.Forward(secrets.overhear), path="/auth/tokens")
        # Without discovery, which would lead past the proxy.
        options = {
            **secured.options(),
            "auth_type": "v3password",
            "auth_url": f"{proxy.url}/v3",
        }
        adapter = ksa_adapter.Adapter(
            secured.session(keystone_server.AGENT),
            service_type="placement",
            default_microversion="1.39",
        )
        cloud = clouds.Cloud(adapter)
        node = Node(tmp_path, options, cloud)
        node.sections["DEFAULT"] |= {
            "debug": "true",
            "default_log_levels": _LEVELS,
        }
        node.write_config()
        node.create_gpus()
        root = node.create_root()
        yield node, secrets
        node.stop_agents()
        cloud.delete_root(root)


def _nothing_tells(node: Node, secrets: Secrets) -> None:
    for path in (node.log, *node.run_dir.rglob("*"), *_state(node).rglob("*")):
        assert not secrets.are_in(path.read_bytes()), path


def test_no_secret_is_in_a_log_a_status_or_the_process_list(
    told_all: tuple[Node, Secrets],
) -> None:
    node, secrets = told_all
    agent = node.start_agent()
    # With the service role alone it does all that it is for. The log is
    # asked, since polling Placement keeps Keystone busy with tokens.
    gpu_node.within(lambda: "gate open" in node.log_text(), 60)
    assert node.candidates() == 1
    assert node.tool("hold", "cleaning").returncode == 0
    assert len(secrets.known) > 1, "the token was overheard"
    assert "REQ: curl" in node.log_text(), "requests are logged"
    for name in ("cmdline", "environ"):
        seen = pathlib.Path(f"/proc/{agent.pid}/{name}").read_bytes()
        assert not secrets.are_in(seen)
    status = node.tool("-v", "--debug", "status", "-f", "json")
    assert not secrets.are_in((status.stdout + status.stderr).encode())
    node.stop_agents()
    _nothing_tells(node, secrets)


_CRASHING = """\
import sys
from mig_placement import cycle
from mig_placement.cmd import agent
from mig_placement.placement import client
def crash(self, action):
    raise RuntimeError("forced")
client.Client.do = crash
sys.exit(agent.main(sys.argv[1:]))
"""


def test_no_secret_is_in_a_traceback(told_all: tuple[Node, Secrets]) -> None:
    node, secrets = told_all
    agent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _CRASHING,
            f"--config-file={node.config}",
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=node.environment,
    )
    gpu_node.within(lambda: "Traceback (most recent" in node.log_text(), 60)
    gpu_node.within(lambda: (node.run_dir / "status.json").exists())
    agent.terminate()
    _, stderr = agent.communicate(timeout=gpu_node.PATIENCE)
    assert len(secrets.known) > 1, "the token was overheard"
    assert not secrets.are_in(stderr)
    _nothing_tells(node, secrets)


def test_a_line_that_cannot_be_parsed_is_not_shown(node: Node) -> None:
    broken = node.config.read_text() + "\n[placement]\npassword hunter2\n"
    agent = node.start_agent()
    node.opens()
    node.config.write_text(broken)
    agent.send_signal(signal.SIGHUP)
    gpu_node.within(lambda: "stays as it was" in node.log_text())
    assert "hunter2" not in node.log_text()
    node.stop_agents()
    line = _refused(node.start_agent())
    assert "hunter2" not in line
    number = broken.splitlines().index("password hunter2") + 1
    assert f"{node.config}:{number}" in line
    nova = node.folder / "nova.conf"
    nova.write_text("[placement]\npassword hunter2\n")
    with pytest.raises(exception.ConfigError) as caught:
        config_files.read([str(nova)])
    assert f"{nova}:2" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_password_in_a_url_is_refused(node: Node) -> None:
    url = "http://placement:hunter2@127.0.0.1:1/"
    node.sections["placement"]["endpoint_override"] = url
    node.write_config()
    line = _refused(node.start_agent())
    assert "endpoint_override has a user or a password" in line
    assert "hunter2" not in line + node.log_text()


def test_of_a_password_with_a_dollar_nothing_is_shown(node: Node) -> None:
    account = keystone_server.Account("agent", "service", "s3cr$hunter2")
    node.sections["placement"] |= account.options("http://127.0.0.1:1/v3")
    node.write_config()
    line = _refused(node.start_agent())
    assert "write $$ for a $" in line
    shown = line + node.log_text()
    assert "s3cr" not in shown
    assert "hunter2" not in shown
    assert not (node.run_dir / "status.json").exists()


def test_a_password_for_all_eyes_is_warned_of(node: Node) -> None:
    # keystoneauth has no use for it here; it is one all the same.
    with node.config.open("a") as file:
        file.write("password = hunter2\n")
    node.config.chmod(0o640)
    node.start_agent()
    node.opens()
    assert "may read" not in node.log_text()
    node.stop_agents()
    node.config.chmod(0o644)
    node.start_agent()
    gpu_node.within(
        lambda: "every user of the host may read" in node.log_text()
    )
    assert "hunter2" not in node.log_text()


# Files and directories.


@pytest.mark.parametrize("umask", [0, 0o077])
def test_files_are_for_owner_and_group_whatever_the_umask(
    node: Node, umask: int
) -> None:
    node.run_dir = node.folder / "new" / "run"
    node.sections["agent"]["run_dir"] = str(node.run_dir)
    node.write_config()
    before = os.umask(umask)
    try:
        node.start_agent()
        node.opens()
        assert node.tool("hold", "cleaning").returncode == 0
        node.gpus.send_xid(0, 79)
        assert node.tool("release").returncode == 0
        assert node.tool("hold", "cleaning").returncode == 0
    finally:
        os.umask(before)
    kept = [*node.run_dir.parent.rglob("*"), *_state(node).rglob("*")]
    names = {path.name for path in kept if path.is_file()}
    assert names >= {"agent.lock", "status.json", "hold.json"}
    for path in (node.log, node.run_dir.parent, _state(node), *kept):
        wanted = 0o750 if path.is_dir() else 0o640
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def _attempts(folder: pathlib.Path) -> list[Callable[[], object]]:
    return [
        lambda: list(folder.iterdir()),
        lambda: (folder / "status.json").read_bytes(),
        lambda: os.open(folder / "agent.lock", os.O_RDONLY),
        lambda: (folder / "hold.json").write_text("{}"),
        lambda: (folder / "status.json").unlink(),
        lambda: (folder / "apply.lock").symlink_to("/etc/passwd"),
        lambda: folder.rename(folder.with_name("mine")),
        lambda: folder.chmod(0o777),
    ]


def _as_nobody(attempts: list[Callable[[], object]]) -> int:
    """How many of them another user is refused; in a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    refused = 0
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        for attempt in attempts:
            try:
                attempt()
            except PermissionError:
                refused += 1
    finally:
        os._exit(refused)


@needs_root
def test_another_user_gets_at_nothing_that_the_agent_keeps(
    public_node: Node,
) -> None:
    public_node.start_agent()
    public_node.opens()
    assert public_node.tool("hold", "cleaning").returncode == 0
    for folder in (public_node.run_dir, _state(public_node)):
        attempts = _attempts(folder)
        assert _as_nobody(attempts) == len(attempts)


@needs_root
def test_an_agent_that_may_not_look_at_the_lock_does_not_start(
    folder: pathlib.Path,
) -> None:
    """It would open the gate while root's apply changes GPUs."""
    folder.chmod(0o755)
    with lock.apply(folder):
        pass

    def look() -> None:
        with contextlib.suppress(exception.ConfigError):
            lock.check(folder)
            return
        raise PermissionError

    lock.check(folder)
    assert _as_nobody([look]) == 1
    lock.apply_path(folder).chmod(0o644)
    assert _as_nobody([look]) == 0


def _writable(path: pathlib.Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _writable_to_a_group(path: pathlib.Path) -> None:
    path.mkdir()
    path.chmod(0o775)
    os.chown(path, -1, NOBODY)


def _of_another(path: pathlib.Path) -> None:
    path.mkdir(mode=0o755)
    os.chown(path, NOBODY, NOBODY)


def _link_of_another(path: pathlib.Path) -> None:
    path.with_name("target").mkdir(mode=0o750)
    path.symlink_to(path.with_name("target"))
    os.lchown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("option", ["run_dir", "state_dir"])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_writable, "any user may write to it"),
        pytest.param(
            _writable_to_a_group,
            f"group {NOBODY} may write to it",
            marks=needs_root,
        ),
        pytest.param(_of_another, f"user {NOBODY} owns it", marks=needs_root),
        pytest.param(
            _link_of_another, "another user made the link", marks=needs_root
        ),
    ],
)
def test_a_directory_that_is_not_the_agents_alone_is_refused(
    node: Node,
    option: str,
    make: Callable[[pathlib.Path], None],
    why: str,
) -> None:
    assert node.tool("sync").returncode == 0
    assert node.candidates() == 1
    path = node.folder / "theirs"
    make(path)
    node.sections["agent"][option] = str(path)
    node.write_config()
    line = _refused(node.start_agent())
    assert f"[agent] {option}: {path}" in line
    assert why in line
    assert "chmod go-w" in line
    # What Placement may still offer from before is taken back.
    node.closes("CONFIG_INVALID")


def test_a_directory_below_one_that_any_user_may_swap_is_refused(
    node: Node,
) -> None:
    open_to_all = node.folder / "open"
    _writable(open_to_all)
    node.sections["agent"]["run_dir"] = str(open_to_all / "a" / "run")
    node.write_config()
    assert str(open_to_all) in _refused(node.start_agent())
    # As /tmp is: nobody can move what another user has there.
    open_to_all.chmod(0o1777)
    node.start_agent()
    node.opens()


class Victim:
    """A file of root's that an attacker wants to be read or written."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.write_text('{"precious": 1}')
        path.chmod(0o600)
        self._before = path.read_text(), path.stat().st_mode

    def is_untouched(self) -> bool:
        now = self.path.read_text(), self.path.stat().st_mode
        return now == self._before


def _link(path: pathlib.Path, victim: pathlib.Path) -> None:
    path.symlink_to(victim)


def _pipe(path: pathlib.Path, victim: pathlib.Path) -> None:
    os.mkfifo(path)


def _folder(path: pathlib.Path, victim: pathlib.Path) -> None:
    path.mkdir()


def _hard_link(path: pathlib.Path, victim: pathlib.Path) -> None:
    path.hardlink_to(victim)


def _huge(path: pathlib.Path, victim: pathlib.Path) -> None:
    with path.open("wb") as file:
        file.truncate(GIGABYTE)


def _theirs(path: pathlib.Path, victim: pathlib.Path) -> None:
    path.write_text("{}")
    os.chown(path, NOBODY, NOBODY)


def _plant(
    plant: Callable[[pathlib.Path, pathlib.Path], None],
    path: pathlib.Path,
    victim: Victim,
) -> None:
    path.parent.mkdir(mode=0o750, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    plant(path, victim.path)


PLANTED = [
    _link,
    _pipe,
    _folder,
    _hard_link,
    _huge,
    pytest.param(_theirs, marks=needs_root),
]


@pytest.mark.parametrize("plant", PLANTED)
def test_what_lies_in_place_of_a_file_neither_hangs_nor_harms_the_agent(
    node: Node, plant: Callable[[pathlib.Path, pathlib.Path], None]
) -> None:
    victim = Victim(node.folder / "victim")
    for name in ("status.json", "health.json", "apply.lock"):
        _plant(plant, node.run_dir / name, victim)
    agent = node.start_agent()
    node.opens()
    assert node.tool("status").returncode in {
        exception.EXIT_OK,
        exception.EXIT_USAGE,
    }
    _plant(plant, _state(node) / "hold.json", victim)
    # A hold that cannot be read is one.
    node.closes("HOLD")
    assert _most_memory(agent) < MOST_MEMORY_KIB
    assert victim.is_untouched()


@pytest.mark.parametrize("plant", [_link, _pipe, _folder])
def test_a_lock_is_no_link_no_pipe_and_no_directory(
    node: Node, plant: Callable[[pathlib.Path, pathlib.Path], None]
) -> None:
    victim = Victim(node.folder / "victim")
    path = node.run_dir / "agent.lock"
    _plant(plant, path, victim)
    assert str(path) in _refused(node.start_agent())
    assert victim.is_untouched()


# Sizes.

_BOMB = "\n".join(
    [
        "version: v1",
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]"
            for n in range(1, 12)
        ),
    ]
)
# Each with the reason for which it is refused.
LAYOUTS = {
    _BOMB.encode(): "aliases counted in full",
    b"version: v1\nmig-configs: " + b"[" * 500: "nested more than",
    # Here libyaml is the first to refuse, in words of its own.
    b"version: v1\nmig-configs: " + b"[" * 500_000: "layout.yaml:2",
    b"version: !!python/object/apply:os.system [touch owned]\n": "YAML tag",
}


def _says(node: Node, why: str) -> None:
    gpu_node.within(lambda: why in str(node.status()["gate"]))


def test_no_layout_file_takes_more_than_a_little_memory(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    for content, why in LAYOUTS.items():
        node.layout.write_bytes(content)
        node.closes("LAYOUT_INVALID")
        _says(node, why)
        node.layout.write_text(gpu_node.LAYOUT)
        node.opens()
    with node.layout.open("ab") as file:
        file.truncate(GIGABYTE)
    node.closes("LAYOUT_INVALID")
    _says(node, "more than 1048576 bytes")
    assert _most_memory(agent) < MOST_MEMORY_KIB


ANSWERS: dict[str, faults.Fault] = {
    "long": faults.Huge(GIGABYTE),
    "endless": faults.Endless(pause=0),
    "packed": faults.gzip_bomb(GIGABYTE // 4),
    "packed twice": faults.gzip_bomb(GIGABYTE // 4, times=2),
    "deep": faults.Answer(200, b'{"resource_providers": ' + b"[" * 1_000_000),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_of_placement_takes_more_than_a_little_memory(
    node: Node, placement_tcp: placement_app.TcpPlacement, name: str
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        rule = proxy.add(ANSWERS[name])
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        agent = node.start_agent()
        gpu_node.within(lambda: (node.run_dir / "status.json").exists(), 60)
        assert node.status()["placement"]["trouble"]
        assert "unexpected" not in node.status()["placement"]["trouble"]
        assert node.candidates() == 0
        assert _most_memory(agent) < MOST_MEMORY_KIB
        proxy.remove(rule)
        node.opens()
        node.stop_agents()


def _session() -> ksa_session.Session:
    session = ksa_session.Session(auth=noauth.NoAuth(), timeout=5)
    transport.guard(session)
    return session


def _adapter(url: str) -> ksa_adapter.Adapter:
    return ksa_adapter.Adapter(
        _session(), service_type="placement", endpoint_override=url
    )


def test_an_answer_that_drips_for_ever_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "MAX_SECONDS", 1.0)
    with faulty_server.FaultProxy() as proxy:
        proxy.add(faults.Endless(pause=0.1, chunk=1))
        asking = client.Client(_adapter(proxy.url))
        # So that the test ends where the client does not.
        end = threading.Timer(10, proxy.refuse)
        end.start()
        with pytest.raises(
            exception.PlacementUnreachable, match="no end of it in 1 s"
        ):
            asking.classes()
        end.cancel()
        end.join()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("long", "exceeds 33554432 bytes"),
        ("endless", "exceeds 33554432 bytes"),
        ("packed", "exceeds 33554432 bytes"),
        ("packed twice", "in another way than was asked for"),
        ("deep", "recursion"),
    ],
)
def test_no_answer_of_nova_is_without_bounds(name: str, why: str) -> None:
    with faulty_server.FaultProxy() as proxy:
        proxy.add(ANSWERS[name])
        gate = compute_service.HostGate(_adapter(proxy.url), "node1")
        trouble = gate.keep(wanted_open=False, reason="a test")
    assert why in trouble


def test_an_answer_of_sane_size_comes_whole_over_one_connection(
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    long = "x" * (1 << 20)
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        proxy.add(faults.json_answer({"long": long}), path="/long")
        adapter = _adapter(proxy.url)
        for _ in range(3):
            assert adapter.get("/long").json() == {"long": long}
        assert proxy.connections == 1


def test_an_answer_that_is_packed_once_is_unpacked() -> None:
    with faulty_server.FaultProxy() as proxy:
        proxy.add(faults.gzip_bomb(10))
        assert _adapter(proxy.url).get("/").json() == {"a": "x" * 10}


def test_a_huge_configuration_file_is_refused(node: Node) -> None:
    huge = node.folder / "nova.conf"
    _huge(huge, huge)
    for path in (huge, node.folder):
        with pytest.raises(exception.ConfigError, match="more than"):
            config_files.read([str(path)])
    with node.config.open("ab") as file:
        file.truncate(GIGABYTE)
    assert f"{node.config}: more than" in _refused(node.start_agent())


# The network.


def _certificate(folder: pathlib.Path, address: str) -> ssl.SSLContext:
    """A self-signed one; its file is ``folder / "server.pem"``."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test")]
    )
    names = [x509.IPAddress(ipaddress.ip_address(address))]
    now = datetime.datetime.now(datetime.UTC)
    made: Any = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(made.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


@pytest.mark.parametrize(
    ("address", "options", "status"),
    [
        ("127.0.0.1", {}, exception.EXIT_NO_PLACEMENT),
        ("127.0.0.1", {"cafile": "server.pem"}, exception.EXIT_OK),
        ("127.0.0.2", {"cafile": "server.pem"}, exception.EXIT_NO_PLACEMENT),
        ("127.0.0.1", {"insecure": "true"}, exception.EXIT_OK),
    ],
    ids=["unknown", "cafile", "of-another-host", "insecure"],
)
def test_only_a_known_certificate_of_that_host_is_trusted(
    node: Node,
    placement_tcp: placement_app.TcpPlacement,
    address: str,
    options: dict[str, str],
    status: int,
) -> None:
    context = _certificate(node.folder, address)
    with faulty_server.FaultProxy(placement_tcp.url, tls=context) as proxy:
        node.sections["placement"] |= {
            "endpoint_override": proxy.url,
            **{
                name: str(node.folder / value) if name == "cafile" else value
                for name, value in options.items()
            },
        }
        node.write_config()
        done = node.tool("sync")
        assert done.returncode == status, done.stderr
        if status:
            assert "certificate verify failed" in done.stderr
            assert "set cafile" in done.stderr
            assert not proxy.log.exchanges, "nothing was said to it"


def test_the_agent_warns_where_anybody_is_believed(node: Node) -> None:
    node.sections["placement"]["insecure"] = "true"
    node.write_config()
    node.start_agent()
    gpu_node.within(lambda: "whoever answers is believed" in node.log_text())


def _redirect(url: str) -> faults.Answer:
    return faults.Answer(307, b"", {"Location": url})


# The second is another host's to who takes what follows the last "@".
@pytest.mark.parametrize("place", ["{thief}", "{thief}\\@{good}"])
def test_neither_token_nor_password_follows_a_redirect_elsewhere(
    told_all: tuple[Node, Secrets],
    secured: keystone_server.SecuredPlacement,
    place: str,
) -> None:
    node, _ = told_all

    def elsewhere(good: faulty_server.FaultProxy) -> str:
        host = good.url.removeprefix("http://")
        return place.format(thief=thief.url, good=host)

    with (
        faulty_server.FaultProxy() as thief,
        faulty_server.FaultProxy(secured.url) as placement,
        faulty_server.FaultProxy(secured.keystone.url) as keystone,
    ):
        placement.add(_redirect(f"{elsewhere(placement)}/resource_providers"))
        node.sections["placement"]["endpoint_override"] = placement.url
        node.write_config()
        done = node.tool("sync")
        assert done.returncode == exception.EXIT_NO_PLACEMENT
        assert placement.log.exchanges
        keystone.add(_redirect(f"{elsewhere(keystone)}/v3/auth/tokens"))
        node.sections["placement"]["auth_url"] = f"{keystone.url}/v3"
        node.write_config()
        done = node.tool("sync")
        assert done.returncode == exception.EXIT_NO_PLACEMENT
        assert "redirects to another place" in done.stderr
        assert keystone.log.exchanges
        assert not thief.log.exchanges


def test_a_redirect_to_the_same_place_is_followed(
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        proxy.add(_redirect(f"{proxy.url}/elsewhere"), path="/here")
        proxy.add(faults.json_answer({"there": 1}), path="/elsewhere")
        assert _adapter(proxy.url).get("/here").json() == {"there": 1}


# Roles.


def test_a_role_that_may_only_read_is_told_so(
    told_all: tuple[Node, Secrets],
) -> None:
    node, _ = told_all
    reader = keystone_server.READER
    node.sections["placement"] |= {
        "username": reader.name,
        "password": reader.password,
    }
    node.write_config()
    done = node.tool("sync")
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    assert "give the user the service role" in done.stderr


def test_an_administrators_password_is_used_for_the_host_gate_alone(
    node: Node,
) -> None:
    with faulty_server.FaultProxy() as keystone:
        administrator = keystone_server.Account("admin", "admin")
        node.sections["nova"] = administrator.options(f"{keystone.url}/v3")
        node.write_config()
        node.start_agent()
        node.opens()
        assert not keystone.log.exchanges
        node.stop_agents()
        node.sections["gate"]["compute_service"] = "true"
        node.write_config()
        node.start_agent()
        gpu_node.within(lambda: keystone.log.exchanges)


# What others say.


_EVIL = "evil\x1b]0;owned\x07\x1b[2J"
EVILS: dict[str, faults.Fault] = {
    "detail": faults.error(400, detail=f"{_EVIL}\nroot: gate open"),
    "location": _redirect(f"http://{_EVIL}/"),
}


@pytest.mark.parametrize("name", EVILS)
def test_no_answer_can_command_a_terminal(
    node: Node, placement_tcp: placement_app.TcpPlacement, name: str
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        proxy.add(EVILS[name], method="PUT")
        proxy.add(EVILS[name], method="POST")
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        node.start_agent()
        trouble = gpu_node.within(
            lambda: node.status()["placement"]["trouble"]
        )
        assert "owned" in trouble, "it is shown"
        shown = node.tool("status", "-f", "json")
        for value in (trouble, *json.loads(shown.stdout).values()):
            assert "\x1b" not in str(value)
        assert "\x1b" not in node.log_text()
        node.stop_agents()
