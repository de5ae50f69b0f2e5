"""The command line as a user meets it: help with an example, exit codes, one sentence instead of a traceback."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from effectpairs.cli.app import RENAMED_OPTIONS, app

COMMANDS = (
    "plan",
    "purge",
    "gc",
    "train",
    "generate",
    "demo",
    "pair",
    "run",
    "publish",
    "serve",
    "inspect",
    "verify",
    "report",
    "push",
    "doctor",
)


def effectpairs(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "effectpairs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


def test_help_lists_every_command():
    shown = effectpairs("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in COMMANDS)


def test_help_cuts_no_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = effectpairs("--help").stdout
    commands = shown.partition("Commands:")[2].strip().splitlines()
    assert len(commands) == len(typer.main.get_command(app).commands)
    assert all(line.endswith(".") and "..." not in line and len(line) <= 80 for line in commands), shown
    for command in typer.main.get_command(app).commands.values():
        assert len(command.help.split(". ")[0].splitlines()[0]) <= 60, command.name


def test_the_help_of_every_option_stands_alone():
    for command in typer.main.get_command(app).commands.values():
        for option in command.params:
            if option.name != "help":
                assert re.fullmatch(r"(?!(Of|The same|Instead)\b)[A-Z\d].*\.", option.help or ""), (
                    command.name,
                    option.name,
                )


@pytest.mark.parametrize("spelling", RENAMED_OPTIONS)
def test_a_first_spelling_is_refused_with_the_present_one(spelling, tmp_path):
    *command, option = spelling.split()
    for written in (option, f"{option}=1"):
        done = effectpairs(*(command or ["run", "davis"]), written, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.strip() == f"error: {option} is now {RENAMED_OPTIONS[spelling]}"
    command = typer.main.get_command(app).commands[command[0] if command else "run"]
    assert RENAMED_OPTIONS[spelling] in [name for option in command.params for name in option.opts]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command):
    shown = effectpairs(command, "--help")
    assert shown.returncode == 0
    assert f"Example: effectpairs {command}" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "davos"), "did you mean 'davis'"),
        (("run", "davis", "--set", "normalize.fps=12"), "did you mean 'normalise'"),
        (("run", "davis", "--set", "normalise.fps=fast"), "normalise.fps"),
        (("run",), "Missing argument"),
        (("publish", "x", "--storage", "tiny"), "storage"),
        (("publish", "x", "--test", "1.5"), "test_share=1.5 is not in [0, 1)"),
        (("pair", "x.mp4"), "--subject-mask alone, or some of --key, --box, --point and --text"),
        (("pair", "x.mp4", "--point", "1,2,3"), "X,Y or X,Y@FRAME"),
        (("pair", "x.mp4", "--box", "1,2,3,4", "--box", "5,6,7,8"), "twice for frame 0"),
        (("pair", "x.mp4", "--key", "zero=a.png"), "FRAME=MASK.png"),
        (("pair", "x.mp4", "--box", "1,2,3"), "X,Y,W,H"),
        (("nonsense",), "No such command"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_meant(arguments, said, tmp_path):
    done = effectpairs(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inspect", "nowhere"), "no finished corpus"),
        (("verify", "nowhere"), "effectpairs publish nowhere"),
        (("report", "nowhere"), "no finished corpus"),
        (("publish", "corpus", "--workspace", "nowhere", "--no-prefect"), "effectpairs run SOURCE"),
        (("run", "davis", "--no-prefect", "--set", "root=nowhere"), "nowhere"),
        (("pair", "gone.mp4", "--box", "0,0,9,9"), "gone.mp4"),
    ],
)
def test_failure_ends_with_1_and_one_sentence(arguments, said, tmp_path):
    done = effectpairs(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1


def test_debug_shows_where_it_failed(tmp_path):
    done = effectpairs("inspect", "nowhere", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_from_footage_to_gallery_by_commands(source_file, tmp_path):
    ran = effectpairs("run", source_file, "--workspace", "w", "--no-prefect", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "tiny: 4 clips = " in ran.stdout
    include = ("--include", "accept,review,reject")
    published = effectpairs("publish", "corpus", "--workspace", "w", "--no-prefect", *include, cwd=tmp_path)
    assert published.returncode == 0, published.stderr
    shown = effectpairs("inspect", "corpus", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "tiny" in shown.stdout
    values = json.loads(effectpairs("inspect", "corpus", "--json", cwd=tmp_path).stdout)
    assert values["counts"]["clips"] == 4
    verified = effectpairs("verify", "corpus", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
    reported = effectpairs("report", "corpus", "--out", "gallery", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "gallery" / "index.html").stat().st_size > 10_000
    shard = next((tmp_path / "corpus").glob("data/*/*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    damaged = effectpairs("verify", "corpus", cwd=tmp_path)
    assert damaged.returncode == 1
    assert shard.name in damaged.stderr


def test_an_account_without_a_single_usable_clip_is_no_success(footage_root, source_file, tmp_path):
    for video in footage_root.glob("*/input_video.mp4"):
        video.write_bytes(b"")
    ran = effectpairs("run", source_file, "--workspace", "w", "--no-prefect", cwd=tmp_path)
    assert ran.returncode == 1
    assert "tiny: 2 clips = 0 accepted + 0 review + 0 rejected + 2 failed" in ran.stdout


@pytest.mark.slow
def test_with_prefect_the_same_commands_give_the_same_corpus(source_file, tmp_path):
    digests = []
    for number, option in enumerate(((), ("--no-prefect",))):
        workspace = ("--workspace", f"w{number}")
        ran = effectpairs("run", source_file, *workspace, "--set", "normalise.max_frames=5", *option, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        include = ("--include", "accept,review,reject")
        published = effectpairs("publish", f"c{number}", *workspace, *include, *option, cwd=tmp_path)
        assert published.returncode == 0, published.stderr
        manifest = json.loads((tmp_path / f"c{number}" / "corpus.json").read_text())
        digests.append([file["sha256"] for file in manifest["files"]])
    assert digests[0] == digests[1]
