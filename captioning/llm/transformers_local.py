"""Captions by a model that transformers runs in this process: MiniCPM-V 4.6, a small language model, others.

One question at a time, on one device; for many clips a server (`endpoint.py`) or vLLM (`offline.py`) is faster. The
model's own chat template words the question. Frames go in all and unsampled: left alone, MiniCPM's processor takes one
frame a second.
"""

import functools
import threading
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image as Pictures

from ...extras import require
from ..interface.frame_sampling import FrameEncoding
from .chat import ChatRequest, ChatResponse, ModelUnavailable
from .llm_captioner import LlmCaptioner
from .model_files import find_model_files


@dataclass(frozen=True, kw_only=True)
class TransformersCaptioner(LlmCaptioner):
    """Caption with weights on this machine, loaded once for each process; nothing is fetched."""

    kind: Literal["transformers"] = "transformers"
    model: str = "openbmb/MiniCPM-V-4.6"
    """An id in the Hugging Face cache, or a folder."""
    revision: str = ""
    """Commit, tag or branch in the cache; empty is "main"."""
    device: str = "auto"
    """"cuda", "cuda:1", "mps", "cpu"; "auto" takes the first GPU there is."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: as the weights were saved."""
    frame_encoding: Literal["video", "images"] = "video"

    @property
    def max_concurrency(self) -> int:
        """One: a second question would wait for the first."""
        return 1

    def chat(self, ask: ChatRequest) -> ChatResponse:
        """The model's answer; the same for the same question, seed and machine.

        Raises:
            Unavailable: no weights on this machine, a question longer than the context, frames for a blind model.
        """
        loaded = _loaded(self.model, self.revision, self.device, self.dtype)
        return loaded.answer(ask, self.frame_encoding)


class LoadedModel:
    """A model in memory."""

    def __init__(self, model: str, revision: str, device: str, dtype: str) -> None:
        self._torch = require("torch", extra="models")
        library = require("transformers", extra="models")
        self.name, weights = model, find_model_files(model, revision)
        self.revision = weights.revision
        try:
            config = library.AutoConfig.from_pretrained(weights.folder, local_files_only=True)
            self.sees = type(config) in library.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
            reader = library.AutoProcessor if self.sees else library.AutoTokenizer
            kind = library.AutoModelForImageTextToText if self.sees else library.AutoModelForCausalLM
            self.processor = reader.from_pretrained(weights.folder, local_files_only=True)
            network = kind.from_pretrained(weights.folder, local_files_only=True, dtype=dtype)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelUnavailable(
                f"{model} cannot be loaded from {weights.folder} ({reason}); see whether its files are whole, and "
                "whether transformers knows this model (MiniCPM-V before 4.6 runs in vLLM alone)"
            ) from error
        self.device = self._device(device)
        self.network = network.to(self.device).eval()
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        text_config = config.get_text_config()
        self.context = int(getattr(text_config, "max_position_embeddings", 0) or 0)
        self._one_at_a_time = threading.Lock()

    def answer(self, ask: ChatRequest, frame_encoding: FrameEncoding) -> ChatResponse:
        """Greedy at temperature 0, else sampled from the seed; the process's own random numbers are left alone."""
        with self._one_at_a_time, self._torch.inference_mode(), self._torch.random.fork_rng():
            inputs = self.inputs(ask, frame_encoding).to(self.device)
            asked = int(inputs["input_ids"].shape[1])
            if self.context and asked + ask.max_tokens > self.context:
                raise ModelUnavailable(
                    f"{self.name} holds {self.context:,} tokens, and this question takes {asked:,} and up to "
                    f"{ask.max_tokens:,} for the answer; lower max_frames or max_tokens"
                )
            self._torch.manual_seed(ask.seed % 2**63)
            given = self.network.generate(**inputs, max_new_tokens=ask.max_tokens, **self._sampling(ask))[0, asked:]
        return ChatResponse(
            text=self.tokenizer.decode(given, skip_special_tokens=True),
            model=self.name,
            revision=self.revision,
            tokens_in=asked,
            tokens_out=len(given),
            whole=len(given) < ask.max_tokens,
        )

    def inputs(self, ask: ChatRequest, frame_encoding: FrameEncoding) -> Any:
        """The question as the model's own template words it, with its pictures: what the network sees."""
        if ask.frames is None:
            user: Any = [{"type": "text", "text": ask.user}] if self.sees else ask.user
        elif not self.sees:
            raise ModelUnavailable(f"{self.name} reads text and sees no frames; describe with a vision-language model")
        else:
            pictures = [Pictures.fromarray(frame) for frame in ask.frames]
            shown: list[dict[str, Any]]
            if frame_encoding == "video":
                shown = [{"type": "video", "video": pictures}]
            else:
                shown = [{"type": "image", "image": picture} for picture in pictures]
            user = [*shown, {"type": "text", "text": ask.user}]
        system = [{"type": "text", "text": ask.system}] if self.sees else ask.system
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        more = {"processor_kwargs": self._unsampled(ask, frame_encoding)} if ask.frames is not None else {}
        return self.processor.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", **more
        )

    def _unsampled(self, ask: ChatRequest, frame_encoding: FrameEncoding) -> dict[str, Any]:
        options: dict[str, Any] = {"do_sample_frames": False} if frame_encoding == "video" else {}
        part = getattr(self.processor, "video_processor" if frame_encoding == "video" else "image_processor", None)
        if hasattr(part, "max_slice_nums"):  # MiniCPM: a frame stays in one piece and bears no number
            options |= {"max_slice_nums": 1, "use_image_id": False}
        return options

    def _sampling(self, ask: ChatRequest) -> dict[str, Any]:
        if ask.temperature == 0:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": ask.temperature}

    def _device(self, wanted: str) -> str:
        if wanted != "auto":
            return wanted
        return "cuda" if self._torch.cuda.is_available() else "cpu"


_loading = threading.Lock()


def _loaded(model: str, revision: str, device: str, dtype: str) -> LoadedModel:
    with _loading:  # two threads would load it twice
        return _load(model, revision, device, dtype)


_load = functools.cache(LoadedModel)
