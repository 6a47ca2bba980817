"""The report's pages on the rounds: rewards, informativeness, prompts, tokens, training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eva.types import Json
from eva.views import wording
from eva.views.findings import Findings
from eva.views.report_charts import Series, bars, histogram, lines
from eva.views.report_page import Html, element, join, note, table
from eva.views.wording import count, number, several, share

Record = Mapping[str, Json]

_HISTOGRAMS = 6
_NONE = note("No round is done yet.")


def rewards(found: Findings) -> Html:
    """Return rewards of the solver's answers, and how many prompts had contrast."""
    if not found.records:
        return _NONE
    charts = [
        lines(
            "Rewards of the answers",
            [
                _series("best of n", found.records, ("solver", "reward_best")),
                _series("mean", found.records, ("solver", "reward_mean")),
                _series("worst of n", found.records, ("solver", "reward_worst")),
            ],
        ),
        lines(
            "Prompts without contrast",
            [
                _series("solver's set", found.records, ("solver", "without_contrast")),
                _series("before evolving", found.records, ("creator", "without_contrast")),
            ],
            unit="share",
            zero=True,
        ),
        lines(
            "Chosen minus rejected",
            [_series("reward", found.records, ("solver", "reward_margin"))],
            unit="reward, mean of the pairs",
            zero=True,
        ),
    ]
    charts += parts(found.records) + comparisons(found.records)
    return join([note(_OTHER_PROMPTS), element("div", *charts, class_="charts"), _rounds(found)])


def parts(records: Sequence[Record]) -> list[Html]:
    """Return the chart of what the reward is made of; none without parts, or with too many."""
    means = [{**record, "parts": record["solver"].get("parts", {})} for record in records]
    names = sorted({name for record in means for name in record["parts"]})
    if not 0 < len(names) <= _PARTS:
        return []
    return [lines("Parts of the reward", [_series(name, means, ("parts", name)) for name in names])]


_PARTS = 5
"""Most parts of a reward that are drawn: there are no more colours."""


def comparisons(records: Sequence[Record]) -> list[Html]:
    """Return the chart of a pairwise reward's position bias; none without comparisons."""
    shares = [
        _series("verdicts that change with the order", records, ("solver", "order_changes")),
        _series("wins of the answer shown first", records, ("solver", "first_wins")),
    ]
    if not any(series.points for series in shares):
        return []
    return [lines("Comparisons of answers", shares, unit="share", zero=True)]


_OTHER_PROMPTS = (
    "Every round has other prompts, and evolved ones are meant to be harder: a mean that falls "
    "from round to round does not say that the policy got worse. What changed is said above, on "
    "prompts that stay the same. A prompt without contrast (all its answers have the same reward) "
    "teaches nothing."
)


def _series(name: str, records: Sequence[Record], path: tuple[str, str]) -> Series:
    group, key = path
    points = [
        (float(record["round"]), float(record[group][key]))
        for record in records
        if record[group].get(key) is not None
    ]
    return Series(name, points)


def _rounds(found: Findings) -> Html:
    head = ("round", "prompts", "evolved", "reward", "best", "worst", "no contrast", "unscored")
    rows = []
    for record in found.records:
        solver, counts = record["solver"], record["counts"]
        figures = [solver.get(f"reward_{name}") for name in ("mean", "best", "worst")]
        rows.append(
            [
                record["round"],
                count(counts["prompts"]),
                count(counts["evolved"]),
                *map(number, figures),
                share(solver.get("without_contrast")),
                wording.counts(solver.get("unscored", {})),
            ]
        )
    return table(head, rows)


def informativeness(found: Findings) -> Html:
    """Return the creator's estimates: their means by round, and which of them were drawn."""
    records = [r for r in found.records if r["creator"].get("info_mean") is not None]
    if not records:
        return note(
            "No informativeness was estimated: the first round plays human prompts, and a "
            "baseline without signal asks for none."
        )
    metric = found.config["creator"]["informativeness"]
    charts = [
        lines(
            f"Informativeness ({metric})",
            [
                _series("drawn", records, ("creator", "info_drawn_mean")),
                _series("all", records, ("creator", "info_mean")),
                _series("standard error", records, ("creator", "info_error_mean")),
            ],
            zero=True,
        )
    ]
    charts += disagreement(records) + carried(records)
    for record in records[-_HISTOGRAMS:]:
        drawn, left = _estimates(found, record["round"])
        charts.append(
            histogram(
                f"Estimates of round {record['round']}",
                {"drawn": drawn, "not drawn": left},
                unit=metric,
            )
        )
    lacking = sum(record["creator"]["without_info"] for record in records)
    without = f" {several(lacking, 'prompt')} had too few scored answers." if lacking else ""
    said = note(_LUCK, without)
    return join([said, element("div", *charts, class_="charts")])


def disagreement(records: Sequence[Record]) -> list[Html]:
    """Return the charts of an ensemble's disagreement; none without an ensemble."""
    if not any("disagreement" in record["creator"] for record in records):
        return []
    correlation = _series("rank correlation", records, ("creator", "disagreement_correlation"))
    return [
        lines(
            "Disagreement of the rewards",
            [_series("standard deviation", records, ("creator", "disagreement"))],
            unit="reward",
            zero=True,
        ),
        lines("Informativeness with disagreement", [correlation], zero=True),
    ]


def carried(records: Sequence[Record]) -> list[Html]:
    """Return the chart of how well informativeness is inherited; none where nothing was drawn."""
    if not any(record["creator"].get("info_carried") is not None for record in records):
        return []
    correlation = _series("rank correlation", records, ("creator", "info_carried"))
    return [lines("Informativeness, inherited with found", [correlation], zero=True)]


_LUCK = (
    "Where the standard error is as large as the spread of the estimates, the draw is mostly luck; "
    "more answers per prompt make it smaller."
)


def _estimates(found: Findings, round: int) -> tuple[list[float], list[float]]:
    rows = [
        row
        for some in found.lineage.estimates.values()
        for row in some
        if row["round"] == round and row["value"] is not None
    ]
    drawn = [row["value"] for row in rows if row["drawn"] is not None]
    return drawn, [row["value"] for row in rows if row["drawn"] is None]


def sizes(found: Findings) -> Html:
    """Return prompts, tokens and time: what the run is made of, and what it cost."""
    if not found.records:
        return join([_NONE, _times(found)])
    label = "round {}".format
    prompts = [
        (
            label(r["round"]),
            {"human": r["counts"]["human"], "evolved": r["counts"]["evolved"]},
        )
        for r in found.records
    ]
    tokens = [
        (label(r["round"]), {_TOKENS[k]: v for k, v in r["tokens"].items() if k in _TOKENS})
        for r in found.records
    ]
    charts = [
        bars("Prompts of the solver's set", prompts),
        bars("Tokens", tokens),
        _times(found),
    ]
    asked = wording.servers(found.records)
    shown = element("div", *charts, class_="charts")
    return join([shown, note(f"{asked[0].upper()}{asked[1:]}.")]) if asked else shown


_TOKENS = {
    "solver": "answers",
    "creator": "answers for estimates",
    "rewriter": "rewriting",
    "trained": "trained on",
}


def _times(found: Findings) -> Html:
    spent = found.seconds_by_stage()
    least = 0.003 * sum(spent.values())
    shown = [(stage, {"s": seconds}) for stage, seconds in spent.items() if seconds > least]
    return bars("Time by stage", shown, unit="seconds between commits, pauses included")


def lengths(found: Findings) -> Html:
    """Return lengths of the answers, and how many were cut off."""
    if not found.records:
        return _NONE
    charts = [
        lines(
            "Length of the answers",
            [
                _series("all", found.records, ("solver", "length_mean")),
                _series("chosen", found.records, ("solver", "length_chosen")),
                _series("rejected", found.records, ("solver", "length_rejected")),
            ],
            unit="tokens",
            zero=True,
        ),
        lines(
            "Answers cut off by the limit",
            [
                _series("all", found.records, ("solver", "truncated")),
                _series("rejected", found.records, ("solver", "truncated_rejected")),
            ],
            unit="share",
            zero=True,
        ),
    ]
    limit = found.config["answers"]["max_tokens"]
    return join(
        [
            note(
                f"Answers may have {count(limit)} tokens. Where chosen answers are longer (or "
                "shorter) than rejected ones, length itself is learned; rewards that grow only "
                "with length are no progress."
            ),
            element("div", *charts, class_="charts"),
        ]
    )


_CURVES = {
    "loss": ("Objective", ""),
    "margin": ("Margin", "implicit reward, chosen minus rejected"),
    "accuracy": ("Accuracy", "share with the chosen ahead"),
    "grad_norm": ("Gradient norm", "before clipping"),
    "lr": ("Learning rate", ""),
}


def training(found: Findings) -> Html:
    """Return the curves of training, update by update over all rounds."""
    if not found.training:
        return note("Nothing was trained yet.")
    begins = _begins(found)
    charts = []
    for name, (title, unit) in _CURVES.items():
        points = [
            (float(begins[row.round] + (row.step or 0)), row.metrics[f"solver/{name}"])
            for row in found.training
            if f"solver/{name}" in row.metrics
        ]
        marks = [float(begin) + 0.5 for begin in list(begins.values())[1:]]
        charts.append(
            lines(title, [Series(name, points)], unit=unit, x_label="update", marks=marks)
        )
    return join([note(_BATCHES), element("div", *charts, class_="charts"), _pairs(found.records)])


_BATCHES = (
    "Each point is one update's batch; dotted lines part the rounds. Margin and accuracy are those "
    "of the training pairs under the policy as it learns them: they rise in any case, and say "
    "nothing of other prompts."
)


def _begins(found: Findings) -> dict[int, int]:
    """Return how many updates came before each round."""
    begins: dict[int, int] = {}
    done = 0
    for t in sorted({row.round for row in found.training}):
        begins[t] = done
        done += max(row.step or 0 for row in found.training if row.round == t)
    return begins


def _pairs(records: Iterable[Record]) -> Html:
    head = ("round", "pairs", "updates", "tokens trained", "prompts without a pair")
    rows = [
        [
            record["round"],
            count(record["solver"]["pairs"]),
            count(record["solver"]["training"]["updates"]),
            count(record["tokens"]["trained"]),
            wording.counts(record["solver"]["skipped"]),
        ]
        for record in records
    ]
    return table(head, rows) if rows else Html("")
