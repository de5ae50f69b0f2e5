"""The caller of a deployment chooses no program, no key, no address, and no folder but those that are served."""

import os

import pytest
from effectpairs.flows.footage.source import RealSource
from effectpairs.permissions import check_call
from effectpairs.untrusted_input import expand_variables


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A served folder and bucket; the working folder is another."""
    (tmp_path / "served").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "served" / "out").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "here")
    places = f"{tmp_path / 'served'}, s3://bucket/corpora,tcp://10.0.0.1:8786"
    monkeypatch.setenv("EFFECTPAIRS_PLACES", places)
    return tmp_path / "served"


@pytest.mark.parametrize(
    "override",
    [
        'caption={kind="openai", model="m", base_url="http://evil.example/v1"}',
        "caption.base_url=http://evil.example/v1",
        "caption.api_key_env=AWS_SECRET_ACCESS_KEY",
        r'caption={"api\u005fkey_env"="AWS_SECRET_ACCESS_KEY"}',
        "caption.describe_by={kind='openai', base_url='http://127.0.0.1:9'}",
        "blender.python_path=/bin/sh",
        "video.blender.python_path=sh",
        "caption.python_path=/tmp/x",
        "caption.trust_remote_code=true",
        'trackers=["wandb"]',
        "trackers=[]",
    ],
)
def test_programs_keys_and_addresses_are_the_servers(served, override):
    with pytest.raises(ValueError, match="is not for the caller of a deployment to choose; set it in a settings file"):
        check_call([override])


@pytest.mark.parametrize(
    "override",
    [
        "root=/etc", "root=~/.ssh", "root=${AWS_SECRET_ACCESS_KEY}", "root=../..", "root=.", "root=x", "scenes=/x/*",
        "corpus=s3://other/corpora", "corpus=s3://bucket/corpora-of-others", "corpus=s3://bucket/corpora/../../x",
        "corpus=simplecache::s3://bucket/corpora", "corpus=file:///etc", "output=/tmp/x", "subject.model=/tmp/model",
        "caption.model=../x", 'ablation=[{name="a", x=["/etc/passwd"]}]', "generator.models=gs://x/y",
    ],
)  # fmt: skip
def test_places_are_those_that_are_served(served, override):
    with pytest.raises(ValueError, match="is not among the places that deployments may name; start the process that"):
        check_call([override])


def test_what_is_served_may_be_chosen(served):
    check_call(
        [
            f"root={served}/davis", f"output={served}", "corpus=s3://bucket/corpora/one", "normalise.fps=12",
            "subject.kind=sam2", "subject.model=facebook/sam2.1-hiera-tiny", "size=192x336", "caption.kind=openai",
            "origin=https://example.org/a", "fixed_caption=/a ../b", "effects=['dust']", "decompose={kind='plate'}",
        ],
        places=[str(served / "w"), "", "s3://bucket/corpora", "tcp://10.0.0.1:8786"],
        files=["davis", "overpp-8gpu", str(served / "beach.toml")],
    )  # fmt: skip
    for places, files in (
        (["/tmp/elsewhere"], []),
        ([str(served / ".." / "x")], []),
        ([str(served / "out" / "x")], []),
        (["tcp://evil.example:8786"], []),
        (["10.0.0.2:6379"], []),
        ([], ["/tmp/evil.toml"]),
        ([], ["../evil.toml"]),
        ([], ["evil.toml"]),
    ):
        with pytest.raises(ValueError, match="is not among the places"):
            check_call(places=places, files=files)


def test_without_a_list_the_working_folder_is_served(tmp_path, monkeypatch):
    monkeypatch.delenv("EFFECTPAIRS_PLACES", raising=False)
    monkeypatch.chdir(tmp_path)
    check_call(["root=footage"], places=["workspace", "corpus", str(tmp_path / "x")])
    with pytest.raises(ValueError, match="is not among the places"):
        check_call(places=["/elsewhere"])


def test_flows_check_their_callers_and_not_programs(served, source_file, monkeypatch):
    """A run of a deployment is refused before anything is read; the same call from Python is not."""
    from effectpairs.flows import prefect_runner
    from effectpairs.flows.corpus import publish
    from effectpairs.flows.real_pairs import real_pairs
    from effectpairs.flows.synthetic_pairs import synthetic_pairs
    from effectpairs.flows.training import training
    from effectpairs.flows.unpaired import unpaired

    calls = [
        lambda: real_pairs.fn("davis", overrides=["root=/etc"]),
        lambda: real_pairs.fn(str(source_file)),
        lambda: real_pairs.fn("davis", workspace="/elsewhere"),
        lambda: real_pairs.fn("davis", str(served), engine="dask", engine_address="tcp://evil.example:8786"),
        lambda: synthetic_pairs.fn("blender", str(served), overrides=["blender.python_path=/bin/sh"]),
        lambda: unpaired.fn("unpaired", str(served), overrides=["prompts=/etc/passwd"]),
        lambda: publish.fn("/elsewhere", str(served)),
        lambda: publish.fn(str(served / "corpus"), "/elsewhere"),
        lambda: training.fn("tiny", ["output=/elsewhere"]),
        lambda: training.fn("tiny", accelerate="/elsewhere/accelerate.yaml"),
    ]
    monkeypatch.setattr(prefect_runner.runtime, "deployment", type("Deployment", (), {"id": "1234"}))
    for call in calls:
        with pytest.raises(ValueError, match=r"is not (among the places|for the caller)"):
            call()
    monkeypatch.setattr(prefect_runner.runtime, "deployment", type("Deployment", (), {"id": None}))
    with pytest.raises(ValueError, match="no finished source is there"):
        publish.fn(str(served / "corpus"), str(served / "elsewhere"))


def test_no_variable_but_ours_is_put_into_a_path(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("EFFECTPAIRS_DATA", "/data")
    assert expand_variables("${EFFECTPAIRS_DATA}/davis") == "/data/davis"
    assert expand_variables("~/x") == os.path.expanduser("~/x")  # noqa: PTH111
    for text in ("${AWS_SECRET_ACCESS_KEY}/x", "$AWS_SECRET_ACCESS_KEY", "${EFFECTPAIRS_API_KEYS}"):
        with pytest.raises(ValueError, match="its name does not begin with EFFECTPAIRS_; write the path") as refusal:
            expand_variables(text)
        assert "secret" not in str(refusal.value)
    monkeypatch.setenv("EFFECTPAIRS_DATA", "$AWS_SECRET_ACCESS_KEY")
    assert expand_variables("${EFFECTPAIRS_DATA}") == "$AWS_SECRET_ACCESS_KEY", "and not twice"


def test_every_setting_that_runs_a_program_or_sends_a_key_is_the_servers():
    """A new field of that kind is entered in SERVER_SETTINGS: its name says what it is."""
    from effectpairs.flows.prompts.source import UnpairedSource
    from effectpairs.flows.scenes.source import SceneSource
    from effectpairs.permissions import SERVER_SETTINGS
    from effectpairs.settings import all_keys
    from effectpairs.training.configs.config import TrainingConfig

    names = {name for cls in (RealSource, SceneSource, UnpairedSource, TrainingConfig) for name in all_keys(cls)}
    signs = (
        "python",
        "program",
        "command",
        "executable",
        "url",
        "endpoint",
        "address",
        "key_env",
        "token_env",
        "remote_code",
    )
    suspicious = {name for name in names if any(sign in name for sign in signs)}
    assert suspicious <= SERVER_SETTINGS
