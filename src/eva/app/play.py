"""Playing a game into a run folder: `eva run`, `eva resume`, and `eva.run` from Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from eva import offline, online
from eva.app.build import Parts
from eva.app.config import Config
from eva.app.load import parse_config
from eva.app.progress import Mode, watcher
from eva.runs.checkpoints import Retention
from eva.runs.folder import RunFolder
from eva.runs.tracking import make_tracker


def run(config: Config, out: Path | str, *, mode: Mode = "quiet") -> Path:
    """Play a game into a folder; an interrupted run of the same config goes on where it was.

    A finished run of the same config is left as it is.

    Raises:
        ConfigError: the config names something that is not there.
        DataError: the prompts cannot be read.
        RunError: the folder holds something else, is in use, or is damaged.
        AlarmError: an alarm of the config stops the run.
    """
    played, path = config.model_dump(mode="json"), Path(out).absolute()
    if (path / "run.json").exists():
        with RunFolder.open_readonly(path) as folder:
            if folder.info.get("status") == "finished" and folder.config == played:
                return path
    _quieten()
    parts = Parts(config, progress=watcher(mode), folder=path)
    # what can be wrong with the input is found before the folder is made
    _ = parts.prompts, parts.trainer, parts.reward, parts.engine, parts.evolver
    with RunFolder.create(path, played) as folder:
        _play(folder, parts, config)
        return folder.path


def resume(path: Path | str, *, mode: Mode = "quiet", past_alarms: bool = False) -> Path:
    """Go on with an interrupted run; a finished one is left as it is.

    With `past_alarms` alarms of the rounds that are done stop it no more, this time or later.

    Raises:
        RunError: there is no run, it is in use, or it is damaged.
        AlarmError: an alarm of the config stops the run.
    """
    _quieten()
    with RunFolder.open(Path(path)) as folder:
        config = parse_config(dict(folder.config), where=str(folder.path / "run.json"))
        parts = Parts(config, progress=watcher(mode), folder=folder.path)
        if past_alarms and folder.info.get("status") != "finished":
            folder.pass_alarms()
        _play(folder, parts, config)
        return folder.path


def _play(folder: RunFolder, parts: Parts, config: Config) -> None:
    if folder.info.get("status") == "finished":
        return
    tracker = make_tracker(config.run.trackers, folder=folder.path, config=folder.config)
    journal = folder.journal(
        progress=parts.progress,
        tracker=tracker,
        keep=Retention(policies=config.run.keep_policies),
    )
    loaded = parts.prompts.loaded
    journal.set_aside(loaded.source, [(row.place, row.reason) for row in loaded.set_aside])
    parts.past_alarms = folder.past_alarms
    try:
        game = parts.game()
        if isinstance(game, online.Game):
            with closing(game.pace):
                _exhaust(online.rounds(game, journal, until=config.rounds))
        else:
            _exhaust(offline.rounds(game, journal, until=config.rounds))
    finally:
        parts.close()
        tracker.close()
    folder.finish()


def _exhaust(records: Iterator[object]) -> None:
    for _ in records:
        pass


def _quieten() -> None:
    """Turn off the bars of libraries, which would run through the live progress."""
    from datasets.utils.logging import disable_progress_bar

    from eva.app.policy import quieten

    disable_progress_bar()
    quieten()
