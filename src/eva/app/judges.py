"""The judges of a game: made from the config, and tested before they are used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from eva.app.config_judge import Judge, JudgeSection, Pairwise
from eva.app.progress import Silent
from eva.errors import RewardError
from eva.protocols import Generator, Progress, RewardModel
from eva.runs.durable import replace_bytes
from eva.types import Stage

if TYPE_CHECKING:
    from eva.rewards.judge_check import Report


class Judges:
    """Makes judges, each model loaded once.

    With a run folder the results of their tests are kept there: a judge that passed is not tested
    again when the run is resumed.
    """

    def __init__(
        self, device: str, folder: Path | None = None, *, progress: Progress | None = None
    ) -> None:
        self._device = device
        self._folder = folder
        self._progress = progress or Silent()
        self._generators: dict[str, Generator] = {}
        self._untested: dict[str, tuple[JudgeSection, RewardModel]] = {}

    def reward(self, section: JudgeSection) -> RewardModel:
        """Return the reward of a section, its model loaded.

        Raises:
            ConfigError: the model cannot be had, or the server's key is missing.
        """
        from eva.rewards.judge import JudgeReward
        from eva.rewards.judging import COMPARISON, RUBRIC, Asking
        from eva.rewards.pairwise import JudgeComparer, PairwiseReward
        from eva.types import SamplingParams

        generator, longest = self._generator(section), section.max_tokens
        made: RewardModel
        if isinstance(section, Judge):
            params = SamplingParams(section.samples, section.temperature, 1.0, longest)
            scale = (section.lowest, section.highest)
            made = JudgeReward(Asking(generator, params), section.template or RUBRIC, scale)
        else:
            params = SamplingParams(1, 0.0, 1.0, longest)
            judge = JudgeComparer(Asking(generator, params), section.template or COMPARISON)
            made = PairwiseReward(judge)
        if section.self_test:
            self._untested.setdefault(_key(section), (section, made))
        return made

    def admit(self) -> None:
        """Test the judges that were not tested yet.

        Raises:
            RewardError: a judge failed, with what it said of good and corrupted answers.
        """
        for key in list(self._untested):
            section, reward = self._untested[key]
            path = None if self._folder is None else self._folder / f"judge-{key}.json"
            if path is None or not _passed(path):
                report = self._test(section, reward)
                if path is not None:
                    kept = {"reward": section.name, "judge": _named(section)} | report.json()
                    replace_bytes(path, json.dumps(kept, indent=1).encode())
                if report.faults:
                    raise RewardError(
                        f"reward {section.name!r}: {_named(section)} failed its test:"
                        f" {'; '.join(report.faults)}.\n{report.table()}\nTake another judge or "
                        "template, or set self_test = false to use it all the same"
                    )
            del self._untested[key]

    def _test(self, section: JudgeSection, reward: RewardModel) -> Report:
        from eva.rewards.judge_check import cases, check_judge

        # shown as a stage: a large judge on a small machine takes minutes for it
        self._progress.begin(Stage(0, f"test/{section.name}"), len(cases()), unit="pairs")
        try:
            compares = isinstance(section, Pairwise)
            return check_judge(reward, compares=compares, advance=self._progress.advance)
        finally:
            self._progress.end()

    def _generator(self, section: JudgeSection) -> Generator:
        source = section.server.model_dump_json() if section.server else section.model
        if source not in self._generators:
            self._generators[source] = self._loaded(section)
        return self._generators[source]

    def _loaded(self, section: JudgeSection) -> Generator:
        if section.server:
            from eva.app.servers import server_generator

            return server_generator(section.server, self._folder)
        from eva.app.policy import local_generator

        return local_generator(
            section.model, device=self._device, cached_tokens=section.batch_tokens
        )


def _key(section: JudgeSection) -> str:
    """Return a name for what a test is of; how a server is reached is no part of it."""
    asked = section.model_dump(mode="json") | {"server": None, "model": _named(section)}
    if section.server and section.server.extra:
        asked["extra"] = section.server.extra
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=4).hexdigest()


def _named(section: JudgeSection) -> str:
    return section.server.model if section.server else section.model


def _passed(path: Path) -> bool:
    return path.exists() and bool(json.loads(path.read_text(encoding="utf-8"))["passed"])
