"""The corpus in Croissant 1.1 with the responsible-AI vocabulary 1.0, by `corpus.json` alone.

Property names are those of the specifications (mlcommons/croissant, docs/croissant-spec-1.1.md and
docs/croissant-rai-spec.md). mlcroissant 1.1 reads two of them under other names and passes over ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ...licences import UNKNOWN, Licence
from .schema import LAYERS, ROW

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
_CR_TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _CR_TERMS},
}
SHARDS = "shards"
WORDS = "words"
KIND_TEXTS = {
    "real": "footage of cameras, as its sources publish it",
    "synthetic": "rendered scenes, whose layers and masks are known exactly",
    "unpaired": "videos made from captions, by a renderer or a text-to-video model, with no second video",
}
_LAYER_TEXTS = {
    "gt": "The video with its effects.",
    "over": "The same video without its effects: the subject over the clean background.",
    "background": "The clean background: neither subject nor effects.",
    "foreground": "The subject with its attached effects, in straight colour.",
    "alpha": "The matte of the foreground.",
    "subject_mask": "The subject alone, without its effects.",
    "effect_mask": "Where the effect is, 0 or 255 in each frame.",
}
_PLAIN_TEXTS = {
    "clip_id": "Stable name of the clip.",
    "kind": "real, synthetic or unpaired.",
    "source": "Name of the source.",
    "group": "Clips of one original video or scene share it; no group is in two splits.",
    "effects": "Words for the effects.",
    "caption": "One concise description of scene and effect.",
    "num_frames": "Frames of every layer.",
    "height": "Pixels.",
    "width": "Pixels.",
    "fps": "Frames per second.",
}

_RESPONSIBILITY = {
    "rai:dataCollectionRawData": "Each clip's provenance names its origin, licence and the SHA-256 of its inputs.",
    "rai:dataPreprocessingProtocol": [
        "Videos are split at shot cuts, resampled in time, scaled and cropped to one size, and cut to whole clips.",
    ],
    "rai:dataManipulationProtocol": (
        "The subject is masked, the clip is taken apart into layers, the subject is put over the clean background, and "
        "the effect is the difference; all settings are in corpus.json and in each clip's provenance."
    ),
    "rai:dataAnnotationProtocol": [
        "Captions and effects are written by the programs that machineAnnotationTools names, or by people; verdicts "
        "follow thresholds on measured quality numbers.",
    ],
    "rai:dataUseCases": [
        "Training and evaluating models that add or remove environmental effects in video, and that mask them.",
    ],
    "rai:dataSocialImpact": (
        "Models trained on it can change what a video shows. Their results should be labelled as altered."
    ),
    "rai:dataReleaseMaintenancePlan": (
        "A corpus is published anew as a whole, under a new version; clips that must go are purged, and it is "
        "published again."
    ),
}
"""Responsible-AI properties that are the same for every corpus."""


def croissant(manifest: Mapping[str, Any], licences: Sequence[Licence]) -> dict[str, Any]:
    """Describe a corpus for machines.

    Args:
        manifest: its `corpus.json`.
        licences: those of its clips.
    """
    publishing = manifest["settings"]["publishing"]
    url, creator, day = (publishing.get(name, "") for name in ("url", "creator", "date_published"))
    counts = manifest["counts"]
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": manifest["name"],
        "description": (
            f"Paired effect clips: {counts['clips']} videos with an environmental effect, the same videos without it, "
            "and the mask of where the effect is, with captions, layers and quality numbers."
        ),
        "license": [_licence_value(licence) for licence in licences],
        "url": url or f"urn:effectpairs:corpus:{manifest['version']}",
        "creator": {"@type": "sc:Organization", "name": creator or f"The publishers of {manifest['name']}"},
        "version": f"1.0.0+{manifest['version']}",
        "citeAs": f"@misc{{corpus, title = {{{manifest['name']}}}, note = {{version {manifest['version']}}}}}",
        "keywords": ["video", "visual effects", "compositing", "paired data", "effectpairs", *counts["by_effect"]],
        "inLanguage": "en",
        "sdLicense": "https://spdx.org/licenses/CC0-1.0.html",
        "isLiveDataset": False,
        "distribution": _distribution(manifest, url),
        "recordSet": _record_sets(manifest),
        **_RESPONSIBILITY,
        **_responsibility(manifest),
    }
    return document | ({"datePublished": day} if day else {})


def _licence_value(licence: Licence) -> Any:
    if licence.url:
        return licence.url
    is_text = licence.expression == UNKNOWN or licence.expression.startswith("LicenseRef-")
    return {"@type": "sc:CreativeWork", "name": licence.name} if is_text else licence.expression


def _distribution(manifest: Mapping[str, Any], url: str) -> list[dict[str, Any]]:
    """Every file with its digest, and the shards as one set, which is what the records are read from."""
    files = [*manifest["files"], manifest["words"], manifest["account"]["clips"]]
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": WORDS if file is manifest["words"] else file["path"],
            "name": file["path"],
            "contentUrl": f"{url.rstrip('/')}/resolve/main/{file['path']}" if _is_hub(url) else file["path"],
            "contentSize": f"{file['size_bytes']} B",
            "encodingFormat": "application/x-parquet",
            "sha256": file["sha256"],
        }
        for file in files
    ]
    shards = {
        "@type": "cr:FileSet",
        "@id": SHARDS,
        "name": SHARDS,
        "description": "Parquet files of whole clips, each clip a row group of its own.",
        "encodingFormat": "application/x-parquet",
        "includes": "data/*/*.parquet",
    }
    return [*objects, shards]


def _is_hub(url: str) -> bool:
    return url.startswith("https://huggingface.co/datasets/")


def _record_sets(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    splits = {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": split} for split in manifest["counts"]["by_split"]],
    }
    names = "|".join(manifest["counts"]["by_split"])
    split = {
        "@type": "cr:Field",
        "@id": "clips/split",
        "name": "split",
        "description": "Split, by the folder of the file.",
        "dataType": "sc:Text",
        "references": {"field": {"@id": "splits/name"}},
        "source": {
            "fileSet": {"@id": SHARDS},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"(?:data/)?({names})(?:/.+\\.parquet)?$"},
        },
    }
    clips = {
        "@type": "cr:RecordSet",
        "@id": "clips",
        "name": "clips",
        "description": "One record a clip, with its videos.",
        "key": {"@id": "clips/clip_id"},
        "field": [
            *(_field("clips", name, {"fileSet": {"@id": SHARDS}}) for name in (*_PLAIN_TEXTS, *LAYERS)),
            split,
        ],
    }
    words = {
        "@type": "cr:RecordSet",
        "@id": "captions",
        "name": "captions",
        "description": "The same clips without their videos: words and numbers in one small file.",
        "key": {"@id": "captions/clip_id"},
        "field": [_field("captions", name, {"fileObject": {"@id": WORDS}}) for name in (*_PLAIN_TEXTS, "split")],
    }
    return [splits, clips, words]


def _field(record_set: str, name: str, source: Mapping[str, Any]) -> dict[str, Any]:
    kind = ROW.field(name).type
    is_list = pa.types.is_list(kind)
    leaf = kind.value_type if is_list else kind
    types = {pa.int32(): "sc:Integer", pa.float64(): "sc:Float", pa.string(): "sc:Text"}
    field = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": _PLAIN_TEXTS.get(name) or _LAYER_TEXTS.get(name) or "Split of the clip.",
        "dataType": types.get(leaf, "sc:VideoObject"),
        "source": {**source, "extract": {"column": name}},
    }
    return field | ({"isArray": True, "arrayShape": "-1"} if is_list else {})


def _responsibility(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Responsible-AI properties and provenance that depend on the corpus."""
    counts, left_out = manifest["counts"], manifest.get("left_out", {})
    refused, copies = sum(left_out.get("by_licence", {}).values()), len(left_out.get("duplicates", ()))
    kinds = [f"{kind}: {n} clips, {KIND_TEXTS.get(kind, 'of another kind')}" for kind, n in counts["by_kind"].items()]
    is_real, is_made = "real" in counts["by_kind"], bool(set(counts["by_kind"]) - {"real"})
    types = ["Secondary Data Analysis"] * is_real + ["Software Collection"] * is_made
    people = (
        "Real footage may show people as its sources published it; nobody is identified, and no data of persons is "
        "added. Rendered clips show no real person."
    )
    return {
        "rai:dataCollection": "; ".join(kinds),
        "rai:dataCollectionType": types,
        "rai:machineAnnotationTools": [manifest["software"], *(counts.get("by_captioner") or {})],
        "rai:dataLimitations": [
            "Layers of real clips are estimated, so over and effect_mask have errors; each clip's quality numbers and "
            "verdict tell how large they are.",
            f"Storage is {manifest['settings']['publishing']['storage']}; compact storage adds coding noise to colour.",
            f"{copies} near-duplicates and {refused} clips whose licence was not allowed were left out.",
        ],
        "rai:dataBiases": [
            f"Effects are not evenly spread: {_shares(counts['by_effect'], counts['clips']) or 'none is tagged'}.",
            f"Kinds are not evenly spread: {_shares(counts['by_kind'], counts['clips'])}.",
        ],
        "rai:personalSensitiveInformation": [people if is_real else "None: no clip shows a real person."],
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "prov:label": f"{entry['origin']} ({entry['licence']}), {entry['clips']} clips"}
            for entry in manifest.get("origins", ())
        ],
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": manifest["software"]},
    }


def _shares(counter: Mapping[str, int], clips: int) -> str:
    return ", ".join(f"{word} {count / max(clips, 1):.0%}" for word, count in counter.items())
