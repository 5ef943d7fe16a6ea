"""The methods that are compared, skad's and its peers: each scores rows, higher meaning anomalous.

A method is a function ``(X, y, seed) -> score``, where y is -1 for a labelled anomaly, +1 for a
labelled normal and 0 for an unlabelled row, and ``score(X)`` scores fresh rows. Peers that know no
unlabelled rows get them as normals, which is what their users do. Packages are imported when a
method runs, so that only those that are installed are needed; `make peers` installs all.
"""

from functools import partial

import numpy as np

import skad

THREADS = 1


def of_detector(make):
    def method(X, y, seed):
        detector = make(seed).fit(X, y)
        return lambda rows: -detector.decision_function(rows)

    return method


def of_outlier_detector(make):
    """A detector that cannot use labels: fitted without the labelled anomalies."""

    def method(X, y, seed):
        detector = make(seed).fit(X[y != -1])
        return lambda rows: -detector.decision_function(rows)

    return method


def of_classifier(make):
    """A classifier that takes unlabelled rows as normals; it needs labelled anomalies."""

    def method(X, y, seed):
        classifier = make(seed).fit(X, y == -1)
        return lambda rows: classifier.predict_proba(rows)[:, 1]

    return method


def forest(name, seed):
    from sklearn import ensemble

    options = {"bootstrap": True, "class_weight": "balanced_subsample", "min_samples_leaf": 2}
    return getattr(ensemble, name)(200, random_state=seed, **options)


def balanced_forest(seed):
    from imblearn.ensemble import BalancedRandomForestClassifier

    return BalancedRandomForestClassifier(200, random_state=seed)


def logistic(seed):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight="balanced", max_iter=1000)


def kernel_logistic(seed):
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), Nystroem(n_components=300, random_state=seed), logistic(seed)
    )


def hist_boosting(seed):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)


def catboost(seed):
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        random_seed=seed, verbose=0, thread_count=THREADS, allow_writing_files=False
    )


def isolation_forest(seed):
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=seed)


def one_class_svm(seed):
    from sklearn.svm import OneClassSVM

    return OneClassSVM(nu=0.1)


def semi_supervised(make):
    """scikit-learn's semi-supervised classifiers: they need a labelled normal.

    Without one, as many unlabelled rows as labelled anomalies, ten at least, stand for normals.
    """

    def method(X, y, seed):
        target = np.where(y == -1, 1, np.where(y == 1, 0, -1))
        if not (y == 1).any():
            n_normals = max(10, int(np.sum(y == -1)))
            unlabeled = np.flatnonzero(y == 0)
            target[np.random.RandomState(seed).choice(unlabeled, n_normals, replace=False)] = 0
        classifier = make(seed).fit(X, target)
        return lambda rows: classifier.predict_proba(rows)[:, 1]

    return method


def label_spreading(seed):
    from sklearn.semi_supervised import LabelSpreading

    return LabelSpreading(kernel="knn")


def self_training(seed):
    from sklearn.semi_supervised import SelfTrainingClassifier

    return SelfTrainingClassifier(logistic(seed))


def xgbod(X, y, seed):
    from pyod.models.xgbod import XGBOD

    detector = XGBOD(random_state=seed, n_jobs=THREADS).fit(X, (y == -1).astype(int))
    return detector.decision_function


def ssdo(X, y, seed):
    from anomatools.models import SSDO

    detector = SSDO().fit(X, -y)  # there +1 is an anomaly
    return detector.decision_function


def pyod_devnet(X, y, seed):
    from pyod.models.devnet import DevNet

    detector = DevNet(random_seed=seed)
    detector.fit(X, (y == -1).astype(int))
    return detector.decision_function


def deepod(name):
    def method(X, y, seed):
        from deepod import models

        detector = getattr(models, name)(device="cpu", random_state=seed, verbose=0)
        detector.fit(X.astype(np.float32), (y == -1).astype(int))
        return lambda rows: detector.decision_function(rows.astype(np.float32))

    return method


def train(network, loss, steps, seed, lr=1e-3, weight_decay=0.01):
    import torch

    optimizer = torch.optim.RMSprop(network.parameters(), lr=lr, weight_decay=weight_decay)
    rng = np.random.RandomState(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(rng).backward()
        optimizer.step()


def small_network(n_inputs, seed):
    import torch

    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(n_inputs, 20), torch.nn.ReLU(), torch.nn.Linear(20, 1)
    )


def devnet_repaired(X, y, seed, steps=1000, half=64):
    """DevNet (Pang et al., 2019) with its published loss: deviations, 5 of them asked for."""
    import torch

    rows = torch.as_tensor(X, dtype=torch.float32)
    usual, anomalies = np.flatnonzero(y != -1), np.flatnonzero(y == -1)
    network = small_network(X.shape[1], seed)
    reference = torch.randn(5000, generator=torch.Generator().manual_seed(seed))
    location, spread = reference.mean(), reference.std()

    def loss(rng):
        batch = np.concatenate([rng.choice(usual, half), rng.choice(anomalies, half)])
        z = (network(rows[batch])[:, 0] - location) / spread
        return (z[:half].abs().sum() + (5 - z[half:]).clamp(min=0).sum()) / (2 * half)

    train(network, loss, steps, seed)
    return scorer(network)


def prenet_repaired(X, y, seed, steps=1000, third=64, n_partners=30):
    """PReNet (Pang et al., 2023): ordinal targets 8, 4, 0 of pairs; scores fixed by the seed."""
    import torch

    rows = torch.as_tensor(X, dtype=torch.float32)
    usual, anomalies = np.flatnonzero(y != -1), np.flatnonzero(y == -1)
    network = small_network(2 * X.shape[1], seed)
    target = torch.tensor([8.0, 4.0, 0.0]).repeat_interleave(third)

    def loss(rng):
        first = np.concatenate([rng.choice(anomalies, 2 * third), rng.choice(usual, third)])
        second = np.concatenate([rng.choice(anomalies, third), rng.choice(usual, 2 * third)])
        found = network(torch.cat([rows[first], rows[second]], dim=1))[:, 0]
        return (found - target).abs().mean()

    train(network, loss, steps, seed)
    rng = np.random.RandomState(seed)
    partners = rows[np.r_[rng.choice(anomalies, n_partners), rng.choice(usual, n_partners)]]

    def score(fresh):
        fresh = torch.as_tensor(fresh, dtype=torch.float32)
        total = np.zeros(len(fresh))
        with torch.no_grad():
            for k, partner in enumerate(partners):
                other = partner.expand(len(fresh), -1)
                # A labelled anomaly comes first in a pair, an unlabelled row second.
                pair = [other, fresh] if k < n_partners else [fresh, other]
                total += network(torch.cat(pair, dim=1))[:, 0].numpy()
        return total / len(partners)

    return score


def scorer(network):
    import torch

    def score(rows):
        with torch.no_grad():
            return network(torch.as_tensor(rows, dtype=torch.float32))[:, 0].numpy()

    return score


SKAD = {
    name: of_detector(lambda seed, name=name: getattr(skad, name)(random_state=seed))
    for name in [
        "VotingDetector",
        "DeepSAD",
        "ESAD",
        "ClassifierDetector",
        "SSAD",
        "AMA",
        "GANomaly",
        "SSDGM",
        "DeepSVDD",
        "Autoencoder",
    ]
}
COMMON = {  # what scikit-learn alone gives
    "ExtraTrees": of_classifier(partial(forest, "ExtraTreesClassifier")),
    "RandomForest": of_classifier(partial(forest, "RandomForestClassifier")),
    "HistGradientBoosting": of_classifier(hist_boosting),
    "LogisticRegression": of_classifier(logistic),
    "RBF logistic regression": of_classifier(kernel_logistic),
    "LabelSpreading": semi_supervised(label_spreading),
    "SelfTraining": semi_supervised(self_training),
    "IsolationForest": of_outlier_detector(isolation_forest),
    "OneClassSVM": of_outlier_detector(one_class_svm),
    "DevNet, repaired": devnet_repaired,
    "PReNet, repaired": prenet_repaired,
}
PACKAGED = {
    "CatBoost": of_classifier(catboost),
    "balanced random forest": of_classifier(balanced_forest),
    "XGBOD": xgbod,
    "SSDO": ssdo,
    "PyOD DevNet": pyod_devnet,
    "DeepOD DeepSAD": deepod("DeepSAD"),
    "DeepOD DevNet": deepod("DevNet"),
    "DeepOD PReNet": deepod("PReNet"),
    "DeepOD RoSAS": deepod("RoSAS"),
    "DeepOD FeaWAD": deepod("FeaWAD"),
}
METHODS = SKAD | COMMON | PACKAGED
