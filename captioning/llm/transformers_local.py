"""Captions by a model that transformers runs in this process: MiniCPM-V 4.6, a small language model, others.

One question at a time, on one device; for many clips a server or vLLM is faster. Frames go in all and unsampled: by
default MiniCPM's processor takes one frame a second.
"""

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from PIL import Image

from ...extras import require
from ...weights import WeightsRef, find_weights
from .llm_captioner import ChatRequest, ChatResponse, FrameEncoding, LlmCaptioner, ModelUnavailable


@dataclass(frozen=True, kw_only=True)
class TransformersCaptioner(LlmCaptioner):
    """Caption with weights on this machine, loaded once for each process."""

    kind: Literal["transformers"] = "transformers"
    model: str = "openbmb/MiniCPM-V-4.6"
    """An id in the Hugging Face cache, or a folder."""
    revision: str = ""
    """Commit, tag or branch in the cache; empty is "main"."""
    device: str = "auto"
    """"cuda", "cuda:1", "mps", "cpu"; "auto" takes the first GPU there is."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: as the weights were saved."""
    frame_encoding: FrameEncoding = "video"

    required_packages: ClassVar[Mapping[str, str]] = {"torch": "models", "transformers": "models"}

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The one model, in safetensors."""
        return (WeightsRef(model=self.model, revision=self.revision or None),)

    def chat(self, request: ChatRequest) -> ChatResponse:
        """Return the model's answer; the same for the same question, seed and machine.

        Raises:
            WeightsNotFound: no weights here.
            ModelUnavailable: they cannot be loaded, a question longer than the context, frames for a text model.
        """
        with _loading:  # two threads would load it twice
            model = _load(self.required_weights[0], self.device, self.dtype)
        return model.answer(request, self.frame_encoding)


class LoadedModel:
    """A model in memory."""

    def __init__(self, ref: WeightsRef, device: str, dtype: str) -> None:
        local = find_weights(ref)
        self._torch = require("torch", extra="models")
        library = require("transformers", extra="models")
        self.name, self.revision, folder = ref.model, local.version, local.path
        try:
            config = library.AutoConfig.from_pretrained(folder, local_files_only=True)
            self.takes_frames = type(config) in library.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
            processors = library.AutoProcessor if self.takes_frames else library.AutoTokenizer
            networks = library.AutoModelForImageTextToText if self.takes_frames else library.AutoModelForCausalLM
            self.processor = processors.from_pretrained(folder, local_files_only=True)
            network = networks.from_pretrained(folder, local_files_only=True, dtype=dtype)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelUnavailable(
                f"{self.name} cannot be loaded from {folder} ({reason}); see whether its files are whole, and "
                "whether transformers knows this model (MiniCPM-V before 4.6 runs in vLLM alone)"
            ) from error
        if device == "auto":
            device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self.device = device
        self.network = network.to(device).eval()
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.context_tokens = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or 0)
        self._lock = threading.Lock()

    def answer(self, request: ChatRequest, frame_encoding: FrameEncoding) -> ChatResponse:
        """Answer greedily at temperature 0, else sampled by the seed; the process's own random state is kept."""
        with self._lock, self._torch.inference_mode(), self._torch.random.fork_rng():
            inputs = self.inputs(request, frame_encoding).to(self.device)
            tokens_in = int(inputs["input_ids"].shape[1])
            if self.context_tokens and tokens_in + request.max_tokens > self.context_tokens:
                raise ModelUnavailable(
                    f"{self.name} holds {self.context_tokens:,} tokens, and this question takes {tokens_in:,} and up "
                    f"to {request.max_tokens:,} for the answer; lower max_frames or max_tokens"
                )
            sampling: dict[str, Any] = {"do_sample": True, "temperature": request.temperature}
            if request.temperature == 0:
                sampling = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
            self._torch.manual_seed(request.seed % 2**63)
            tokens = self.network.generate(**inputs, max_new_tokens=request.max_tokens, **sampling)[0, tokens_in:]
        return ChatResponse(
            text=self.tokenizer.decode(tokens, skip_special_tokens=True),
            model=self.name,
            revision=self.revision,
            tokens_in=tokens_in,
            tokens_out=len(tokens),
            is_complete=len(tokens) < request.max_tokens,
        )

    def inputs(self, request: ChatRequest, frame_encoding: FrameEncoding) -> Any:
        """Return the network's inputs: the question by the model's own template, with its pictures."""
        options: dict[str, Any] = {}
        if request.frames is None:
            user: Any = [{"type": "text", "text": request.user}] if self.takes_frames else request.user
        elif not self.takes_frames:
            raise ModelUnavailable(f"{self.name} reads text and sees no frames; describe with a vision-language model")
        else:
            pictures = [Image.fromarray(frame) for frame in request.frames]
            parts: list[dict[str, Any]] = [{"type": "image", "image": picture} for picture in pictures]
            if frame_encoding == "video":
                parts = [{"type": "video", "video": pictures}]
            user = [*parts, {"type": "text", "text": request.user}]
            options["processor_kwargs"] = self._frame_options(frame_encoding)
        system = [{"type": "text", "text": request.system}] if self.takes_frames else request.system
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return self.processor.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", **options
        )

    def _frame_options(self, frame_encoding: FrameEncoding) -> dict[str, Any]:
        is_video = frame_encoding == "video"
        options: dict[str, Any] = {"do_sample_frames": False} if is_video else {}
        processor = getattr(self.processor, "video_processor" if is_video else "image_processor", None)
        if hasattr(processor, "max_slice_nums"):  # MiniCPM: a frame stays in one piece and bears no number
            options |= {"max_slice_nums": 1, "use_image_id": False}
        return options


_loading = threading.Lock()
_load = functools.cache(LoadedModel)
