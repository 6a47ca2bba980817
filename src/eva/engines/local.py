"""The local engine: a policy in this process that samples, scores and learns.

What one call does is spread over micro-batches (`batching`), and over processes where a launcher
started several (`distributed`); neither changes its result but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from eva.engines import checkpoint, lora
from eva.engines.batching import (
    Batch,
    Layout,
    can_share,
    collate,
    columns_of,
    pass_tokens,
    per_example,
    references_of,
    shares,
)
from eva.engines.blocks import blocks, recomputing
from eva.engines.distributed import Ranks, fit, shard, whole
from eva.engines.generate import answer
from eva.engines.history import History
from eva.engines.logprobs import Scorer, check_head
from eva.engines.lora import LoraSettings
from eva.engines.optimiser import Optimiser, OptimiserSettings
from eva.engines.policy import Policy, load_policy
from eva.errors import ConfigError, RunError, SolverError
from eva.types import Example, Group, Prompt, SamplingParams

if TYPE_CHECKING:
    from eva.protocols import Objective
    from eva.rng import Streams

WEIGHTS = "model.safetensors"
ADAPTER = "adapter_model.safetensors"
MOMENTS = "optimiser.safetensors"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """How the local engine computes; what it computes is up to the schedule."""

    micro_batch_tokens: int = 1024
    """Tokens of a micro-batch, padding included; 512 to 1024 are fastest on a CPU."""
    logprob_chunk: int = 256
    """Tokens whose logits are in memory at once."""
    share_prompts: bool = True
    """Compute the prompt of a pair once, where the model allows it and it pays."""
    gradient_checkpointing: bool = False
    """Keep the inputs of blocks alone and compute the rest again: less memory, a third slower."""
    mixed_precision: str = ""
    """`bfloat16` computes float32 weights in it; empty computes in the type of the weights."""
    generation_dtype: str = ""
    """Type of the weights while sampling; empty means that of the weights."""
    generation_tokens: int = 16384
    """Tokens that the cache may hold while sampling, summed over responses."""
    lora: LoraSettings | None = None
    """None trains all weights."""
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    keep_base: bool = False
    """Keep the copy of the first weights that `logprobs(base=True)` loads where all weights train:
    for training that asks at every update, at the price of a second model in memory."""


class LocalEngine:
    """A policy on one device that can be trained (`eva.protocols.Engine`)."""

    def __init__(
        self, policy: Policy, settings: LocalSettings | None = None, *, ranks: Ranks | None = None
    ) -> None:
        """Make an engine of a freshly loaded policy, which it changes from then on.

        Raises:
            ConfigError: the model cannot be trained here, or lacks the LoRA targets.
        """
        self.policy = policy
        self.settings = settings = settings or LocalSettings()
        self.ranks = ranks or Ranks()
        model = policy.model
        check_head(model)
        self._layout = Layout(
            width=model.config.get_text_config().hidden_size,
            shareable=settings.share_prompts and can_share(model),
            pass_tokens=pass_tokens(model.device),
        )
        model.requires_grad_(True)
        self._adapter = lora.attach(model, settings.lora) if settings.lora else None
        self._blocks = blocks(model) if settings.gradient_checkpointing else []
        self._scorer = self._place(Scorer(model, chunk=settings.logprob_chunk))
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        plain = {name: name for name in self._trained}
        self._file = ADAPTER if self._adapter else WEIGHTS
        self._names = lora.adapter_names(model) if self._adapter else plain
        # An adapter starts from random numbers, which no file holds; it is small enough to keep.
        self._initial = self._whole(self._trained) if self._adapter else {}
        self._optimiser = Optimiser(self._trained, settings.optimiser)
        # Copies made on demand, and dropped as soon as training goes on; see `_forget`.
        self._sampling: Policy | None = None
        self._base: Scorer | None = None
        self._history = History(policy.source)

    @property
    def version(self) -> str:
        """The source, the updates since, and a hash of what they trained on: `name+40.9f8c2d1a`."""
        return self._history.version

    # ── sampling ──────────────────────────────────────────────────────────────────────────────

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> list[Group]:
        """Return one group per prompt, in order; see `eva.protocols.Generator`.

        With several processes each answers its share.
        """
        mine = range(len(prompts))[self.ranks.rank :: self.ranks.world]
        groups = answer(
            self._plain(),
            [prompts[i] for i in mine],
            params,
            streams=streams,
            version=self.version,
            token_budget=self.settings.generation_tokens,
        )
        found = self.ranks.gather(dict(zip(mine, groups, strict=True)))
        return [found[i] for i in range(len(prompts))]

    def _plain(self) -> Policy:
        """Return the policy to sample from: merged, in the type for generation."""
        if self.ranks.sharded:
            raise ConfigError(
                "a sharded (fsdp2) policy does not sample: save it, and answer from a whole copy"
            )
        name = self.settings.generation_dtype
        dtype = getattr(torch, name) if name else self.policy.model.dtype
        if self._adapter is None and dtype == self.policy.model.dtype:
            return self.policy
        if self._sampling is None:
            model = lora.plain_copy(self.policy.model, dtype)
            self._sampling = replace(self.policy, model=model)
        return self._sampling

    # ── scoring and learning ──────────────────────────────────────────────────────────────────

    def logprobs(
        self, examples: Sequence[Example], *, base: bool = False
    ) -> list[tuple[tuple[float, ...], ...]]:
        """Return log-probs of every completion token, aligned with `completions`.

        They are the current policy's, or with `base` those of the weights the engine was made with:
        the disabled adapter, or, where all weights train, a copy loaded for it, which stays until
        training goes on (`LocalSettings.keep_base`: for good).
        """
        found: dict[int, tuple[tuple[float, ...], ...]] = {}
        with torch.no_grad(), self._weights(base) as scorer:
            for part, counts in self._plan(examples):
                batch = self._collate([examples[i] for i in part])
                scores = per_example(batch.slots(self._score(scorer, batch)))
                if counts:
                    found |= dict(zip(part, scores, strict=True))
        found = self.ranks.gather(found)
        return [found[i] for i in range(len(examples))]

    def forward_backward(
        self, examples: Sequence[Example], objective: Objective, normaliser: float
    ) -> Mapping[str, float]:
        """Add to the gradient that of `sum(values) / normaliser`.

        Returns the sums over the examples of the objective's metrics, and of its values as `loss`.

        Raises:
            SolverError: the loss or the gradient is not finite; the gradient is cleared then.
        """
        self._forget()
        sums: dict[str, Tensor] = {}
        with recomputing(self._blocks):
            for part, counts in self._plan(examples):
                chosen = [examples[i] for i in part]
                figures = self._learn(chosen, objective, normaliser=normaliser, counts=counts)
                for name, value in figures.items():
                    sums[name] = sums[name] + value if name in sums else value
        totals = self.ranks.sum({name: float(value) for name, value in sums.items()})
        norm = self._optimiser.gradient_norm() or 0.0
        broken = self.ranks.sum({"gradients": float(not math.isfinite(norm))})
        if broken["gradients"] or not math.isfinite(totals.get("loss", 0.0)):
            self._optimiser.clear()
            raise SolverError(
                f"training {self.version}: loss {totals.get('loss')} and gradient norm {norm} of "
                f"{len(examples)} examples (first prompt {examples[0].prompt_id}) must be finite; "
                "lower the learning rate, or look at the columns that the objective reads"
            )
        self._history = self._history.saw(examples, normaliser)
        return totals

    def step(self, lr: float, clip: float | None) -> float:
        """Apply and clear the gradient; return its norm before clipping.

        Raises:
            SolverError: there is no gradient, or it is not finite.
        """
        self._forget()
        self.ranks.sum_gradients(self._trained.values())
        norm = self._optimiser.step(lr, clip)
        self._history = self._history.stepped(lr)
        return norm

    def _learn(
        self, examples: Sequence[Example], objective: Objective, *, normaliser: float, counts: bool
    ) -> dict[str, Tensor]:
        """Add one micro-batch to the gradient; with `counts` false, take part and add nothing."""
        batch = self._collate(examples)
        logprobs = self._score(self._scorer, batch)
        if not counts:
            torch.autograd.backward(logprobs.sum() * 0.0)
            return {}
        reference, columns = references_of(examples, logprobs), columns_of(examples, logprobs)
        loss = objective(batch.slots(logprobs), reference, columns)
        # Sharding averages gradients over processes; here they are sums.
        scale = self.ranks.world if self.ranks.sharded else 1
        torch.autograd.backward(loss.values.sum() * (scale / normaliser))
        metrics = {name: value.detach().sum() for name, value in loss.metrics.items()}
        return metrics | {"loss": loss.values.detach().sum()}

    def _plan(self, examples: Sequence[Example]) -> Iterator[tuple[tuple[int, ...], bool]]:
        """Yield this process's micro-batches as indices, and whether each counts."""
        budget, world = self.settings.micro_batch_tokens, self.ranks.world
        parts = shares(examples, self._layout, budget=budget, world=world)
        own = parts[self.ranks.rank]
        yield from ((part, True) for part in own)
        # Sharded processes must run equally many; those with fewer repeat one.
        if self.ranks.sharded:
            yield from [((0,), False)] * (max(map(len, parts)) - len(own))

    def _collate(self, examples: Sequence[Example]) -> Batch:
        model, pad = self.policy.model, self.policy.pad_id
        return collate(examples, self._layout, pad_id=pad, device=model.device)

    def _score(self, scorer: Scorer, batch: Batch) -> Tensor:
        name = self.settings.mixed_precision
        # A sharded policy gathers its weights in the lower precision by itself.
        mixed = bool(name) and not self.ranks.sharded
        dtype = getattr(torch, name) if mixed else None
        with torch.autocast(batch.ids.device.type, dtype=dtype, enabled=mixed):
            return scorer.logprobs(batch)

    def _place(self, scorer: Scorer) -> Scorer:
        if self.ranks.sharded:
            name = self.settings.mixed_precision
            shard(scorer, compute=getattr(torch, name) if name else None)
        return scorer

    @contextmanager
    def _weights(self, base: bool) -> Iterator[Scorer]:
        """Give the scorer of the current policy, or of the base policy."""
        if not base or not self._history.updates:
            yield self._scorer
        elif self._adapter is not None:
            with lora.disabled(self.policy.model):
                yield self._scorer
        else:
            if self._base is None:
                scorer = Scorer(self._reload().model, chunk=self.settings.logprob_chunk)
                self._base = self._place(scorer)
            yield self._base

    def _forget(self) -> None:
        """Drop copies that training makes stale, or that it needs the memory of."""
        self._sampling = None
        if not self.settings.keep_base:
            self._base = None

    # ── saving and loading ────────────────────────────────────────────────────────────────────

    def save(self, folder: Path, *, optimiser: bool = False) -> None:
        """Write the (master) weights or the adapter, and optimiser state, to an empty folder.

        An adapter's folder is one that peft loads.

        Raises:
            RunError: the folder is not empty, or cannot be written.
        """
        weights = self._whole(self._optimiser.masters)
        files = {self._file: {self._names[name]: value for name, value in weights.items()}}
        if optimiser:
            files[MOMENTS] = self._whole(self._optimiser.state())
        if self.ranks.rank == 0:
            checkpoint.write(folder, files, self._history.record(), beside=self._describe)
        self.ranks.wait()

    def _describe(self, folder: Path) -> None:
        if self._adapter is not None:
            self._adapter.save_pretrained(str(folder))

    def load(self, folder: Path | None, *, optimiser: bool = False) -> None:
        """Restore what `save` wrote; None restores the weights the engine was made with.

        Without `optimiser` its state is fresh.

        Raises:
            RunError: the folder is no finished checkpoint of such a policy, or damaged.
        """
        weights = self._initial_weights() if folder is None else self._read_weights(folder)
        moments = checkpoint.read(folder, MOMENTS) if folder is not None and optimiser else {}
        with torch.no_grad():
            for name, master in self._optimiser.masters.items():
                master.copy_(fit(weights[name], master))
        self._optimiser.clear()
        self._optimiser.publish()
        self._optimiser.restore(moments, fit)
        self._forget()
        fresh = History(self.policy.source)
        self._history = fresh if folder is None else History.of(checkpoint.read_record(folder))

    def export(self, folder: Path) -> None:
        """Write the policy as a Hugging Face folder: merged weights, tokenizer, configs.

        Raises:
            ConfigError: the policy is sharded.
        """
        if self.ranks.sharded:
            raise ConfigError("a sharded (fsdp2) policy is not exported: save it, load it whole")
        if self.ranks.rank == 0:
            merged = self._adapter is not None
            model = lora.plain_copy(self.policy.model) if merged else self.policy.model
            model.save_pretrained(str(folder))
            self.policy.tokenizer.save_pretrained(str(folder))
        self.ranks.wait()

    def _whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: whole(value.detach()).to("cpu", copy=True) for name, value in tensors.items()}

    def _read_weights(self, folder: Path) -> dict[str, Tensor]:
        stored = checkpoint.read(folder, self._file)
        shapes = {self._names[n]: p.shape for n, p in self._trained.items()}
        if {name: value.shape for name, value in stored.items()} != shapes:
            odd = sorted(set(stored) ^ set(shapes)) or ["the shapes"]
            raise RunError(
                f"{folder / self._file}: not of this policy ({odd[0]} differs, {len(odd)} in all); "
                "load it with the model and LoRA settings that it was saved with"
            )
        return {name: stored[self._names[name]] for name in self._trained}

    def _initial_weights(self) -> dict[str, Tensor]:
        if self._adapter is not None:
            return self._initial
        return {name: p.detach() for name, p in self._reload().model.named_parameters()}

    def _reload(self) -> Policy:
        model = self.policy.model
        dtype = str(model.dtype).removeprefix("torch.")
        return load_policy(
            self.policy.source,
            device=str(model.device),
            dtype=dtype,
            # Code that came with the model was trusted when it was first loaded.
            trust_remote_code=type(model).__module__.startswith("transformers_modules"),
        )
