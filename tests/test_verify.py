"""`verify` finds what is wrong, and says it once for each file."""

import io
import json
import math
import random
import shutil

import effectpairs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus.publish import listed_files
from effectpairs.datasets.corpus.schema import shard_schema
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store import codec
from effectpairs.datasets.store.atomic_io import digest_of, json_bytes
from effectpairs.digests import digest_of_file
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus, square_with_shadow

SETTINGS = {"shard_bytes": 1, "validation_share": 0.0, "test_share": 0.0}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two shards, a clip in each."""
    folder = tmp_path_factory.mktemp("sound")
    fixtures_workspaces.fill_workspace(folder / "w", ["clip-a", "clip-b"])
    manifest = fixtures_workspaces.publish(folder / "w", folder / "corpus", **SETTINGS)
    return folder, *(file["path"] for file in manifest["files"])


@pytest.fixture
def folder(sound, tmp_path, monkeypatch):
    """A copy of it, and the names of its shards as FIRST and SECOND."""
    monkeypatch.setitem(globals(), "FIRST", sound[1])
    monkeypatch.setitem(globals(), "SECOND", sound[2])
    shutil.copytree(sound[0] / "corpus", tmp_path / "corpus")
    return tmp_path / "corpus"


def faults(folder) -> list[str]:
    return [str(fault) for fault in verify(effectpairs.open(folder))]


def forge(folder, name=None, **changes):
    """Rewrite a shard with other values, and sign it anew in corpus.json: only looking inside can tell."""
    name = name or FIRST
    row = pq.read_table(folder / name).to_pylist()[0]
    row |= {
        key: {"bytes": value, "path": "x.mkv"} if isinstance(value, bytes) else value for key, value in changes.items()
    }
    table = pa.Table.from_pylist([row], schema=shard_schema())
    pq.write_table(table, folder / name)
    sign(folder, name)


def sign(folder, name=None):
    path = folder / "corpus.json"
    manifest = json.loads(path.read_text())
    name = name or FIRST
    entry = next(file for file in manifest["files"] if file["path"] == name)
    entry |= {"sha256": digest_of_file(folder / name), "size_bytes": (folder / name).stat().st_size}
    del manifest["digest"]
    path.write_bytes(json_bytes({**manifest, "digest": digest_of(manifest)}))


def video(frames=5):
    return codec.encode(square_with_shadow(frames, fixtures_workspaces.SIZE)["gt"], fps=16.0)


def test_a_sound_corpus_has_no_fault(tmp_path):
    steps = []
    corpus = make_small_corpus(tmp_path, clips=3, frames=5, size=(16, 24))
    assert verify(corpus, step=steps.append) == []
    assert steps == [file["path"] for file in listed_files(corpus.manifest)]
    assert [path.split("-")[0] for path in steps[-2:]] == ["account", "words"]


def test_a_flipped_byte_anywhere_is_found(folder):
    """In the video, in the words, in the footer: every file of the corpus, at several places."""
    for path in [*folder.rglob("*.parquet")]:
        whole = path.read_bytes()
        for place in np.linspace(0, len(whole) - 1, 7).astype(int):
            broken = bytearray(whole)
            broken[place] ^= 0x10
            path.write_bytes(broken)
            name = path.relative_to(folder)
            assert faults(folder)[0].startswith(f"{name}: its bytes are not those that were published"), place
        path.write_bytes(whole)
    assert faults(folder) == []


def test_a_cut_file_is_found(folder):
    path = folder / FIRST
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    assert faults(folder) == [f"{FIRST}: has {size - 100} bytes instead of {size}; copy or publish it again"]


def test_a_missing_file_is_found(folder):
    (folder / FIRST).unlink()
    assert faults(folder) == [f"{FIRST}: is missing though corpus.json lists it; publish the corpus again"]


def test_a_stray_file_is_found(folder):
    stray = folder / "data/train/real-0123456789abcdef.parquet"
    stray.write_bytes((folder / FIRST).read_bytes())
    assert faults(folder) == [
        "data/train/real-0123456789abcdef.parquet: is not listed in corpus.json; delete it or publish again"
    ]
    stray.rename(folder / "data/train/mine.parquet")
    assert faults(folder) == ["data/train/mine.parquet: is not listed in corpus.json; delete it or publish again"]


def test_every_faulty_file_is_named_once(folder):
    for name in (FIRST, SECOND):
        (folder / name).write_bytes(b"nothing")
    found = faults(folder)
    assert [fault.split(":")[0] for fault in found] == [FIRST, SECOND]


def test_two_clips_with_the_same_id_are_found(folder):
    forge(folder, clip_id="clip-b")
    assert faults(folder) == [
        f"{FIRST}: clip clip-b: the same id stands again in {SECOND}",
        f"{SECOND}: clip clip-b: the same id stands again in {FIRST}",
    ]


def test_a_group_in_two_splits_is_found(folder):
    target = folder / "data/validation" / SECOND.split("/")[-1]
    target.parent.mkdir()
    (folder / SECOND).rename(target)
    path = folder / "corpus.json"
    name = str(target.relative_to(folder))
    path.write_text(path.read_text().replace(SECOND, name).replace('"split": "train"', '"split": "validation"', 1))
    manifest = json.loads(path.read_text())
    for file in manifest["files"]:
        file["split"] = file["path"].split("/")[1]
    path.write_bytes(json_bytes(manifest))
    forge(folder, name, split="validation", group="scene")
    forge(folder, FIRST, group="scene")
    assert faults(folder) == [
        f"{FIRST}: clip clip-a: its group scene is in the splits train and validation",
        f"{name}: clip clip-b: its group scene is in the splits train and validation",
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_frames": 13}, "gt is 5 colour frames of 16x24 instead of 13 colour frames of 16x24"),
        ({"num_frames": 6}, "has 6 frames, which is not 8k+5"),
        ({"height": 32}, "gt is 5 colour frames of 16x24 instead of 5 colour frames of 32x24"),
        ({"over": video(4)}, "over is 4 colour frames of 16x24 instead of 5 colour frames of 16x24"),
        ({"over": b"no video"}, "over does not decode after frame 0"),
        ({"over": None}, "has no over"),
        ({"alpha": None}, "has no alpha"),
        ({"gt": None}, "has no gt"),
        ({"kind": "unpaired"}, "is unpaired/train in a file of real/train"),
        ({"split": "test"}, "is real/test in a file of real/train"),
        (
            {"quality": fixtures_workspaces.accepted_quality() | {"verdict": "maybe"}},
            "verdict 'maybe' is not a known word",
        ),
        ({"fps": 0.0}, r"fps=0.0 is not in (0, 1000]"),
        ({"fps": math.nan}, "fps=nan is no finite number"),
        ({"fps": -math.inf}, "fps=-inf is no finite number"),
        ({"fps": 1e300}, r"fps=1e+300 is not in (0, 1000]"),
        ({"fps": None}, "has no fps"),
        ({"provenance": None}, "has no provenance"),
        ({"num_frames": 2**31 - 3}, "gt is 5 colour frames of 16x24 instead of 2147483645 colour frames"),
        ({"height": -16}, "its frames of -16x24 are none"),
        ({"width": 0}, "its frames of 16x0 are none"),
        (
            {"quality": fixtures_workspaces.accepted_quality() | {"effect_area": math.nan}},
            "quality.effect_area=nan is no finite number",
        ),
        (
            {"quality": fixtures_workspaces.accepted_quality() | {"otsu_iou": math.inf}},
            "quality.otsu_iou=inf is no finite number",
        ),
        ({"alpha": video()}, "alpha is 5 colour frames of 16x24 instead of 5 grey frames of 16x24"),
        ({"effect_mask": video()}, "effect_mask is 5 colour frames of 16x24 instead of 5 grey frames"),
        (
            {"effect_mask": codec.encode(np.full((5, 16, 24), 7, np.uint8), fps=16.0)},
            "effect_mask is not a hard mask of 0 and 255",
        ),
    ],
)
def test_a_signed_shard_is_looked_into(folder, changes, problem):
    forge(folder, **changes)
    (found,) = faults(folder)
    assert found.startswith(f"{FIRST}: clip clip-a: {problem}")


def test_an_id_that_leads_out_of_a_folder_is_found(folder):
    forge(folder, clip_id="../../X\x1b[2J")
    assert faults(folder)[0].startswith(f"{FIRST}: clip ../../X\\x1b[2J: its id is none: letters")


@pytest.mark.parametrize("text", ["[]", "{", "{" * 100_000, '{"a": NaN}', "[" * 70 + "]" * 70])
def test_texts_that_hold_json_are_looked_into(folder, text):
    provenance = pq.read_table(folder / FIRST).to_pylist()[0]["provenance"]
    forge(folder, provenance=provenance | {"settings": text})
    assert faults(folder)[0].startswith(f"{FIRST}: clip clip-a: provenance.settings ")


def test_any_flipped_bit_of_any_file_is_found(folder):
    """A hundred in each file, wherever they fall, by name of the file; one in corpus.json may already refuse it."""
    places = random.Random(7)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole, name = path.read_bytes(), path.relative_to(folder).as_posix()
        for _ in range(100 if path.suffix != ".parquet" else 25):
            broken = bytearray(whole)
            broken[places.randrange(len(whole))] ^= 1 << places.randrange(8)
            path.write_bytes(broken)
            try:
                problems = faults(folder)
            except ValueError as refusal:
                problems = [str(refusal)] if name == "corpus.json" else []
            assert any(name in problem for problem in problems), name
        path.write_bytes(whole)
    assert faults(folder) == []


def test_a_changed_data_card_is_found(folder):
    card = folder / "README.md"
    card.write_text(card.read_text() + "\n")
    assert faults(folder) == ["README.md: the data card was changed or damaged; publish the corpus again"]


def test_a_rendered_clip_needs_no_alpha_and_all_else(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"], kind="synthetic")
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", validation_share=0.0, test_share=0.0)
    rendered = effectpairs.open(tmp_path / "corpus").manifest["files"][0]["path"]
    forge(tmp_path / "corpus", rendered, alpha=None)
    assert faults(tmp_path / "corpus") == []
    forge(tmp_path / "corpus", rendered, alpha=None, background=None)
    assert faults(tmp_path / "corpus") == [f"{rendered}: clip clip-a: has no background"]


@pytest.mark.parametrize(
    ("truth", "problem"),
    [
        ({"dust": None}, "has no effect_truth/dust"),
        ({"dust": video()}, "effect_truth/dust is 5 colour frames of 16x24 instead of 5 grey frames of 16x24"),
        ({"": video()}, "effect_truth has the effects ['']; each needs a word of its own"),
    ],
)
def test_the_truth_of_each_effect_is_looked_into(folder, truth, problem):
    entries = [
        {"effect": effect, "strength": content and {"bytes": content, "path": "x.mkv"}}
        for effect, content in truth.items()
    ]
    forge(folder, effect_truth=entries)
    assert faults(folder) == [f"{FIRST}: clip clip-a: {problem}"]


def test_a_signed_video_that_is_cut_is_found(folder):
    whole = video()
    forge(folder, gt=whole[: len(whole) // 2])
    (found,) = faults(folder)
    assert found.startswith(f"{FIRST}: clip clip-a: gt ")


def test_other_columns_or_rows_are_found(folder):
    table = pq.read_table(folder / FIRST)
    pq.write_table(table.drop_columns(["caption"]), folder / FIRST)
    sign(folder)
    assert faults(folder) == [f"{FIRST}: its columns are not those of the row's schema"]
    pq.write_table(pa.concat_tables([table, table]), folder / FIRST)
    sign(folder)
    assert faults(folder)[0] == f"{FIRST}: has 2 rows instead of 1"
    (folder / FIRST).write_bytes(b"PAR1 no table PAR1")
    sign(folder)
    assert faults(folder)[0].startswith(f"{FIRST}: is no readable Parquet file")


def test_a_changed_corpus_json_is_found(folder):
    path = folder / "corpus.json"
    path.write_text(path.read_text().replace('"clips": 2', '"clips": 3', 1))
    assert faults(folder) == ["corpus.json: was changed by hand or damaged; publish the corpus again"]


def test_a_missing_data_card_is_found(folder):
    (folder / "README.md").unlink()
    assert faults(folder) == ["README.md: the data card is missing; publish the corpus again"]


def test_publishing_again_heals(folder, sound):
    (folder / FIRST).write_bytes(b"nothing")
    (folder / SECOND).unlink()
    (folder / "README.md").unlink()
    assert len(faults(folder)) == 3
    fixtures_workspaces.publish(sound[0] / "w", folder, **SETTINGS)
    assert faults(folder) == []


def test_the_account_is_checked_too(folder):
    account = next(folder.glob("account-*.parquet"))
    content = io.BytesIO()
    pq.write_table(pa.table({"name": ["x"]}), content)
    account.write_bytes(content.getvalue())
    assert len(faults(folder)) == 1
    assert faults(folder)[0].startswith(account.name)
