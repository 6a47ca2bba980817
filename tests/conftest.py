"""What several test files share: a tiny random model, and a quiet, offline environment."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch

# with both cores busy a second thread spins more than it helps, and sums stay the same
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A random Llama of some thousand parameters with a byte-level tokenizer."""
    from eva.engines.tiny import build_tiny

    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_tiny(folder, seed=1)
    return folder
