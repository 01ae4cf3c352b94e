"""Agents on the Hub: pushed to and fetched from a server of ours that speaks its HTTP interface."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

import spl
from spl.agents.hub import FETCHED
from spl.cli import main as cli

pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[2]
TOKEN = "hf_someone"


class Hub(ThreadingHTTPServer):
    """Repositories, each a list of commits: mappings from a path to its bytes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.sent: list[str] = []  # paths whose bytes were asked for


class Answer(BaseHTTPRequestHandler):
    """The requests that a push and a fetch make, as huggingface_hub makes them."""

    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, body=b"", code=200, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlparse(self.path).path
        address = f"http://{self.headers['Host']}"
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path == "/api/repos/create":
            asked = json.loads(sent)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories.setdefault(name, [])
            return self.answer({"url": f"{address}/{name}"})
        name, verb = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path).groups()
        if verb == "preupload":
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(sent)["files"]
            ]
            return self.answer({"files": files})
        commits = self.server.repositories[name]
        commits.append(dict(commits[-1]) if commits else {})
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                commits[-1][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        url = f"{address}/{name}/commit/{len(commits):040x}"
        return self.answer({"commitUrl": url, "commitOid": f"{len(commits):040x}", "pullRequestUrl": None})

    def do_GET(self):
        path = urlparse(self.path).path
        if asked := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/([^/]+))?", path):
            return self.tell(asked[1], asked[2] or "main", is_tree="/tree/" in path)
        name, revision, file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path).groups()
        commits = self.server.repositories[name]
        content = commits[int(revision, 16) - 1][file]
        if self.command == "GET":
            self.server.sent.append(file)
        return self.answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=revision)

    do_HEAD = do_GET

    def tell(self, name, revision, *, is_tree):
        commits = self.server.repositories.get(name)
        if not commits:
            return self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        if revision not in ("main", *(f"{number:040x}" for number in range(1, len(commits) + 1))):
            return self.answer({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        number = len(commits) if revision == "main" else int(revision, 16)
        files = commits[number - 1]
        if is_tree:
            return self.answer(
                [
                    {
                        "type": "file",
                        "path": path,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for path, content in files.items()
                ]
            )
        siblings = [{"rfilename": path} for path in files]
        return self.answer({"id": name, "sha": f"{number:040x}", "siblings": siblings})


@pytest.fixture(scope="module")
def run(tiny_run) -> Path:
    """Return a tiny run on Beacon."""
    return tiny_run(4)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_agent_is_pushed_and_acts_where_it_is_fetched(hub, run, capsys):
    assert cli.main(["push", str(run), "--to", "hub:someone/beacon"]) == 0
    assert "/someone/beacon: spl.load('hub:someone/beacon')" in capsys.readouterr().out
    (commit,) = hub.repositories["someone/beacon"]
    assert set(commit) == {"README.md", "agent.json", "agent.safetensors", "config.json"}
    commit["setup.py"] = b"import os"  # what no bundle holds
    commit["extra/weights.pt"] = b"pickled"
    there, here = spl.load("hub:someone/beacon", device="cpu"), spl.load(run, device="cpu")
    here.observation_space.seed(0)
    observation = here.observation_space.sample()
    assert there.act(observation) == here.act(observation)
    np.testing.assert_array_equal(there.q_values, here.q_values)
    assert set(hub.sent) == {"README.md", "agent.json", "agent.safetensors", "config.json"}
    before = len(hub.sent)
    brief = ["--num_episodes", "1", "--num_seeds", "1", "--device", "cpu"]
    assert cli.main(["evaluate", "agent", "hub:someone/beacon", *brief]) == 0
    assert len(hub.sent) == before  # nothing has changed
    assert (FETCHED / "someone" / "beacon" / "evaluation.json").is_file()


def test_a_bundle_is_pushed_as_it_is_and_an_old_revision_fetched(hub, run):
    folder = spl.export_agent(run, to="bundle", out="bundle")
    spl.push(folder, to="hub:someone/beacon")
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nBetter.\n")
    spl.push(folder, to="hub:someone/beacon")
    assert len(hub.repositories["someone/beacon"]) == 2
    spl.load("hub:someone/beacon", device="cpu")
    spl.load(f"hub:someone/beacon@{1:040x}", device="cpu")
    told = [path.read_text() for path in sorted((FETCHED / "someone").glob("*/README.md"))]
    assert ["Better." in text for text in told] == [True, False]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["evaluate", "agent", "hub:nowhere"],
            "an address on the Hub must be hub:user/name, got 'hub:nowhere'",
        ),
        (
            ["evaluate", "agent", "hub:no/one"],
            "hub:no/one is not on the Hub, or not for you to read: check the",
        ),
        (["film", "hub:someone/other"], "hub:someone/other is no agent of spl: what `spl push` writes holds"),
        (["film", "hub:someone/other@1.0"], "hub:someone/other@1.0 has no such revision"),
        (["push", "nowhere", "--to", "hub:a/b"], "nowhere is not a run directory"),
        (["push", "{run}"], "--to must be given"),
        (
            ["push", "{run}", "--to", "someone/beacon"],
            "an address on the Hub must be hub:user/name, got 'someone/",
        ),
        (["push", "{run}", "--to", "hub:a--b/.c"], "hub:a--b/.c is no address on the Hub"),
    ],
)
def test_what_is_not_there_or_no_address_is_told_in_a_sentence(hub, run, capsys, words, sentence):
    hub.repositories["someone/other"] = [{"pytorch_model.bin": b"pickled"}]
    assert cli.main([word.format(run=run) for word in words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"spl: {sentence}")


def test_who_is_not_logged_in_is_told_how(hub, run, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert cli.main(["push", str(run), "--to", "hub:someone/beacon"]) == 2
    assert capsys.readouterr().err.startswith(
        "spl: hub:someone/beacon cannot be pushed: log in with `hf auth login`, or set HF_TOKEN"
    )


def test_a_hub_that_cannot_be_reached_is_told(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for words in (
        ["evaluate", "agent", "hub:someone/beacon"],
        ["push", str(run), "--to", "hub:someone/beacon"],
    ):
        assert cli.main(words) == 2
        assert capsys.readouterr().err.startswith("spl: hub:someone/beacon: the Hub cannot be reached")
