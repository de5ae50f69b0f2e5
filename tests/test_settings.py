"""The one path of settings: what no test of a kind of settings file says already (`test_source`, `test_scene`, ...)."""

import importlib
from dataclasses import dataclass
from typing import Annotated

import pytest
from effectpairs.settings import (
    RENAMED,
    STRICT,
    ErrorWording,
    InRange,
    check_ranges,
    first_names,
    read_settings,
    settings_from,
)


@dataclass(frozen=True, kw_only=True)
class Lens:
    __pydantic_config__ = STRICT
    focal_mm: Annotated[float, InRange(1, 2000)] = 35.0
    tint: Annotated[tuple[float, ...], InRange(0, 1)] = (1.0, 1.0)
    close_mm: Annotated[float | None, InRange(1, 100)] = None

    __post_init__ = check_ranges


@dataclass(frozen=True, kw_only=True)
class Rig:
    lens: Lens = Lens(focal_mm=50.0)
    spares: tuple[Lens, ...] = ()
    max_attempts: int = 3


def test_values_of_json_and_overrides_give_the_same():
    assert settings_from(Rig, {"lens": {"tint": [0, 1]}}) == settings_from(Rig, ["lens.tint=[0, 1]"])
    assert settings_from(Rig, {"lens": {"tint": [0, 1]}}).lens.focal_mm == 50.0, "the field's default fills the table"
    assert settings_from(Rig, {"lens": Lens()}).lens == Lens(), "a flow's parameters may be settings already"
    assert settings_from(Rig) == Rig()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lens": {"focal_mm": 0}}, r"^lens\.focal_mm=0 is not in \[1, 2000\]; give a value between them$"),
        ({"lens": {"tint": [2]}}, r"^lens\.tint holds 2, not in \[0, 1\]; give values between them$"),
        ({"lens": {"focal_mm": "wide"}}, r"^lens\.focal_mm='wide' does not do: input should be a valid number"),
        ({"tries": 3}, r"^tries is now max_attempts$"),
        ({"spares": [{"focal": 3}]}, r"^'focal' is not a setting of \[spares\.0\]; did you mean 'focal_mm'\?$"),
        ({"spares": 3}, r"^spares=3 does not do: input should be a valid tuple$"),
    ],
)
def test_errors(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings_from(Rig, values)


def test_ranges_are_checked_however_a_value_is_made():
    with pytest.raises(ValueError, match=r"^lens\.focal_mm=nan is not in"):
        Lens(focal_mm=float("nan"))
    with pytest.raises(ValueError, match=r"^lens\.close_mm=0 is not in"):
        Lens(close_mm=0)


def test_a_file_is_named_and_wording_is_the_callers(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text("[lens]\nfocal_m = 1\n")
    wording = ErrorWording(owner="rig", unknown_key="{path} = {value!r} is no key", no_suggestion="; see the manual")
    with pytest.raises(ValueError, match=r"^rig\.toml: lens\.focal_m = 1 is no key; did you mean 'focal_mm'\?$"):
        read_settings(Rig, path, wording=wording)
    with pytest.raises(ValueError, match=r"^rig\.toml: max = 1 is no key; see the manual$"):
        read_settings(Rig, path, ["lens={}", "max=1"], wording=wording)
    with pytest.raises(ValueError, match=r"gone\.toml: cannot be read"):
        read_settings(Rig, tmp_path / "gone.toml")


def test_first_names_undo_every_renaming_where_it_happened():
    assert first_names({"effect_mask": {"threshold_min": 2.0}, "size": [1, 2]}) == {
        "prune": {"floor": 2.0},
        "size": [1, 2],
    }
    assert first_names({"threshold": 1}) == {"threshold": 1}, "renamed in the table truth alone"
    assert first_names({"truth": {"threshold": 1}}) == {"truth": {"level": 1}}
    assert first_names({"split_shots": True}, "normalise") == {"split_cuts": True}
    assert first_names({"passes": [{"mask_samples": 1}]}) == {"passes": [{"truth_samples": 1}]}


def test_every_present_name_is_a_setting_and_no_first_name_is():
    """The table of renamed settings is true of the classes that are read."""
    pytest.importorskip("torch")
    from effectpairs.settings import all_keys

    classes = {
        "flows.footage.source": "RealSource",
        "flows.scenes.source": "SceneSource",
        "flows.prompts.source": "UnpairedSource",
        "training.configs.config": "TrainingConfig",
    }
    known: set[str] = set()
    for module, name in classes.items():
        known |= set(all_keys(getattr(importlib.import_module(f"effectpairs.{module}"), name)))
    assert set(RENAMED.values()) <= known


def test_renaming_settings_renamed_no_clip(tmp_path):
    """Ids and groups of the demo's scenes, as they were before any setting was renamed."""
    from effectpairs.datasets.store.store import Store
    from effectpairs.flows.scenes import listing, stages
    from effectpairs.flows.sources import load_any

    source = load_any("demo-scenes")
    scenes = list(listing.list_scenes(source, Store(tmp_path)))
    ids = {stages.clip_id(source, name, scene, variant) for name, scene in scenes for variant in scene.variants}
    assert ids == {
        "demo-scenes-ball-red-dust-4d749e6a",
        "demo-scenes-truck-dense-dust-a499ca9a",
        "demo-scenes-truck-thin-dust-a499ca9a",
    }
    assert stages.group_of(scenes[0][1]) == "4fae50311879b54f"
