"""The rules of the house hold: who imports whom, what is loaded when, how things are named, and how large it all is."""

import ast
import collections
import dataclasses
import importlib
import itertools
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (("cli",), ("flows",), ("training",), ("render",), ("stages", "captioning", "datasets"))
"""Folders from the top down: each imports those below it, and those side by side do not know each other."""
FOLDERS = tuple(itertools.chain(*LAYERS))
DOORS = {
    "__init__": {"datasets"},
    "__main__": {"cli"},
    "settings": {"untrusted_input"},
    "permissions": {"settings", "untrusted_input"},
    "licences": {"settings"},
    "weights": {"digests", "extras"},
    "requirements": {"weights"},
}
"""Root modules that import: the package's own door and program open a folder, weights and what backends need."""
WORKER = ROOT / "render" / "worker"
"""A program of its own inside Blender's Python; test_render_worker.py says what it may import."""
HEAVY = ("torch", "transformers", "diffusers", "bpy", "sam2", "vllm", "kubric", "datasets", "trimesh")
MODULES = sorted([*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

VAGUE_WORDS = """
found made told said given kept asked known shown held wanted drawn seen chosen one other taken worded stored
listed counted rendered walked missed gone lost left there here rest whole plain own more less most such thing
things those others every all_ what who whose place places fixed meant near far like both either done much
many free
"""
"""Words that are no names: participles, pronouns and question words, which say nothing of the thing."""
RIDDLES = ("Of", "What", "Whose", "By", "Which", "Who", "Where", "How")
"""First words of docstrings that make the reader wait for the thing."""
MOST_LINES, MOST_FILES, MOST_README_LINES = 51_000, 310, 220
"""Limits that may be lowered; they rise for a new part of the system alone. The base was 30,000 lines and 215 files; on
top came sam2 and sam3, casper and the two families behind it, layers of other tools, doctor and the weights finder;
then Dask and Ray, object storage, the index with plan, purge and gc, limits on what is not trusted, clips by pieces;
then Wan, VACE, LoRA, the benchmark and the small model; then review, exports, licences, near-duplicates, Croissant;
then files of over 300 lines were divided."""
MOST_MUTABLE, MOST_ISINSTANCE = 5, 3
IN_ANY_FOLDER = ("source.py", "listing.py", "stages.py", "worker/")
"""Names in the pages that stand for a file of several folders."""
SETTINGS = {
    "flows.footage.source": "RealSource",
    "flows.scenes.source": "SceneSource",
    "flows.prompts.source": "UnpairedSource",
    "training.configs.config": "TrainingConfig",
}
"""Modules and classes of settings files; the classes of their fields are settings too."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Every import in a module, wherever it stands: modules of the house as `part.module`, and whether it is one."""
    imports: list[tuple[str, bool]] = []
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            imports += [(alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imports.append((node.module or "", False))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            imports += [(".".join([*base, module]), True) for module in modules]
            if node.module:  # `from ..stages import composite` names a module too
                imports += [(".".join([*base, node.module, alias.name]), True) for alias in node.names]
    return imports


IMPORTS = {path: imports_of(path) for path in MODULES}
GRAPH = {
    name_of(path): {name for name, is_ours in IMPORTS[path] if is_ours and name in {name_of(path) for path in MODULES}}
    - {name_of(path)}
    for path in MODULES
}
"""Module to the modules of the house that it imports."""


def rank(part: str) -> int:
    """Layer of a folder or root module, counted from the top."""
    return next((number for number, layer in enumerate(LAYERS) if part in layer), len(LAYERS))


@pytest.mark.parametrize("part", [*FOLDERS, *(path.stem for path in ROOT.glob("*.py"))])
def test_imports_point_down(part):
    for path in MODULES:
        if path.relative_to(ROOT).parts[0].removesuffix(".py") != part:
            continue
        strangers = [name for name, is_ours in IMPORTS[path] if not is_ours and name.startswith("effectpairs")]
        assert not strangers, f"{name_of(path)}: inside the house import relatively"
        for imported in GRAPH[name_of(path)]:
            target = imported.split(".")[0]
            may = target == part or rank(target) > rank(part) or target in DOORS.get(part, ())
            assert may, f"{name_of(path)} imports {imported}: {part} may not know {target}"


def test_there_are_no_circles_of_files():
    checked: set[str] = set()

    def follow(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join([*above[above.index(name) :], name])}"
        if name not in checked:
            for imported in GRAPH[name]:
                follow(imported, (*above, name))
            checked.add(name)

    for name in GRAPH:
        follow(name, ())


def test_no_two_folders_import_each_other():
    """At any depth: a folder's own files, and all files below it."""
    edges: dict[tuple[str, str], str] = {}
    for name, targets in GRAPH.items():
        for target in () if name in DOORS else targets:
            owners, others = (_folders_of(module) for module in (name, target))
            pairs = [(owners[-1], others[-1]), *itertools.product(owners, others)]
            for one, other in pairs:
                apart = one not in others and other not in owners
                if one != other and (apart or (one, other) == pairs[0]):
                    edges.setdefault((one, other), f"{name} imports {target}")
    mutual = [f"{edges[pair]}, {edges[pair[::-1]]}" for pair in edges if pair[::-1] in edges and pair[0] < pair[1]]
    assert not mutual, "\n".join(mutual)


def _folders_of(module: str) -> list[str]:
    parts = module.split(".")[:-1]
    return ["", *(".".join(parts[: count + 1]) for count in range(len(parts)))]


def test_prefect_is_imported_by_the_flows_files_alone():
    for path in MODULES:
        if path.parent != ROOT / "flows":
            assert not [name for name, _ in IMPORTS[path] if name.split(".")[0] == "prefect"], name_of(path)


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != WORKER], ids=name_of)
def test_heavy_packages_are_not_imported_at_the_top(path):
    for node in TREES[path].body:
        if not isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, ast.ImportFrom) and node.level):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        assert not {name.split(".")[0] for name in names} & set(HEAVY), f"{names}: through extras.require"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    tree = TREES[path]
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


# ---------------------------------------------------------------- names


def definitions(*kinds: type[ast.AST]) -> list[tuple[Path, typing.Any]]:
    return [(path, node) for path, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kinds)]


def is_vague(name: str) -> bool:
    return name.lstrip("_").lower() in VAGUE_WORDS.split()


def test_functions_and_classes_have_names():
    nodes = definitions(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [f"{name_of(path)}:{node.lineno} {node.name}" for path, node in nodes if is_vague(node.name)] == []


def test_vague_names_are_under_one_per_cent():
    names = [(path, node.lineno, node.id) for path, node in definitions(ast.Name) if isinstance(node.ctx, ast.Store)]
    names += [(path, node.lineno, node.arg) for path, node in definitions(ast.arg) if node.arg not in ("self", "cls")]
    vague = [f"{name_of(path)}:{line} {name}" for path, line, name in names if is_vague(name)]
    assert len(vague) < 0.01 * len(names), f"{len(vague)} of {len(names)}: {'; '.join(vague)}"


def test_no_class_name_stands_for_two_things():
    owners = collections.defaultdict(list)
    for path, node in definitions(ast.ClassDef):
        if path.parent != WORKER:
            owners[node.name].append(name_of(path))
    assert {name: modules for name, modules in owners.items() if len(modules) > 1} == {}


def test_docstrings_begin_with_the_thing_or_the_verb():
    nodes = definitions(ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [(path, ast.get_docstring(node) or "-") for path, node in nodes]
    for path, node in definitions(ast.Expr):  # those of fields and constants
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            texts.append((path, node.value.value or "-"))
    riddles = [f"{name_of(path)}: {text.splitlines()[0]}" for path, text in texts if text.split()[0] in RIDDLES]
    assert riddles == []


# ---------------------------------------------------------------- values and size


def test_few_dataclasses_are_mutable():
    mutable = []
    for path, node in definitions(ast.ClassDef):
        for decorator in node.decorator_list:
            words = ast.unparse(decorator)
            if words.split("(")[0].endswith("dataclass") and "frozen=True" not in words:
                mutable.append(f"{name_of(path)}.{node.name}")
    assert len(mutable) <= MOST_MUTABLE, mutable


def settings_classes() -> set[str]:
    """Names of the classes that settings files are made of."""
    names: set[str] = set()
    waiting = [getattr(importlib.import_module(f"effectpairs.{module}"), name) for module, name in SETTINGS.items()]
    while waiting:
        hint = waiting.pop()
        waiting += typing.get_args(hint)
        if dataclasses.is_dataclass(hint) and hint.__name__ not in names:
            names.add(hint.__name__)
            waiting += typing.get_type_hints(hint).values()
    return names


def test_settings_are_asked_rather_than_told_apart():
    """A value that differs between alternatives is a method of theirs, not an isinstance."""
    settings, tests = settings_classes(), []
    for path, node in definitions(ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            names = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            tests += [f"{name_of(path)}:{node.lineno} {name}" for name in names & settings]
    assert len(tests) <= MOST_ISINSTANCE, tests


def test_the_house_is_no_larger_than_it_must_be():
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES)
    assert lines <= MOST_LINES
    assert len(MODULES) <= MOST_FILES


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_README_LINES


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    names = re.findall(r"`((?:[\w.-]+/)*[\w-]+(?:\.(?:py|toml|yaml)|/))`", text) + re.findall(r"\]\(([^):#]+)\)", text)
    bases = [ROOT, (ROOT / page).parent, *(ROOT / folder for folder in FOLDERS)]
    lost = [name for name in names if not any((base / name).exists() for base in bases)]
    assert [name for name in lost if name not in IN_ANY_FOLDER] == []


# ---------------------------------------------------------------- packaging and schema


@pytest.mark.parametrize(
    ("module", "light"),
    [
        ("effectpairs", ("numpy", "pyarrow", "av", "cv2", "prefect", *HEAVY)),
        ("effectpairs.cli.app", ("prefect", "pyarrow", "cv2", "pydantic", *HEAVY)),
        ("effectpairs.flows.engine.local_runner", ("prefect", *HEAVY)),
        ("effectpairs.flows.real_pairs", HEAVY),
        ("effectpairs.flows.corpus", HEAVY),
        ("effectpairs.datasets.corpus.reader", ("prefect", "scipy", "skimage", *HEAVY)),
    ],
)
def test_importing_loads_nothing_heavy(module, light, tmp_path):
    program = f"import sys, {module}; print(*(name for name in {light!r} if name in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.split() == []


def test_the_folders_below_the_root_have_no_init():
    """A `datasets/__init__.py` would hide Hugging Face's package from every program started in the root."""
    assert not [path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")]


def test_nothing_in_the_root_hides_a_standard_module():
    names = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert not (names - {"__init__", "__main__"}) & sys.stdlib_module_names


def test_the_quality_numbers_of_stage_and_schema_are_the_same():
    from effectpairs.datasets.corpus import schema
    from effectpairs.stages import quality

    assert set(quality.QUALITY_NUMBERS) == set(schema.QUALITY_NUMBERS)


def test_prefect_yaml_deploys_what_is_served():
    import yaml
    from effectpairs.flows.deployments import deployments

    text = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    written = {(entry["entrypoint"].split(".")[2].replace("_", "-"), entry["name"]) for entry in text["deployments"]}
    served = {(deployment.flow_name, deployment.name) for deployment in deployments((), "workspace", "corpus")}
    assert served <= written
    assert not [name for name in written - served if name[0] != "training"]


def test_every_folder_with_code_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(settings["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT).parts for path in MODULES}
    assert {".".join(("effectpairs", *folder)) for folder in folders} <= packages
