"""Our figures beside the papers': results/paper_tables.md and docs/papers_tables.inc, from the csv.

python -m benchmarks.paper_report

A cell is ROC AUC in per cent, mean and standard deviation over runs; in brackets their number where
it is not the protocol's own.
"""

from itertools import combinations
from pathlib import Path

import pandas as pd

from . import paper_figures as theirs
from .paper_problems import CLASS_OUT, IMAGES, KNOWN_CLASSES, ODDS, OTHER_SET
from .paper_settings import CHANGES, WITHOUT_LABELS
from .protocol import results_path

DOCS = Path(__file__).parents[1] / "docs" / "papers_tables.inc"
CONFIGURATIONS = {"paper": "skad, paper's setting", "default": "skad, defaults"}
ORDER = ["OC-SVM", "OC-SVM hybrid", "Autoencoder", "DeepSVDD", "SSAD", "SSAD hybrid", "SSDGM"]
ORDER += ["Supervised", "DeepSAD", "ESAD", "AMA", "GANomaly", "PCA(64), DeepSAD"]


def read(name):
    """Read a csv, with AUC in per cent; an empty table if there is none."""
    path = results_path(name)
    if not path.exists():
        return pd.DataFrame()
    found = pd.read_csv(path)
    found["auc"] *= 100
    return found[found["error"].isna()]


def cell(mean, deviation=None, n=None, n_full=None):
    text = f"{mean:.1f}" if pd.isna(deviation) else f"{mean:.1f} ± {deviation:.1f}"
    return text if n in (None, n_full) else f"{text} ({n})"


def ours(found, columns, column, n_full):
    """Cells of our runs, as {(method, configuration's title): {column: cell}}."""
    cells = {}
    groups = found[found[column].isin(columns)].groupby(["method", "configuration", column])["auc"]
    for (method, configuration, name), values in groups:
        key = method, CONFIGURATIONS[configuration]
        cells.setdefault(key, {})[name] = cell(
            values.mean(), values.std(), len(values), n_full(name)
        )
    return cells


def published(sources, columns):
    """Cells of others' figures, by the same keys."""
    return {
        (method, source): {name: cell(*row[name]) for name in columns if name in row}
        for source, by_method in sources.items()
        for method, row in by_method.items()
    }


def side_by_side(cells, columns, titles=None):
    """Build a frame with a row per method and source, methods in order, ours first."""
    keys = sorted(cells, key=lambda key: (ORDER.index(key[0]), not key[1].startswith("skad")))
    rows = [[*key, *(cells[key].get(name, "") for name in columns)] for key in keys]
    return pd.DataFrame(rows, columns=["method", "figures of", *(titles or columns)])


def tabular(found):
    """Yield (title, frame) of the tables."""
    if not len(found):
        return
    cells = ours(found, ODDS, "dataset", lambda name: 10)
    cells |= published(theirs.PUBLIC_CODE | theirs.PAPER_TABULAR, ODDS)
    yield "Tables, 1 % labelled anomalies, no pollution, 10 seeds", side_by_side(cells, ODDS)
    # The mean over sets, of methods that have run on all of them.
    means = found.groupby(["method", "configuration", "dataset"])["auc"].mean().unstack()
    means = means.reindex(columns=ODDS).dropna().mean(axis=1).unstack()
    means = means.reindex([m for m in ORDER if m in means.index])
    means = means.rename(columns=CONFIGURATIONS).map(lambda v: "" if pd.isna(v) else f"{v:.1f}")
    yield "Mean over the six tables", means.reset_index()


def images(found):
    """Yield (title, frame) of the tables of images."""
    if not len(found):
        return
    unlabeled = pd.MultiIndex.from_frame(found[["method", "configuration"]]).isin(WITHOUT_LABELS)
    for name in IMAGES:
        title = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}[name]
        mine = found[found["dataset"] == name]
        columns = theirs.SHARES
        cells = ours(mine, columns, "setting", lambda name: 90)
        quoted = {"paper, as quoted by a later one": theirs.PAPER_LABELS[name]}
        quoted[f"paper, {theirs.RECALLED}"] = theirs.RECALLED_LABELS[name]
        cells |= published(quoted, columns)
        titles = [c.removeprefix("(i) ") for c in columns]
        yield f"{title}, scenario (i): labelled share", side_by_side(cells, columns, titles)

        columns = theirs.POLLUTION
        # For methods that take no labels, no pollution is no label either.
        same = mine["setting"].mask(
            unlabeled[found["dataset"] == name] & (mine["setting"] == theirs.SHARES[0]), columns[0]
        )
        cells = ours(mine.assign(setting=same), columns, "setting", lambda name: 90)
        recalled = theirs.RECALLED_POLLUTION.get(name, {})
        cells |= published({f"paper, {theirs.RECALLED}": recalled}, columns)
        titles = ["none", *(c.removeprefix("(ii) ").removesuffix(" polluted") for c in columns[1:])]
        frame = side_by_side(cells, columns, titles)
        yield f"{title}, scenario (ii): pollution, 5 % labelled", frame

        columns = list(KNOWN_CLASSES)
        cells = ours(mine, columns, "setting", lambda name: 90)
        titles = [c.removeprefix("(iii) ").removesuffix(" known") for c in columns]
        frame = side_by_side(cells, columns, titles)
        yield f"{title}, scenario (iii): known classes, 5 % labelled, 10 % polluted", frame
    columns = list(CLASS_OUT)
    for name, rest in found.groupby("dataset"):
        if rest["setting"].isin(columns).any():
            frame = side_by_side(ours(rest, columns, "setting", lambda name: 10), columns)
            yield f"{name}: one class is anomalous", frame
    rest = found[found["setting"].isin(OTHER_SET)]
    if len(rest):
        frame = side_by_side(ours(rest, IMAGES, "dataset", lambda name: 10), IMAGES)
        yield "One set against the other; the column is the set of the normals", frame


def order(found, sources, column):
    """Where a paper has two methods more than two standard deviations apart: do we agree?"""
    mean = found[found["configuration"] == "paper"].groupby([column, "method"])["auc"].mean()
    published = {method: row for by_method in sources for method, row in by_method.items()}
    agree, rows = 0, []
    for (one, of_one), (other, of_other) in combinations(published.items(), 2):
        for name in of_one.keys() & of_other.keys():
            (a, sd_a), (b, sd_b) = of_one[name], of_other[name]
            deviations = [sd for sd in (sd_a, sd_b) if sd is not None]
            if not deviations or abs(a - b) <= 2 * max(deviations):
                continue
            if (name, one) not in mean.index or (name, other) not in mean.index:
                continue
            better, worse = (one, other) if a > b else (other, one)
            gap = mean[name, better] - mean[name, worse]
            agree += gap > 0
            if gap <= 0:
                rows.append([name, better, worse, f"{abs(a - b):.1f}", f"{gap:.1f}"])
    columns = [column, "better in the paper", "worse", "gap there", "gap here"]
    return agree, pd.DataFrame(sorted(rows), columns=columns)


def changes(found):
    """Each change beside the method as it comes, on the same combinations of classes."""
    keys, rows = ["method", "setting", "dataset"], []
    for group, runs in found.groupby(keys, sort=False):
        auc = runs.pivot_table(index="combination", columns="change", values="auc")
        for change in [name for name in CHANGES[group[0]] if name in auc][1:]:
            both = auc[[change, "as it comes"]].dropna()
            means = [f"{both[name].mean():.1f}" for name in (change, "as it comes")]
            rows.append([*group, change, *means, len(both)])
    return pd.DataFrame(rows, columns=[*keys, "change", "AUC", "as it comes", "combinations"])


def amount(found, keys):
    """How much was run, and what it took."""
    frame = found.groupby(keys, sort=False).agg(
        runs=("auc", "size"), fit_h=("fit_s", "sum"), fit_cpu_h=("fit_cpu_s", "sum")
    )
    frame[["fit_h", "fit_cpu_h"]] = (frame[["fit_h", "fit_cpu_h"]] / 3600).map("{:.2f}".format)
    return frame.reset_index()


def sections():
    """Yield (title, frame)."""
    found = read("paper_tabular.csv")
    yield from tabular(found)
    if len(found):
        agree, rows = order(found, theirs.PAPER_TABULAR.values(), "dataset")
        title = f"Order of methods, tables: {agree} of {agree + len(rows)} pairs agree; the others"
        yield title, rows
        yield "How much was run, tables", amount(found, ["dataset"])
    found = read("paper_images.csv")
    yield from images(found)
    if len(found):
        yield "How much was run, images", amount(found, ["method", "configuration", "device"])
    found = read("paper_changes.csv")
    if len(found):
        yield "What moves the methods on images", changes(found)


def markdown(frame):
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.values.tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def restructured(title, frame):
    def line(values):
        return ", ".join(f'"{value}"' for value in values)

    lines = [f".. csv-table:: {title}", f"   :header: {line(frame.columns)}", ""]
    return "\n".join([*lines, *(f"   {line(row)}" for row in frame.values.tolist())])


def main():
    found = [(title, frame) for title, frame in sections() if len(frame)]
    note = "ROC AUC in per cent, mean ± standard deviation; in brackets runs, where fewer than all."
    text = "\n\n".join(f"## {title}\n\n{markdown(frame)}" for title, frame in found)
    results_path("paper_tables.md").write_text(f"# The papers' tables\n\n{note}\n\n{text}\n")
    text = "\n\n".join(restructured(title, frame) for title, frame in found)
    DOCS.write_text(f".. Made by `python -m benchmarks.paper_report`.\n\n{note}\n\n{text}\n")


if __name__ == "__main__":
    main()
