"""Every benchmark in turn: each prints ratios that it measured in this run. `make bench` calls this."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("eq2_and_mask.py", "reader.py", "flow_overhead.py", "propagate_j.py", "plate_truth.py", "caption_rate.py")

if __name__ == "__main__":
    failed = [
        name for name in BENCHMARKS if subprocess.run([sys.executable, Path(__file__).with_name(name)]).returncode
    ]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
