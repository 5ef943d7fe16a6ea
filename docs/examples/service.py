"""
Serving a detector
==================

A web service around a fitted detector, with FastAPI. Scoring changes nothing in a detector, so one
serves any number of threads; the threshold can be moved while it runs, without a new fit.

Save a detector with skops, whose files run no code of their own when they are loaded::

    import skops.io

    skops.io.dump(DeepSAD(random_state=0).fit(X, y), "detector.skops")

and start the service with ``DETECTOR=detector.skops uvicorn --factory service:make_app``::

    curl -H 'Content-Type: application/json' -d '{"rows": [[0.1, 0.2]]}' localhost:8000/score
"""

import os

import numpy as np
import skops.io
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from skad.export import SKOPS_TYPES


class Rows(BaseModel):
    """Rows to score."""

    rows: list[list[float]]


class RecentRows(Rows):
    """Rows to take a threshold from, and the share of them to flag."""

    contamination: float


def make_app(path=None):
    """Load a detector and make an application of it."""
    detector = skops.io.load(
        path or os.environ["DETECTOR"], trusted=SKOPS_TYPES
    )
    app = FastAPI()

    # Functions, not coroutines: FastAPI calls them in threads of its own.
    @app.post("/score")
    def score(request: Rows):
        scores = detector.decision_function(np.array(request.rows))
        labels = np.where(
            scores < 0, -1, 1
        )  # of these scores, should the threshold move just now
        return {"decision_function": scores.tolist(), "label": labels.tolist()}

    @app.put("/threshold")
    def move_threshold(request: RecentRows):
        detector.fit_threshold(
            np.array(request.rows), contamination=request.contamination
        )
        return {"offset": detector.offset_}

    @app.exception_handler(ValueError)
    def explain(request, error):
        return JSONResponse({"detail": str(error)}, status_code=422)

    return app
