"""Licences are SPDX expressions or named texts; what they allow decides what is published, and with which warnings."""

import subprocess
import sys

import effectpairs
import pytest
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.sources.source import SOURCES, Source
from effectpairs.licences import UNKNOWN, check_allowed, is_allowed, pairing, read_licence, warnings_of
from effectpairs.settings import read_values
from effectpairs.tests import fixtures_corpus, fixtures_workspaces
from hypothesis import given
from hypothesis import strategies as st

BY, BY_SA, BY_NC, BY_NC_SA, BY_ND = (f"CC-BY{part}-4.0" for part in ("", "-SA", "-NC", "-NC-SA", "-ND"))


@pytest.mark.parametrize(
    ("text", "expression", "commercial", "attribution"),
    [
        (BY, BY, True, True),
        ("CC BY-NC 4.0", BY_NC, False, True),
        ("cc0", "CC0-1.0", True, False),
        ("CC-BY-4.0 AND CC0-1.0", "CC-BY-4.0 AND CC0-1.0", True, True),
        (f"{BY_NC} OR MIT", f"{BY_NC} OR MIT", True, True),
        (f"{BY_NC} AND MIT", f"{BY_NC} AND MIT", False, True),
        ("LicenseRef-Pexels", "LicenseRef-Pexels", True, False),
        ("MIT AND LicenseRef-Mine", "MIT AND LicenseRef-Mine", None, True),
        ("", UNKNOWN, None, None),
    ],
)
def test_an_expression_is_read_with_its_terms(text, expression, commercial, attribution):
    licence = read_licence(text)
    assert licence.expression == expression
    assert (licence.terms.commercial, licence.terms.attribution) == (commercial, attribution)


@given(st.text(max_size=300))
def test_any_other_text_is_a_named_one_and_never_allowed_by_chance(text):
    licence = read_licence(text)
    assert read_licence(licence.expression).expression == licence.expression
    if licence.expression.startswith("LicenseRef-"):
        assert licence.name == " ".join(text.split())
        assert not is_allowed(text, ["commercial", "CC-BY-*", "MIT"])


def test_every_source_that_comes_along_has_a_licence_that_spdx_knows_or_a_named_text():
    names = {path.stem: read_values(path, ()).get("licence", "unknown") for path in SOURCES.glob("*.toml")}
    assert names["davis"] == BY_NC
    assert {name for name, text in names.items() if read_licence(text).text != text} == set()


def test_a_misspelt_identifier_is_refused_where_it_is_written():
    with pytest.raises(
        ValueError, match=r"licence='CC-BY-5.0' is no SPDX identifier; did you mean 'CC-BY-.*LicenseRef-NAME"
    ):
        Source(name="x", licence="CC-BY-5.0")
    with pytest.raises(ValueError, match="licence has 201 characters; write an SPDX expression, or the name"):
        Source(name="x", licence="y" * 201)
    with pytest.raises(ValueError, match="licence_allow has 'CC-BY-4', which is no SPDX identifier; did you mean"):
        check_allowed(["CC-BY-4"])
    for wrong in ({"url": "corpus"}, {"date_published": "tomorrow"}):
        with pytest.raises(ValueError, match=r"is no (address|day); write"):
            PublishSettings(**wrong)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (BY, "CC0-1.0", "together"),
        (BY, BY_NC, "restricted"),
        (BY, BY_SA, "restricted"),
        (BY_SA, BY_NC, "apart"),
        (BY_SA, BY_NC_SA, "apart"),
        (BY_NC, BY_NC_SA, "restricted"),
        ("CC-BY-SA-3.0", BY_SA, "restricted"),
        (BY_SA, "ODbL-1.0", "apart"),
        (BY_ND, BY, "apart"),
        (BY, "our own terms", "unclear"),
    ],
)
def test_the_table_of_licences_says_what_goes_together(one, other, verdict):
    """As Creative Commons' own table has it for works made of both."""
    assert pairing(read_licence(one), read_licence(other)).verdict == verdict
    assert pairing(read_licence(other), read_licence(one)).verdict == verdict


def test_warnings_are_for_what_does_not_go_together():
    assert warnings_of(map(read_licence, [BY, "CC0-1.0"])) == []
    assert warnings_of([read_licence(BY_NC)]) == []
    (mixed,) = warnings_of(map(read_licence, [BY, BY_NC]))
    assert mixed.startswith(f"non-commercial clips ({BY_NC}) stand beside others ({BY})")
    assert "look them up before you publish" in warnings_of([read_licence("our own")])[0]
    assert "pairs are adaptations" in warnings_of(map(read_licence, [BY, BY_ND]))[0]


@pytest.fixture(scope="module")
def mixed_workspace(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("licences") / "w"
    for source, licence in {"free": "CC0-1.0", "named": BY, "closed": BY_NC}.items():
        provenance = {
            **fixtures_corpus.provenance("clip", 5),
            "licence": licence,
            "origin": f"{source} <b>films</b>: one",
        }
        names = [f"{source}-a"]
        fixtures_workspaces.fill_workspace(workspace, names, source=source, provenance=provenance, group=f"{source}-a")
    return workspace


def test_only_allowed_licences_are_published_and_the_rest_is_counted(mixed_workspace, tmp_path):
    fixtures_workspaces.publish(mixed_workspace, tmp_path / "corpus", licence_allow=("commercial",))
    corpus = effectpairs.open(tmp_path / "corpus")
    assert set(corpus.ids) == {"free-a", "named-a"}
    assert corpus.manifest["left_out"]["by_licence"] == {BY_NC: 1}
    assert corpus.manifest["licence_warnings"] == []
    attribution = (tmp_path / "corpus" / "ATTRIBUTION.md").read_text()
    assert "| 1 | `named <b>films</b>` | one | CC-BY-4.0 |" in attribution
    assert "https://spdx.org/licenses/CC-BY-4.0.html" in attribution
    assert "free" not in attribution, "who asks for no name is not named"
    with pytest.raises(
        ValueError, match=r"no pair has a licence among MIT; there are CC-BY-4\.0, CC-BY-NC-4\.0, CC0-1\.0"
    ):
        fixtures_workspaces.publish(mixed_workspace, tmp_path / "none", licence_allow=("MIT",))


def test_the_command_warns_when_non_commercial_clips_meet_others(mixed_workspace, tmp_path):
    command = [sys.executable, "-m", "effectpairs", "publish", tmp_path / "corpus", "--workspace", mixed_workspace]
    done = subprocess.run([*command, "--no-prefect"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning: non-commercial clips (CC-BY-NC-4.0) stand beside others" in done.stderr.replace("\n", " ")
    card = (tmp_path / "corpus" / "README.md").read_text()
    assert "| `CC-BY-4.0` | `CC-BY-NC-4.0` | restricted: no commercial use of the whole |".replace("`", "") in card
    wrong = subprocess.run([*command, "--licence-allow", "CC-BY-4"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "did you mean" in wrong.stderr
