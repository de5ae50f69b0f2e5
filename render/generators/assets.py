"""Models and skies of users: folders of files, or manifests of archives as Kubric's asset sources have them.

A manifest is a JSON file by path or URI: {"assets": {ID: {"asset_type", "path", "kwargs", "metadata"}}, "data_dir"}.
Each asset is an archive ID.tar.gz (or the file in "path") in "data_dir", by default beside the manifest; it holds, flat
or in a folder ID, data.json and the files that "{asset_dir}/..." in kwargs mean. An asset is fetched when it is first
used, and only once.
"""

import hashlib
import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...digests import digest_of_file
from ..scene.scene import Scene
from .archives import AssetLimits, download, read_bytes, unpack

MODEL_TYPES: dict[str, tuple[bytes, ...]] = {
    ".blend": (b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"), ".glb": (b"glTF",),
    ".gltf": (b"{", b"\xef\xbb\xbf{", b"\n", b" ", b"\r", b"\t"), ".obj": (), ".ply": (b"ply",), ".stl": (),
    ".usd": (b"PXR-USDC", b"#usda"), ".usda": (b"#usda",), ".usdc": (b"PXR-USDC",), ".usdz": (b"PK",),
}  # fmt: skip
"""Types that Blender imports, and the first bytes of such a file; empty if any bytes may come first."""
SKY_TYPES: dict[str, tuple[bytes, ...]] = {".exr": (b"\x76\x2f\x31\x01",), ".hdr": (b"#?",)}
TEXTURE_TYPES = {".bin", ".bmp", ".dds", ".jpeg", ".jpg", ".ktx2", ".mtl", ".png", ".tga", ".tif", ".tiff", ".webp"}
MAX_MANIFEST_BYTES = 64 << 20
Kind = Literal["model", "sky"]
TYPES: dict[Kind, dict[str, tuple[bytes, ...]]] = {"model": MODEL_TYPES, "sky": SKY_TYPES}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One model or sky, here or elsewhere."""

    name: str
    kind: Kind
    uri: str
    """The file itself, or the archive that holds it."""
    is_archive: bool = False
    file: str | None = None
    """File inside the archive; None if only the archive's own data.json names it."""
    category: str | None = None
    """Category in its manifest, as "Shoe"."""


def list_files(folder: Path, kind: Kind) -> tuple[Asset, ...]:
    """List the models or panoramas in a folder and the folders below it, by path.

    Raises:
        ValueError: there is no such folder, or no such file in it.
    """
    types = TYPES[kind]
    if not folder.is_dir():
        raise ValueError(f"{folder}: is no folder of {kind} files; give one, or leave the setting out")
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in types and path.is_file()]
    if not files:
        raise ValueError(f"{folder}: holds no {kind} file; put some there ({', '.join(sorted(types))})")
    visible = [path for path in files if not path.name.startswith(".")]
    # A scene tells a sky's file from one of Blender's own by its slash.
    return tuple(Asset(name=path.stem, kind=kind, uri=posixpath.join(path.parent, path.name)) for path in visible)


def read_manifest(uri: str) -> tuple[Asset, ...]:
    """List the assets of a manifest, by name; none of them is fetched.

    Raises:
        ValueError: the manifest is missing, denied, no JSON, or describes no assets.
    """
    try:
        manifest = json.loads(read_bytes(uri, MAX_MANIFEST_BYTES))
        entries = manifest["assets"]
        folder = str(manifest.get("data_dir", posixpath.dirname(uri) or "."))
        assets = []
        for name, entry in sorted(entries.items()):
            path, kwargs = entry.get("path", ""), entry.get("kwargs", {})
            if path is None:
                continue  # made by code, not out of a file
            file = kwargs.get("render_filename") or kwargs.get("filename")
            asset = Asset(
                name=name,
                kind="sky" if entry.get("asset_type") == "Texture" else "model",
                uri=posixpath.join(folder, path or f"{name}.tar.gz"),
                is_archive=Path(path or ".tar.gz").suffix.lower() not in {*MODEL_TYPES, *SKY_TYPES},
                file=file.removeprefix("{asset_dir}/") if file else None,
                category=entry.get("metadata", {}).get("category") or None,
            )
            assets.append(asset)
    except (UnicodeDecodeError, json.JSONDecodeError) as wrong:
        raise ValueError(f"{uri}: is no JSON ({wrong}); give the manifest of an asset source") from wrong
    except (AttributeError, KeyError, TypeError) as wrong:
        raise ValueError(f'{uri}: is no manifest; it must be {{"assets": {{ID: {{"kwargs": ...}}}}}}') from wrong
    if not entries:
        raise ValueError(f"{uri}: the manifest lists no assets; give another, or leave the setting out")
    return tuple(assets)


def fetch_asset(asset: Asset, cache: Path, limits: AssetLimits = AssetLimits()) -> Path:
    """Return the asset's file on this machine, checked; a remote one is fetched into the cache, once.

    Raises:
        ValueError: it is missing, denied, broken, too large, of an unknown type, or an archive not to be trusted.
    """
    if not asset.is_archive and "://" not in asset.uri:
        return check_asset(Path(asset.uri), asset.kind, limits)
    state = ""
    if "://" not in asset.uri and Path(asset.uri).exists():  # a local archive is known by its size and time too
        status = Path(asset.uri).stat()
        state = f" {status.st_size} {status.st_mtime_ns}"
    key = hashlib.sha256(f"{asset.uri}{state}".encode()).hexdigest()[:16]
    if not asset.is_archive:
        file = cache / f"{key}{Path(asset.uri).suffix.lower()}"
        if not file.exists():
            download(asset.uri, file, limits.file_bytes)
        return check_asset(file, asset.kind, limits)
    folder = cache / key
    if not folder.is_dir():
        archive = cache / f"{key}.tar.gz"
        download(asset.uri, archive, limits.file_bytes)
        try:
            unpack(archive, folder, limits)
        except ValueError as wrong:
            raise ValueError(str(wrong).replace(str(archive), asset.uri)) from wrong
        finally:
            archive.unlink(missing_ok=True)
    return check_asset(_asset_file(asset, folder), asset.kind, limits)


def _asset_file(asset: Asset, folder: Path) -> Path:
    """Path of the asset's file in its unpacked archive."""
    home = folder / asset.name
    if not (home.resolve().is_relative_to(folder.resolve()) and home.is_dir()):
        home = folder
    name = asset.file or _name_in_data_json(home / "data.json")
    if not name:
        files = [file for file in sorted(home.rglob("*")) if file.suffix.lower() in TYPES[asset.kind]]
        if len(files) != 1:
            raise ValueError(
                f"{asset.uri}: holds {len(files)} {asset.kind} files and no data.json that names one; name it there or "
                "in the manifest"
            )
        name = str(files[0].relative_to(home))
    file = home / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{asset.uri}: its file {name!r} leads out of the archive's folder; name a file inside")
    return file


def _name_in_data_json(path: Path) -> str | None:
    """Name of the file that data.json gives for rendering."""
    try:
        data = json.loads(path.read_bytes())
        named = data.get("kwargs", {}).get("render_filename") or data.get("paths", {}).get("visual_geometry")
    except (OSError, ValueError, AttributeError):
        return None
    named = named[0] if isinstance(named, list) and named else named
    return named.removeprefix("{asset_dir}/") if isinstance(named, str) else None


def check_asset(file: Path, kind: Kind, limits: AssetLimits = AssetLimits()) -> Path:
    """Return a model's or sky's file if Blender can be expected to read it.

    Raises:
        ValueError: it is missing, empty, too large, of an unknown type, or not what its name says.
    """
    types = TYPES[kind]
    begins = types.get(file.suffix.lower())
    if begins is None:
        raise ValueError(f"{file}: {file.suffix or 'no suffix'} is no type of {kind}; give {', '.join(sorted(types))}")
    try:
        with file.open("rb") as content:
            first = content.read(16)
            size_bytes = file.stat().st_size
    except OSError as problem:
        raise ValueError(f"{file}: cannot be read ({problem.strerror}); check the path of the {kind}") from problem
    if not first:
        raise ValueError(f"{file}: is empty; copy or export it again")
    if size_bytes > limits.file_bytes:
        raise ValueError(f"{file}: has {size_bytes} bytes, above the limit of {limits.file_bytes}; give a smaller one")
    if begins and not first.startswith(begins):
        raise ValueError(f"{file}: is no {file.suffix} file, whatever its name says; copy or export it again")
    return file


def scene_files(scene: Scene) -> list[tuple[str, Kind, Path]]:
    """List the files that a scene names: role, kind and path."""
    files: list[tuple[str, Kind, Path]] = [
        (f"{body.name} ({body.asset})", "model", Path(body.asset).expanduser())
        for body in (scene.subject, *scene.props)
        if body.asset
    ]
    if scene.sky.hdri and "/" in scene.sky.hdri:
        files.append((f"sky ({scene.sky.hdri})", "sky", Path(scene.sky.hdri).expanduser()))
    return files


def check_files(scene: Scene) -> None:
    """Check every file that a scene names, before Blender reads it, as `check_asset` does."""
    for _, kind, path in scene_files(scene):
        check_asset(path, kind)


def asset_digest(file: Path) -> str:
    """SHA-256 over an asset's content: its file, and the textures and buffers that could belong to it.

    Those of .obj, .gltf, .usd and .blend files lie in the same folder or one below, under names that only the importer
    knows; other files there, models and skies too, do not count.
    """
    alone = file.suffix.lower() in {".glb", ".ply", ".stl", ".usdz", *SKY_TYPES}
    beside = () if alone else (*file.parent.glob("*"), *file.parent.glob("*/*"))
    content = hashlib.sha256()
    for part in (file, *sorted(path for path in beside if path.suffix.lower() in TEXTURE_TYPES and path.is_file())):
        content.update(f"{part.relative_to(file.parent)}\0{digest_of_file(part)}".encode())
    return content.hexdigest()
