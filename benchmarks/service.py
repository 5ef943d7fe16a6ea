"""How long one row takes: in Python, in an ONNX runtime, and through the service of the examples.

The service is asked through FastAPI's test client, in this process: no network, but the client's
own work is in the figures. Writes benchmarks/results/service.csv.

    OMP_NUM_THREADS=1 python -m benchmarks.service
"""

import importlib.util
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import skops.io
from fastapi.testclient import TestClient

from skad import SSAD, DeepSAD
from skad.export import to_onnx

from .protocol import write

N_ROWS, N_FEATURES, N_REQUESTS = 2000, 20, 2000
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "service.py"


def load_example():
    spec = importlib.util.spec_from_file_location("service", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def milliseconds(function, rows, n_threads=1):
    """Time of each call on one row, after a warm-up."""

    def timed(row):
        start = time.perf_counter()
        function(row)
        return 1000 * (time.perf_counter() - start)

    singles = [rows[i % len(rows)][None] for i in range(N_REQUESTS)]
    for row in singles[:50]:
        function(row)
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(timed, singles))


def measure(detector, X):
    name = type(detector).__name__
    session = onnxruntime.InferenceSession(to_onnx(detector).SerializeToString())
    X32 = X.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        skops.io.dump(detector, Path(folder) / "detector.skops")
        app = load_example().make_app(Path(folder) / "detector.skops")
    with TestClient(app) as client:
        times = {
            "decision_function": milliseconds(detector.decision_function, X),
            "onnxruntime": milliseconds(lambda row: session.run(None, {"X": row}), X32),
        }
        for n_threads in (1, 8):
            times[f"service, {n_threads} at once"] = milliseconds(
                lambda row: client.post("/score", json={"rows": row.tolist()}), X, n_threads
            )
    return [
        {
            "detector": name,
            "way": way,
            "p50_ms": float(np.quantile(values, 0.5)),
            "p99_ms": float(np.quantile(values, 0.99)),
        }
        for way, values in times.items()
    ]


if __name__ == "__main__":
    rng = np.random.RandomState(0)
    X = rng.randn(N_ROWS, N_FEATURES)
    X[:40] += 3
    y = np.zeros(N_ROWS, dtype=int)
    y[:10] = -1
    results = []
    for detector in (DeepSAD(random_state=0), SSAD()):
        results += measure(detector.fit(X, y), X)
    for row in results:
        print("{detector:8} {way:18} p50 {p50_ms:.3f} ms, p99 {p99_ms:.3f} ms".format(**row))
    write("service.csv", results)
