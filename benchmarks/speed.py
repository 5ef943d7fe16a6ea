"""Processor time of fit against DeepSAD's, every detector with its defaults, in turns.

SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.speed
"""

import time

import numpy as np

from skad import AMA, ESAD, SSAD, SSDGM, DeepSAD, GANomaly

from .problems import few_labels
from .protocol import write

DETECTORS = (DeepSAD, ESAD, AMA, GANomaly, SSDGM, SSAD)
N_TURNS = 5

if __name__ == "__main__":
    rows = []
    for name in ("6_cardio", "30_satellite", "35_SpamBase", "32_shuttle"):
        X, y, *_ = few_labels(name, 0)
        for turn in range(N_TURNS + 1):
            seconds = {}
            for method in DETECTORS:
                start = time.process_time()
                method(random_state=turn).fit(X, y)
                seconds[method.__name__] = time.process_time() - start
            if turn:  # the first warms up
                rows.append({"dataset": name, "turn": turn, **seconds})
        mine = [row for row in rows if row["dataset"] == name]
        median = {m.__name__: np.median([row[m.__name__] for row in mine]) for m in DETECTORS}
        ratios = {key: round(s / median["DeepSAD"], 2) for key, s in median.items()}
        print(name, f"DeepSAD {median['DeepSAD']:.2f} s; ratios", ratios, flush=True)
        write("speed.csv", rows)
