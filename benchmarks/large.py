"""Tables larger than memory: time, memory, and what a sample costs in accuracy.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.large QUESTION ...

Questions, each with a csv of its own in benchmarks/results; big files go to a temporary folder and
are removed:

parquet   10,000,000 x 30 in Parquet, Dask, 2 workers of 1.5 GB: fit, scores written to Parquet
memmap    5,000,000 x 50 mapped from a file: fit and score in one process, peak memory
growth    processor time per row from 1e5 to 1e7 rows
accuracy  average precision of fits on a sample against fits on all rows, on four large tables
faults    a worker killed in the middle against none, wall time
"""

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psutil
from distributed import Client, LocalCluster
from sklearn.metrics import average_precision_score

import skad.distributed as skad_dask
from skad import DeepSAD, SampledDetector

from .problems import few_labels
from .protocol import write

ROWS_PER_FILE = 100_000
LABELED = 1e-5  # share of labelled anomalies; a hundredth of the rows are hidden ones
TABLES = ("16_http", "10_cover", "3_backdoor", "5_campaign")
SEEDS = range(5)


def make_rows(k, n_rows, n_features):
    """Part k of a table: correlated columns, shifted anomalies, some of them labelled."""
    rng = np.random.default_rng([7, k])
    mix = np.random.default_rng(7).normal(size=(n_features, n_features), scale=n_features**-0.5)
    X = rng.normal(size=(n_rows, n_features)) @ mix
    anomaly = rng.random(n_rows) < 0.01
    X[anomaly, : n_features // 3] += 2
    y = np.where(anomaly & (rng.random(n_rows) < LABELED / 0.01), -1, 0)
    return X.astype(np.float32), y.astype(np.int8)


def write_parquet(folder, n_rows, n_features=30):
    for k in range(n_rows // ROWS_PER_FILE):
        X, y = make_rows(k, ROWS_PER_FILE, n_features)
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(n_features)]).assign(label=y)
        frame.to_parquet(Path(folder) / f"part.{k}.parquet")


def write_array(path, n_rows, n_features):
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_features))
    y = np.empty(n_rows, dtype=np.int8)
    for k, start in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        rows = slice(start, start + ROWS_PER_FILE)
        X[rows], y[rows] = make_rows(k, len(y[rows]), n_features)
    return np.load(path, mmap_mode="r"), y


def peak_mb():
    """Most resident memory that this process has had; getrusage would count its parent's too."""
    (line,) = [s for s in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in s]
    return int(line.split()[1]) / 1024


def two_workers(**options):
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", **options)


def processor_time(client):
    workers = client.run(lambda: sum(psutil.Process().cpu_times()[:2]))
    return sum(workers.values()) + time.process_time()


def parquet(n_rows=10_000_000):
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(folder, n_rows)
        with two_workers(memory_limit="1.5GB") as cluster, Client(cluster) as client:
            pids = client.run(lambda: psutil.Process().pid)
            client.run(peak_mb)  # imports
            result = {"rows": n_rows, "load": psutil.getloadavg()[0]}
            start, start_cpu = time.perf_counter(), processor_time(client)
            detector = skad_dask.fit(DeepSAD(random_state=0), folder, "label")
            result |= {"fit_s": time.perf_counter() - start}
            result |= {"fit_cpu_s": processor_time(client) - start_cpu}
            middle, middle_cpu = time.perf_counter(), processor_time(client)
            scores = skad_dask.decision_function(detector, folder)
            scores.to_frame().to_parquet(Path(folder) / "scores")
            result |= {"score_s": time.perf_counter() - middle}
            result |= {"score_cpu_s": processor_time(client) - middle_cpu}
            result |= {"all_s": time.perf_counter() - start, "client_mb": peak_mb()}
            result |= {"worker_mb": max(client.run(peak_mb).values())}
            result |= {"restarts": pids != client.run(lambda: psutil.Process().pid)}
        written = dd.read_parquet(Path(folder) / "scores")
        result |= {"written": len(written)}
        result |= {"flagged": float((written.decision_function < 0).mean().compute())}
    return [result]


def score_mapped(path, y, n_jobs):
    """Fit and score in a fresh process; its memory, above that with torch loaded."""
    before = peak_mb()
    X = np.load(path, mmap_mode="r")
    start, start_cpu = time.perf_counter(), time.process_time()
    detector = SampledDetector(DeepSAD(random_state=0), n_jobs=n_jobs).fit(X, y)
    fitted, fitted_cpu, fit_mb = time.perf_counter(), time.process_time(), peak_mb() - before
    scores = detector.score_samples(X)
    return {
        "rows": len(scores),
        "n_jobs": n_jobs,
        "interpreter_mb": before,
        "fit_mb": fit_mb,
        "mb": peak_mb() - before,
        "load": psutil.getloadavg()[0],
        "fit_s": fitted - start,
        "fit_cpu_s": fitted_cpu - start_cpu,
        "score_s": time.perf_counter() - fitted,
        "score_cpu_s": time.process_time() - fitted_cpu,
    }


def in_a_fresh_process(function, *args):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def memmap(n_rows=5_000_000):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        _, y = write_array(path, n_rows, 50)
        return [in_a_fresh_process(score_mapped, path, y, None)]


def growth():
    results = []
    for n_rows in (10**5, 10**6, 10**7):
        with tempfile.TemporaryDirectory() as folder:
            _, y = write_array(Path(folder) / "X.npy", n_rows, 30)
            for _ in range(3 if n_rows < 10**6 else 1):
                row = in_a_fresh_process(score_mapped, Path(folder) / "X.npy", y, None)
                row |= {"score_us_per_row": 1e6 * row["score_cpu_s"] / n_rows}
                results.append(row)
                print(row, flush=True)
    return results


def accuracy():
    results = []
    for name in TABLES:
        for seed in SEEDS:
            X, y, X_test, anomaly, *_ = few_labels(name, seed, max_rows=10**9)
            chunks = da.from_array(X, chunks=(10_000, X.shape[1]))
            ways = {
                "in memory": lambda X, y, seed=seed: DeepSAD(random_state=seed).fit(X, y),
                "sample of 100,000": lambda X, y, seed=seed: SampledDetector(random_state=seed).fit(
                    X, y
                ),
                "sample of 20,000": lambda X, y, seed=seed: SampledDetector(
                    max_samples=20_000, random_state=seed
                ).fit(X, y),
            }
            scores = {way: fit(X, y).score_samples(X_test) for way, fit in ways.items()}
            if seed == 0:
                distributed = skad_dask.fit(
                    SampledDetector(max_samples=20_000, random_state=seed),
                    chunks,
                    da.from_array(y, chunks=10_000),
                )
                scores["Dask, sample of 20,000"] = distributed.score_samples(X_test)
            for way, values in scores.items():
                ap = average_precision_score(anomaly, -values)
                results.append(
                    {"dataset": name, "rows": len(X), "seed": seed, "way": way, "ap": ap}
                )
            print(results[-len(scores) :], flush=True)
    return results


def faults():
    """Scores of 400,000 rows; in every second run a worker is killed half a second after."""
    X = np.concatenate([make_rows(k, 100_000, 30)[0] for k in range(4)])
    detector = DeepSAD(random_state=0).fit(X)
    expected, results = detector.score_samples(X), []
    chunks = da.from_array(X, chunks=(5_000, 30))
    with two_workers() as cluster, Client(cluster) as client:
        for killed in (False, True) * 3:
            client.wait_for_workers(2)
            client.run(peak_mb)  # imports
            victim = psutil.Process(next(iter(cluster.workers.values())).pid)
            start = time.perf_counter()
            scores = client.compute(skad_dask.score_samples(detector, chunks))
            time.sleep(0.5)
            if killed:
                victim.kill()
            same = np.array_equal(scores.result(), expected)
            seconds = time.perf_counter() - start
            load = psutil.getloadavg()[0]
            results.append({"killed": killed, "s": seconds, "same": same, "load": load})
            print(results[-1], flush=True)
    return results


if __name__ == "__main__":
    for question in sys.argv[1:]:
        rows = {f.__name__: f for f in (parquet, memmap, growth, accuracy, faults)}[question]()
        for row in rows:
            print(row)
        write(f"large_{question}.csv", rows)
