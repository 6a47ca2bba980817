"""TRL's side of `online_step.py`: `RLOOTrainer`, as somebody who knows it writes it."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from online_step_game import WARM, Played, Setup, Work, batches
from round_game import Clock, Lots
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl import RLOOConfig, RLOOTrainer

from eva.app.policy import model_source
from eva.engines.lora import LoraSettings
from eva.protocols import RewardModel
from eva.rewards.rules import RuleReward
from eva.types import Group, Prompt, Response


def trl_steps(setup: Setup, *, seed: int) -> Played:
    """Play the same steps with `RLOOTrainer`: the prompts are given, and nothing evolves."""
    # those of like length are padded to each other
    prompts = [prompt for batch in batches(setup) for prompt in sorted(batch, key=_length)]
    reward, steps = Scored(prompts, Lots(RuleReward(), setup.seed)), Steps()
    with tempfile.TemporaryDirectory() as place:
        trainer = make_trainer(
            setup,
            rows(prompts, named=True),
            reward=reward,
            folder=Path(place),
            kind=counting_trainer(steps),
            seed=seed,
        )
        trainer.add_callback(steps)
        trainer.train()
    work = Work(
        prompts=tuple(tuple(sorted(ids)) for _, ids in sorted(reward.asked.items())),
        **steps.counted,
        updates=trainer.state.global_step,
    )
    return Played(work, setup.steps, steps.seconds())


class Scored:
    """A reward function of the trainer that scores with one of eva's; it keeps who was asked."""

    __name__ = "scored"

    def __init__(self, prompts: Sequence[Prompt], reward: RewardModel) -> None:
        self.asked: dict[int, set[str]] = defaultdict(set)
        """Ids of the prompts by step."""
        self._prompts = {prompt.id: prompt for prompt in prompts}
        self._reward = reward

    def __call__(
        self,
        *,
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        prompt_id: Sequence[str],
        trainer_state: Any,
        **columns: Any,
    ) -> list[float | None]:
        """Score the answers to each prompt together: they lie beside each other."""
        answers: dict[str, list[Response]] = defaultdict(list)
        for id, completion, ids in zip(prompt_id, completions, completion_ids, strict=True):
            answers[id].append(Response(completion[0]["content"], tuple(ids), finish="length"))
        self.asked[trainer_state.global_step] |= answers.keys()
        groups = [Group(self._prompts[id], (), tuple(given), "") for id, given in answers.items()]
        return [reward for scored in self._reward.score(groups) for reward in scored.rewards]


def make_trainer(
    setup: Setup,
    data: Sequence[Mapping[str, Any]],
    *,
    reward: Callable[..., list[float | None]],
    folder: Path,
    kind: type[RLOOTrainer] = RLOOTrainer,
    seed: int,
) -> RLOOTrainer:
    """Return a trainer on these rows, in their order; no answer of it ends before its length."""
    source = model_source(setup.model, seed=setup.seed)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    model.generation_config.eos_token_id = None
    made = kind(
        model=model,
        reward_funcs=reward,
        args=_arguments(setup, folder, seed),
        train_dataset=Dataset.from_list(list(data)),
        processing_class=tokenizer,
        peft_config=LoraSettings(seed=setup.seed).config(),
    )
    made.eos_token_ids = [-1]  # what comes after an end token is not masked, either
    made.remove_callback(PrinterCallback)
    return made


def _arguments(setup: Setup, folder: Path, seed: int) -> RLOOConfig:
    answers = setup.batch * setup.n
    return RLOOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=setup.micro_batch,
        gradient_accumulation_steps=answers // setup.micro_batch,
        steps_per_generation=setup.generate_batch * setup.n // setup.micro_batch,
        num_generations=setup.n,
        max_completion_length=setup.tokens,
        generation_kwargs={"eos_token_id": None},
        temperature=1.0,
        top_p=setup.top_p,
        beta=0.0,
        max_steps=WARM + setup.steps,
        learning_rate=setup.learning_rate,
        lr_scheduler_type="constant",
        warmup_steps=0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        shuffle_dataset=False,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to=[],
        seed=seed,
    )


def rows(prompts: Sequence[Prompt], *, named: bool = False) -> list[dict[str, Any]]:
    """Return the rows of a data set, with their constraints and, if asked, the prompts' ids."""
    return [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "checks": json.dumps([{"kind": c.kind, "args": dict(c.args)} for c in prompt.checks]),
            "topic": prompt.topic,
            **({"prompt_id": prompt.id} if named else {}),
        }
        for prompt in prompts
    ]


def _length(prompt: Prompt) -> int:
    return len(prompt.text)


class Steps(TrainerCallback):
    """Counts what the trainer does, and keeps what the clock says at the end of every step."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counted = Counter[str]()
        self.left = 0.0
        """When the last forward and backward pass was done."""
        self.ends: list[Mapping[str, float]] = []
        """Seconds by call so far, and the time as `now`, at the end of every step."""

    def on_optimizer_step(self, *event: Any, **more: Any) -> None:
        """Count the update: clipping is part of it."""
        self.clock.seconds["update"] += time.perf_counter() - self.left

    def on_step_end(self, *event: Any, **more: Any) -> None:
        """Note where the clock is."""
        self.ends.append({**self.clock.seconds, "now": time.perf_counter()})

    def seconds(self) -> dict[str, float]:
        """Return the seconds by call of the steps after the warm-up, named like eva's."""
        first, last = self.ends[WARM - 1], self.ends[-1]
        spent = {name: last[name] - first[name] for name in last}
        before = spent["prepare"] - spent["answer"] - spent["score"]
        passes = spent["passes"] - spent["prepare"]
        return {
            "engine.sample": spent["answer"],
            "reward.score": spent["score"],
            "learner.learn": before + passes + spent["update"],
            "logprobs before": before,
            "steps": spent["now"],
        }


def counting_trainer(steps: Steps) -> type[RLOOTrainer]:
    """Return RLOOTrainer, its parts timed and its tokens counted."""
    clock, counted = steps.clock, steps.counted

    class CountingTrainer(RLOOTrainer):
        def _generate(self, prompts: list[Any]) -> Any:
            with clock.at("answer"):
                made = super()._generate(prompts)
            counted["prompt_tokens"] += sum(map(len, made[0])) // self.num_generations
            counted["generated_tokens"] += sum(map(len, made[1]))
            return made

        def _calculate_rewards(self, *args: Any) -> Any:
            with clock.at("score"):
                return super()._calculate_rewards(*args)

        def _prepare_inputs(self, batch: Any) -> Any:
            with clock.at("prepare"):
                return super()._prepare_inputs(batch)

        def training_step(self, *args: Any) -> Any:
            with clock.at("passes"):
                made = super().training_step(*args)
            steps.left = time.perf_counter()
            return made

        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            counted["trained_tokens"] += int(inputs["completion_mask"].sum())
            return super()._compute_loss(model, inputs)

    return CountingTrainer
