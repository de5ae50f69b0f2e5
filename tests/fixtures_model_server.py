"""A model behind an OpenAI-compatible server, in a process of its own: `python fixtures_model_server.py FOLDER`.

Small and slow, for tests: it takes one question at a time. It prints its address, and ends with its standard input.
"""

import sys

import torch
from effectpairs.captioning.llm.llm_captioner import ChatRequest, ModelUnavailable
from effectpairs.captioning.llm.transformers_local import TransformersCaptioner
from effectpairs.tests.fixtures_llm_server import Forgetful, Raw, StubServer, completion, error


def main() -> None:
    """Serve the model of the folder given."""
    torch.set_num_threads(1)
    model = TransformersCaptioner(model=sys.argv[1], device="cpu")

    def answer(request: dict) -> dict | Raw:
        system, user = (message["content"] for message in request["messages"])
        options = {name: request[name] for name in ("temperature", "seed", "max_tokens")}
        try:
            given = model.chat(ChatRequest(system=system, user=user, **options))
        except ModelUnavailable as trouble:
            return error(400, str(trouble))
        usage = {"prompt_tokens": given.tokens_in, "completion_tokens": given.tokens_out}
        ended = "stop" if given.is_complete else "length"
        return completion(given.text, model=request["model"], usage=usage, finish_reason=ended)

    stub = StubServer(answer)
    stub.requests, stub.headers = Forgetful(), Forgetful()
    with stub:
        print(stub.base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
