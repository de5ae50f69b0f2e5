"""Push a corpus to a data set repository of a Hugging Face hub: what is not there yet, and `corpus.json` last.

Files are compared by SHA-256, so a push that broke off goes on, and one of an unchanged corpus sends nothing. Shards go
in commits of some files each; the last commit brings the documents and `corpus.json`, and takes away what no longer
belongs, so that readers see the old corpus or the new one. The token is that of huggingface_hub (`hf auth login`, or
HF_TOKEN); it is neither an option nor a setting here, and stands in no file and no message.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from ...extras import require
from ...untrusted_input import shortened
from ..store.remote_calls import StorageError
from .publish import MANIFEST, is_ours, listed_files
from .reader import Corpus

FILES_PER_COMMIT = 50
"""The hub asks for fewer than 100."""
VIEWER_SCAN_BYTES = 300_000_000
"""Row group that the hub's viewer still reads."""


@dataclass(frozen=True, kw_only=True)
class PushPlan:
    """Differences between a corpus and a repository."""

    repository: str
    endpoint: str
    is_new: bool
    """Whether the repository has to be created."""
    shards: tuple[str, ...]
    """Parquet files to send, in the order of the corpus."""
    documents: tuple[str, ...]
    """Documents to send in the last commit, with `corpus.json` as its last."""
    stale: tuple[str, ...]
    """Files of an earlier corpus to take away."""
    size_bytes: int
    notes: tuple[str, ...]
    """Sentences on what the hub will not show."""


def plan_push(corpus: Corpus, repository: str, endpoint: str | None = None) -> PushPlan:
    """Compare a corpus on this machine with a repository.

    Args:
        corpus: a local one.
        repository: OWNER/NAME.
        endpoint: address of the hub; None takes HF_ENDPOINT, or Hugging Face's own.

    Raises:
        ValueError: the corpus is remote, or the repository's name is none.
        StorageError: the hub does not answer or refuses, or there is no token.
    """
    if corpus.location.local is None:
        raise ValueError(f"{corpus.location.url} is not on this machine; copy it here to push it")
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repository, re.ASCII):
        raise ValueError(f"{shortened(repository)!r} is no repository; write OWNER/NAME")
    api = _api(endpoint)
    present = _call(api, repository, lambda: _present_files(api, repository))
    files = [*listed_files(corpus.manifest), *corpus.manifest.get("documents", ())]
    digests = {file["path"]: file["sha256"] for file in files} | {MANIFEST: corpus.location.digest(MANIFEST)}
    lacking = [
        path
        for path, sha256 in digests.items()
        if (digest := (present or {}).get(path)) != sha256 and digest != _blob_id(corpus, path)
    ]
    shards = tuple(path for path in lacking if path.endswith(".parquet"))
    documents = tuple(path for path in lacking if path not in shards)
    return PushPlan(
        repository=repository,
        endpoint=api.endpoint,
        is_new=present is None,
        shards=shards,
        documents=documents,
        stale=tuple(sorted(name for name in present or {} if is_ours(name) and name not in digests)),
        size_bytes=sum(corpus.location.size(path) for path in (*shards, *documents)),
        notes=tuple(_notes(corpus, f"{api.endpoint}/datasets/{repository}")),
    )


def push(
    corpus: Corpus, plan: PushPlan, *, private: bool = False, step: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Do what a plan says.

    Args:
        corpus: the one that the plan was made of.
        plan: differences to send.
        private: make a new repository private.
        step: called with the numbers of files sent and of all.

    Raises:
        ValueError: a file is not the one that was published.
        StorageError: the hub does not answer or refuses; what was sent stays, and the same push goes on.
    """
    hub = require("huggingface_hub", extra="hub")
    api = _api(plan.endpoint)
    by_path = {file["path"]: file for file in (*listed_files(corpus.manifest), *corpus.manifest.get("documents", ()))}
    damaged = [
        path
        for path in (*plan.shards, *plan.documents)
        if path in by_path and corpus.location.digest(path) != by_path[path]["sha256"]
    ]
    if damaged:
        raise ValueError(
            f"{corpus.location.path(damaged[0])} is damaged; see: effectpairs verify {corpus.location.url}"
        )

    def commit(paths: Sequence[str], gone: Sequence[str], message: str) -> None:
        operations = [
            hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=corpus.location.at(path)) for path in paths
        ]
        operations += [hub.CommitOperationDelete(path_in_repo=path) for path in gone]
        _call(api, plan.repository, lambda: api.create_commit(plan.repository, operations, **options(message)))

    def options(message: str) -> dict[str, Any]:
        return {"repo_type": "dataset", "commit_message": message}

    total = len(plan.shards) + len(plan.documents)
    if plan.is_new:
        create = {"repo_type": "dataset", "private": private, "exist_ok": True}
        _call(api, plan.repository, lambda: api.create_repo(plan.repository, **create))
    title, sent, shards = f"{corpus.manifest['name']} {corpus.manifest['version']}", 0, iter(plan.shards)
    while paths := list(islice(shards, FILES_PER_COMMIT)):
        commit(paths, (), f"Shards of {title}")
        sent += len(paths)
        step(sent, total)
    if plan.documents or plan.stale:
        commit(plan.documents, plan.stale, title)
        step(total, total)


def _api(endpoint: str | None) -> Any:
    require("huggingface_hub.utils", extra="hub").disable_progress_bars()
    return require("huggingface_hub", extra="hub").HfApi(endpoint=endpoint)


def _present_files(api: Any, repository: str) -> dict[str, str] | None:
    """Digest of every file of a repository: SHA-256 of a large one, Git's own of others; None without a repository."""
    errors = require("huggingface_hub.errors", extra="hub")
    try:
        tree = list(api.list_repo_tree(repository, repo_type="dataset", recursive=True))
    except errors.RepositoryNotFoundError:
        return None
    except errors.EntryNotFoundError:  # a repository without a commit
        return {}
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in tree if hasattr(file, "lfs")}


def _blob_id(corpus: Corpus, path: str) -> str:
    """Git's digest of a document; shards are never stored by it."""
    if path.endswith(".parquet"):
        return ""
    content = corpus.location.read(path)
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def _call(api: Any, repository: str, verb: Callable[[], Any]) -> Any:
    """Call the hub; its errors become sentences."""
    errors = require("huggingface_hub.errors", extra="hub")
    place = f"{api.endpoint}/datasets/{repository}"
    try:
        return verb()
    except errors.HfHubHTTPError as refused:
        status = getattr(refused.response, "status_code", 0)
        remedy = (
            "log in with `hf auth login`, or set HF_TOKEN to a token that may write" if status in (401, 403) else ""
        )
        raise StorageError(
            5, f"{place}: the hub answered with status {status}; {remedy or 'push again, which goes on where it was'}"
        ) from refused
    except (errors.LocalTokenNotFoundError, errors.OfflineModeIsEnabled) as problem:
        raise StorageError(5, f"{place}: {str(problem).splitlines()[0]}") from problem
    except (errors.HTTPError, RuntimeError) as problem:  # its client's own error; an upload that gave up
        raise StorageError(
            5, f"{place}: the hub does not answer ({type(problem).__name__}); push again, which goes on where it was"
        ) from problem


def _notes(corpus: Corpus, place: str) -> list[str]:
    """Sentences on what a user of the hub will miss."""
    notes = []
    largest = max(
        pq.read_metadata(corpus.location.at(file["path"])).row_group(group).total_byte_size
        for file in corpus.manifest["files"]
        for group in range(file["rows"])
    )
    if largest > VIEWER_SCAN_BYTES:
        notes.append(
            f"the largest clip has {largest:,} bytes, and the hub's viewer reads up to {VIEWER_SCAN_BYTES:,}; publish "
            "with --storage compact, or smaller clips, to have it shown"
        )
    url = corpus.manifest["settings"]["publishing"].get("url", "")
    if url != place:
        notes.append(f"croissant.json names {url or 'no address'}; publish with --url {place} to have it name this one")
    return notes
