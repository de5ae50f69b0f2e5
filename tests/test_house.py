"""The rules of the house (who imports whom, what is loaded when, what a module says of itself) hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cli", "flows", "stages", "render", "captioning", "datasets", "training")
DOWNWARD = {
    "arrays": set(),
    "extras": set(),
    "stages": {"arrays", "extras"},
    "render": {"arrays", "extras"},
    "captioning": {"arrays", "extras"},
    "datasets": {"arrays", "extras"},
    "training": {"arrays", "extras", "datasets"},
    "__init__": {"datasets"},
    "__main__": {"cli"},
    "flows": {"arrays", "extras", "stages", "render", "captioning", "datasets", "training"},
    "console": {"arrays", "extras", "stages", "render", "captioning", "datasets", "training", "flows"},
    "cli_models": {"console", "arrays", "datasets", "training", "flows"},
    "cli": {
        "",
        "cli_models",
        "console",
        "arrays",
        "extras",
        "stages",
        "render",
        "captioning",
        "datasets",
        "training",
        "flows",
    },
}
"""What each part may import of the house, itself apart; "" is the package's own door."""
WORKER = ROOT / "render" / "worker"
"""A program of its own inside Blender's Python; test_worker.py says what it may import."""
HEAVY = ("torch", "transformers", "diffusers", "bpy", "sam2", "vllm", "kubric", "datasets")
MODULES = sorted([*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Every import in a module, wherever it stands: modules of the house as `part.module`, and whether it is one."""
    found: list[tuple[str, bool]] = []
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.module or "", False))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(".".join([*base, module]), True) for module in modules]
            if node.module:  # `from ..stages import composite` names a module too
                found += [(".".join([*base, node.module, alias.name]), True) for alias in node.names]
    return found


def house_graph() -> dict[str, set[str]]:
    """Module to the modules of the house that it imports."""
    known = {name_of(path) for path in MODULES}
    return {name_of(path): {name for name, ours in imports_of(path) if ours and name in known} for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name, ours in imports_of(path):
        if not ours:
            assert not name.startswith("effectpairs"), f"{name}: inside the house import relatively"
            continue
        other = name.split(".")[0]
        if other == "open":
            other = ""  # `from . import open` in the command line
        assert other == part or other in DOWNWARD[part], f"{name_of(path)} imports {name}: {part} may not know {other}"


def test_there_are_no_circles():
    graph, done = house_graph(), set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join([*above[above.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                walk(other, (*above, name))
            done.add(name)

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_prefect_is_known_to_flows_and_command_line_alone(path):
    part = path.relative_to(ROOT).parts[0]
    if part not in ("flows", "cli/data.py"):
        assert not [name for name, _ in imports_of(path) if name.split(".")[0] == "prefect"]


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != WORKER], ids=name_of)
def test_heavy_packages_are_not_imported_at_the_top(path):
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in top:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if isinstance(node, ast.ImportFrom) and node.level:
            continue
        assert not {name.split(".")[0] for name in names} & set(HEAVY), f"{names}: through extras.require"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


@pytest.mark.parametrize(
    ("module", "light"),
    [
        ("effectpairs", ("numpy", "pyarrow", "av", "cv2", "prefect", *HEAVY)),
        ("effectpairs.cli.app", ("prefect", "pyarrow", "cv2", *HEAVY)),
        ("effectpairs.flows.engine.local_runner", ("prefect", *HEAVY)),
        ("effectpairs.flows.real_pairs", HEAVY),
        ("effectpairs.flows.corpus", HEAVY),
        ("effectpairs.datasets.corpus.reader", ("prefect", "scipy", "skimage", *HEAVY)),
    ],
)
def test_importing_loads_nothing_heavy(module, light, tmp_path):
    program = f"import sys, {module}; print(*(name for name in {light!r} if name in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.split() == []


def test_the_folders_below_the_root_have_no_init():
    """A `datasets/__init__.py` would hide Hugging Face's package from every program started in the root."""
    assert not [path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")]


def test_nothing_in_the_root_hides_a_standard_module():
    names = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert not (names - {"__init__", "__main__"}) & sys.stdlib_module_names


def test_the_quality_numbers_of_stage_and_schema_are_the_same():
    from effectpairs.datasets.corpus import schema
    from effectpairs.stages import quality

    assert {number.name for number in quality.QUALITY_NUMBERS} == set(schema.QUALITY_NUMBERS)


def test_prefect_yaml_deploys_what_is_served():
    import yaml
    from effectpairs.flows.deployments import deployments

    text = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    written = {(one["entrypoint"].split(".")[2].replace("_", "-"), one["name"]) for one in text["deployments"]}
    served = {(one.flow_name, one.name) for one in deployments((), "workspace", "corpus")}
    assert served <= written
    assert not [name for name in written - served if name[0] != "training"]


def test_every_folder_with_code_is_packaged():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(settings["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT).parts for path in MODULES}
    assert {".".join(("effectpairs", *folder)) for folder in folders} <= packages
