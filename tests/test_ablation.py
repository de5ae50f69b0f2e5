"""The ablation of the sources of data: what a variant is, how it is run, and the table of all."""

import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.training import run as training_run
from effectpairs.training.configs.config import AblationVariant, check_counts
from effectpairs.training.evaluation.metric import Measurement, metric_value, unavailable
from effectpairs.training.evaluation.tables import read_measurements, write_ablation_tables, write_tables
from effectpairs.training.latents.sampler import RowSampler, SourceMix


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("corpus"), clips=3, size=(32, 48)).location.url


def opened(corpus: str, output: Path, *more: str) -> training_run.TrainingJob:
    return training_run.open_job("tiny-ablation", (f'corpus="{corpus}"', f'output="{output}"', *more))


def lines(method: str, direction: float, clips=("a", "b")) -> list[Measurement]:
    values = (
        metric_value("clip_dir", direction),
        unavailable("clip_text", "no weights"),
        metric_value("clip_img", 95.0),
    )
    groups = [("all", ""), *(("clip", clip) for clip in clips)]
    return [Measurement(method=method, level=level, key=key, value=value) for level, key in groups for value in values]


def measured(output: Path, **directions: float) -> tuple[AblationVariant, ...]:
    """Variants as if each had been evaluated, beside the composite."""
    for name, direction in directions.items():
        every = [*lines("trained", direction), *lines("composite", 1.0)]
        write_tables(every, output / name / "evaluation", name)
    kinds = {"full": (), "half": ("synthetic",), "bare": ("real",)}
    return tuple(AblationVariant(name=name, without=kinds[name]) for name in directions)


def test_each_variant_is_the_run_itself_with_another_mix_and_folder(corpus, tmp_path):
    job = opened(corpus, tmp_path)
    runs = training_run.ablation_jobs(job)
    assert [run.variant for run in runs] == ["without-real", "without-synthetic", "without-unpaired", "full"]
    for run, variant in zip(runs, job.settings.ablation, strict=True):
        assert run.settings.output_path == tmp_path / variant.name
        assert run.settings.cache_path == tmp_path / "cache"
        assert run.settings.model == job.settings.model
        assert run.settings.ablation == ()
        left_in = {kind for kind, weight in run.settings.data.mix.by_kind().items() if weight}
        assert left_in == set(variant.kinds)


@pytest.mark.parametrize("name", ["tiny", "overpp-8gpu"])
def test_an_ablation_of_the_house_is_its_run_four_times(name):
    plain = tomllib.loads((training_run.CONFIGS / f"{name}.toml").read_text())
    four = tomllib.loads((training_run.CONFIGS / f"{name.removesuffix('-8gpu')}-ablation.toml").read_text())
    assert len(four.pop("ablation")) == 4
    # The tiny one takes drawn clips as unpaired ones too: the demo has no others, and an ablation needs some.
    differ = {"output", "steps", "data"} if name == "tiny" else {"output"}
    assert {key for key in plain if four.get(key) != plain[key]} == differ
    assert four.keys() == plain.keys()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('ablation=[{name="a", without=["real"]}, {name="a"}]', r"two variants of one name \(a\)"),
        ('ablation=[{name="a"}, {name="b"}]', r"two variants of one mix \(real, synthetic, unpaired\)"),
        ('ablation=[{name="A b"}]', "small letters, digits and dashes"),
        ('ablation=[{name="a", without=["real", "synthetic", "unpaired"]}]', "leave it one to learn from"),
        ('ablation=[{name="a", without=["rendered"]}]', "ablation.0.without.0"),
        ("data.split=validation", "split validation.: has no clips to train on"),
    ],
)
def test_variants_that_would_show_nothing_are_refused(corpus, tmp_path, more, said):
    with pytest.raises(ValueError, match=said):
        opened(corpus, tmp_path, more)


def test_a_variant_without_what_is_not_there_is_refused():
    variants = (AblationVariant(name="bare", without=("real",)), AblationVariant(name="full"))
    check_counts(variants, {"real": 1, "synthetic": 2}, "corpus")
    with pytest.raises(ValueError, match="corpus: has no real clips to learn from, so the variant 'bare' would show"):
        check_counts(variants, {"synthetic": 2}, "corpus")
    with pytest.raises(ValueError, match="nothing to learn from for the variant 'bare'; add synthetic or unpaired"):
        check_counts(variants, {"real": 2}, "corpus")


def test_a_uniform_mix_leaves_out_what_weighs_nothing(tmp_path):
    rows = [{"kind": kind} for kind in ("real", "synthetic", "synthetic", "unpaired")]
    assert RowSampler(rows, SourceMix(uniform=True, synthetic=0.0), label="rows").weights == {
        "real": 1.0,
        "synthetic": 0.0,
        "unpaired": 1.0,
    }
    with pytest.raises(ValueError, match="rows: has no clips of the kinds that the mix leaves in"):
        RowSampler(rows[1:3], SourceMix(uniform=True, synthetic=0.0), label="rows")


def test_the_table_says_who_saw_what_and_which_is_best(tmp_path):
    variants = measured(tmp_path, bare=34.91, half=44.12, full=46.27)
    page = write_ablation_tables(tmp_path, variants, "Ablation")
    text = page.read_text()
    assert "| Real | Synthetic | Unpaired | CLIPdir ↑ | CLIPtext ↑ | CLIPimg ↑ |" in text
    assert "| ✗ | ✓ | ✓ | 34.91 | – | **95.00** |" in text
    assert "| ✓ | ✓ | ✓ | **46.27** | – | **95.00** |" in text
    assert "CLIPtext is unavailable: no weights." in text
    assert "composite" not in text
    latex = (tmp_path / "ablation.tex").read_text()
    assert r"$\checkmark$ & $\times$ & $\checkmark$ & \underline{44.12} & -- & \textbf{95.00} \\" in latex
    rows = pq.read_table(tmp_path / "ablation.parquet").to_pylist()
    whole = {row["method"]: row for row in rows if row["level"] == "all" and row["metric"] == "clip_dir"}
    assert (whole["bare"]["value"], whole["bare"]["real"], whole["bare"]["synthetic"]) == (34.91, False, True)
    assert whole["full"]["real"] is True


def test_variants_that_were_measured_on_other_clips_make_no_table(tmp_path):
    variants = measured(tmp_path, bare=1.0, full=2.0)
    write_tables(lines("trained", 2.0, clips=("a", "c")), tmp_path / "full" / "evaluation", "other")
    with pytest.raises(ValueError, match="full: was measured on other clips than bare"):
        write_ablation_tables(tmp_path, variants, "Ablation")
    with pytest.raises(ValueError, match=r"metrics.parquet: cannot be read .*evaluate again"):
        read_measurements(tmp_path / "metrics.parquet")
