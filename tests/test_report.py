import base64
import io
import re
import time

import av
import numpy as np
import pytest
from effectpairs.datasets.gallery import report, thumbnails
from effectpairs.tests import fixtures_browser
from effectpairs.tests.fixtures_corpus import make_small_corpus, square_with_shadow
from PIL import Image

SQUARE = (220, 60, 40)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("report"), clips=6)


@pytest.fixture(scope="module")
def gallery(corpus, tmp_path_factory):
    told = []
    path = report.write_report(corpus, tmp_path_factory.mktemp("gallery") / "new", step=lambda *at: told.append(at))
    assert told == [(done, 6) for done in range(1, 7)]
    return path


@pytest.fixture
def open_page(gallery, tmp_path):
    fixtures_browser.require_chromium("look at the page")
    return lambda path=gallery, **options: fixtures_browser.open_page(path.as_uri(), tmp_path / "profile", **options)


def test_the_page_is_one_file_that_asks_for_nothing_else(gallery):
    text = gallery.read_text()
    assert [path.name for path in gallery.parent.iterdir()] == ["index.html"]
    assert not re.search(r"https?://", text)
    assert set(re.findall(r"\ssrc=\"([a-z]+:)", text)) == {"data:"}
    assert "default-src 'none'" in text


def test_the_page_says_everything_of_every_clip(corpus, gallery):
    text = gallery.read_text()
    for clip in corpus:
        assert f'id="clip-{clip.clip_id}"' in text
        assert clip.caption in text
        assert clip.provenance["licence"] in text
        assert all(reason in text for reason in clip.quality["reasons"])
    # Eight views of a real clip, the truth beside them for a rendered one; an unpaired clip has gt alone.
    assert text.count("<canvas") == 2 * 8 + 2 * 9 + 2 * 1


def test_what_did_not_get_in_is_listed_and_no_text_becomes_markup(gallery):
    text = gallery.read_text()
    assert "broken-bad" in text
    assert "broken-dull" in text
    assert "&lt;b&gt;fetch&lt;/b&gt;" in text
    assert "<b>fetch" not in text


def test_a_large_corpus_is_capped_with_a_note(corpus, tmp_path):
    text = report.write_report(corpus, tmp_path, step=lambda *_: None, limit=2).read_text()
    assert text.count("<article") == 2
    assert "first 2 of 6 clips" in text
    with pytest.raises(ValueError, match="limit=0"):
        report.write_report(corpus, tmp_path, step=lambda *_: None, limit=0)


def test_a_clip_that_does_not_decode_is_shown_with_the_reason(corpus, tmp_path, monkeypatch):
    def fail(clip, **_):
        raise ValueError("its bytes are <damaged>")

    monkeypatch.setattr(thumbnails, "render_views", fail)
    text = report.write_report(corpus, tmp_path, step=lambda *_: None, limit=1).read_text()
    assert "its bytes are &lt;damaged&gt;" in text
    assert "effectpairs verify" in text


def test_an_interrupted_report_leaves_the_old_page_whole(corpus, tmp_path):
    (tmp_path / "index.html").write_text("old")

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.write_report(corpus, tmp_path, step=stop)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("index.html", "old")]


def test_a_histogram_holds_every_clip_that_has_the_number():
    clips = [{"quality": dict.fromkeys(report.NUMBERS) | {"effect_area": value}} for value in (0.0, 0.5, 1.0, 1.0)]
    chart = report.histogram("effect_area", clips)
    assert [bar["height"] for bar in chart["bars"]] == [29, 29, 58]
    assert (chart["low"], chart["median"], chart["high"]) == ("0", "75", "100")
    assert report.histogram("unseen_share", clips) is None


def test_views_show_what_they_say(corpus):
    clip = corpus["tiny-000"]
    layers = square_with_shadow(13, (48, 80), seed=0)
    made = thumbnails.render_views(clip)
    assert list(made) == [view.name for view in thumbnails.VIEWS if view.name != "truth"]
    np.testing.assert_array_equal(made["gt"], layers["gt"])
    apart = np.abs(layers["gt"].astype(int) - layers["over"])
    np.testing.assert_array_equal(made["difference"], np.minimum(apart * thumbnails.GAIN, 255))
    np.testing.assert_array_equal(made["alpha"], np.repeat(layers["alpha"][..., None], 3, axis=-1))
    shadow = layers["effect_mask"]
    assert (made["effect"][~shadow] == layers["gt"][~shadow]).all()
    assert (made["effect"][shadow] != layers["gt"][shadow]).any(axis=-1).all()
    opaque = layers["alpha"] == 255
    assert (made["foreground"][opaque] == layers["gt"][opaque]).all()
    assert set(np.unique(made["foreground"][~opaque])) == {96, 144}


def test_a_rendered_clip_shows_the_truth(corpus):
    clip = corpus["tiny-001"]
    truth = thumbnails.render_views(clip, names=("effect", "truth"))["truth"]
    np.testing.assert_array_equal(truth, np.repeat(clip.truth_strength()[..., None], 3, axis=-1))


def test_a_large_clip_is_shown_small_and_a_clip_without_a_pair_shows_gt_alone(corpus):
    small = thumbnails.render_views(corpus["tiny-000"], width_px=40, names=("gt", "effect"))
    assert {name: frames.shape for name, frames in small.items()} == dict.fromkeys(("gt", "effect"), (13, 24, 40, 3))
    assert list(thumbnails.render_views(corpus["tiny-002"])) == ["gt"]
    with pytest.raises(ValueError, match="no view 'nothing'"):
        thumbnails.render_views(corpus["tiny-000"], names=("nothing",))


def test_a_film_gives_the_colours_back(corpus):
    whole, corners = thumbnails.mosaic(thumbnails.render_views(corpus["tiny-000"]))
    assert whole.shape == (13, 96, 320, 3)
    assert corners["background"] == (0, 48)
    with av.open(io.BytesIO(thumbnails.encode_mp4(whole, fps=16.0))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1  # BT.709, said and not guessed
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert decoded.shape == whole.shape
    flat = decoded[0, 20:24, 6:10].reshape(-1, 3).mean(axis=0)
    assert np.abs(flat - SQUARE).max() < 12


def test_a_browser_draws_the_pictures_and_has_nothing_to_complain_of(open_page, corpus):
    with open_page(size=(1400, 1400)) as page:
        ids = page.ask("[...document.querySelectorAll('article h2')].map(name => name.textContent)")
        assert sorted(ids) == sorted(corpus.ids)
        page.ask("document.querySelector('article.clip').scrollIntoView()")
        page.wait("document.querySelector('article.clip video')?.currentTime > 0.1")
        page.wait("document.querySelector('article.clip .at').textContent !== 'frame 1 of 13'")
        where = page.ask("(({x, y, width, height}) => [x, y, width, height])"
                         "(document.querySelector('canvas[data-view=gt]').getBoundingClientRect())")  # fmt: skip
        x, y, width, height = map(round, where)
        shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        gt = shot[y : y + height, x : x + width]
        reds = (np.abs(gt - SQUARE).max(axis=-1) < 40).mean()
        assert 0.02 < reds < 0.06  # the square is 12 x 12 of 48 x 80 pixels: 3.75 %
        assert page.errors == []


MIDDLES = """(() => {
  const middle = view => {
    const canvas = document.querySelector(`canvas[data-view=${view}]`);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const found = [];
    for (let at = 0; at < pixels.length; at += 4)
      if (pixels[at] > 190 && pixels[at + 1] < 100 && pixels[at + 2] < 110) found.push(at / 4 % canvas.width);
    return found.reduce((sum, x) => sum + x, 0) / found.length;
  };
  return ["gt", "over"].map(middle);
})()"""


def test_all_views_show_the_same_moment(open_page):
    with open_page() as page:
        page.ask("document.querySelector('article.clip').scrollIntoView()")
        page.wait("document.querySelector('article.clip video')?.currentTime > 0.1")
        seen = set()
        for _ in range(40):
            in_gt, in_over = page.ask(MIDDLES)
            assert abs(in_gt - in_over) < 1.5  # the square moves 5 pixels a frame
            seen.add(round(in_gt))
            time.sleep(0.02)
        assert len(seen) > 4  # and it did move


def test_filters_sorting_and_keys_work(open_page):
    visible = "[...document.querySelectorAll('article:not([hidden])')].map(card => card.dataset.{})"
    choose = "(() => {{ const box = document.querySelector('[name={}]'); box.value = '{}'; box.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"  # noqa: E501
    with open_page() as page:
        page.ask(choose.format("kind", "synthetic"))
        assert set(page.ask(visible.format("kind"))) == {"synthetic"}
        assert page.ask("document.getElementById('count').textContent") == "2 of 6 shown"
        page.ask(choose.format("kind", ""))
        page.ask(choose.format("effect", "dust"))
        assert page.ask(visible.format("effect")) == ["dust", "dust"]
        page.ask(choose.format("effect", ""))
        page.ask(choose.format("sort", "effect_strength"))
        ranks = page.ask("[...document.querySelectorAll('article')].map(card => card.ranks.effect_strength ?? null)")
        assert ranks[:4] == sorted(ranks[:4], reverse=True)
        assert ranks[4:] == [None, None]
        for key, place in (("j", 0), ("j", 1), ("k", 0)):
            page.press(key)
            assert page.ask("[...document.querySelectorAll('article')].indexOf(document.activeElement)") == place
        page.press("o")
        assert page.errors == []


def test_films_far_from_the_window_are_not_loaded(open_page):
    with open_page(size=(1000, 500)) as page:
        page.ask("document.querySelector('article.clip').scrollIntoView()")
        page.wait("document.querySelectorAll('video').length > 0")
        assert page.ask("document.querySelectorAll('video').length") < 6
        page.ask("scrollTo(0, document.body.scrollHeight)")
        page.wait("!document.querySelector('article.clip').film && document.querySelectorAll('video').length > 0")


def test_where_a_film_does_not_play_stills_stand_in(open_page):
    last = "[...document.querySelectorAll('article.clip')].at(-1)"
    with open_page() as page:
        page.ask(f"{last}.querySelector('script.film').textContent = btoa('no film at all')")
        page.ask(f"{last}.scrollIntoView()")
        page.wait(f"{last}.classList.contains('stills') && {last}.drawn === 'still'")
        pixel = page.ask(f"[...{last}.querySelector('canvas').getContext('2d').getImageData(40, 40, 1, 1).data]")
        assert pixel[3] == 255  # drawn
        assert page.ask(f"{last}.querySelector('.strip').offsetHeight") > 0


def test_the_strip_on_paper_is_a_picture(gallery):
    strips = re.findall(r'class="strip"><img[^>]*src="data:image/jpeg;base64,([^"]+)"', gallery.read_text())
    sizes = {Image.open(io.BytesIO(base64.b64decode(strip))).size for strip in strips}
    assert sizes == {(5 * 80, 3 * 48), (5 * 80, 48)}  # pairs, and clips that have gt alone
