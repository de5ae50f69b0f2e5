"""A package that looks like vLLM to the program that calls it: same names, answers made of what it was given."""

import sys
from pathlib import Path

SOURCE = '''
"""Stands in for vLLM."""
import json, os, sys, time
from types import SimpleNamespace as Thing
__version__ = "0.0-fake"
class SamplingParams(Thing): pass
class LLM:
    def __init__(self, model, revision, **options):
        print("INFO loading", model)  # to standard output, as the real one does
        if model == "too/large":
            raise MemoryError("out of memory: 80 GB wanted")
        if model == "dies/early":
            print("Segmentation fault", file=sys.stderr, flush=True)
            os._exit(139)
        if model == "hangs":
            time.sleep(60)
        self.options, self.batches = options, 0
    def chat(self, conversations, sampling, use_tqdm):
        self.batches += 1
        time.sleep(0.05)
        out = []
        for messages, params in zip(conversations, sampling):
            content = messages[-1]["content"]
            text = content if isinstance(content, str) else content[-1]["text"]
            if "too long" in text:
                raise ValueError("The prompt is longer than the maximum model length of 8192")
            if "die now" in text:
                os._exit(1)
            guided = getattr(params, "structured_outputs", None)
            parts = 0 if isinstance(content, str) else len(content) - 1
            said = {"caption": "A dog runs.", "batch": len(conversations), "parts": parts, "seed": params.seed,
                    "guided": bool(guided), "options": sorted(self.options)}
            given = Thing(text=json.dumps(said), finish_reason="stop", token_ids=[1, 2, 3])
            out.append(Thing(outputs=[given], prompt_token_ids=[1] * 10))
        return out
'''
PARAMS = "class StructuredOutputsParams:\n    def __init__(self, **options): self.options = options\n"


def install(folder: Path) -> str:
    """A python in folder that finds the false vLLM, even when it is told to look nowhere else."""
    package = folder / "site" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    (package / "sampling_params.py").write_text(PARAMS)
    python = folder / "python"
    lead = f"import sys, runpy; sys.path.insert(0, {str(package.parent)!r}); "
    run = "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    # `exec python -I PROGRAM` becomes `exec python -I -c LEAD PROGRAM`.
    python.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -I -c "{lead}{run}" "$@"\n')
    python.chmod(0o755)
    return str(python)
