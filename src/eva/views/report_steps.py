"""The report's pages on the steps of an online run: rewards, prompts, buffer, lengths, training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eva.records import mean
from eva.views import report_rounds
from eva.views.findings import Findings
from eva.views.report_charts import Series, histogram, lines
from eva.views.report_page import Html, element, join, note, table
from eva.views.steps import StepLine, beginnings, by_phase
from eva.views.wording import count, counts, number, several, share

_HISTOGRAMS = 6
_NONE = note("No step is committed yet.")
_MARKS = (
    "Each point is one step's batch, of a long run the mean of a few. Dotted lines are where a "
    "phase begins."
)


def _chart(
    found: Findings, title: str, metrics: Mapping[str, str], *, unit: str = "", zero: bool = False
) -> Html:
    """Return a chart of metrics by step, given by what they are called; nothing where none is."""
    logged = found.by_step()
    series = [
        Series(name, [(float(step), row[metric]) for step, row in logged if metric in row])
        for name, metric in metrics.items()
    ]
    marks = [number - 0.5 for number in beginnings(found.steps)]
    return lines(title, series, unit=unit, x_label="step", marks=marks, zero=zero)


def _charts(charts: Iterable[Html]) -> Html:
    return element("div", *charts, class_="charts")


# ── rewards ───────────────────────────────────────────────────────────────────────────────────


def rewards(found: Findings) -> Html:
    """Return rewards of the answers by step, how many prompts had contrast, and the rounds."""
    if not found.training:
        return _NONE
    charts = [
        _chart(
            found,
            "Rewards of the answers",
            {
                "best of n": "solver/reward_best",
                "mean": "solver/reward_mean",
                "worst of n": "solver/reward_worst",
            },
        ),
        _chart(
            found,
            "Prompts without contrast",
            {"share": "solver/without_contrast"},
            unit="share",
            zero=True,
        ),
        _chart(
            found,
            "Chosen minus rejected",
            {"reward": "solver/reward_margin"},
            unit="reward, mean of the pairs",
            zero=True,
        ),
        *report_rounds.parts(found.records),
    ]
    return join([note(_OTHER_PROMPTS), _charts(charts), _rounds(found)])


_OTHER_PROMPTS = (
    f"{_MARKS} Every step has other prompts, and evolved ones are meant to be harder: a mean that "
    "falls does not say that the policy got worse. What changed is said above, on prompts that "
    "stay the same. A prompt without contrast (all its answers have the same reward) teaches "
    "nothing."
)


def _rounds(found: Findings) -> Html:
    head = (
        *("round", "steps", "prompts", "evolved", "reward", "best", "worst", "no contrast"),
        "unscored",
    )
    rows = []
    for record in found.records:
        solver, played = record["solver"], record["counts"]
        figures = [solver.get(f"reward_{name}") for name in ("mean", "best", "worst")]
        rows.append(
            [
                record["round"],
                count(record["steps"]),
                count(played["prompts"]),
                count(played["evolved"]),
                *map(number, figures),
                share(solver.get("without_contrast")),
                counts(solver.get("unscored", {})),
            ]
        )
    return table(head, rows) if rows else Html("")


# ── prompts and buffer ────────────────────────────────────────────────────────────────────────


def prompts(found: Findings) -> Html:
    """Return where the prompts came from: phases, shares of evolved prompts, and the buffer."""
    if not found.steps:
        return _NONE
    marks = [number - 0.5 for number in beginnings(found.steps)]
    evolved = [(float(s.number), _evolved(found, [s])) for s in found.steps if s.prompts]
    charts = [
        lines(
            "Evolved prompts in the batch",
            [Series("evolved", [(x, y) for x, y in evolved if y is not None])],
            unit="share",
            x_label="step",
            marks=marks,
            zero=True,
        ),
        _chart(found, "The buffer", {"prompts": "creator/buffer"}, unit="prompts", zero=True),
        _chart(
            found,
            "Mean priority in it",
            {"priority": "creator/buffer_priority"},
            unit="guessed",
            zero=True,
        ),
        _chart(
            found,
            "Mean age in it",
            {"age": "creator/buffer_age"},
            unit="steps",
            zero=True,
        ),
    ]
    if found.config["online"]["background"]:
        charts.append(
            _chart(
                found,
                "Steps from a seed to its children",
                {"delay": "creator/delay"},
                unit="steps, mean of those that arrived",
                zero=True,
            )
        )
    return join([note(_PHASES), _phases(found), _charts(charts)])


_PHASES = (
    "In warm-up all prompts are human, until the buffer is full; in mix-up a share comes from the "
    "buffer; bootstrap draws from the buffer alone. Recycled are human prompts that had been drawn "
    "before: the buffer could not fill the batch. Dropped are prompts whose answers all earned the "
    "same, replaced by others where the config asks for refills."
)


def _phases(found: Findings) -> Html:
    logged = dict(found.by_step())
    head = (
        *("phase", "steps", "prompts", "evolved", "replayed", "recycled", "dropped"),
        *("reward", "informativeness", "no contrast"),
    )
    names = ("solver/reward_mean", "creator/info_mean", "solver/without_contrast")
    rows = []
    for phase, some in by_phase(found.steps).items():
        figures = [logged.get(step.number, {}) for step in some]
        reward, info, flat = (mean(f[name] for f in figures if name in f) for name in names)
        rows.append(
            [
                phase,
                count(len(some)),
                count(sum(len(step.prompts) for step in some)),
                share(_evolved(found, some)),
                count(sum(step.replayed for step in some)),
                count(sum(step.recycled for step in some)),
                count(sum(step.drawn - len(step.prompts) for step in some)),
                number(reward),
                number(info),
                share(flat),
            ]
        )
    return table(head, rows)


def _evolved(found: Findings, steps: Sequence[StepLine]) -> float | None:
    """Return the share of evolved prompts among those that steps trained on."""
    known = found.lineage.prompts
    return mean(known[id].evolved for step in steps for id in step.prompts if id in known)


# ── informativeness ───────────────────────────────────────────────────────────────────────────


def informativeness(found: Findings) -> Html:
    """Return the creator's estimates: their means by step, and which of them were evolved."""
    rows = [row for some in found.lineage.estimates.values() for row in some]
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return note("No informativeness was estimated yet.")
    metric = found.config["creator"]["informativeness"]
    charts = [
        _chart(found, f"Informativeness ({metric})", {"mean": "creator/info_mean"}, zero=True)
    ]
    charts += report_rounds.disagreement(found.records)
    for t in sorted({row["round"] for row in known})[-_HISTOGRAMS:]:
        values: dict[str, list[float]] = {"evolved": [], "not evolved": []}
        for row in known:
            if row["round"] == t:
                values["not evolved" if row["drawn"] is None else "evolved"].append(row["value"])
        charts.append(histogram(f"Estimates of round {t}", values, unit=metric))
    lacking = len(rows) - len(known)
    without = f" {several(lacking, 'prompt')} had too few scored answers." if lacking else ""
    return join([note(_LUCK, without), _charts(charts), _errors(found)])


_LUCK = (
    f"{_MARKS} Where the standard error is as large as the spread of the estimates, the choice of "
    "seeds is mostly luck; more answers per prompt make it smaller."
)


def _errors(found: Findings) -> Html:
    head = ("round", "informativeness", "of the seeds", "standard error", "seeds", "children")
    rows = [
        [
            record["round"],
            *(number(record["creator"][f"info_{n}"]) for n in ("mean", "drawn_mean", "error_mean")),
            count(record["creator"]["drawn"]),
            count(record["creator"]["children"]),
        ]
        for record in found.records
    ]
    return table(head, rows) if rows else Html("")


# ── lengths and training ──────────────────────────────────────────────────────────────────────


def lengths(found: Findings) -> Html:
    """Return lengths of the answers by step, and how many were cut off."""
    if not found.training:
        return _NONE
    charts = [
        _chart(
            found,
            "Length of the answers",
            {
                "all": "solver/length_mean",
                "chosen": "solver/length_chosen",
                "rejected": "solver/length_rejected",
            },
            unit="tokens",
            zero=True,
        ),
        _chart(
            found,
            "Answers cut off by the limit",
            {"all": "solver/truncated", "rejected": "solver/truncated_rejected"},
            unit="share",
            zero=True,
        ),
    ]
    limit = found.config["answers"]["max_tokens"]
    said = (
        f"{_MARKS} Answers may have {count(limit)} tokens. Rewards that grow only with length are "
        "no progress."
    )
    return join([note(said), _charts(charts)])


_CURVES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "Objective": ("", {"loss": "solver/loss"}),
    "Divergence from the first policy": ("nats per token", {"kl": "solver/kl"}),
    "Divergence of sampler and trainer": (
        "nats per token",
        {"plain": "solver/sampler_kl", "never negative": "solver/sampler_kl_k3"},
    ),
    "Cut off by the clip": ("share", {"clipped": "solver/clipped"}),
    "Weight of the correction": ("", {"weight": "solver/weight"}),
    "Magnitude of the advantages": ("", {"advantage": "solver/advantage_abs"}),
    "Margin": ("implicit reward, chosen minus rejected", {"margin": "solver/margin"}),
    "Accuracy": ("share with the chosen ahead", {"accuracy": "solver/accuracy"}),
    "Gradient norm": ("before clipping", {"norm": "solver/grad_norm"}),
    "Learning rate": ("", {"rate": "solver/lr"}),
    "Prompts that teach nothing": ("prompts", {"skipped": "solver/skipped"}),
}


def training(found: Findings) -> Html:
    """Return the curves of training, step by step over all rounds; those that were logged."""
    if not found.training:
        return note("Nothing was trained yet.")
    charts = [
        _chart(found, title, metrics, unit=unit) for title, (unit, metrics) in _CURVES.items()
    ]
    head = ("round", "steps", "updates", "tokens trained")
    rows = [
        [
            record["round"],
            count(record["steps"]),
            count(record["solver"]["training"]["updates"]),
            count(record["tokens"]["trained"]),
        ]
        for record in found.records
    ]
    return join([note(_UPDATES), _charts(charts), table(head, rows) if rows else ""])


_UPDATES = (
    f"{_MARKS} Figures are means over the step's updates; a step that teaches nothing makes none, "
    "and has no point. The value of a policy gradient says nothing of progress: its gradient "
    "matters."
)
