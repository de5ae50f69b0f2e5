"""Effects as numpy states: driven by the subject's motion, the same at any frame rate and for the same chances."""

import time

import numpy as np
import pytest
from effectpairs.datasets.corpus import schema
from effectpairs.render.effects.base import Contact, Effect, Track, build_trajectory
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import CastLight, Glow
from effectpairs.render.effects.registry import EFFECTS
from effectpairs.render.effects.render_data import (
    NAMED_COLOURS,
    Cloud,
    Drops,
    Lamp,
    Medium,
    Sheets,
    Waves,
    medium_arrays,
    medium_fields,
    nearest_colour_name,
)
from effectpairs.render.effects.smoke import Smoke
from effectpairs.render.effects.splash import Splash, Spray
from effectpairs.render.effects.waves import Ripple, Wake
from hypothesis import given, settings
from hypothesis import strategies as st

MOVED = (Dust(), Wake(turbulence=0.5), Ripple(), Splash(), Spray())
"""Effects that need motion."""
ALL = (*MOVED, Smoke(), Glow(), CastLight(flicker=0.5))


def track(
    speed: float = 3.0,
    *,
    frames: int = 13,
    fps: float = 16.0,
    heading: float = 0.3,
    turn: float = 0.0,
    height: float = 0.0,
    contacts: tuple[Contact, ...] = (),
) -> Track:
    """A subject on its way along a line or an arc that is drawn exactly, whatever the frame rate."""
    angle = heading + turn * np.arange(frames) / fps
    velocity = speed * np.stack([np.cos(angle), np.sin(angle), np.zeros(frames)], axis=1)
    if turn:
        foot = speed / turn * np.stack([np.sin(angle), -np.cos(angle), np.zeros(frames)], axis=1)
    else:
        foot = velocity * (np.arange(frames) / fps)[:, None]
    return Track(
        foot=foot + np.array([0.0, 0.0, height]), velocity=velocity, heading=angle, extent=(2.0, 0.9, 0.8), fps=fps,
        contacts=contacts,
    )  # fmt: skip


def made(effect: Effect, way: Track, seed: int = 5) -> tuple[Medium, ...]:
    return effect.media(way, np.random.default_rng(seed))


def weight(medium: Medium, frame: int) -> float:
    """How much of a medium there is in a frame."""
    if isinstance(medium, Cloud):
        return float((medium.strength[frame] * medium.frames[frame][:, 3] ** 3).sum())
    if isinstance(medium, Drops):
        return float((medium.frames[frame][:, 3] ** 3).sum())
    if isinstance(medium, Sheets):
        return float(medium.cover[frame].mean())
    if isinstance(medium, Waves):
        return float(np.abs(medium.heights[frame]).sum()) * medium.step_m**2
    return float(medium.power_w[frame])


def ids(effect: Effect) -> str:
    return effect.kind


@pytest.mark.parametrize("effect", ALL, ids=ids)
def test_the_same_chances_give_the_same_arrays(effect):
    hit = (Contact(frame=3, at=(0.4, 0.1, 0.0), speed=3.0),)
    for one, other in zip(made(effect, track(contacts=hit)), made(effect, track(contacts=hit)), strict=True):
        first, second = medium_arrays(one), medium_arrays(other)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert medium_fields(one) == medium_fields(other)


@pytest.mark.parametrize("effect", ALL, ids=ids)
def test_arrays_are_whole_and_in_range(effect):
    for medium in made(effect, track(contacts=(Contact(frame=2, at=(0.0, 0.0, 0.0), speed=4.0),))):
        for name, values in medium_arrays(medium).items():
            assert np.isfinite(values).all()
            assert values.dtype == (np.int64 if name == "ends" else np.float32)
        if isinstance(medium, Cloud):
            assert all((values >= 0).all() and (values <= 1).all() for values in (*medium.strength, *medium.phase))
        if isinstance(medium, Cloud | Drops):
            assert len(medium.frames) == 13
            assert all((points[:, 3] > 0).all() for points in medium.frames)
        if isinstance(medium, Waves):
            assert not medium.heights[:, [0, -1]].any()
            assert not medium.heights[:, :, [0, -1]].any()
            assert medium.foam is None or (medium.foam.min() >= 0 and medium.foam.max() <= 1)


@pytest.mark.parametrize("effect", MOVED, ids=ids)
def test_nothing_moves_nothing_comes(effect):
    for medium in made(effect, track(0.0)):
        assert not any(weight(medium, frame) for frame in range(13))
        assert not (isinstance(medium, Waves) and medium.foam is not None and medium.foam.any())


@pytest.mark.parametrize("effect", MOVED, ids=ids)
def test_what_flies_high_leaves_the_ground_alone(effect):
    for medium in made(effect, track(height=5.0)):
        assert sum(weight(medium, frame) for frame in range(13)) < 1e-6


@pytest.mark.parametrize("effect", [*MOVED, Smoke()], ids=ids)
def test_it_was_under_way_before_the_first_frame(effect):
    media = made(effect, track())
    for medium in media:
        assert weight(medium, 0) > 0.3 * weight(medium, 12) > 0


@pytest.mark.parametrize("effect", [Dust(), Smoke(), Splash(), Spray(), Wake(), Ripple()], ids=ids)
def test_the_frame_rate_changes_nothing(effect):
    slow = made(effect, track(fps=8.0, frames=9, turn=0.4))
    fast = made(effect, track(fps=32.0, frames=33, turn=0.4))
    for one, other in zip(slow, fast, strict=True):
        for frame in (0, 4, 8):
            assert weight(one, frame) == pytest.approx(weight(other, 4 * frame), rel=0.15)
        if isinstance(one, Cloud) and isinstance(other, Cloud):
            mine, theirs = one.frames[4][:, :3].mean(axis=0), other.frames[16][:, :3].mean(axis=0)
            assert np.abs(mine - theirs).max() < 0.15
        if isinstance(one, Waves) and isinstance(other, Waves):
            mine, theirs = one.heights[4].ravel(), other.heights[16].ravel()
            assert np.corrcoef(mine, theirs)[0, 1] > 0.9


@pytest.mark.parametrize("effect", [Dust(), Splash(), Ripple()], ids=ids)
def test_a_hit_gives_a_burst_by_its_speed(effect):
    amounts = []
    for speed in (1.0, 4.0):
        medium, *_ = made(effect, track(0.0, contacts=(Contact(frame=4, at=(0.2, 0.0, 0.0), speed=speed),)))
        assert not any(weight(medium, frame) for frame in range(4))
        amounts.append(max(weight(medium, frame) for frame in range(5, 13)))
    assert 0 < 1.5 * amounts[0] < amounts[1]


@settings(max_examples=12, deadline=None)
@given(speed=st.floats(1.0, 8.0), turn=st.floats(0.05, 1.0), lead=st.floats(0.2, 3.0))
def test_births_lie_evenly_along_the_way(speed, turn, lead):
    trajectory = build_trajectory(track(speed, turn=turn), lead)
    born = trajectory.emission_times(per_metre=10.0)
    assert born[0] < 0 < born[-1] or len(born) < 2
    steps = np.diff(np.interp(born, trajectory.time_s, trajectory.distance_m))
    assert np.allclose(steps, 0.1, atol=1e-6)
    backwards = trajectory.at(np.array([-lead / 2])).position[0] - trajectory.position[-1]
    assert np.linalg.norm(backwards) <= speed * (lead / 2 + 12 / 16) + 1e-6


def test_a_fast_hull_draws_a_v():
    """Behind the hull the waves stand within Kelvin's angle of the way, before it the water is calm."""
    way = track(2.0, heading=0.0, frames=5)
    (medium,) = made(Wake(turbulence=0.0), way)
    x = medium.origin[0] + medium.step_m * np.arange(medium.heights.shape[2]) - way.foot[4, 0]
    y = medium.origin[1] + medium.step_m * np.arange(medium.heights.shape[1])[:, None] - way.foot[4, 1]
    power = medium.heights[4] ** 2
    before, behind = power[:, x > 1.6].sum(), power[:, x < -1.2].sum()
    assert behind > 30 * before
    inside = np.abs(y) < 0.6 + np.tan(np.radians(25)) * np.maximum(-x, 0)
    assert power[inside & (x < -1.2)].sum() > 0.85 * behind


def test_a_wild_wake_foams_behind():
    calm, wild = (made(Wake(turbulence=value), track())[0] for value in (0.0, 0.9))
    assert calm.foam is None
    assert wild.foam is not None
    assert wild.foam.max() > 0.5
    assert np.abs(wild.heights).max() < 4 * Wake().height_m


def test_water_stays_out_of_the_hull():
    way = track(2.0, heading=0.0)
    (medium,) = made(Wake(turbulence=0.9), way)
    row, column = (round((way.foot[6, axis] - medium.origin[axis]) / medium.step_m) for axis in (1, 0))
    assert medium.heights[6, row, column] == 0
    assert medium.foam[6, row, column] == 0


def test_drops_fall_back_and_are_gone():
    medium, _ = made(Splash(), track(0.0, frames=37, contacts=(Contact(frame=2, at=(0.0, 0.0, 0.0), speed=3.0),)))
    assert all((points[:, 2] > 0).all() for points in medium.frames)
    assert len(medium.frames[6]) > 300
    assert len(medium.frames[36]) == 0


def test_a_drop_is_drawn_along_its_way():
    drops = made(Splash(), track())[0]
    assert isinstance(drops, Drops)
    for points, moves in zip(drops.frames, drops.moves, strict=True):
        assert len(points) == len(moves) > 0
        gone = np.linalg.norm(moves, axis=1)
        assert 0.002 < np.median(gone) < 0.2
        assert np.ptp(points[:, 3]) > 3 * points[:, 3].min()  # fine ones and large ones


def test_a_crown_rises_from_the_water_and_sinks_back():
    hit = Contact(frame=3, at=(1.0, 0.5, 0.0), speed=3.0)
    sheets = made(Splash(), track(0.0, frames=25, contacts=(hit,)))[1]
    assert isinstance(sheets, Sheets)
    tall = [float(places[0, ..., 2].max()) for places in sheets.positions]
    whole = [float(cover[0].max()) for cover in sheets.cover]
    assert not any(whole[:3])
    assert max(tall) > 0.1
    assert tall[5] > tall[3]
    assert tall[-1] < 0
    assert whole[-1] < whole[5]
    wide = np.abs(sheets.positions[6, 0, -1, :, 0] - 1.0).max()
    assert wide > 0.5 * 0.42 * 0.9  # its rim lies around the hit
    flat = sheets.positions[..., 2] <= 0
    assert (sheets.positions[..., 2][flat] < 0).all(), "a sheet in the plane of the water makes a hole in it"


def test_a_bow_turns_water_over_to_both_sides():
    sheets = made(Splash(), track(heading=0.0))[1]
    assert isinstance(sheets, Sheets)
    right, left = (sheets.positions[6, side][sheets.cover[6, side] > 0.1] for side in (0, 1))
    assert right[:, 1].max() < 0 < left[:, 1].min()
    assert min(right[:, 2].max(), left[:, 2].max()) > 0.05


def test_smoke_rises_widens_and_thins():
    (cloud,) = made(Smoke(wind=(0.0, 0.0)), track(0.0, frames=5))
    assert isinstance(cloud, Cloud)
    points, strength = cloud.frames[4], cloud.strength[4]
    low, high = points[:, 2] < np.quantile(points[:, 2], 0.3), points[:, 2] > np.quantile(points[:, 2], 0.7)
    assert points[high, 3].mean() > 1.5 * points[low, 3].mean()
    assert strength[high].mean() < 0.5 * strength[low].mean()


def test_smoke_leaves_where_it_is_told_to():
    stack, tyres = (
        made(Smoke(leaves=at), track(heading=0.0, frames=5))[0] for at in ((0.4, 0.0, 1.0), (-0.4, 0.0, 0.0))
    )
    assert isinstance(stack, Cloud)
    assert isinstance(tyres, Cloud)
    ahead = track(heading=0.0).foot[0, 0]
    assert stack.frames[0][-5:, 0].mean() > ahead + 0.3
    assert tyres.frames[0][-5:, 0].mean() < ahead - 0.3
    assert stack.frames[0][-5:, 2].mean() > tyres.frames[0][-5:, 2].mean() + 0.5
    assert np.ptp(tyres.frames[0][-20:, 1]) > 2 * np.ptp(stack.frames[0][-20:, 1])


def test_light_wavers_no_more_than_it_may():
    (steady,) = made(CastLight(flicker=0.0), track())
    (wavering,) = made(CastLight(flicker=0.6), track(frames=37))
    assert isinstance(steady, Lamp)
    assert isinstance(wavering, Lamp)
    assert np.ptp(steady.power_w) == 0
    assert wavering.power_w.min() >= 0.4 * 60 - 1e-3
    assert np.ptp(wavering.power_w) > 5


def test_the_halo_follows_a_long_subject():
    (cloud,) = made(Glow(), track(heading=0.0))
    assert isinstance(cloud, Cloud)
    reach = cloud.frames[0][:, 0] - track(heading=0.0).foot[0, 0]
    assert reach.min() < -0.3
    assert reach.max() > 0.3
    assert cloud.glow > 0


@pytest.mark.parametrize("effect", ALL, ids=ids)
def test_a_full_clip_takes_little_time(effect):
    way = track(frames=85)
    begin = time.process_time()
    made(effect, way)
    assert time.process_time() - begin < 5


def test_every_effect_speaks_the_vocabulary():
    for kind in EFFECTS:
        effect = kind()
        assert isinstance(effect, Effect)
        assert effect.kind in schema.EFFECTS
        for name, value in effect.facts().items():
            assert value or value == 0, f"{effect.kind}.{name} says nothing"


def test_strength_is_said_in_words():
    assert Dust(density=0.3).facts()["intensity"] == "thin"
    assert Dust(density=6.0).facts()["intensity"] == "dense"
    assert Wake(turbulence=0.9).facts()["intensity"] == "turbulent"
    assert Glow(strength=0.2).facts()["intensity"] == "faint"


def test_colours_have_their_words():
    assert all(nearest_colour_name(colour) == word for word, colour in NAMED_COLOURS.items())
    assert nearest_colour_name((0.64, 0.5, 0.38)) == "tan"
    assert nearest_colour_name((0.1, 0.1, 0.1)) in ("black", "charcoal")


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (Dust, {"density": 0.0}, "dust.density"),
        (Smoke, {"colour": (2.0, 0.0, 0.0)}, "smoke.colour"),
        (Wake, {"turbulence": 1.5}, "wake.turbulence"),
        (Ripple, {"length_m": float("nan")}, "ripple.length_m"),
        (Splash, {"amount": 1000.0}, "splash.amount"),
        (CastLight, {"power_w": -1.0}, "light.power_w"),
    ],
)
def test_settings_out_of_range_are_refused(kind, wrong, said):
    with pytest.raises(ValueError, match=said):
        kind(**wrong)
