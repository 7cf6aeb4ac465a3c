"""Where methods stand after the same number of evaluations, on several prompts: means with their errors, and words.

It does not know what the methods are. An error is the standard error of a mean over prompts, None for a single prompt.
"""

from collections.abc import Sequence

from maquette.evaluation.curves import (
    ELEVATION_DEG,
    MEASURES,
    VIEW_PX,
    VIEWS,
    error_curve,
    mean_curve,
    reached,
    resampled,
)
from maquette.evaluation.runs import Drawn, Run

LOOKS = 12
"""Equal parts of the budget, with a look at the end of each."""
SHARE_OF_BEST = 0.9
MEASURED = (*MEASURES, "difference", "shared")


def grid(evaluations: int) -> list[float]:
    """Where curves of methods with steps of different lengths are compared."""
    return [evaluations * k / LOOKS for k in range(LOOKS + 1)]


def mean_error(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Mean and standard error of what is known, and how many that are.

    >>> mean_error([1.0, 3.0, None])
    {'mean': 2.0, 'error': 1.0, 'count': 2}
    """
    rows = [[{"value": value}] for value in values if value is not None]
    if not rows:
        return {"mean": None, "error": None, "count": 0}
    return {"mean": mean_curve(rows)[0]["value"], "error": error_curve(rows)[0]["value"], "count": len(rows)}


def summary(runs: dict[str, dict[str, Run]], drawn: dict[str, Drawn], *, evaluations: int) -> dict:
    """Plain values: everything that was measured, by prompt and method, and for each method the means over prompts.

    `to_90` is what a method had spent when it first came to 90 % of the best similarity that any method had on the same
    prompt at any time; `to_own_90` the same with the best of its own. None if it never did; means are over the prompts
    where it did. `later` is how much a measure still changed in the second half of the budget.
    """
    prompts, methods, places = {}, {}, grid(evaluations)
    for prompt, by_name in runs.items():
        best = {name: max(row["similarity"] for row in run.curve) for name, run in by_name.items()}
        prompts[prompt] = {
            "drawn": drawn[prompt].row,
            "methods": {
                name: {
                    "steps": run.steps,
                    "to_90": reached(run.curve, SHARE_OF_BEST * max(best.values())),
                    "to_own_90": reached(run.curve, SHARE_OF_BEST * best[name]),
                    "curve": run.curve,
                }
                for name, run in by_name.items()
            },
        }
    for name in next(iter(runs.values())):
        found = [one["methods"][name] for one in prompts.values()]
        curves = [resampled(one["curve"], places) for one in found]
        ends, halves = [one["curve"][-1] for one in found], [curve[LOOKS // 2] for curve in curves]
        methods[name] = {
            "steps": mean_error([one["steps"] for one in found]),
            "seconds": mean_error([end["seconds"] for end in ends]),
            **{measure: mean_error([end[measure] for end in ends]) for measure in MEASURED},
            "later": {
                measure: mean_error(
                    [_less(end[measure], half[measure]) for end, half in zip(ends, halves, strict=True)]
                )
                for measure in MEASURES
            },
            "best_similarity": mean_error([max(row["similarity"] for row in one["curve"]) for one in found]),
            **{to: mean_error([one[to] for one in found]) for to in ("to_90", "to_own_90")},
            "curve": mean_curve(curves),
            "curve_error": error_curve(curves),
        }
    rows = [one.row for one in drawn.values()]
    return {
        "evaluations": evaluations,
        "looks": LOOKS,
        "views": {"azimuths": VIEWS, "elevation_deg": ELEVATION_DEG, "size_px": VIEW_PX, "background": "white"},
        "methods": methods,
        "drawn": {measure: mean_error([row[measure] for row in rows]) for measure in MEASURES},
        "prompts": prompts,
    }


def standing(report: dict) -> dict:
    """The part of a report that a paragraph needs: no curves, each pair of methods prompt by prompt, and sentences."""
    bare = {
        name: {key: value for key, value in row.items() if not key.startswith("curve")}
        for name, row in report["methods"].items()
    }
    names, measures = list(bare), (*MEASURES, "to_90", "to_own_90")
    pairs = {
        a: {b: {measure: paired(report, a, b, measure) for measure in measures} for b in names if b != a} for a in names
    }
    kept = {key: value for key, value in report.items() if key not in ("methods", "prompts")}
    about = {"prompts": list(report["prompts"]), "methods": bare, "pairs": pairs}
    return kept | about | {"sentences": sentences(report)}


def paired(report: dict, a: str, b: str, measure: str) -> dict[str, float | int | None]:
    """How much more `a` has than `b` on the same prompt at the end: the mean, and on how many prompts it is more."""
    gaps = []
    for one in report["prompts"].values():
        ends = [one["methods"][name] for name in (a, b)]
        gaps.append(_less(*(end[measure] if measure in end else end["curve"][-1][measure] for end in ends)))
    return mean_error(gaps) | {"more": sum(gap > 0 for gap in gaps if gap is not None)}


def sentences(report: dict) -> list[str]:
    """The findings in plain words, the same for any outcome."""
    methods, prompts = report["methods"], len(report["prompts"])
    drawn = report["drawn"]["saturation"]["mean"]
    by_similarity = sorted(methods, key=lambda name: -methods[name]["similarity"]["mean"])
    on = "on one prompt" if prompts == 1 else f"on average over {prompts} prompts"
    found = [
        f"After {report['evaluations']} evaluations, {on}, the similarity is "
        + ", ".join(f"{told(methods[name]['similarity'])} ({name})" for name in by_similarity)
        + "."
    ]
    arrived = sorted((name for name in methods if methods[name]["to_90"]["count"]), key=lambda n: _order(methods[n]))
    if arrived:
        parts = [
            f"{name} on {methods[name]['to_90']['count']} of {prompts} after {told(methods[name]['to_90'], 0)}"
            for name in arrived
        ]
        found.append("90 % of the best similarity on a prompt was reached by " + ", ".join(parts) + " evaluations.")
    own = sorted(methods, key=lambda name: methods[name]["to_own_90"]["mean"])
    parts = [f"{name} after {told(methods[name]['to_own_90'], 0)}" for name in own]
    found.append("90 % of its own best similarity was reached by " + ", ".join(parts) + ".")
    over = [name for name in by_similarity if methods[name]["saturation"]["mean"] > drawn]
    under = [name for name in by_similarity if name not in over]
    for names, words in ((over, "more"), (under, "less")):
        if names:
            parts = [f"{name} ({told(methods[name]['saturation'])})" for name in names]
            found.append(f"{words.capitalize()} saturated than what the prior draws ({drawn:.3f}): {', '.join(parts)}.")
    later = {
        name: [methods[name]["later"][key]["mean"] for key in ("similarity", "saturation")] for name in by_similarity
    }
    parts = [f"{name} {similarity:+.3f} and {saturation:+.3f}" for name, (similarity, saturation) in later.items()]
    found.append("In the second half of the budget similarity and saturation changed by: " + ", ".join(parts) + ".")
    return found


def told(value: dict, digits: int = 3) -> str:
    """A mean with its error, such as "0.532 ± 0.021"; "-" for none."""
    if value["mean"] is None:
        return "-"
    error = "" if value["error"] is None else f" ± {value['error']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{error}"


def _order(row: dict) -> tuple[int, float]:
    """Who came to 90 % on most prompts, and then who came first."""
    return -row["to_90"]["count"], row["to_90"]["mean"]


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
