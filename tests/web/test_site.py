"""What the page is made of, without a browser."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from demo_web import litert
from demo_web.__main__ import main
from demo_web.server import Server
from demo_web.site import PAGE, SAMPLES, Site, listing, markups
from edgeface import zoo
from edgeface.errors import InputError
from edgeface.markup import MARKUPS
from tests.web.serving import serving

HTML = (PAGE / "index.html").read_text()
SCRIPTS = {file.name: file.read_text() for file in sorted((PAGE / "js").glob("*.js"))}
SOURCES = SCRIPTS | {"index.html": HTML, "style.css": (PAGE / "style.css").read_text()}


def package(folder: Path, version: str = litert.VERSION) -> Path:
    """A folder in which npm seems to have put LiteRT.js."""
    for part in litert.PARTS:
        file = folder / "node_modules" / "@litertjs" / part
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("// runtime\n")
    about = folder / "node_modules" / "@litertjs" / "core" / "package.json"
    about.write_text(json.dumps({"version": version}))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    return Site(litert.find(package(tmp_path_factory.mktemp("npm"))))


@pytest.fixture(scope="module")
def server(site) -> Iterator[Server]:
    with serving(site) as server:
        yield server


def get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def test_no_source_names_another_host():
    for name, text in SOURCES.items():
        assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org)[\w-]+\.[\w.-]+", text.replace("// ", "")), name


def test_every_element_that_a_script_asks_for_is_in_the_page():
    ids = re.findall(r'\bid="([\w-]+)"', HTML)
    assert len(ids) == len(set(ids))
    asked = {i for text in SCRIPTS.values() for i in re.findall(r'(?:\$|getElementById)\("([\w-]+)"\)', text)}
    asked |= {f"show-{what}" for what in ("landmarks", "axes", "spread", "box")} | {"yaw", "pitch", "roll"}
    assert len(asked) > 25 and asked <= set(ids), asked - set(ids)
    used = asked | set(re.findall(r'(?:for|aria-labelledby|href)="#?([\w-]+)"', HTML))
    used |= {i for i in ids if f"#{i}" in SOURCES["style.css"]} | {"picture-file", "model-file", "drop", "empty"}
    assert set(ids) <= used, set(ids) - used


def test_every_action_and_every_import_exists():
    acts = set(re.findall(r'data-act="(\w+)"', HTML))
    table = re.search(r"const ACTS = \{(.*?)\n\};", SCRIPTS["app.js"], re.S).group(1)
    assert acts == set(re.findall(r"^  (\w+)[:,]", table, re.M))
    for name, text in SCRIPTS.items():
        for names, module in re.findall(r'import \{([^}]*)\} from "\./([\w.]+)"', text):
            for word in (w.strip() for w in names.split(",") if w.strip()):
                exported = rf"export (?:async )?(?:function|const|class) {word}\b"
                assert re.search(exported, SCRIPTS[module]), f"{name}: {word} of {module}"


def test_the_policy_allows_this_server_alone_and_the_import_map():
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', HTML).group(1)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'" and "http" not in policy
    digest = hashlib.sha256(
        re.search(r'<script type="importmap">(.*?)</script>', HTML, re.S).group(1).encode()
    ).digest()
    assert f"'sha256-{base64.b64encode(digest).decode()}'" in rules["script-src"]
    assert "unsafe-eval" not in rules["script-src"].replace("wasm-unsafe-eval", "")


def test_every_control_has_a_name_for_those_who_do_not_see_it():
    for button in re.findall(r"<button[^>]*>.*?</button>", HTML, re.S):
        words = re.sub(r"<svg.*?</svg>|<[^>]+>", "", button, flags=re.S).strip()
        assert words or "aria-label=" in button, button
    for control in re.findall(r'<(?:input|select)(?![^>]*type="file")[^>]*>', HTML):
        assert re.search(r"<label[^>]*>(?:(?!</label>).)*" + re.escape(control), HTML, re.S), control


def test_the_listing_and_the_markups_are_those_of_the_package(site):
    lines = json.loads(site.read("models.json"))
    assert [line["file"] for line in lines] == [f"{name}.tflite" for name in zoo.available()]
    assert all(site.read(f"models/{line['file']}") == zoo.path(line["name"]).read_bytes() for line in lines)
    assert all(line["sha256"] == hashlib.sha256(zoo.path(line["name"]).read_bytes()).hexdigest() for line in lines)
    facts = markups()["markups"]
    assert {name: fact["size"] for name, fact in facts.items()} == {name: m.size for name, m in MARKUPS.items()}
    assert all(fact["full"] or fact["five"] for fact in facts.values())
    samples = json.loads(site.read("samples.json"))
    assert len(samples) == len(SAMPLES) and all(len(sample["pose_deg"]) == 3 for sample in samples)
    assert site.read(samples[0]["file"])[:2] == b"\xff\xd8"


def test_a_model_of_ones_own_joins_the_list_and_a_second_of_its_name_does_not(tmp_path, site):
    own = tmp_path / "own.tflite"
    own.write_bytes(zoo.path(zoo.available()[0]).read_bytes())
    found = litert.find(package(tmp_path))
    joined = Site(found, [own])
    assert "own.tflite" in [line["file"] for line in json.loads(joined.read("models.json"))]
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "own.tflite"
    twin.write_bytes(own.read_bytes())
    with pytest.raises(InputError, match="two own.tflite"):
        Site(found, [own, twin])
    own.write_bytes(b"not a model")
    with pytest.raises(InputError, match="must be a .tflite"):
        listing([own])


def test_the_server_sends_what_a_page_with_threads_needs_and_nothing_else(server):
    response, body = get(server, "/")
    assert response.status == 200 and body == HTML.encode()
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert get(server, "/js/app.js?x=1")[0].headers["Content-Type"].startswith("text/javascript")
    assert get(server, "/", "HEAD")[1] == b""
    assert get(server, "/", **{"If-None-Match": response.headers["ETag"]})[0].status == 304
    for path in ("/js/../../site.py", "/%2e%2e/site.py", "//etc/passwd", "/models/", "/js/none.js", "/%00"):
        assert get(server, path)[0].status == 404, path


def test_a_port_that_is_taken_is_told(server, site):
    with pytest.raises(InputError, match=f"{server.server_port}"):
        Server(site, port=server.server_port)


def test_a_missing_or_old_runtime_says_how_to_install_it(tmp_path, capsys):
    with pytest.raises(InputError, match="demo_web --install .or npm install .*@litertjs/core@.*Received: none"):
        litert.find(tmp_path)
    with pytest.raises(InputError, match="Received: 0.1.0 in"):
        litert.find(package(tmp_path / "old", "0.1.0"))
    assert main(["--litert", str(tmp_path), "--port", "0"]) == 2
    assert "npm install" in capsys.readouterr().err


def test_the_runtime_is_fetched_once_and_without_npm_the_page_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(litert, "_ROOT", tmp_path / "nowhere")
    monkeypatch.setattr(litert.shutil, "which", lambda _: None)
    assert main(["--install"]) == 2
    assert "npm must be installed" in capsys.readouterr().err

    def npm(command, **_):
        assert command[:2] == ["npm", "install"] and command[-1] == f"{litert.PACKAGE}@{litert.VERSION}"
        package(litert.cache_folder())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(litert.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(litert.subprocess, "run", npm)
    assert main(["--install"]) == 0
    monkeypatch.setattr(litert.subprocess, "run", lambda *_, **__: pytest.fail("fetched again"))
    assert main(["--install"]) == 0
    monkeypatch.setattr(litert, "find", lambda: (_ for _ in ()).throw(InputError("none")))
    failed = subprocess.CompletedProcess([], 1, "", "no network")
    monkeypatch.setattr(litert.subprocess, "run", lambda *_, **__: failed)
    assert main(["--install"]) == 2
    assert "must end well. Received: no network" in capsys.readouterr().err


def test_the_page_can_be_written_for_a_host_of_static_files(tmp_path, site, capsys):
    out = tmp_path / "site"
    assert main(["--litert", str(package(tmp_path / "npm")), "--write", str(out)]) == 0
    written = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert written == set(site.paths()) and {"index.html", "models.json", "litert/core/dist/index.js"} <= written
    assert f"{len(written)} files" in capsys.readouterr().out
