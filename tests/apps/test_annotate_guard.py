"""Access control: token, hosts, origins and paths, for the rules and for a running server."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import nicegui
import pytest
from annotate_sets import Stage, Tool, folder_of_images

from p2seg.apps.annotate.guard import HEADERS, Guard, is_allowed, is_ours, own_names


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
        ("127.0.0.1:8765", {b"sec-fetch-site": "cross-site", b"sec-fetch-mode": "navigate"}, False),
        ("127.0.0.1:8765", {b"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_hosts_and_origins(host, more, allowed):
    assert is_allowed({b"host": host, **more}, own_names("127.0.0.1")) is allowed


SAME = {b"sec-fetch-site": "same-origin", b"sec-fetch-mode": "cors"}
LINK = {b"sec-fetch-site": "cross-site", b"sec-fetch-mode": "navigate"}
TYPED = {b"sec-fetch-site": "none", b"sec-fetch-mode": "navigate"}
ORIGIN = {b"origin": "http://127.0.0.1:8765"}


@pytest.mark.parametrize(
    ("kind", "headers", "allowed"),
    [
        ("first", {}, True),  # of a browser that sends no such headers
        ("first", TYPED | {b"sec-fetch-dest": "document"}, True),
        ("first", LINK | {b"sec-fetch-dest": "document"}, True),
        ("first", LINK | {b"sec-fetch-dest": "iframe"}, False),
        ("first", LINK | {b"sec-fetch-dest": "embed"}, False),
        ("first", SAME | {b"sec-fetch-dest": "iframe"}, False),
        ("first", SAME | {b"sec-fetch-dest": "empty"}, False),
        ("other", LINK | {b"sec-fetch-dest": "iframe"}, False),
        ("other", LINK | {b"sec-fetch-dest": "object"}, False),
        ("other", SAME | {b"sec-fetch-dest": "image"}, True),
        ("changes", {}, False),
        ("changes", SAME, False),
        ("changes", LINK | {b"sec-fetch-dest": "document"}, False),
        ("changes", ORIGIN, True),
        ("changes", ORIGIN | SAME, True),
        ("changes", {b"origin": "http://evil.example"}, False),
    ],
)
def test_kinds_of_requests(kind, headers, allowed):
    own = {b"host": "127.0.0.1:8765", **headers}
    names = own_names("127.0.0.1")
    found = is_allowed(own, names, first=kind == "first", changes=kind == "changes")
    assert found is allowed


def test_a_server_of_the_network_has_addresses_and_its_own_name():
    names = own_names("0.0.0.0")
    assert is_ours("192.168.0.7", names)
    assert is_ours("localhost", names)
    assert is_ours(socket.gethostname().lower(), names)
    assert not is_ours("evil.example", names)
    assert not is_ours("", names)


@pytest.mark.parametrize(("host", "times"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
def test_the_name_of_the_machine_is_looked_up_once(monkeypatch, host, times):
    asked, answers = [], []
    monkeypatch.setattr(socket, "getfqdn", lambda: asked.append(1) or "machine.example")

    async def send(message):
        answers.append(message)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def ask_often():
        guard = Guard(app, host, "secret")
        for name in ("machine.example", "evil.example", "192.168.0.7:80"):
            headers = [(b"host", name.encode()), (b"cookie", b"p2seg-80=secret")]
            own = {"type": "http", "path": "/x", "method": "GET", "query_string": b""}
            await guard({**own, "headers": headers}, None, send)

    asyncio.run(ask_often())
    assert len(asked) == times
    statuses = [each["status"] for each in answers if "status" in each]
    assert statuses == ([200, 403, 200] if times else [403] * 3)


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    home = tmp_path_factory.mktemp("guarded")
    folder_of_images(home)
    (home / "secret.txt").write_text("nobody may read this")
    (home / "photos" / "notes.txt").write_text("nobody may read this")
    started = Tool(home / "photos", "classes=[disc]", "port=0", "preview=none")
    yield started
    started.close()


def ask(tool, path, headers=(), method="GET", known=True):
    """Returns status, headers and body; sends the path unchanged, with the cookie if `known`."""
    connection = http.client.HTTPConnection("127.0.0.1", tool.port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    own = {"Host": f"127.0.0.1:{tool.port}", **(tool.cookie if known else {})}
    for key, value in {**own, **dict(headers)}.items():
        connection.putheader(key, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_only_images_of_the_folder_are_served(tool):
    status, headers, body = ask(tool, "/picture/0?fit=200")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert body[:2] == b"\xff\xd8"
    assert ask(tool, "/picture/3?fit=200")[0] == 422  # the broken one
    for part in ("fit=1", "left=5&top=5&width=9&height=9&to_width=99999999&to_height=9", ""):
        assert ask(tool, f"/picture/0?{part}")[0] == 200


ODD = ("-1", "9" * 21, "9" * 400, "9" * 5000, "0.5", "1e3", "x", "+1", "%2B1", "0_0", "%20", "%00")
UNICODE = ("%D9%A3", "%EF%BC%91", "%C2%B2", "%F0%9D%9F%8F", "%FF")
"""An Arabic, a wide, a superscript and a bold digit, and a lone surrogate."""


@pytest.mark.parametrize("number", [*ODD, *UNICODE, "%30/..", "", "0/../0", "7"])
def test_unusual_picture_numbers_are_rejected(tool, number):
    assert ask(tool, f"/picture/{number}?fit=200")[0] == 404


@pytest.mark.parametrize("number", [*ODD, *UNICODE])
@pytest.mark.parametrize("key", ["fit", "left", "height", "to_width"])
def test_unusual_part_numbers_are_rejected(tool, key, number):
    assert ask(tool, f"/picture/0?{key}={number}")[0] == 404


SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport="
PATHS = ["/", "/?token=", "/?token=x", "/picture/0?fit=99", "/picture/none", "/nowhere"]
PATHS += [f"{SOCKET}polling", f"/_nicegui/{nicegui.__version__}/static/nicegui.js"]


@pytest.mark.parametrize("path", PATHS)
def test_requests_without_the_token_are_rejected(tool, path):
    for name, value in (
        ("X", ""),
        ("Cookie", f"p2seg-{tool.port}="),
        ("Cookie", f"p2seg-{tool.port}={tool.token[:-1]}"),
        ("Cookie", f"p2seg-{tool.port + 1}={tool.token}"),
        ("Cookie", f"p2seg-{tool.port}=\xe9"),
        ("Authorization", f"token {tool.token}"),
    ):
        for method in ("GET", "POST"):
            own = {name: value, "Origin": f"http://127.0.0.1:{tool.port}"}
            status, headers, body = ask(tool, path, own, method, known=False)
            assert status == 403
            assert body.decode().startswith("Open the whole address that the command printed")
            assert body.count(b"\n") == 1
            assert {key.decode() for key, _ in HEADERS} < headers.keys()
            assert "set-cookie" not in headers
    assert ask(tool, path)[0] != 403


def test_the_token_moves_from_the_address_to_a_cookie(tool):
    path = f"/?token={tool.token}"
    status, headers, body = ask(tool, path, known=False)
    assert (status, headers["location"], body) == (303, "/", b"")
    pair, *flags = headers["set-cookie"].split("; ")
    assert pair == f"p2seg-{tool.port}={tool.token}"
    assert set(flags) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    # the near end of a tunnel has another port, and a cookie of its own
    _, headers, _ = ask(tool, path, {"Host": "localhost:4321"}, known=False)
    assert headers["set-cookie"].startswith("p2seg-4321=")
    status, headers, _ = ask(tool, path, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode":
        "navigate", "Sec-Fetch-Dest": "document"}, known=False)  # fmt: skip
    assert (status, headers["refresh"]) == (200, "0; url=/")
    assert "location" not in headers
    for other in ({"Sec-Fetch-Dest": "iframe"}, {"Origin": "http://evil.example"}):
        assert ask(tool, path, other, known=False)[0] == 403
    assert ask(tool, path, {"Host": "evil.example"}, known=False)[0] == 403
    assert ask(tool, path, method="POST", known=False)[0] == 403
    assert ask(tool, f"/picture/0?fit=9&token={tool.token}", known=False)[0] == 403
    assert tool.token.encode() not in ask(tool, "/")[2]


def test_no_file_outside_is_served(tool):
    """Paths with `..`, plain and encoded, below the pictures and NiceGUI's files."""
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
def test_requests_of_other_pages_are_rejected(tool, path):
    assert ask(tool, path)[0] in (200, 400)
    assert ask(tool, path, method="POST")[0] == 403  # it has no origin
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
        ({}, 403),
        ({"Origin": "http://127.0.0.1:PORT"}, 101),
        ({"Origin": "http://127.0.0.1:PORT", "Cookie": "p2seg-PORT=x"}, 403),
        ({"Origin": "http://127.0.0.1:PORT", "Cookie": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"}, 403),
    ],
)
def test_websockets_of_other_pages_are_rejected(tool, headers, status):
    key = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    own = {name: value.replace("PORT", str(tool.port)) for name, value in headers.items()}
    own = {"Host": f"127.0.0.1:{tool.port}", **tool.cookie, **own, **key}
    lines = [f"{name}: {value}" for name, value in own.items()]
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    with socket.create_connection(("127.0.0.1", tool.port), 10) as asked:
        asked.sendall("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        assert asked.recv(4096).split(b" ")[1] == str(status).encode()


@pytest.fixture
def opened(monkeypatch):
    """Records the addresses with which a browser is started."""
    found = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", found.append)
    return found


def test_the_command_line_of_a_browser_holds_no_token(tool, page, opened, tmp_path):
    """Every user can read a command line; the redirecting file is another site."""
    server = pytest.importorskip("p2seg.apps.annotate.server")
    file = server.open_browser(tool.url, tmp_path)
    [address] = opened
    assert tool.token not in address
    assert address == file.as_uri()
    assert file.parent == tmp_path
    assert file.stat().st_mode & 0o777 == 0o600
    page.goto(address)
    page.wait_for_selector(".stage")
    assert page.url == f"http://127.0.0.1:{tool.port}/"
    assert tool.token not in page.evaluate("document.cookie + document.referrer")


def test_without_the_file_no_browser_is_opened(tool, opened, tmp_path):
    server = pytest.importorskip("p2seg.apps.annotate.server")
    assert server.open_browser(tool.url, tmp_path / "missing") is None
    assert not opened


def test_another_site_of_the_same_browser_sees_nothing(tool, page, tmp_path):
    """Its frame and its picture stay empty, although the browser has the cookie."""
    Stage(page, tool.url)
    own = f"http://127.0.0.1:{tool.port}"
    other = tmp_path / "other.html"
    other.write_text(f"<iframe src='{own}/'></iframe><img src='{own}/picture/0?fit=99'>")
    answers = []
    page.on("response", lambda answer: answers.append((urlsplit(answer.url).path, answer.status)))
    page.goto(other.as_uri())
    page.wait_for_function("document.querySelector('img').complete")
    assert page.evaluate("document.querySelector('img').naturalWidth") == 0
    assert ("/", 403) in answers
    page.goto(own)
    page.wait_for_selector(".stage")
    page.context.clear_cookies()
    page.goto(own)
    assert "Open the whole address that the command printed" in page.inner_text("body")


def test_it_stops_on_request_and_leaves_no_file(tool):
    """The last test of this file."""
    code, said = tool.end(signal.SIGHUP)
    assert code == 75
    assert said.endswith(
        "stopped by SIGHUP; all written files are complete, and the same command resumes\n"
    )
    assert "Traceback" not in said
    home = Path(tool_home(tool))
    record = (home / "photos_clicks.run.json").read_text()
    assert json.loads(record)["starts"][0]["tool"] == "annotate"
    assert said.count(tool.token) == 1
    for file in home.rglob("*"):
        assert not file.is_file() or tool.token.encode() not in file.read_bytes(), file
