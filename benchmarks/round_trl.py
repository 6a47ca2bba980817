"""TRL's side of `round.py`: `generate` and `DPOTrainer`, as somebody who knows them writes it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from round_game import ROUND, Clock, Lots, Played, Setup, Timed, Work

from eva.app.build import Parts
from eva.app.policy import model_source
from eva.app.progress import Silent
from eva.app.rewards import reward_model
from eva.engines.lora import LoraSettings
from eva.rng import Streams
from eva.runs.memory import MemoryJournal
from eva.types import Example, Group, Prompt, Response


def trl_round(setup: Setup, *, seed: int) -> Played:
    """Play the same round with `generate` and `DPOTrainer`."""
    clock, config = Clock(), setup.config()
    parts = Parts(config, progress=Silent())
    script = Script(setup, model_source(setup.model, seed=setup.seed), clock, seed)
    rules = reward_model(config.reward, device="cpu")
    creator = Timed(parts.creator(), "creator", clock)
    solver = Timed(parts.solver, "solver", clock)
    reward = Timed(Lots(rules, setup.seed), "reward", clock)
    human = parts.prompts.human[: setup.prompts]
    known = MemoryJournal()
    known.admit(human)
    streams = Streams(setup.seed, ROUND, "creator")
    clock.seconds.clear()
    with tempfile.TemporaryDirectory() as place, clock.at("round"):
        first = script.answer(human)
        info = creator.estimate([group.rewards for group in reward.score(first)])
        drawn = creator.sample(info.values, streams.at("creator/sample"))
        seeds = [human[i] for i in drawn]
        evolutions = creator.evolve(seeds, known, streams.at("creator/evolve"))
        prompts = creator.mix(evolutions, human, streams.at("creator/mix"))
        groups = script.answer(prompts)
        pairing = solver.pair(reward.score(groups), Streams(setup.seed, ROUND, "solver/pairs"))
        losses = script.train(pairing.examples, Path(place))
    work = Work(
        prompts=tuple(prompt.id for prompt in prompts),
        pairs=len(pairing.examples),
        prompt_tokens=sum(len(group.prompt_ids) for group in groups),
        generated_tokens=sum(group.generated_tokens for group in (*first, *groups)),
        **script.counted,
    )
    return Played(work, losses, dict(clock.seconds))


class Script:
    """The script of somebody who knows TRL and transformers well; the model is loaded here."""

    def __init__(self, setup: Setup, source: str, clock: Clock, seed: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.setup, self.clock, self.seed = setup, clock, seed
        self.model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # nothing ends an answer but its length
        self.model.generation_config.eos_token_id = None
        self.counted = Counter[str](reference_tokens=0, trained_tokens=0, updates=0)
        torch.manual_seed(seed)

    def answer(self, prompts: Sequence[Prompt]) -> list[Group]:
        """Answer prompts n times each, those of like length together."""
        with self.clock.at("engine.sample"):
            encoded = [self._encode(prompt) for prompt in prompts]
            order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
            found: dict[int, Group] = {}
            for start in range(0, len(order), self.setup.generate_batch):
                some = order[start : start + self.setup.generate_batch]
                answers = self._generate([encoded[i] for i in some])
                for i, responses in zip(some, answers, strict=True):
                    found[i] = Group(prompts[i], encoded[i], responses, "trl")
            return [found[i] for i in range(len(prompts))]

    def _encode(self, prompt: Prompt) -> tuple[int, ...]:
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        ids = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=False
        )
        return tuple(ids)

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[Sequence[int]]) -> list[tuple[Response, ...]]:
        setup = self.setup
        padded = self.tokenizer.pad({"input_ids": [list(p) for p in prompts]}, return_tensors="pt")
        output = self.model.generate(
            **padded,
            do_sample=True,
            temperature=1.0,
            top_p=setup.top_p,
            top_k=0,
            max_new_tokens=setup.tokens,
            num_return_sequences=setup.n,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        answers = output[:, padded["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        responses = [
            Response(text, tuple(ids), finish="length")
            for text, ids in zip(texts, answers.tolist(), strict=True)
        ]
        return [tuple(responses[i : i + setup.n]) for i in range(0, len(responses), setup.n)]

    def train(self, pairs: Sequence[Example], out: Path) -> tuple[float, ...]:
        """Train on pairs of sampled tokens, save the adapter, return the losses."""
        from datasets import Dataset, disable_progress_bars
        from transformers import PrinterCallback

        disable_progress_bars()

        pairs = sorted(pairs, key=lambda pair: len(pair.prompt_ids))
        rows = [
            {
                "prompt_ids": list(pair.prompt_ids),
                "chosen_ids": list(pair.completions[0]),
                "rejected_ids": list(pair.completions[1]),
            }
            for pair in pairs
        ]
        trainer = _counting_trainer(self.clock, self.counted)(
            model=self.model,
            args=self._arguments(out),
            train_dataset=Dataset.from_list(rows),
            processing_class=self.tokenizer,
            peft_config=LoraSettings(seed=self.setup.seed).config(),
        )
        trainer.remove_callback(PrinterCallback)
        with self.clock.at("engine.forward_backward"):
            trainer.train()
        trainer.save_model(str(out / "policy"))
        self.counted["updates"] = trainer.state.global_step
        return tuple(row["loss"] for row in trainer.state.log_history if "loss" in row)

    def _arguments(self, out: Path) -> Any:
        from trl import DPOConfig

        setup = self.setup
        sizes = range(1, setup.micro_batch + 1)
        micro_batch = max(size for size in sizes if setup.batch_size % size == 0)
        return DPOConfig(
            output_dir=str(out / "trainer"),
            beta=0.1,
            precompute_ref_log_probs=True,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=setup.batch_size // micro_batch,
            num_train_epochs=setup.epochs,
            learning_rate=2e-4,
            lr_scheduler_type="linear",
            warmup_steps=0,
            max_grad_norm=1.0,
            max_length=None,
            optim="adamw_torch_fused",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to=[],
            seed=self.seed,
        )


def _counting_trainer(clock: Clock, counted: Counter[str]) -> Any:
    """Return DPOTrainer on token ids as they are, its reference timed and its tokens counted."""
    from trl import DPOTrainer

    class CountingTrainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *args: Any) -> Any:
            with clock.at("engine.logprobs"):
                return super()._precompute_ref_logps(*args)

        def _send_telemetry(self) -> None:
            """Send nothing."""

        def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
            counted["reference_tokens"] += int(inputs["completion_mask"].sum())
            return super().compute_ref_log_probs(model, inputs)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counted["trained_tokens"] += int(inputs["completion_mask"].sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

    return CountingTrainer
