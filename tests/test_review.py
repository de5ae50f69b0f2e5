"""The review's server: what it answers to whom, over real connections."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from effectpairs.datasets.review.session import Conflict, PlaceMissing, ReviewSession
from effectpairs.datasets.store.decision_log import FILE, read_decisions
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus

HOSTILE = '<img src=x onerror="window.stolen = 1">'


@contextmanager
def reviewing(place, *options, cache):
    """The command in a process of its own; yields its address and the process."""
    command = [sys.executable, "-m", "effectpairs", "review", str(place), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)}
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("review: "), line
        yield line.removeprefix("review: ").strip(), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(url, path="", *, method="GET", body=None, **headers):
    """Status, headers and content of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    content = None if body is None else json.dumps(body)
    connection.request(method, parts.path + path, content, {name.replace("_", "-"): v for name, v in headers.items()})
    answer = connection.getresponse()
    try:
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("review"), clips=3)


@pytest.fixture(scope="module")
def served(corpus, tmp_path_factory):
    with reviewing(corpus.location.url, cache=tmp_path_factory.mktemp("cache")) as (url, _):
        yield url


def verdict(url, name, value="accept", number=1, **parts):
    origin = url.rsplit("/", 2)[0]
    body = {"id": f"{number:032x}", "clip": name, "what": "verdict", "value": value, "by": "Ana",
            "layers": json.loads(ask(url, f"clip/{name}")[2])["fingerprint"]} | parts  # fmt: skip
    return ask(url, "decide", method="POST", body=body, Origin=origin, Content_Type="application/json")


def test_nobody_gets_in_without_the_token_or_by_another_name(served):
    parts = urlsplit(served)
    root = f"http://{parts.netloc}"
    assert len(parts.path.strip("/")) >= 40
    assert parts.hostname == "127.0.0.1"
    assert ask(served, "index")[0] == 200
    assert ask(f"{root}/", "index")[0] == 404
    assert ask(f"{root}/{'x' * 43}/", "index")[0] == 404
    assert ask(served, "index", Host="evil.example")[0] == 421
    assert ask(served, "../../etc/passwd")[0] == 404
    assert ask(served, "frame/tiny-000/..%2f..%2fsecret/0")[0] in (404, 409)


def test_a_foreign_site_cannot_decide(served, corpus):
    before = ask(served, "changes/0")[2]
    body, origin = {"id": "a" * 32}, served.rsplit("/", 2)[0]
    for headers, status in (
        ({"Origin": "https://evil.example", "Content_Type": "application/json"}, 403),
        ({"Content_Type": "application/json"}, 403),
        ({"Origin": "null", "Content_Type": "application/json"}, 403),
        ({"Origin": origin, "Content_Type": "text/plain"}, 415),
    ):
        assert ask(served, "decide", method="POST", body=body, **headers)[0] == status
    assert ask(served, "decide", Origin=origin)[0] == 405
    assert ask(served, "changes/0")[2] == before


def test_every_answer_forbids_scripts_of_others(served):
    for path in ("", "review.js", "index", "clip/tiny-000", "nothing"):
        headers = ask(served, path)[1]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
    page = ask(served)[2].decode()
    assert "<script src=" in page
    assert "style=" not in page


def test_a_decision_is_kept_once_and_undone_by_a_line_of_its_own(served, corpus):
    assert verdict(served, "tiny-001", "reject", 1)[0] == 200
    again = json.loads(verdict(served, "tiny-001", "reject", 1)[2])
    assert again["state"]["verdict"] == "reject"
    assert [line["value"] for line in again["history"]] == ["reject"]
    status, _, content = verdict(served, "tiny-001", number=2, undo=True)
    assert (status, json.loads(content)["state"]["verdict"]) == (200, "accept")
    first, second = read_decisions(corpus.location.url).decisions
    assert (second.value, second.before, second.undoes) == (None, "reject", first.id)
    status, _, content = verdict(served, "tiny-001", number=3, undo=True)
    assert (status, json.loads(content)["error"]) == (409, "Ana has decided nothing that could be undone")


@pytest.mark.parametrize(
    ("parts", "status", "sentence"),
    [
        ({"layers": "e" * 64}, 409, "was made anew since the page showed it"),
        ({"clip": "nothing"}, 409, "there is no clip 'nothing' any more"),
        ({"value": "perhaps"}, 400, "is no verdict"),
        ({"by": "\x1b[2J"}, 400, "is no reviewer's name"),
        ({"what": "mask", "value": {}}, 400, "are painted on"),
        ({"value": "x" * 17 * 2**20}, 413, "at most"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused_in_one_sentence(served, parts, status, sentence):
    answer = verdict(served, "tiny-000", number=9, **parts)
    assert answer[0] == status
    assert sentence in json.loads(answer[2])["error"]


def test_pictures_films_and_numbers_come_on_demand(served):
    assert ask(served, "still/tiny-000")[2][:2] == b"\xff\xd8"
    assert ask(served, "film/tiny-000")[2][4:8] == b"ftyp"
    assert ask(served, "frame/tiny-000/effect_mask/12")[2].startswith(b"\x89PNG")
    assert ask(served, "frame/tiny-000/effect_mask/13")[0] == 409
    frames = json.loads(ask(served, "frames/tiny-000")[2])
    assert set(frames["tracks"]) == {"effect area", "strength", "outside", "flicker", "subject area"}
    assert frames["tracks"]["subject area"] == [3.75] * 13, "a square of 12 x 12 in 48 x 80"
    assert frames["tracks"]["outside"] == [99.0] * 13, "equal"
    assert json.loads(ask(served, "frames/tiny-002")[2])["tracks"] == {}, "it is gt alone"


def test_a_killed_review_comes_back_at_its_address_and_a_stopped_one_does_not(corpus, tmp_path):
    with reviewing(corpus.location.url, cache=tmp_path) as (first, process):
        process.kill()
    with reviewing(corpus.location.url, cache=tmp_path) as (second, process):
        assert second == first
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    with reviewing(corpus.location.url, cache=tmp_path) as (third, _):
        assert urlsplit(third).path != urlsplit(first).path


def test_a_corpus_that_was_published_anew_or_moved_is_noticed(tmp_path):
    workspace, corpus = tmp_path / "w", tmp_path / "corpus"
    fixtures_workspaces.fill_workspace(workspace, ["a", "b"])
    fixtures_workspaces.publish(workspace, corpus)
    session = ReviewSession(str(corpus))
    values = {"id": "1" * 32, "clip": "a", "by": "Ana", "what": "verdict", "value": "reject"}
    print_a = session.details("a")["fingerprint"]
    assert ReviewSession(str(workspace)).details("a")["fingerprint"] == print_a
    fixtures_workspaces.fill_workspace(workspace, ["b", "a"])  # each has the pictures of the other now
    fixtures_workspaces.publish(workspace, corpus)
    with pytest.raises(Conflict, match="a was made anew"):
        session.decide(values | {"layers": print_a})
    assert session.decide(values | {"layers": session.details("a")["fingerprint"]})["state"]["verdict"] == "reject"
    shutil.move(corpus, tmp_path / "elsewhere")
    with pytest.raises(PlaceMissing, match="is no longer there; put it back"):
        session.decide(values | {"id": "2" * 32, "layers": print_a})
    assert not corpus.exists()
    assert len(read_decisions(tmp_path / "elsewhere").decisions) == 1


def test_places_that_cannot_be_reviewed_are_named(tmp_path):
    with pytest.raises(ValueError, match="is neither a corpus nor a workspace"):
        ReviewSession(str(tmp_path))
    with pytest.raises(ValueError, match="copy it here and review that"):
        ReviewSession("memory://corpus")


def test_an_address_that_cannot_be_taken_is_named(corpus, served):
    port = str(urlsplit(served).port)
    for options, sentence in ((["--host", "0.0.0.0"], "every address"), (["--port", port], "choose another --port")):
        command = [sys.executable, "-m", "effectpairs", "review", corpus.location.url, *options]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 1
        assert sentence in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1


def test_files_of_decisions_merge_by_the_command(tmp_path):
    workspace = tmp_path / "w"
    fixtures_workspaces.fill_workspace(workspace, ["a"])
    session = ReviewSession(str(workspace))
    values = {"clip": "a", "layers": session.details("a")["fingerprint"], "what": "verdict"}
    session.decide(values | {"id": "1" * 32, "by": "Ana", "value": "accept"})
    shutil.move(workspace / FILE, tmp_path / "ana.jsonl")
    ReviewSession(str(workspace)).decide(values | {"id": "2" * 32, "by": "Ben", "value": "reject"})
    command = [sys.executable, "-m", "effectpairs", "review", str(workspace), "--merge", str(tmp_path / "ana.jsonl")]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert [output.split(": ")[-1] for output in outputs] == ["1 decisions are new\n", "0 decisions are new\n"]
    state = ReviewSession(str(workspace)).details("a")["state"]
    assert (state["verdict"], state["disputed"]) == ("review", True)
