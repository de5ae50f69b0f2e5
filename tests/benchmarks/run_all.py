"""Every benchmark in turn, at a size that ends in minutes: each prints ratios measured in this run. `make bench`."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS: tuple[tuple[str, ...], ...] = (
    ("eq2_and_mask.py",),
    ("reader.py",),
    ("windows.py",),
    ("flow_overhead.py",),
    ("engine_rates.py",),
    ("propagate_j.py",),
    ("plate_truth.py",),
    ("plate_statistics.py",),
    ("plate_speed.py", "--rounds", "1"),
    ("effect_masks.py",),
    ("caption_rate.py",),
    ("render_cost.py", "--quick"),
    ("training_rates.py",),
    ("train_small.py",),
)
"""What is called, and with what: without arguments some measure for an hour."""


def main(named: list[str]) -> str | int:
    """Run those that are named, or all; what failed, or 0."""
    chosen = [call for call in BENCHMARKS if not named or call[0] in named]
    failed = [call[0] for call in chosen if run(call)]
    return f"failed: {', '.join(failed)}" if failed else 0


def run(call: tuple[str, ...]) -> int:
    """One of them, in a process of its own; its exit code."""
    script, *arguments = call
    print(f"\n{' '.join(call)}", flush=True)
    return subprocess.run([sys.executable, Path(__file__).with_name(script), *arguments]).returncode


if __name__ == "__main__":
    unknown = [name for name in sys.argv[1:] if name not in {call[0] for call in BENCHMARKS}]
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(call[0] for call in BENCHMARKS)}")
    sys.exit(main(sys.argv[1:]))
