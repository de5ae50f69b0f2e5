"""Captions by vLLM in an environment of its own: its server as a watched child process, used as an endpoint.

vLLM pins its own torch, so it never shares our environment: `python_path` names the one it lives in. Its
OpenAI-compatible server (`vllm serve`, started by module, since not every build of vLLM has the command) listens on a
free loopback port, takes only requests with a random key, and ends with this process. It batches what is in flight.
"""

import http.client
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import SecretStr

from ...processes import ChildProcess, ProgramFailed
from ...requirements import Lack
from ...settings import InRange
from ...weights import WeightsRef, is_download_allowed
from .endpoint_client import EndpointClient, EndpointSettings
from .llm_captioner import ChatRequest, ChatResponse, FrameEncoding, LlmCaptioner, ModelUnavailable

PYTHON_ENV = "EFFECTPAIRS_VLLM"
"""Environment variable that names the python to use where the setting does not."""
ENVIRONMENT_REMEDY = (
    f"make one (python -m venv DIR; DIR/bin/pip install vllm) and set python_path or {PYTHON_ENV} to DIR/bin/python"
)
SERVER_MODULE = "vllm.entrypoints.openai.api_server"
HEALTH_TIMEOUT_S = 5.0
EXIT_TIMEOUT_S = 15.0


@dataclass(frozen=True, kw_only=True)
class VllmCaptioner(LlmCaptioner):
    """Caption through a vLLM server that is started for it."""

    kind: Literal["vllm"] = "vllm"
    model: str = "openbmb/MiniCPM-V-2_6"
    revision: str = ""
    python_path: str = ""
    """The python of the environment with vLLM; empty: what EFFECTPAIRS_VLLM says."""
    max_concurrency: Annotated[int, InRange(1, 4096)] = 32
    """Questions in flight, and so the most in one batch."""
    max_model_len: int | None = 8192
    """Tokens of question and answer; None is the model's own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    gpu_memory_utilization: Annotated[float, InRange(0.01, 1)] = 0.9
    """Share of a GPU's memory."""
    trust_remote_code: bool = False
    """Let the model's folder bring code: MiniCPM-V 2.6 needs it, for its image processor. Pin revision with it."""
    enforce_eager: bool = False
    """No compilation: starts faster, runs slower; wise on a CPU."""
    startup_timeout_s: Annotated[float, InRange(0.01, 86_400)] = 1800.0
    timeout_s: Annotated[float, InRange(0.01, 86_400)] = 600.0
    """Limit for one answer."""
    frame_encoding: FrameEncoding = "video"

    required_packages: ClassVar[Mapping[str, str]] = {"openai": "captions", "huggingface_hub": "captions"}

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The one model; vLLM loads other formats than safetensors too."""
        return (WeightsRef(model=self.model, revision=self.revision or None, parts=("config.json",)),)

    def missing_programs(self) -> tuple[Lack, ...]:
        """The Python of an environment with vLLM, if none is named or the named one is no program."""
        python_path = self.python_path or os.environ.get(PYTHON_ENV, "")
        if python_path and shutil.which(Path(python_path).expanduser()) is None:
            return (Lack(kind="program", fault=f"{python_path} is no program", remedy=ENVIRONMENT_REMEDY),)
        if python_path:
            return ()
        fault = f"{self.model} runs in vLLM, and no environment is named"
        return (Lack(kind="program", fault=fault, remedy=ENVIRONMENT_REMEDY),)

    def chat(self, request: ChatRequest) -> ChatResponse:
        """Return vLLM's answer.

        Raises:
            ModelUnavailable: no environment, no model, a server that ended, or a question that it refuses.
        """
        python_path = self.python_path or os.environ.get(PYTHON_ENV, "")
        if not python_path:
            raise ModelUnavailable(str(self.missing_programs()[0]))
        response = _running_server(self, python_path).ask(request)
        return replace(response, model=self.model, revision=self.revision or None)

    def close(self) -> None:
        """End this process's server, if there is one; the next question starts another."""
        with _starting:
            for key in [key for key in _servers if key[0] == self]:
                _servers.pop(key).close()

    def command(self, python_path: str, port: int) -> list[str]:
        """Return the command that starts the server; the key comes by its environment."""
        limits = {"video": 1} if self.frame_encoding == "video" else {"image": self.max_frames}
        options = {
            "model": self.model,
            "revision": self.revision or None,
            "host": "127.0.0.1",
            "port": port,
            "dtype": self.dtype,
            "max-model-len": self.max_model_len,
            "gpu-memory-utilization": self.gpu_memory_utilization,
            "limit-mm-per-prompt": json.dumps(limits),
            "media-io-kwargs": json.dumps({"video": {"num_frames": self.max_frames}}),
        }
        flags = {"trust-remote-code": self.trust_remote_code, "enforce-eager": self.enforce_eager}
        # -I: neither our folders nor PYTHONPATH reach the other environment.
        command = [python_path, "-I", "-m", SERVER_MODULE]
        for name, value in options.items():
            command += [f"--{name}", str(value)] if value is not None else []
        return command + [f"--{name}" for name, is_set in flags.items() if is_set]


class VllmServer:
    """A running vLLM server with its client."""

    def __init__(self, settings: VllmCaptioner, python_path: str) -> None:
        self._title = f"{settings.model} in vLLM"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self._port = int(unused.getsockname()[1])
        key = secrets.token_urlsafe(32)
        self._log = tempfile.NamedTemporaryFile(prefix="effectpairs-vllm-", suffix=".log")  # noqa: SIM115
        command, env = settings.command(python_path, self._port), os.environ | {"VLLM_API_KEY": key}
        if not is_download_allowed():
            env["HF_HUB_OFFLINE"] = "1"  # by itself it downloads whatever it does not find
        try:
            self._process = ChildProcess(command, Path(self._log.name), env=env, guarded=True)
            self._process.wait_until(self._is_healthy, settings.startup_timeout_s)
        except OSError as error:
            if isinstance(error, TimeoutError):
                self.close()
                raise ModelUnavailable(
                    f"{self._title} did not get ready in {settings.startup_timeout_s:g} s; allow it more, or see "
                    "whether it hangs"
                ) from None
            raise ModelUnavailable(
                f"{self._title} needs the Python of an environment with vLLM, and {python_path} cannot be started "
                f"({error.strerror}); make one (python -m venv DIR; DIR/bin/pip install vllm) and name its python"
            ) from error
        except ProgramFailed:
            raise ModelUnavailable(self._end_sentence()) from None
        endpoint = EndpointSettings(
            model=settings.model,
            base_url=f"http://127.0.0.1:{self._port}/v1",
            max_concurrency=settings.max_concurrency,
            max_attempts=1,
            timeout_s=settings.timeout_s,
            frame_encoding=settings.frame_encoding,
        )
        self._client = EndpointClient(endpoint, SecretStr(key), title=self._title)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    def ask(self, request: ChatRequest) -> ChatResponse:
        """Return the answer.

        Raises:
            ModelUnavailable: there is none; a server that no longer answers is ended, so that the next one starts.
        """
        try:
            return self._client.ask(request)
        except ModelUnavailable:
            if not self._is_healthy():
                has_ended = self._process.wait(1.0) is not None  # a program that fails takes a moment to end
                self.close()
                if has_ended:
                    raise ModelUnavailable(self._end_sentence()) from None
            raise

    def close(self) -> None:
        """End the server."""
        self._process.end(EXIT_TIMEOUT_S)

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _end_sentence(self) -> str:
        lines = self._process.log_tail(200).splitlines() or ["no word of why"]
        # The engine's own error stands above the server's, which only points to it.
        errors = [line for line in lines if re.search(r"\w+Error: ", line) and "root cause" not in line]
        reason = " ".join((errors or lines)[-1].split())[-300:]
        remedy = "see whether vLLM and the model fit this machine"
        if missing := re.search(r"No module named '[\w.]+'", reason):
            reason, remedy = missing.group(), "name the python of an environment that has vLLM"
        elif "memory" in reason.lower():
            remedy = "lower max_model_len or gpu_memory_utilization, or choose a smaller model"
        return f"{self._title} ended (exit code {self._process.returncode}): {reason}; {remedy}"


_starting = threading.Lock()
_servers: dict[tuple[VllmCaptioner, str, int], VllmServer] = {}


def _running_server(settings: VllmCaptioner, python_path: str) -> VllmServer:
    """Return the server of these settings in this process; one that has ended is started anew."""
    key = (settings, python_path, os.getpid())
    with _starting:
        if key not in _servers or not _servers[key].is_running:
            _servers[key] = VllmServer(settings, python_path)
        return _servers[key]
