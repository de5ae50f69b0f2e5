import gzip
import io
import json
import os
import tarfile
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from effectpairs.render.generators import archives
from effectpairs.render.generators.archives import AssetLimits, download, unpack
from effectpairs.render.generators.assets import (
    Asset,
    asset_digest,
    check_asset,
    fetch_asset,
    list_files,
    read_manifest,
)

OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
DATA = json.dumps({"paths": {"visual_geometry": ["visual.obj"]}}).encode()


def pack(path, files, *, kind="w:gz"):
    """An archive of files (bytes), or of ready-made members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, kind) as tar:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            if isinstance(content, bytes):
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content if isinstance(content, bytes) else b""))
    return path


def special(kind, linkname=""):
    member = tarfile.TarInfo("x")
    member.type, member.linkname = kind, linkname
    return member


def manifest(folder, entries=None, **more):
    entries = (
        {"shoe": {"asset_type": "FileBasedObject", "metadata": {"category": "Shoe"}}} if entries is None else entries
    )
    path = folder / "Kind.json"
    path.write_text(json.dumps({"name": "Kind", "assets": entries, **more}))
    return path


@pytest.fixture
def server():
    """A server on this machine: /closed answers 403, /broken 500, all else what `files` holds, /torn half of it."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            codes = {"/closed": 403, "/kubric-public": 403, "/broken": 500}
            code = next((code for start, code in codes.items() if self.path.startswith(start)), None)
            content = files.get(self.path, b"")
            self.send_response(code or (200 if self.path in files else 404))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if "torn" in self.path else content)

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    served.address, served.files, served.asked = f"http://127.0.0.1:{served.server_port}", files, asked
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


# ---------------------------------------------------------------- folders


def test_models_and_skies_in_folders(tmp_path):
    for name in ("b.glb", "sub/a.OBJ", "c.blend", "notes.txt", ".hidden.obj", "sky.exr", "dusk.hdr"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [asset.name for asset in list_files(tmp_path, "model")] == ["b", "c", "a"]
    assert [asset.name for asset in list_files(tmp_path, "sky")] == ["dusk", "sky"]


@pytest.mark.parametrize("kind", ["model", "sky"])
def test_no_folder_and_nothing_in_it(tmp_path, kind):
    with pytest.raises(ValueError, match=f"gone: is no folder of {kind} files; give one"):
        list_files(tmp_path / "gone", kind)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=rf"holds no {kind} file; put some there \(\."):
        list_files(tmp_path, kind)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.fbx", b"x", r"\.fbx is no type of model; give \.blend, \.glb"),
        ("a", b"x", "no suffix is no type of model"),
        ("a.glb", b"", "is empty; copy or export it again"),
        ("a.glb", b"<html>", r"is no \.glb file, whatever its name says"),
        ("a.obj", OBJ * 40, r"has 1280 bytes, above the limit of 1000; give a smaller one"),
        ("gone/a.obj", None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_drawn(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        fetch_asset(
            Asset(name="a", kind="model", uri=str(tmp_path / name)), tmp_path / "cache", AssetLimits(file_bytes=1000)
        )


def test_what_is_here_is_not_copied(tmp_path):
    (tmp_path / "a.obj").write_bytes(OBJ)
    assert fetch_asset(list_files(tmp_path, "model")[0], tmp_path / "cache") == tmp_path / "a.obj"
    assert not (tmp_path / "cache").exists()


def test_the_digest_is_of_the_content(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.obj").write_bytes(OBJ)
        (tmp_path / name / "a.png").write_bytes(b"red")
    one, two = tmp_path / "one/a.obj", tmp_path / "two/a.obj"
    assert asset_digest(one) == asset_digest(two)
    (tmp_path / "two/b.obj").write_bytes(b"another model")
    assert asset_digest(one) == asset_digest(two)
    (tmp_path / "two/a.png").write_bytes(b"blue")
    assert asset_digest(one) != asset_digest(two), "its texture changed"


# ---------------------------------------------------------------- manifests


def test_an_asset_out_of_a_manifest(tmp_path):
    pack(tmp_path / "shoe.tar.gz", {"data.json": DATA, "visual.obj": OBJ})
    (shoe,) = read_manifest(str(manifest(tmp_path)))
    assert (shoe.name, shoe.kind, shoe.category, shoe.is_archive) == ("shoe", "model", "Shoe", True)
    file = fetch_asset(shoe, tmp_path / "cache")
    assert file.read_bytes() == OBJ
    before = file.stat().st_mtime_ns
    assert fetch_asset(shoe, tmp_path / "cache") == file
    assert file.stat().st_mtime_ns == before, "unpacked once"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [file.parent.name], "nothing is left lying about"
    pack(tmp_path / "shoe.tar.gz", {"data.json": DATA, "visual.obj": OBJ * 2})
    assert fetch_asset(shoe, tmp_path / "cache").read_bytes() == OBJ * 2, "a changed archive is another asset"


def test_folders_names_and_skies_as_kubric_has_them(tmp_path):
    pack(tmp_path / "data/shoe.tar.gz", {"shoe/data.json": b"{}", "shoe/a.obj": OBJ, "shoe/b.obj": OBJ * 2})
    pack(tmp_path / "data/dusk.tar.gz", {"dusk.hdr": b"#?RADIANCE"})
    (tmp_path / "data/plain.hdr").write_bytes(b"#?RADIANCE")
    entries = {
        "shoe": {"asset_type": "FileBasedObject", "kwargs": {"render_filename": "{asset_dir}/b.obj"}},
        "dusk": {"asset_type": "Texture", "kwargs": {"filename": "{asset_dir}/dusk.hdr"}},
        "made": {"asset_type": "FileBasedObject", "path": None},
        "plain": {"asset_type": "Texture", "path": "plain.hdr"},
    }
    dusk, plain, shoe = read_manifest(str(manifest(tmp_path, entries, data_dir=str(tmp_path / "data"))))
    assert fetch_asset(shoe, tmp_path / "cache").read_bytes() == OBJ * 2
    assert (dusk.kind, fetch_asset(dusk, tmp_path / "cache").name) == ("sky", "dusk.hdr")
    assert fetch_asset(plain, tmp_path / "cache") == tmp_path / "data/plain.hdr"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON"),
        ("\xff\xfe", "is no JSON"),
        ("[]", "is no manifest"),
        ('{"assets": [1]}', "is no manifest"),
        ('{"assets": {"a": 1}}', "is no manifest"),
        ('{"assets": {}}', "lists no assets"),
    ],
)
def test_manifests_that_are_none(tmp_path, text, sentence):
    (tmp_path / "m.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"m.json: .*{sentence}"):
        read_manifest(str(tmp_path / "m.json"))


def test_a_missing_manifest(tmp_path):
    with pytest.raises(ValueError, match=r"m\.json: is not there; check the address, or render without it"):
        read_manifest(str(tmp_path / "m.json"))
    with pytest.raises(ValueError, match="cannot be opened"):
        read_manifest("nowhere://m.json")


@pytest.mark.parametrize(
    ("files", "asset_file", "sentence"),
    [
        ({"data.json": b"{}", "a.obj": OBJ, "b.obj": OBJ}, None, "holds 2 model files and no data.json that names one"),
        ({"data.json": b"{}"}, None, "holds 0 model files"),
        ({"data.json": DATA}, None, "visual.obj: cannot be read"),
        ({"data.json": DATA}, "../../etc/passwd", "leads out of the archive's folder; name a file inside"),
    ],
)
def test_archives_without_their_model(tmp_path, files, asset_file, sentence):
    archive = pack(tmp_path / "shoe.tar.gz", files)
    asset = Asset(name="shoe", kind="model", uri=str(archive), is_archive=True, file=asset_file)
    with pytest.raises(ValueError, match=sentence):
        fetch_asset(asset, tmp_path / "cache")


# ---------------------------------------------------------------- archives that mean harm


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"../out.obj": OBJ}, r"'\.\./out\.obj' leads out of the archive's folder"),
        ({"a/../../out.obj": OBJ}, "leads out of the archive's folder"),
        ({"/tmp/out.obj": OBJ}, "leads out of the archive's folder"),
        ({"a\\..\\out.obj": OBJ}, "leads out of the archive's folder"),
        ({"a": special(tarfile.SYMTYPE, "/etc"), "a/out.obj": OBJ}, "'a' is a link to '/etc'; pack the file itself"),
        ({"a": special(tarfile.LNKTYPE, "../b")}, r"is a link to '\.\./b'"),
        ({"a": special(tarfile.FIFOTYPE)}, "neither file nor folder"),
        ({"a": special(tarfile.CHRTYPE)}, "neither file nor folder"),
        ({f"{n}.txt": b"x" for n in range(6)}, "holds more than 5 files"),
        ({"big.obj": b"0" * 5000}, "unpacks to more than the limit of 4000 bytes"),
        ({"x" * 9_000_000: b"0"}, "holds a header of more than 1 MiB"),
    ],
)
def test_nothing_of_a_hostile_archive_is_written(tmp_path, files, sentence):
    archive = pack(tmp_path / "in/evil.tar.gz", {"fine.obj": OBJ, **files})
    asset = Asset(name="evil", kind="model", uri=str(archive), is_archive=True)
    with pytest.raises(ValueError, match=f"evil.tar.gz: .*{sentence}"):
        fetch_asset(asset, tmp_path / "cache", AssetLimits(unpacked_bytes=4000, files=5))
    assert not list((tmp_path / "cache").rglob("*"))
    assert {path.name for path in tmp_path.iterdir()} == {"in", "cache"}


def test_a_bomb_of_many_small_files_stops_early(tmp_path):
    archive = pack(tmp_path / "bomb.tar.gz", {f"{n}.bin": bytes(3000) for n in range(200)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(ValueError, match="unpacks to more than the limit of 10000 bytes"):
        unpack(archive, tmp_path / "out", AssetLimits(unpacked_bytes=10_000, files=1000))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_bomb_of_one_header_is_never_held(tmp_path, kind):
    """64 MiB of a name, in a file of 65 kB; the limits of the content would let 4 GiB of it pass."""
    header = tarfile.TarInfo("name")
    header.type, header.size = kind, 64 << 20
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as archive:
        archive.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(header.size))
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=r"bomb\.tar\.gz: holds a header of more than 1 MiB, which no file needs; do not"
    ):
        unpack(tmp_path / "bomb.tar.gz", tmp_path / "out", AssetLimits())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 << 20
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [0, 10, 60, -8])
def test_broken_archives(tmp_path, cut):
    whole = pack(tmp_path / "a.tar.gz", {"a.obj": os.urandom(5000)}).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"a\.tar\.gz: is no whole \.tar\.gz archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", AssetLimits())


@pytest.mark.parametrize("content", [b"<html>denied</html>", gzip.compress(b"no tar at all" * 100, mtime=0)])
def test_no_archive_at_all(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"is no whole \.tar\.gz archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", AssetLimits())


def test_a_file_that_another_process_unpacked_meanwhile_is_taken(tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.tar.gz", {"a.obj": OBJ})
    inner = archives._unpack_into

    def slow(*given):
        inner(*given)
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.obj").write_bytes(OBJ)

    monkeypatch.setattr(archives, "_unpack_into", slow)
    unpack(archive, tmp_path / "out", AssetLimits())
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


# ---------------------------------------------------------------- from elsewhere


def test_over_the_network_once(tmp_path, server):
    entries = {"shoe": {"asset_type": "FileBasedObject"}}
    server.files["/k/Kind.json"] = json.dumps({"assets": entries}).encode()
    server.files["/k/shoe.tar.gz"] = pack(tmp_path / "x.tar.gz", {"data.json": DATA, "visual.obj": OBJ}).read_bytes()
    (shoe,) = read_manifest(f"{server.address}/k/Kind.json")
    assert server.asked == ["/k/Kind.json"], "nothing is fetched before it is asked for"
    assert fetch_asset(shoe, tmp_path / "cache").read_bytes() == OBJ
    fetch_asset(shoe, tmp_path / "cache")
    assert server.asked == ["/k/Kind.json", "/k/shoe.tar.gz"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/closed/m.json", r"access is denied \(403\); log in, or render without it \(shapes and skies that come with"),
        ("/kubric-public/m.json", "the bucket kubric-public has refused everyone without a login since February 2026"),
        ("/gone.json", "is not there; check the address"),
        ("/broken.json", "the server answers 500; try again later"),
    ],
)
def test_doors_that_stay_shut(server, path, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_manifest(server.address + path)


def test_a_public_bucket_needs_no_package(server, monkeypatch):
    monkeypatch.setattr(archives, "BUCKET", f"{server.address}/")
    with pytest.raises(ValueError, match=r"gs://kubric-public/assets/GSO/GSO.json: access is denied .* February 2026"):
        read_manifest("gs://kubric-public/assets/GSO/GSO.json")
    server.files["/open/m.json"] = b'{"assets": {"a": {}}}'
    (asset,) = read_manifest("gs://open/m.json")
    assert asset.uri == "gs://open/a.tar.gz"


def test_no_server_at_all():
    with pytest.raises(ValueError, match=r"cannot be opened .*check the address"):
        read_manifest("http://127.0.0.1:9/m.json")


def test_a_download_that_is_too_large_leaves_nothing(tmp_path, server):
    server.files["/a.obj"] = OBJ * 100
    with pytest.raises(ValueError, match=r"a\.obj: is larger than the limit of 1000 bytes"):
        download(f"{server.address}/a.obj", tmp_path / "a.obj", 1000)
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, server):
    server.files["/torn.obj"] = OBJ * 100
    with pytest.raises(ValueError, match=r"torn\.obj: broke off after 1600 bytes \(1600 bytes are miss"):
        download(f"{server.address}/torn.obj", tmp_path / "a.obj", 10_000)
    assert not list(tmp_path.iterdir())


def test_kinds_are_checked_apart(tmp_path):
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01")
    assert check_asset(tmp_path / "a.exr", "sky") == tmp_path / "a.exr"
    with pytest.raises(ValueError, match=r"\.exr is no type of model"):
        check_asset(tmp_path / "a.exr", "model")
