"""Who may ask: hosts, origins and paths, of the rule itself and of a server that runs."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket

import nicegui
import pytest
from annotate_sets import Tool, folder_of_images

from p2seg.pages.annotate.guard import is_allowed, is_ours


@pytest.mark.parametrize(
    ("host", "more", "allowed"),
    [
        ("127.0.0.1:8765", {}, True),
        ("localhost:8765", {}, True),
        ("LOCALHOST:1", {}, True),  # the near end of a tunnel has another port
        ("[::1]:8765", {}, True),
        ("evil.example:8765", {}, False),  # its name was made to lead here
        ("127.0.0.1.evil.example", {}, False),
        ("127.0.0.1:8765@evil.example", {}, False),
        ("localhost:8765/..", {}, False),
        ("", {}, False),
        ("[::1", {}, False),
        ("192.168.0.7:8765", {}, False),
        ("127.0.0.1:8765", {b"origin": "http://127.0.0.1:8765"}, True),
        ("127.0.0.1:8765", {b"origin": "http://localhost:8765"}, False),
        ("127.0.0.1:8765", {b"origin": "http://127.0.0.1:8766"}, False),
        ("127.0.0.1:8765", {b"origin": "http://evil.example"}, False),
        ("127.0.0.1:8765", {b"origin": "null"}, False),
        ("127.0.0.1:8765", {b"sec-fetch-site": "cross-site", b"sec-fetch-mode": "no-cors"}, False),
        ("127.0.0.1:8765", {b"sec-fetch-site": "same-site", b"sec-fetch-mode": "no-cors"}, False),
        ("127.0.0.1:8765", {b"sec-fetch-site": "cross-site", b"sec-fetch-mode": "navigate"}, True),
        ("127.0.0.1:8765", {b"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_hosts_and_origins(host, more, allowed):
    assert is_allowed({b"host": host, **more}, "127.0.0.1") is allowed


def test_a_server_of_the_network_has_addresses_and_its_own_name():
    assert is_ours("192.168.0.7", "0.0.0.0")
    assert is_ours("localhost", "0.0.0.0")
    assert is_ours(socket.gethostname().lower(), "0.0.0.0")
    assert not is_ours("evil.example", "0.0.0.0")


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    home = tmp_path_factory.mktemp("guarded")
    folder_of_images(home)
    (home / "secret.txt").write_text("nobody may read this")
    (home / "photos" / "notes.txt").write_text("nobody may read this")
    started = Tool(home / "photos", "classes=[disc]", "port=0", "preview=none")
    yield started
    started.close()


def ask(tool, path, headers=(), method="GET"):
    """Status, headers and body; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", tool.port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for key, value in {"Host": f"127.0.0.1:{tool.port}", **dict(headers)}.items():
        connection.putheader(key, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_pictures_are_images_of_the_folder_alone(tool):
    status, headers, body = ask(tool, "/picture/0?fit=200")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert body[:2] == b"\xff\xd8"
    for number in ("7", "-1", "999999999999999999999", "0.5", "x", "%30/..", "", "0/../0"):
        assert ask(tool, f"/picture/{number}?fit=200")[0] in (404, 422), number
    assert ask(tool, "/picture/0?fit=x")[0] == 422
    assert ask(tool, "/picture/3?fit=200")[0] == 422  # the broken one
    for part in ("fit=-1", "left=-5&top=-5&width=9&height=9&to_width=99999999&to_height=9", ""):
        assert ask(tool, f"/picture/0?{part}")[0] == 200


def test_no_file_outside_is_served(tool):
    """Paths that climb, as they are and encoded, through the pictures and NiceGUI's own files."""
    home = f"/_nicegui/{nicegui.__version__}"
    page = ask(tool, "/")[2].decode()
    esm = re.search(r"p2seg-annotate[^,}]*/esm/([^\"'/&]+)/index.js", page)[1]
    starts = ["", "/picture", "/picture/0", f"{home}/static", f"{home}/components", home]
    starts += [f"{home}/libraries", f"{home}/resources", f"{home}/resources/x", "/_nicegui"]
    starts += [f"{home}/esm/{esm}", f"{home}/dynamic_resources", "/_nicegui_ws", "/static"]
    secret = f"{tool_home(tool)}/secret.txt"
    climbs = ["/../" * 12 + secret, "/" + secret, secret, "/photos/a plain.png".replace(" ", "%20")]
    climbs += [
        "/%2e%2e" * 12 + secret,
        "/..%2f" * 12 + secret[1:],
        "/" + secret.replace("/", "%2f"),
    ]
    climbs += ["/%252e%252e" * 12 + secret, "/..\\" * 12 + secret, "/%c0%ae%c0%ae" * 12 + secret]
    climbs += ["/../view.py", "/%2e%2e/view.py", "/..%2fview.py", "/notes.txt", "/%00" + secret]
    for start in starts:
        for climb in climbs:
            status, _, body = ask(tool, (start + climb).replace(" ", "%20"))
            assert b"nobody may read this" not in body, start + climb
            assert b"class View" not in body, start + climb
            assert status >= 300, start + climb
    assert (
        ask(tool, f"{home}/esm/{esm}/paint.js")[0] == 200
    )  # so the paths above are the right ones


def tool_home(tool):
    return tool.said.split(" images of ")[1].split("/photos;")[0]


@pytest.mark.parametrize(
    "path", ["/", "/picture/0?fit=99", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"]
)
def test_other_pages_get_nothing(tool, path):
    assert ask(tool, path)[0] in (200, 400)
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{tool.port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{tool.port + 1}"},
    ):
        assert ask(tool, path, headers)[0] == 403, headers
        assert ask(tool, path, headers, "POST")[0] == 403, headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"Origin": "http://127.0.0.1:PORT"}, 101),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"}, 403),
    ],
)
def test_websockets_of_other_pages_are_refused(tool, headers, status):
    key = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    own = {name: value.replace("PORT", str(tool.port)) for name, value in headers.items()}
    own = {"Host": f"127.0.0.1:{tool.port}", **own, **key}
    lines = [f"{name}: {value}" for name, value in own.items()]
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    with socket.create_connection(("127.0.0.1", tool.port), 10) as asked:
        asked.sendall("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        assert asked.recv(4096).split(b" ")[1] == str(status).encode()


def test_it_ends_when_asked_and_leaves_nothing(tool):
    """The last test of this file."""
    code, said = tool.end(signal.SIGHUP)
    assert code == 75
    assert said.endswith(
        "stopped by SIGHUP; what was written is whole, and the same command goes on\n"
    )
    assert "Traceback" not in said
    home = tool_home(tool)
    with open(f"{home}/photos_clicks.run.json") as stream:  # noqa: PTH123
        assert json.load(stream)["starts"][0]["tool"] == "annotate"
