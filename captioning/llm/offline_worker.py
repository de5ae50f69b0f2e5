"""vLLM's side of the offline backend: a program of its own, in an environment of its own; it imports nothing of ours.

JSON lines. In comes first {"model", "revision", "engine"}, then questions {"id", "messages", "temperature", "seed",
"max_tokens", "schema"}; out goes first {"ready", "version"}, then answers {"id", "text", "finish", "tokens_in",
"tokens_out"} or {"id", "error"}. What has come in while vLLM was busy goes into its next batch. The program ends when
its input does.
"""

import contextlib
import importlib
import json
import os
import queue
import threading
import time
from typing import Any

GATHER_S = 0.05
"""After the first question of a batch so long is waited for more."""
LARGEST = 256


def main() -> None:
    """Serve standard input until it ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM and its workers print: all of that goes to standard error
    # A character that is not UTF-8 is no reason to stop.
    lines = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    start = json.loads(lines.readline())
    try:
        engine, vllm = load(start)
    except Exception as error:  # whatever it is: it goes to the other side in words
        say(out, {"error": f"{type(error).__name__}: {error}"})
        return
    say(out, {"ready": True, "version": str(getattr(vllm, "__version__", "unknown"))})
    asked: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=listen, args=(lines, asked), daemon=True).start()
    while batch := gather(asked):
        for answer in answers(engine, vllm, batch):
            say(out, answer)


def load(start: dict[str, Any]) -> tuple[Any, Any]:
    """The engine and the package."""
    vllm = importlib.import_module("vllm")
    options = {name: value for name, value in start["engine"].items() if value is not None}
    return vllm.LLM(model=start["model"], revision=start.get("revision") or None, **options), vllm


def listen(lines: Any, asked: "queue.Queue[dict[str, Any] | None]") -> None:
    """Every line into the queue, and None at the end."""
    for line in lines:
        with contextlib.suppress(ValueError):
            asked.put(json.loads(line))
    asked.put(None)


def gather(asked: "queue.Queue[dict[str, Any] | None]") -> list[dict[str, Any]]:
    """The next batch; empty at the end."""
    batch: list[dict[str, Any]] = []
    until = None
    while len(batch) < LARGEST:
        try:
            found = asked.get(timeout=None if until is None else max(until - time.monotonic(), 0))
        except queue.Empty:
            break
        if found is None:
            asked.put(None)  # for the next call
            break
        batch.append(found)
        until = until or time.monotonic() + GATHER_S
    return batch


def answers(engine: Any, vllm: Any, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An answer to each question; where one spoils the batch, each is asked alone."""
    try:
        found = engine.chat(
            [question["messages"] for question in batch],
            [sampling(vllm, question) for question in batch],
            use_tqdm=False,  # with its bar switched off elsewhere, vLLM divides by zero
        )
        return [{"id": question["id"], **told(output)} for question, output in zip(batch, found, strict=True)]
    except Exception as error:
        if len(batch) == 1:
            return [{"id": batch[0]["id"], "error": f"{type(error).__name__}: {error}"}]
        return [answer for question in batch for answer in answers(engine, vllm, [question])]


def sampling(vllm: Any, question: dict[str, Any]) -> Any:
    """How one answer is drawn; a schema guides it word by word."""
    options: dict[str, Any] = {name: question[name] for name in ("temperature", "seed", "max_tokens")}
    if question.get("schema"):
        kind = importlib.import_module("vllm.sampling_params").StructuredOutputsParams
        options["structured_outputs"] = kind(json=question["schema"], disable_any_whitespace=True)
    return vllm.SamplingParams(**options)


def told(output: Any) -> dict[str, Any]:
    """What is kept of vLLM's output."""
    given = output.outputs[0]
    return {
        "text": given.text,
        "finish": given.finish_reason,
        "tokens_in": len(output.prompt_token_ids or ()),
        "tokens_out": len(given.token_ids),
    }


def say(out: Any, line: dict[str, Any]) -> None:
    """One line to the other side."""
    out.write(json.dumps(line) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
