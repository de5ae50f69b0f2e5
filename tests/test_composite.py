import numpy as np
import pytest
from effectpairs.stages import composite
from effectpairs.tests import fixtures_reference_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


@st.composite
def layers(draw):
    frames, height, width = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    rgb = arrays.arrays(np.uint8, (frames, height, width, 3))
    matte = arrays.arrays(np.uint8, (frames, height, width), elements=st.sampled_from([0, 1, 77, 128, 254, 255]))
    return draw(rgb), draw(rgb), draw(matte)


@settings(deadline=None)
@given(layers())
def test_equals_the_formula(clip):
    assert np.array_equal(composite.over(*clip), fixtures_reference_masks.over(*clip))


def test_every_weight_and_pair_of_values():
    # 256 weights by 256 foreground values, for a spread of background values: all sums that can occur, nearly.
    weight, top = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    foreground = np.repeat(top[None, ..., None], 3, axis=-1)
    for value in (0, 1, 2, 63, 127, 128, 200, 254, 255):
        background = np.full_like(foreground, value)
        expected = fixtures_reference_masks.over(foreground, background, weight[None])
        assert np.array_equal(composite.over(foreground, background, weight[None]), expected)


@settings(deadline=None)
@given(layers())
def test_a_clip_over_itself_stays_and_the_ends_are_exact(clip):
    foreground, background, matte = clip
    assert np.array_equal(composite.over(background, background, matte), background)
    blended = composite.over(foreground, background, matte)
    assert np.array_equal(blended[matte == 0], background[matte == 0])
    assert np.array_equal(blended[matte == 255], foreground[matte == 255])


def test_arguments_stay_and_the_result_is_its_own():
    background = np.zeros((2, 4, 4, 3), np.uint8)
    blended = composite.over(background, background, np.zeros((2, 4, 4), np.uint8))
    blended[:] = 1
    assert not background.any()


@pytest.mark.filterwarnings("ignore")
def test_other_sizes_are_named():
    clip = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(Exception, match=r"\(2, 4, 5\)|subject_mask"):
        composite.over(clip, clip, np.zeros((2, 4, 5), np.uint8))
