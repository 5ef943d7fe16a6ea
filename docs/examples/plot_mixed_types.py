"""
Mixed columns: categories, missing values, dates, heavy tails
=============================================================

Real tables hold more than numbers. A pipeline prepares the columns, a detector ends it, and the
whole is one model to cross-validate, to tune and to save. The table is made up, because what is
fraudulent in it should be known: night-time payments at new accounts, for much money in two of the
shops.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skad import DeepSAD

rng = np.random.default_rng(0)
n, n_fraud = 1500, 60
fraud = np.isin(np.arange(n), rng.choice(n, n_fraud, replace=False))
hour = np.where(fraud, rng.normal(2, 2, n), rng.normal(14, 4, n)) % 24
day = np.sort(rng.integers(0, 90, n))
usual_shop = rng.choice(["food", "books", "games", "phones"], n)
fraud_shop = rng.choice(["games", "phones"], n)
payments = pd.DataFrame(
    {
        "time": pd.Timestamp("2024-03-01")
        + pd.to_timedelta((day * 24 + hour).round(1), unit="h"),
        "amount": np.exp(rng.normal(np.where(fraud, 4.5, 3.0), 1.0)),
        "account_days": np.where(
            rng.random(n) < 0.2,
            np.nan,
            rng.exponential(np.where(fraud, 60, 400)),
        ),
        "shop": np.where(fraud, fraud_shop, usual_shop),
    }
)
y = np.where(fraud & (rng.random(n) < 0.4), -1, 0)  # a part is known


def clock(times):
    """Make of each time a point on the clock, where 23:59 is near 0:00."""
    angle = times.iloc[:, 0].dt.hour + times.iloc[:, 0].dt.minute / 60
    angle = angle.to_numpy() * 2 * np.pi / 24
    return np.c_[np.sin(angle), np.cos(angle)]


model = make_pipeline(
    make_column_transformer(
        (FunctionTransformer(clock), ["time"]),
        (SimpleImputer(add_indicator=True), ["account_days"]),
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]),
        ("passthrough", ["amount"]),
        sparse_threshold=0,
    ),
    DeepSAD(contamination=0.05, random_state=0),
)
model.fit(payments, y)
print(payments.head(4).to_string(float_format="%.1f"))

# %%
# - The **date** becomes a place on the clock. A detector refuses times as they are: its scores
#   would depend on the unit.
# - **Missing** account ages are replaced by the mean; the indicator tells that they were.
# - **Categories** become columns of 0 and 1. Those that were not in the training table are all 0.
# - The **heavy tail** of the amounts needs no logarithm: deep detectors scale inside, and compress
#   tails.
#
# Which frauds are found that nobody had labelled?

import matplotlib.pyplot as plt

scores = model.decision_function(payments)
alarm = scores < 0
hidden = fraud & (y == 0)
clock_hour = payments["time"].dt.hour + payments["time"].dt.minute / 60
print(f"{hidden.sum()} unlabelled frauds, {(hidden & alarm).sum()} flagged;")
print(f"{(~fraud).sum()} other payments, {(~fraud & alarm).sum()} flagged")

fig, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
for part, options in {
    "no fraud": {"color": "0.7", "s": 8, "marker": "o"},
    "labelled fraud": {"color": "#E69F00", "s": 30, "marker": "s"},
    "unlabelled fraud": {"color": "#D55E00", "s": 40, "marker": "^"},
}.items():
    rows = {"no fraud": ~fraud, "labelled fraud": y == -1}.get(part, hidden)
    ax.scatter(
        clock_hour[rows], payments["amount"][rows], label=part, **options
    )
ring = {"s": 90, "facecolors": "none", "edgecolors": "#0072B2"}
ax.scatter(
    clock_hour[alarm], payments["amount"][alarm], label="flagged", **ring
)
ax.set(xlabel="hour of the day", ylabel="amount", yscale="log")
ax.set(xticks=range(0, 25, 4))
ax.set_title("Payments, frauds and alarms")
ax.legend(loc="upper center", ncols=2)

# %%
# Test on the future
# ------------------
# Rows are in the order of time, and a model of yesterday scores the payments of tomorrow: train on
# the first stretches, test on the next. Every stretch holds labelled anomalies.

from sklearn.model_selection import cross_val_score

from skad.model_selection import SemiSupervisedTimeSeriesSplit

cv = SemiSupervisedTimeSeriesSplit(3)
for train, test in cv.split(payments, y):
    last, n_known = payments["time"].iloc[train[-1]], (y[test] == -1).sum()
    print(f"train until {last:%d %B}, test {len(test)} rows, {n_known} known")
aucs = cross_val_score(model, payments, y, cv=cv)
print("ROC AUC:", aucs.round(3))
