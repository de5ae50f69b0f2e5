"""Picture of the folders and of who imports whom, read from the code: python docs/draw_architecture.py

Writes docs/architecture.svg. A box is a folder, with its subfolders; a line is a number of imports, which leaves on the
left of the folder that imports and ends at the one that is imported. Lines to one folder share one lane.
"""

import ast
import collections
import html
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = (("cli",), ("flows",), ("training",), ("render",), ("stages", "captioning", "datasets"), ("root modules",))
ORDER = [folder for layer in LAYERS for folder in layer]
COLOURS = dict(
    zip(ORDER, ("#444", "#b3541e", "#7a3e9d", "#1f6fb2", "#2e7d32", "#c2185b", "#00796b", "#777"), strict=True)
)
LANE_PX, BOX_LEFT, BOX_WIDTH, ROW_PX, GAP_PX, CHIP_PX = 30, 270, 640, 20, 26, 7.1


def modules() -> list[Path]:
    """Return every file of the package, without tests, docs and environments."""
    folders = [folder for folder in ORDER[:-1] for folder in sorted((ROOT / folder).rglob("*.py"))]
    return [*sorted(ROOT.glob("*.py")), *folders]


def folder_of(path: Path) -> str:
    """Return the box that a file belongs to."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ORDER[-1]


def count_imports() -> collections.Counter[tuple[str, str]]:
    """Return how many import statements of a folder name another one; the package's own door is no importer."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for path in modules():
        package = path.relative_to(ROOT).parts[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level and path.stem not in ("__init__", "__main__"):
                base = package[: len(package) - node.level + 1]
                first = [*base, *(node.module or node.names[0].name).split(".")][0]
                counts[folder_of(path), first if first in ORDER else ORDER[-1]] += 1
    return collections.Counter({edge: count for edge, count in counts.items() if edge[0] != edge[1]})


def chips_of(folder: str) -> list[list[str]]:
    """Return rows of labels, as many as fit a box: subfolders with their lines, then the folder's own files."""
    owners: dict[str, int] = collections.defaultdict(int)
    for path in modules():
        if folder_of(path) == folder:
            parts = path.relative_to(ROOT).parts
            label = f"{parts[1]}/" if len(parts) > 2 else parts[-1]
            owners[label] += len(path.read_text(encoding="utf-8").splitlines())
    rows: list[list[str]] = [[]]
    for label in sorted(owners, key=lambda label: (not label.endswith("/"), label)):
        text = f"{label} {owners[label]:,}"
        if sum(len(chip) + 3 for chip in [*rows[-1], text]) * CHIP_PX > BOX_WIDTH - 150:
            rows.append([])
        rows[-1].append(text)
    return rows


def draw() -> str:
    """Return the picture as SVG."""
    counts = count_imports()
    shapes: list[str] = []
    tops, heights, top = {}, {}, 20
    for layer in LAYERS:
        for folder in layer:
            rows = chips_of(folder)
            stubs = sum(edge[0] == folder for edge in counts)
            heights[folder] = max(len(rows) * ROW_PX, stubs * 15 + 16) + 18
            tops[folder] = top
            shapes += _box(folder, rows, top, heights[folder])
            top += heights[folder] + (10 if len(layer) > 1 and folder != layer[-1] else GAP_PX)
    targets = [folder for folder in ORDER if any(edge[1] == folder for edge in counts)]
    for lane, target in enumerate(targets):
        shapes += _lane(target, BOX_LEFT - 44 - lane * LANE_PX, counts, tops, heights)
    size = f'width="{BOX_LEFT + BOX_WIDTH + 20}" height="{top}"'
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;font-size:12px;fill:#222}.name{font-size:15px;font-weight:bold}"
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>\n' + "\n".join(shapes) + "\n</svg>\n"


def _box(folder: str, rows: list[list[str]], top: int, height: int) -> list[str]:
    colour = COLOURS[folder]
    shapes = [
        f'<rect x="{BOX_LEFT}" y="{top}" width="{BOX_WIDTH}" height="{height}" rx="6" fill="{colour}" '
        f'fill-opacity="0.07" stroke="{colour}" stroke-width="1.5"/>',
        f'<text class="name" x="{BOX_LEFT + 14}" y="{top + 24}">{html.escape(folder)}</text>',
    ]
    for number, row in enumerate(rows):
        text = "   ·   ".join(row)
        shapes.append(
            f'<text xml:space="preserve" x="{BOX_LEFT + 140}" y="{top + 22 + number * ROW_PX}">'
            f"{html.escape(text)}</text>"
        )
    return shapes


def _lane(
    target: str,
    lane_x: int,
    counts: collections.Counter[tuple[str, str]],
    tops: dict[str, int],
    heights: dict[str, int],
) -> list[str]:
    """Draw the lines to one folder: from each importer to a lane of their own, down it, and into the box."""
    colour = COLOURS[target]
    sources = [folder for folder in ORDER if counts[folder, target]]
    end = tops[target] + 10
    lines, labels = [], []
    for source in sources:
        stubs = [folder for folder in ORDER if counts[source, folder]]
        step = (heights[source] - 32) / len(stubs)
        start = tops[source] + 24 + step * (stubs.index(target) + 0.5)
        lines.append(
            f'<path d="M{BOX_LEFT} {start:.0f}H{lane_x}V{end}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        )
        labels.append(
            f'<text x="{BOX_LEFT - 6}" y="{start - 2:.0f}" text-anchor="end" style="font-size:10px;fill:{colour}">'
            f"{counts[source, target]}</text>"
        )
    head = f'<path d="M{BOX_LEFT} {end}l-9 -4v8z" fill="{colour}"/>'
    lines.append(f'<path d="M{lane_x} {end}H{BOX_LEFT - 6}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
    return [*lines, head, *labels]


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")
