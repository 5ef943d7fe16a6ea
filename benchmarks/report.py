"""All tables and pictures of the benchmark, from its csv: results/report.md and results/*.png.

    python -m benchmarks.report [csv file in benchmarks/results]

Means are over data sets and seeds that every method of the table has run on; a method that failed
on a problem gets the lowest figure that any method has there. Tests are Wilcoxon's signed-rank test
over data sets (means over seeds), corrected by Holm's method for the number of methods compared
with ours.
"""

import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import scikit_posthocs
from scipy.stats import wilcoxon

from .few_labels import COUNTS, EMBEDDINGS, SHARES
from .methods import METHODS, SKAD
from .protocol import results_path

mpl.use("Agg")
from matplotlib import pyplot as plt

OURS = "VotingDetector"
DRAWN = ["VotingDetector", "DeepSAD", "ESAD", "ExtraTrees", "RBF logistic regression", "CatBoost"]
DRAWN += ["balanced random forest", "DevNet, repaired", "IsolationForest"]


def read(path):
    """Read the csv, with failures filled in by the lowest figure of the problem."""
    table = pd.read_csv(path)
    table["method"] = pd.Categorical(
        table["method"], [m for m in METHODS if m in set(table.method)]
    )
    table["source"] = table["dataset"].str.split(",").str[0]
    figures = ["auc", "ap", "other_auc", "other_ap"]
    lowest = table.groupby(["setting", "dataset", "seed"])[figures].transform("min")
    table[figures] = table[figures].where(table["error"].isna(), lowest)
    return table


def complete(table):
    """Leave out methods that have not run on all problems of the table."""
    counts = table.groupby("method", observed=True).size()
    return table[table["method"].isin(counts.index[counts == counts.max()])]


def of_settings(table, settings):
    """Rows of some settings, each without methods that are not complete."""
    parts = [complete(table[table["setting"] == name]) for name in settings]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts) if parts else table.iloc[:0]


def means(table, columns="setting", values="ap"):
    """Mean figure, methods as rows, the best first."""
    if not len(table):
        return pd.DataFrame()
    order = list(dict.fromkeys(table[columns]))
    pivot = table.pivot_table(values, "method", columns, observed=True)[order]
    above = (pivot - pivot.mean()).mean(axis=1)  # also where a method has not run on all columns
    return pivot.loc[above.sort_values(ascending=False).index]


def holm(p_values):
    """Holm's step-down correction."""
    order = np.argsort(p_values)
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected


def against_ours(table):
    """Average rank, wins, ties and losses of ours by data set, corrected p-value."""
    scores = table.pivot_table("ap", "dataset", "method", observed=True)
    ranks = scores.rank(axis=1, ascending=False).mean()
    rows = {}
    for method in scores.columns.drop(OURS):
        gain = scores[OURS] - scores[method]
        rows[method] = {
            "AP": scores[method].mean(),
            "rank": ranks[method],
            "wins": int((gain > 0).sum()),
            "losses": int((gain < 0).sum()),
            "p": wilcoxon(gain).pvalue if (gain != 0).any() else 1.0,
        }
    found = pd.DataFrame(rows).T
    found["p"] = holm(found["p"])
    found.loc[OURS] = {"AP": scores[OURS].mean(), "rank": ranks[OURS]}
    return found.sort_values("rank")


def where_it_loses(table, peers):
    """A line for each data set on which the best peer is ahead of ours, by most first."""
    scores = table.pivot_table("ap", "dataset", "method", observed=True)
    best = scores[peers].max(axis=1)
    gap = (best - scores[OURS]).sort_values(ascending=False)
    names = scores[peers].idxmax(axis=1)
    return [
        f"{dataset}: {names[dataset]} {best[dataset]:.3f}, {OURS} {scores[OURS][dataset]:.3f}"
        for dataset in gap.index[gap > 0]
    ]


def markdown(frame, digits=3):
    """Turn a data frame into a Markdown table; nothing where it is empty."""
    if not frame.size:
        return ""

    def cell(value):
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return (
            f"{value:.0f}"
            if float(value).is_integer() and abs(value) >= 1
            else f"{value:.{digits}f}"
        )

    lines = ["| " + " | ".join(map(str, ["", *frame.columns])) + " |"]
    lines.append("| --- " * (len(frame.columns) + 1) + "|")
    for name, row in frame.iterrows():
        title = f"**{name}**" if name in SKAD else name
        lines.append("| " + " | ".join([str(title), *(cell(v) for v in row)]) + " |")
    return "\n".join(lines)


def draw_gain(table, settings, xlabel, values, path):
    """Mean AP against the amount of labels."""
    mean = means(of_settings(table, settings))
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for number, method in enumerate(m for m in DRAWN if m in mean.index):
        line = mean.loc[method].reindex(settings).set_axis(values).dropna()
        width = 2.6 if method == OURS else 1.4
        marker = "osD^vP*Xp"[number]
        axes.plot(line.index, line, marker=marker, ms=5, lw=width, color=f"C{number}", label=method)
    axes.set(xscale="log", xlabel=xlabel, ylabel="average precision, mean over tables")
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_ranks(table, path):
    """Critical-difference diagram: a bar joins methods that Wilcoxon's test does not tell apart."""
    scores = table.pivot_table("ap", "dataset", "method", observed=True)
    scores.columns = scores.columns.astype(str)
    ranks = scores.rank(axis=1, ascending=False).mean()
    long = scores.reset_index().melt("dataset", var_name="method", value_name="ap")
    p_values = scikit_posthocs.posthoc_wilcoxon(
        long.sort_values(["method", "dataset"]), "ap", "method", p_adjust="holm"
    )
    figure, axes = plt.subplots(figsize=(9, 0.22 * len(ranks) + 1), layout="constrained")
    scikit_posthocs.critical_difference_diagram(ranks, p_values, ax=axes)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_time(table, path):
    """Mean AP against mean seconds of a fit."""
    mean = table.groupby("method", observed=True)[["ap", "fit_cpu_s"]].mean()
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for method, row in mean.iterrows():
        color = "C0" if method in SKAD else "0.4"
        axes.plot(row["fit_cpu_s"], row["ap"], "o" if method in SKAD else "s", color=color)
        axes.annotate(
            method, row[["fit_cpu_s", "ap"]], (4, 3), textcoords="offset points", fontsize=7
        )
    axes.set(
        xscale="log", xlabel="fit, processor seconds (mean)", ylabel="average precision (mean)"
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def sections(table):
    """Yield (title, text)."""
    shares, counts = list(SHARES), list(COUNTS)
    part = of_settings(table, shares)
    yield "Share of the training anomalies labelled, AP", markdown(means(part))
    splits = part.groupby("setting", sort=False)["seed"].nunique().to_frame("splits")
    yield "Splits that these are means over", markdown(splits)
    names = sorted(table.loc[table["setting"].isin(shares), "dataset"].unique())
    for title, half in (("first", names[::2]), ("second", names[1::2])):
        part = of_settings(table[table["dataset"].isin(half)], shares)
        yield (
            f"The same, {title} half of the tables (every second in name order)",
            markdown(means(part)),
        )
    yield "The same, ROC AUC", markdown(means(of_settings(table, shares), values="auc"))
    for setting in shares:
        part = of_settings(table, [setting])
        if OURS in set(part["method"]):
            yield f"{setting}: ranks, and {OURS} against each", markdown(against_ours(part))
    part = of_settings(table, ["r = 5 %"])
    peers = [m for m in part["method"].unique() if m not in SKAD]
    if OURS in set(part["method"]) and peers:
        losses = where_it_loses(part, peers)
        yield f"Where {OURS} loses at 5 %, and to whom", "\n".join(f"- {line}" for line in losses)
        yield "r = 5 %, table by table, AP", markdown(means(part, "dataset").T)
        deviation = part.groupby(["method", "dataset"], observed=True)["ap"].std()
        spread = deviation.groupby("method", observed=True).median().to_frame("sd over seeds")
        yield (
            "r = 5 %, median over tables of the standard deviation of AP over seeds",
            markdown(spread),
        )
    for title, group in (
        ("Number of labelled anomalies", counts),
        ("Embeddings", list(EMBEDDINGS)),
    ):
        yield f"{title}, AP", markdown(means(of_settings(table, group)))
    others = [
        n for n in table["setting"].unique() if "wrong" in n or "normals" in n or "no label" in n
    ]
    for setting in others:
        part = of_settings(table, [setting])
        yield f"{setting}, AP", markdown(means(part))
    wrong = table[table["setting"].isin(["r = 10 %", "r = 10 %, 20 % wrong"])]
    # Of the same tables and seeds.
    wrong = wrong[wrong["seed"].isin(wrong.loc[wrong["setting"] != "r = 10 %", "seed"])]
    wrong = means(of_settings(wrong, ["r = 10 %", "r = 10 %, 20 % wrong"]))
    if wrong.shape[1] == 2:
        kept = (wrong.iloc[:, 1] / wrong.iloc[:, 0]).dropna().sort_values(ascending=False)
        yield "Share of AP that is kept with 20 % wrong labels", markdown(kept.to_frame("kept"))
    kinds = complete(table[table["setting"] == "unknown kinds"])
    if len(kinds):
        yield "Kinds never labelled, ROC AUC", markdown(means(kinds, "source", "other_auc"))
        yield "All test rows of the same, ROC AUC", markdown(means(kinds, "source", "auc"))
    columns = ["ap", "auc", "fit_s", "fit_cpu_s", "score_s"]
    every = one_split(table).groupby("method", observed=True)[columns].mean()
    yield (
        "r = 5 %, one split: every method, and its seconds",
        markdown(every.sort_values("ap", ascending=False)),
    )
    failed = table[table["error"].notna()].groupby(["method", "error"], observed=True).size()
    yield "Failures", markdown(failed.rename("runs").reset_index().set_index("method"))


def one_split(table):
    """Runs at 5 % on the split that every method has been run on."""
    return complete(table[(table["setting"] == "r = 5 %") & (table["seed"] == 0)])


def main(name="few_labels.csv"):
    table = read(results_path(name))
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections(table) if body)
    stem = name.removesuffix("few_labels.csv")
    results_path(f"{stem}report.md").write_text("# The benchmark\n\n" + text + "\n")
    percent = [100 * share for share in SHARES.values()]
    draw_gain(
        table,
        list(SHARES),
        "labelled anomalies, % of those in the training rows",
        percent,
        results_path(f"{stem}gain.png"),
    )
    part = of_settings(table, ["r = 5 %"])
    draw_ranks(part, results_path(f"{stem}ranks.png"))
    draw_time(one_split(table), results_path(f"{stem}time.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
