r"""The papers' tables, rebuilt: one csv row a run.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.paper_tables tabular --jobs 2
    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.paper_tables images \
        --device cuda --jobs 8 --limit-seconds 500
    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.paper_tables changes --device cuda

"changes" runs the methods for images as they come and with one thing changed, on at most 20,000
training rows.

Rows are appended to a csv as they come; runs that are there already are left out, so that a run can
be stopped (`--limit-seconds`) and taken up again. Order makes any prefix a fair sample: tables go
seed by seed, images one combination of classes after the other over all settings.
`paper_problems.py` holds the protocols, `paper_settings.py` the papers' settings of each method;
`paper_report.py` makes the tables.
"""

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import average_precision_score, roc_auc_score

from . import paper_problems, paper_settings
from .protocol import results_path, run_missing, versions

METHOD_FIELDS = ["method", "configuration"]
RESULT_FIELDS = ["rows", "labeled_anomalies", "auc", "ap", "fit_s", "fit_cpu_s", "error"]
RESULT_FIELDS += ["device", "versions"]
TABULAR_KEY = ["dataset", "seed", *METHOD_FIELDS]
IMAGES_KEY = ["setting", "dataset", "combination", *METHOD_FIELDS]
CHANGES_KEY = ["setting", "dataset", "combination", "method", "change"]
MOST_ROWS = 20_000  # of the training part, where only the change counts


def fit(estimator, X, y):
    """Fit a detector, or a classifier that takes unlabelled rows as normals."""
    return estimator.fit(X, y == -1) if is_classifier(estimator) else estimator.fit(X, y)


def anomaly_scores(estimator, X):
    if is_classifier(estimator):
        return estimator.predict_proba(X)[:, 1]
    return -estimator.decision_function(X)


def judge(row, problem, method, make, hybrids=None):
    """Rows of one method on one problem, and of shallow detectors on its codes, if asked for."""
    row |= {"rows": len(problem.X), "labeled_anomalies": int((problem.y == -1).sum())}
    row |= {"versions": versions()}
    wall, cpu = time.perf_counter(), time.process_time()

    def found(method, estimator, X_test):
        spent = {"fit_s": time.perf_counter() - wall, "fit_cpu_s": time.process_time() - cpu}
        scores = anomaly_scores(estimator, X_test)
        auc = roc_auc_score(problem.anomaly, scores)
        ap = average_precision_score(problem.anomaly, scores)
        return {**row, "method": method, "auc": auc, "ap": ap, **spent}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator = fit(make(len(problem.X)), problem.X, problem.y)
            rows = [found(method, estimator, problem.X_test)]
            if hybrids:
                codes, test_codes = map(estimator.transform, (problem.X, problem.X_test))
            for name, make_shallow in (hybrids or {}).items():
                shallow = fit(make_shallow(len(codes)), codes, problem.y)
                rows.append(found(name, shallow, test_codes))
        except (ValueError, RuntimeError) as error:  # training that is not finite is a result
            rows = [{**row, "method": method, "error": str(error).splitlines()[0][:100]}]
    return rows


def judge_table(dataset, seed, method, configuration):
    """Csv rows of one method on one table; an autoencoder also gives the hybrids on its codes."""
    paper = configuration == "paper"
    made_by = paper_settings.PAPER if paper else paper_settings.DEFAULT
    hybrids = paper_settings.HYBRIDS if paper else paper_settings.DEFAULT_HYBRIDS
    row = {"dataset": dataset, "seed": seed, "configuration": configuration}

    def ready(make):
        return lambda n_rows: make(dataset, n_rows, random_state=seed)

    return judge(
        row,
        paper_problems.odds(dataset, seed),
        method,
        ready(made_by[method]),
        {name: ready(make) for name, make in hybrids.items()} if method == "Autoencoder" else None,
    )


def judge_image(setting, dataset, combination, method, configuration, device):
    """Csv row of one method on one problem of images."""
    paper = configuration == "paper"
    made_by = paper_settings.PAPER_IMAGES if paper else paper_settings.DEFAULT_IMAGES
    problem, _ = paper_problems.SETTINGS[setting]
    row = {"setting": setting, "dataset": dataset, "combination": combination}
    row |= {"configuration": configuration}
    row |= {"device": "cpu" if method.startswith("PCA") else device}

    def make(n_rows):
        return made_by[method](dataset, n_rows, random_state=combination, device=device)

    return judge(row, problem(dataset, combination), method, make)


def judge_change(setting, dataset, combination, method, change, device):
    """Csv row of a method for images with some options changed."""
    problem = paper_problems.SETTINGS[setting][0](dataset, combination)
    kept = np.random.RandomState(0).permutation(len(problem.X))[:MOST_ROWS]
    row = {"setting": setting, "dataset": dataset, "combination": combination}
    row |= {"change": change, "device": device}

    def make(n_rows):
        options = paper_settings.CHANGES[method][change]
        made_by = paper_settings.DEFAULT_IMAGES[method]
        return made_by(dataset, n_rows, random_state=combination, device=device, **options)

    return judge(row, problem._replace(X=problem.X[kept], y=problem.y[kept]), method, make)


def tabular(args):
    tasks = [
        (dataset, seed, method, configuration)
        for seed in args.seeds
        for dataset in args.datasets or paper_problems.ODDS
        for method, configuration in methods(args, paper_settings.PAPER, paper_settings.DEFAULT)
    ]
    run(args, "paper_tabular.csv", TABULAR_KEY, tasks, judge_table)


def images(args):
    settings = [s for s in paper_problems.SETTINGS if s.startswith(tuple(args.settings))]
    tasks = [
        (setting, dataset, k, method, configuration)
        for k in range(args.combinations)
        for setting in settings
        for dataset in args.datasets or paper_problems.IMAGES
        for method, configuration in methods(
            args, paper_settings.PAPER_IMAGES, paper_settings.DEFAULT_IMAGES
        )
        if k < paper_problems.SETTINGS[setting][1]
        and paper_settings.takes_part(setting, method, configuration)
    ]
    run(args, "paper_images.csv", IMAGES_KEY, tasks, partial(judge_image, device=args.device))


def changes(args):
    tasks = [
        (setting, dataset, k, method, change)
        for k in range(args.combinations)
        for method, changed in paper_settings.CHANGES.items()
        if method in (args.methods or paper_settings.CHANGES)
        for setting in paper_settings.CHANGED_IN[method]
        for dataset in args.datasets or paper_problems.IMAGES
        for change in changed
        if k < paper_problems.SETTINGS[setting][1]
    ]
    run(args, "paper_changes.csv", CHANGES_KEY, tasks, partial(judge_change, device=args.device))


def methods(args, paper, default):
    """Yield each method under the papers' setting and under the defaults, as far as asked for."""
    for configuration, made_by in (("paper", paper), ("default", default)):
        for method in made_by:
            if configuration in args.configurations and method in (args.methods or made_by):
                yield method, configuration


def run(args, name, key, tasks, judge_one):
    run_missing(
        args.output or results_path(name),
        [*key, *RESULT_FIELDS],
        key,
        tasks,
        judge_one,
        jobs=args.jobs,
        limit_s=args.limit_seconds,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {"tabular": tabular, "images": images, "changes": changes}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--output", type=Path, help="the csv file; default in benchmarks/results")
    parser.add_argument("--datasets", nargs="+")
    parser.add_argument("--methods", nargs="+", help="a method's name, such as DeepSAD")
    parser.add_argument("--configurations", nargs="+", default=["paper", "default"])
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--limit-seconds", type=float, help="no run starts after that time")
    tables = parser.add_argument_group("tabular")
    tables.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    pictures = parser.add_argument_group("images, changes")
    pictures.add_argument(
        "--settings", nargs="+", default=[""], help='beginnings of settings, such as "(i) 5%%"'
    )
    pictures.add_argument("--combinations", type=int, default=90, help="the first so many")
    pictures.add_argument("--device", default="cpu")
    args = parser.parse_args()
    commands[args.command](args)
