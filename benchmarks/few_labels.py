"""The benchmark: every method under every setting, one csv row a run.

    make peers                                       # once: .venv-peers, with the peers' packages
    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 .venv-peers/bin/python -m benchmarks.few_labels \
        --settings "r = 5 %" --methods VotingDetector ExtraTrees --seeds 0 1 2 --jobs 2

Rows are appended to benchmarks/results/few_labels.csv as they come; runs that are there already are
left out, so that a run can be stopped and taken up again. A method that fails leaves a row with the
error in place of figures. ``--group`` names another folder of .npz sets in SKAD_DATA.

Settings: "r = ..." is the share of the training anomalies that is labelled, "n = ..." their
number, "normals" adds 5 % labelled normals, "wrong" makes a share of the labelled anomalies normal
rows; "unknown kinds" and "embeddings" are in problems.py. `benchmarks.report` makes the tables.
"""

import argparse
import time
import warnings
from functools import partial

from sklearn.metrics import average_precision_score, roc_auc_score

from .methods import COMMON, METHODS, SKAD
from .problems import UNKNOWN_KINDS, dataset_names, few_labels, unknown_kind
from .protocol import results_path, run_missing, versions

SHARES = {f"r = {share:g} %": share / 100 for share in (1, 5, 10, 25, 50, 100)}
COUNTS = {f"n = {count}": count for count in (1, 3, 5, 10, 20)}
TABLES = {name: partial(few_labels, labeled=value) for name, value in (SHARES | COUNTS).items()}
TABLES["no label"] = partial(few_labels, labeled=0)
TABLES["r = 5 %, 5 % normals"] = partial(few_labels, labeled=0.05, labeled_normals=0.05)
for percent in (10, 20):
    TABLES[f"r = 10 %, {percent} % wrong"] = partial(few_labels, labeled=0.1, wrong=percent / 100)
EMBEDDINGS = {
    f"embeddings, r = {share:g} %": partial(
        few_labels, labeled=share / 100, group="adbench_embeddings"
    )
    for share in (1, 5, 10)
}
SETTINGS = TABLES | EMBEDDINGS | {"unknown kinds": unknown_kind}
FIELDS = ["setting", "dataset", "seed", "method", "rows", "columns", "labeled_anomalies"]
FIELDS += ["auc", "ap", "other_auc", "other_ap", "fit_s", "fit_cpu_s", "score_s", "error"]
FIELDS += ["versions"]


def problems(settings, seeds, group="adbench"):
    """Yield (setting, data set, seed)."""
    for seed in seeds:
        for setting in settings:
            if setting == "unknown kinds":
                names = UNKNOWN_KINDS
            else:
                names = dataset_names("adbench_embeddings" if setting in EMBEDDINGS else group)
            yield from ((setting, name, seed) for name in names)


def judge(setting, dataset, seed, method, group="adbench"):
    """Run one method on one problem: a list of one csv row."""
    make = SETTINGS[setting]
    problem = make(dataset, seed, **({"group": group} if setting in TABLES else {}))
    row = {"setting": setting, "dataset": dataset, "seed": seed, "method": method}
    row |= {"rows": len(problem.X), "columns": problem.X.shape[1]}
    row |= {"labeled_anomalies": int((problem.y == -1).sum()), "versions": versions()}
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score = METHODS[method](problem.X, problem.y, seed)
            row["fit_s"] = time.perf_counter() - wall
            row["fit_cpu_s"] = time.process_time() - cpu
            wall = time.perf_counter()
            scores = score(problem.X_test)
        row["score_s"] = time.perf_counter() - wall
        row["auc"] = roc_auc_score(problem.anomaly, scores)
        row["ap"] = average_precision_score(problem.anomaly, scores)
        if problem.kept is not None:
            truth, scores = problem.anomaly[problem.kept], scores[problem.kept]
            row["other_auc"] = roc_auc_score(truth, scores)
            row["other_ap"] = average_precision_score(truth, scores)
    except ImportError:
        raise
    except Exception as error:  # a peer's failure is a result
        row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    return [row]


def main(settings, methods, seeds, jobs, group, output):
    tasks = [
        (*problem, method) for problem in problems(settings, seeds, group) for method in methods
    ]
    run = partial(judge, group=group)
    run_missing(results_path(output), FIELDS, FIELDS[:4], tasks, run, jobs=jobs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument(
        "--methods", nargs="+", default=list(SKAD | COMMON), choices=list(METHODS), metavar="METHOD"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--group", default="adbench")
    parser.add_argument("--output", default="few_labels.csv")
    main(**vars(parser.parse_args()))
