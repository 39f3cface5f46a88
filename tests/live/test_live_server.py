"""The server: who gets in, what is refused, and that nothing harms it."""

import contextlib
import json
import socket
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_sessions import live_run, watched

from minigan.errors import ConfigError, OutputError
from minigan.live.commands import LARGEST, read_command
from minigan.live.hub import MOST_CLIENTS, Hub
from minigan.live.server import MOST_CONNECTIONS, LiveServer

JSON = {"Content-Type": "application/json"}
STEP = json.dumps({"do": "step", "side": None})


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    with watched(live_run(tmp_path_factory.mktemp("live") / "run")) as made:
        yield made


@pytest.fixture(autouse=True)
def unharmed(seen):
    """The session goes on, whatever a test has sent."""
    before = seen.session.step
    yield
    assert seen.do("step", side=None) == 204
    seen.until(lambda: seen.session.step > before)
    assert seen.request("GET", "")[0] == 200


def test_the_page_is_closed_to_all_else(seen):
    status, headers, content = seen.request("GET", "")
    assert status == 200 and b"<h1>minigan live</h1>" in content
    assert "default-src 'none'" in content.decode() and "connect-src 'self'" in content.decode()
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert not [name for name in headers if name.startswith("Access-Control")]
    assert len(seen.server.token) >= 32


def test_it_listens_on_this_machine_only(seen):
    assert seen.server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 32, "..", "%00"])
@pytest.mark.parametrize("place", ["", "events", "do"])
def test_nobody_without_the_token_gets_in(seen, token, place):
    before = seen.session.step
    method = "POST" if place == "do" else "GET"
    path = f"{token}/{place}".encode("latin-1").decode("latin-1")
    with contextlib.closing(socket.create_connection(("127.0.0.1", seen.server.server_port), 5)) as link:
        host = f"127.0.0.1:{seen.server.server_port}"
        head = f"{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        link.sendall(f"{head}Content-Length: {len(STEP)}\r\n\r\n{STEP}".encode("latin-1"))
        assert link.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert seen.session.step == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "place"), [("GET", ""), ("GET", "events"), ("POST", "do")])
def test_a_page_of_another_origin_gets_nothing_even_with_the_token(seen, headers, method, place):
    before = seen.session.step
    status, answered, _ = seen.request(method, place, STEP if method == "POST" else None, {**JSON, **headers})
    assert status == 403 and "Access-Control-Allow-Origin" not in answered
    seen.settle()
    assert seen.session.step == before


def test_its_own_origin_is_welcome(seen):
    own = {"Origin": f"http://127.0.0.1:{seen.server.server_port}", "Sec-Fetch-Site": "same-origin", **JSON}
    assert seen.request("POST", "do", STEP, own)[0] == 204


def test_a_form_or_a_preflight_is_refused(seen):
    assert seen.request("POST", "do", STEP, {"Content-Type": "text/plain"})[0] == 415
    assert seen.request("POST", "do", STEP)[0] == 415
    assert seen.request("OPTIONS", "do")[0] == 405


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(seen, method):
    assert seen.request(method, "")[0] == 405


@pytest.mark.parametrize("place", ["x", "events/", "../", "do/x", "page.js", "%2e%2e", "do?x"])
def test_there_are_no_other_pages(seen, place):
    assert seen.request("GET", place)[0] in (404, 405)


BAD = [
    "",
    "{",
    "[]",
    "null",
    '"play"',
    "{}",
    '{"do": 1}',
    '{"do": "fly"}',
    '{"do": "play", "x": 1}',
    '{"do": "step"}x',
    '{"do": "step", "side": "E"}',
    '{"do": "back"}',
    '{"do": "back", "to": -1}',
    '{"do": "back", "to": 1.5}',
    '{"do": "back", "to": true}',
    '{"do": "pace", "steps": 1e99}',
    '{"do": "fast", "stops": 1000}',
    '{"do": "set", "run": null, "changes": {}}',
    '{"do": "set", "run": 1, "changes": {"loss": "hinge"}}',
    '{"do": "set", "run": 2, "changes": {"loss": "hinge"}}',
    '{"do": "set", "run": null, "changes": {"hidden": 1}}',
    '{"do": "set", "run": null, "changes": {"loss": "love"}}',
    '{"do": "set", "run": null, "changes": {"g_lr": NaN}}',
    '{"do": "set", "run": null, "changes": {"g_lr": 1e400}}',
    '{"do": "set", "run": null, "changes": {"g_lr": [1]}}',
    '{"do": "view", "layers": "surface", "unit": null}',
    '{"do": "view", "layers": [], "unit": {"network": "H", "layer": 0, "sample": 0}}',
    '{"do": "view", "layers": [], "unit": {"network": "G", "layer": -1, "sample": 0}}',
    "[" * 2000,
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe",
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_bad_commands_are_refused(seen, text):
    before = seen.session.runs[0].recipe
    status, _, content = seen.request("POST", "do", text, JSON)
    assert status == 400 and "error" in json.loads(content)
    assert seen.session.runs[0].recipe == before


def test_sizes_are_limited(seen):
    assert seen.request("POST", "do", " " * (LARGEST + 1), JSON)[0] == 413
    assert seen.request("POST", "do", STEP + " " * (LARGEST - len(STEP)), JSON)[0] == 204
    assert seen.request("GET", "x" * 70_000)[0] in (403, 404, 414)
    assert seen.request("GET", "", headers={"X": "y" * 70_000})[0] == 431


@pytest.mark.parametrize(
    "request_text",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /TOKEN/do HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n\r\n",
        b"POST /TOKEN/do HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n",
        b"POST /TOKEN/do HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 9e9\r\n\r\n",
        b"POST /TOKEN/do HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        b"POST /TOKEN/do HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n0\r\n\r\n",
        b"GET http://evil.example/TOKEN/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ],
    ids=range(13),
)
def test_what_is_no_request_gets_4xx_or_nothing(seen, request_text):
    port = seen.server.server_port
    text = request_text.replace(b"TOKEN", seen.server.token.encode()).replace(b"HOST", b"127.0.0.1:%d" % port)
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)) as link:
        link.sendall(text)
        link.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: link.recv(4096), b""))
    assert answer == b"" or b" 4" in answer.splitlines()[0] or answer.startswith(b"<!DOCTYPE") or b'"error"' in answer
    assert b"<h1>minigan live" not in answer


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_text_is_a_command_or_an_error(text):
    with contextlib.suppress(ConfigError):
        read_command(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5), st.lists))
def test_any_argument_is_checked(value):
    for name in ("back", "view", "set", "pace", "step"):
        for key in ("to", "layers", "unit", "changes", "run", "steps", "side"):
            with contextlib.suppress(ConfigError):
                read_command(json.dumps({"do": name, key: value}).encode())


# ------------------------------------------------------------------------------------------ events


def test_a_new_page_is_told_everything(seen):
    with seen.events() as events:
        kinds = dict(next(events) for _ in range(3))
    assert set(kinds) == {"hello", "state", "frame"}
    assert kinds["hello"]["about"]["kind"] == "plane" and len(kinds["hello"]["about"]["centers"]) == 8
    assert kinds["state"]["runs"][0]["settings"]["loss"] == "non-saturating"
    assert kinds["frame"]["step"] == seen.session.step


def test_a_closed_page_is_noticed(seen):
    with seen.events() as events:
        next(events)
        assert seen.session.hub.is_watched
    seen.do("play")
    seen.until(lambda: not seen.session.hub.is_watched)
    seen.do("pause")


def test_pages_are_limited(seen):
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            next(stack.enter_context(seen.events()))
        assert seen.request("GET", "events")[0] == 429
    seen.do("play")
    seen.until(lambda: not seen.session.hub.is_watched)
    seen.do("pause")


def test_connections_are_limited(seen):
    with contextlib.ExitStack() as stack:
        links = [
            socket.create_connection(("127.0.0.1", seen.server.server_port), 5) for _ in range(MOST_CONNECTIONS + 8)
        ]
        for link in links:
            stack.enter_context(contextlib.closing(link))
        seen.until(lambda: seen.server._room._value == 0)
        assert links[-1].recv(10) == b""
    seen.until(lambda: seen.server._room._value == MOST_CONNECTIONS)


def test_a_page_that_does_not_read_misses_frames_and_keeps_the_newest():
    hub = Hub()
    client = hub.join()
    for step in range(1000):
        hub.send("frame", {"step": step})
    hub.send("state", {})
    events = client.take(0)
    assert len(events) == 2 and b'"step":999' in events[0]
    hub.close()
    assert client.take(0) is None and hub.join() is None


def test_a_port_that_is_taken_is_named(seen):
    with pytest.raises(OutputError, match=rf"port {seen.server.server_port}: .*Choose another"):
        LiveServer("", port=seen.server.server_port)
    with pytest.raises(OutputError, match="port 70000"):
        LiveServer("", port=70000)


def test_tokens_differ(seen):
    others = []
    for _ in range(2):
        with contextlib.closing(LiveServer("")) as server:
            others.append(server.token)
    assert len({seen.server.token, *others}) == 3


def test_no_file_is_served(seen):
    folder = seen.session.runs[0].folder
    assert stat.S_ISDIR(folder.stat().st_mode)
    for name in ("config.toml", "log.jsonl", "../config.toml"):
        assert seen.request("GET", name)[0] in (403, 404)
