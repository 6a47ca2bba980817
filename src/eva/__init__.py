"""eva: the prompt set of RL post-training evolves with the policy (arXiv:2411.00062)."""

from __future__ import annotations

__version__ = "0.1.0"
