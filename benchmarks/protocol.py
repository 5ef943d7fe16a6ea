"""What benchmarks share: judging a detector on the few-label problems, and one csv writer.

Run a benchmark from the repository's root, with the data folder in SKAD_DATA:

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.few_labels
"""

import csv
import multiprocessing
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import skad

from .problems import dataset_names, few_labels


def evaluate(make_detector, names=None, seeds=(0, 1, 2), labeled=0.05):
    """Fit ``make_detector(seed)`` on every problem; a list of dicts, one per data set and seed."""
    rows = []
    for name in names if names is not None else dataset_names():
        for seed in seeds:
            problem = few_labels(name, seed, labeled)
            start = time.perf_counter()
            detector = make_detector(seed).fit(problem.X, problem.y)
            fit_s = time.perf_counter() - start
            score = -detector.decision_function(problem.X_test)
            rows.append(
                {
                    "dataset": name,
                    "seed": seed,
                    "auc": roc_auc_score(problem.anomaly, score),
                    "ap": average_precision_score(problem.anomaly, score),
                    "fit_s": fit_s,
                }
            )
    return rows


def mean(rows, key):
    """Mean of one column over data sets and seeds."""
    return float(np.mean([row[key] for row in rows]))


def versions():
    """Versions of what results depend on."""
    used = {"skad": skad, "scikit-learn": sklearn, "torch": torch}
    return " ".join(f"{name}={module.__version__}" for name, module in used.items())


def results_path(name):
    """Path of a csv file in benchmarks/results."""
    path = Path(__file__).parent / "results" / name
    path.parent.mkdir(exist_ok=True)
    return path


def append(path, fields, row):
    """Append one row to a csv file, with the header where the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})


def write(name, rows):
    """Write a list of dicts to benchmarks/results as csv, with the versions."""
    path = results_path(name)
    path.unlink(missing_ok=True)
    rows = [{**row, "versions": versions()} for row in rows]
    fields = list(dict.fromkeys(key for row in rows for key in row))
    for row in rows:
        append(path, fields, row)


def run_missing(path, fields, key, tasks, run, *, jobs=1, limit_s=None):
    """Append the rows that ``run(*task)`` returns to a csv file, for the tasks it does not have.

    A task is a tuple of the key's columns, which the first of its rows holds; tasks start in their
    order, and none starts once `limit_s` seconds are over.
    """
    done = set()
    if path.exists():
        with path.open(newline="") as file:
            done = {tuple(row[name] for name in key) for row in csv.DictReader(file)}
    tasks = [task for task in tasks if tuple(map(str, task)) not in done]
    print(len(tasks), "runs,", len(done), "are there already", flush=True)
    start, tasks = time.monotonic(), iter(tasks)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run, *task) for task in islice(tasks, jobs)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                for row in future.result():
                    append(path, fields, row)
                if limit_s is None or time.monotonic() - start < limit_s:
                    running |= {pool.submit(run, *task) for task in islice(tasks, 1)}
