"""The papers' settings of every method, from public parameters alone, and skad's defaults.

`PAPER` and `DEFAULT` hold a factory per method, called with the data set's name, the number of
training rows and `random_state`; `PAPER_IMAGES` and `DEFAULT_IMAGES` also with `device`. What the
papers leave open comes from the public code of Deep SAD. On tables that is what its command line
has by default: Adam at 1e-3, weight decay 1e-6, batches of 128, 100 epochs of an autoencoder, then
50 epochs. On images it is its example: a rate of 1e-4, a tenth of it after a third of the epochs,
150 epochs of an autoencoder, then 150 epochs.

Differences that remain: gradients are clipped to norm 10; one rate, schedule and weight decay serve
both phases; the autoencoder has biases; the decoders of images mirror the encoder, and the encoder
for Fashion-MNIST lacks a dense layer of 128; adversarial methods have one rate for all steps.
"""

from functools import partial

import torch
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import MultiStepLR

from skad import (
    AMA,
    ESAD,
    SSAD,
    SSDGM,
    Autoencoder,
    ClassifierDetector,
    DeepSAD,
    DeepSVDD,
    GANomaly,
    NormalOnlyDetector,
)

from .paper_problems import IMAGE_SHAPE

# Hidden layers and code of the encoder, by data set; the others have NETWORK.
NETWORK = (32, 16), 8
NETWORKS = {
    "arrhythmia": ((128, 64), 32),
    "thyroid": ((32, 16), 4),
    "mnist": ((8, 4), 32),
    "fashion_mnist": ((16, 32), 64),
}


def network(name):
    hidden, latent_dim = NETWORKS.get(name, NETWORK)
    return {"hidden_layer_sizes": hidden, "latent_dim": latent_dim}


def steps(n_rows, epochs, batch_size=128):
    """Gradient steps of some epochs; the rows that do not fill a batch are left out."""
    return epochs * max(n_rows // batch_size, 1)


# One network, batches drawn from all rows alike, columns as they come from the protocol's scaler.
TABLE = {"n_estimators": 1, "batch_size": 128, "lr": 1e-3, "weight_decay": 1e-6}
TABLE |= {"standardize": False}
ALIKE = {"labeled_fraction": None}
DEEP_SAD = {"loss": "inverse", "eta": 1.0, "center": "all", "bias": False, "mixup": 0.0, **ALIKE}
# Reconstructed: neither the paper's code nor its settings are public.
ESAD_LOSS = {"lambda1": 1.0, "lambda2": 1.0, "noise": 0.5, "score_type": "sum", **ALIKE}


def deep_sad(name, n_rows, **rest):
    return DeepSAD(
        **DEEP_SAD,
        **network(name),
        **TABLE,
        batch_norm=True,
        decoder_output="sigmoid",
        pretrain_steps=steps(n_rows, 100),
        max_steps=steps(n_rows, 50),
        **rest,
    )


def deep_svdd(name, n_rows, **rest):
    return DeepSVDD(
        **network(name),
        **TABLE,
        objective="one-class",
        batch_norm=True,
        decoder_output="sigmoid",
        pretrain_steps=steps(n_rows, 100),
        max_steps=steps(n_rows, 50),
        **rest,
    )


def autoencoder(name, n_rows, **rest):
    return Autoencoder(
        **network(name),
        **TABLE,
        use_anomalies=True,
        batch_norm=True,
        decoder_output="sigmoid",
        max_steps=steps(n_rows, 100),
        **rest,
    )


def esad(name, n_rows, **rest):
    return ESAD(**ESAD_LOSS, **network(name), **TABLE, max_steps=steps(n_rows, 100), **rest)


def ss_dgm(name, n_rows, **rest):
    return SSDGM(
        alpha=0.1,
        eta=1.0,
        prior=0.5,
        **ALIKE,
        **network(name),
        **TABLE,
        max_steps=steps(n_rows, 50),
        **rest,
    )


def supervised(name, n_rows, **rest):
    hidden, latent_dim = NETWORKS.get(name, NETWORK)
    return MLPClassifier(
        (*hidden, latent_dim),
        alpha=1e-6,
        batch_size=128,
        max_iter=50,
        n_iter_no_change=50,
        **rest,
    )


def one_class_svm(name, n_rows, **rest):
    return NormalOnlyDetector(OneClassSVM(nu=0.1, gamma="scale"))


def ssad(name, n_rows, **rest):
    return SSAD(
        gamma="scale",
        kappa=1.0,
        C_unlabeled=1.0,
        C_normal=1.0,
        C_anomaly=1.0,
        **rest,
    )


def defaults(method):
    return lambda name, n_rows, **rest: method(**rest)


PAPER = {
    "OC-SVM": one_class_svm,
    "SSAD": ssad,
    "Supervised": supervised,
    "Autoencoder": autoencoder,
    "DeepSVDD": deep_svdd,
    "SSDGM": ss_dgm,
    "DeepSAD": deep_sad,
    "ESAD": esad,
}
DEFAULT = {
    "SSAD": defaults(SSAD),
    "Supervised": defaults(ClassifierDetector),
    "Autoencoder": defaults(Autoencoder),
    "DeepSVDD": defaults(DeepSVDD),
    "SSDGM": defaults(SSDGM),
    "DeepSAD": defaults(DeepSAD),
    "ESAD": defaults(ESAD),
}
# On an autoencoder's codes.
HYBRIDS = {"OC-SVM hybrid": one_class_svm, "SSAD hybrid": ssad}
DEFAULT_HYBRIDS = {"OC-SVM hybrid": one_class_svm, "SSAD hybrid": defaults(SSAD)}

# --- images ---------------------------------------------------------------------------------

IMAGE = {"n_estimators": 1, "batch_size": 128, "lr": 1e-4, "weight_decay": 5e-7}
IMAGE |= {"image_shape": IMAGE_SHAPE}
DCGAN = {"hidden_layer_sizes": (64, 128, 256), "image_shape": IMAGE_SHAPE, "n_estimators": 1}


def two_rates(n_steps):
    """A tenth of the learning rate after a third of the steps."""
    return [LRScheduler(MultiStepLR, milestones=[n_steps // 3], step_every="batch")]


def image_schedule(n_rows):
    n_steps = steps(n_rows, 150)
    return {"max_steps": n_steps, "callbacks": two_rates(n_steps)}


def pretrained_image_schedule(n_rows):
    return {"pretrain_steps": steps(n_rows, 150), **image_schedule(n_rows)}


PAPER_IMAGES = {
    "DeepSAD": lambda name, n_rows, **rest: DeepSAD(
        **DEEP_SAD, **IMAGE, **network(name), **pretrained_image_schedule(n_rows), **rest
    ),
    "DeepSVDD": lambda name, n_rows, **rest: DeepSVDD(
        objective="one-class",
        **IMAGE,
        **network(name),
        **pretrained_image_schedule(n_rows),
        **rest,
    ),
    "Autoencoder": lambda name, n_rows, **rest: Autoencoder(
        use_anomalies=True, **IMAGE, **network(name), **image_schedule(n_rows), **rest
    ),
    "ESAD": lambda name, n_rows, **rest: ESAD(
        **ESAD_LOSS, **IMAGE, **network(name), **image_schedule(n_rows), **rest
    ),
    "AMA": lambda name, n_rows, **rest: AMA(
        margin=None,
        repel=False,
        anomaly_weight=1.0,
        latent_weight=1.0,
        reconstruction_weight=0.0,
        simplex_weight=0.2,
        penalty_weight=10.0,
        synthetic_share=0.1,
        critic_steps=5,
        spectral_norm=True,
        score_type="gaussian",
        latent_dim=128,
        batch_size=256,
        lr=3e-4,
        optimizer=partial(torch.optim.Adam, betas=(0.5, 0.9)),
        critic_optimizer=partial(torch.optim.Adam, betas=(0.0, 0.9)),
        max_steps=steps(n_rows, 100, 256),
        **ALIKE,
        **DCGAN,
        **rest,
    ),
    "GANomaly": lambda name, n_rows, **rest: GANomaly(
        w_adv=1.0,
        w_con=50.0,
        w_enc=1.0,
        anomaly_weight=0.0,
        score_type="latent",
        latent_dim=100,
        batch_size=64,
        lr=2e-4,
        optimizer=partial(torch.optim.Adam, betas=(0.5, 0.999)),
        max_steps=steps(n_rows, 15, 64),
        **DCGAN,
        **rest,
    ),
}


def image_defaults(method):
    return lambda name, n_rows, **rest: method(image_shape=IMAGE_SHAPE, **rest)


DEFAULT_IMAGES = {
    "PCA(64), DeepSAD": lambda name, n_rows, random_state, device: make_pipeline(
        PCA(64, random_state=random_state), DeepSAD(random_state=random_state)
    ),
    **{
        method.__name__: image_defaults(method)
        for method in (DeepSAD, DeepSVDD, ESAD, Autoencoder, AMA, GANomaly)
    },
}
# What moves the methods on images: the defaults with a few options changed.
WIDE = {"hidden_layer_sizes": (16, 32), "latent_dim": 64, "n_estimators": 4}
DEEP = {"hidden_layer_sizes": (32, 64, 128), "n_estimators": 2}
GAN_ADAM = {"lr": 5e-4, "optimizer": partial(torch.optim.Adam, betas=(0.5, 0.9))}
DEEP_AMA = {**DEEP, **GAN_ADAM, "latent_dim": 32, "max_steps": 1000}
DEEP_GAN = {**DEEP, "latent_dim": 64, "max_steps": 1000, "lr": 1e-3}
DEEP_GAN["optimizer"] = partial(torch.optim.Adam, betas=(0.5, 0.999))
CHANGES = {
    "DeepSAD": {
        "as it comes": {},
        "100 steps": {"max_steps": 100},
        "2,000 steps": {"max_steps": 2000},
        "1,000 steps, lr 2e-3": {"max_steps": 1000, "lr": 2e-3},
        "16 and 32 channels, code 64, 4 networks": WIDE,
        "16 and 32 channels, code 64, 4 networks, 1,000 steps": {**WIDE, "max_steps": 1000},
    },
    "ESAD": {
        "as it comes": {},
        "2,000 steps": {"max_steps": 2000},
        "16 and 32 channels, code 64, 4 networks": WIDE,
        "16 and 32 channels, code 64, 4 networks, 1,000 steps in batches of 128": {
            **WIDE,
            "max_steps": 1000,
            "batch_size": 128,
        },
    },
    "AMA": {
        "as it comes": {},
        "2,000 steps": {"max_steps": 2000},
        "code 8, 1,000 steps": {"latent_dim": 8, "max_steps": 1000},
        "three layers (32, 64, 128 channels), code 32, 1,000 steps of Adam(.5, .9)": DEEP_AMA,
        "three layers, Gaussian score, reconstruction in the loss, spectral norm": {
            **DEEP_AMA,
            "score_type": "gaussian",
            "reconstruction_weight": 1.0,
            "spectral_norm": True,
        },
        "score by reconstruction": {"score_type": "reconstruction"},
        "score by distance, spectral norm, 1,000 steps": {
            "score_type": "distance",
            "spectral_norm": True,
            "max_steps": 1000,
        },
    },
    "GANomaly": {
        "as it comes": {},
        "1,000 steps": {"max_steps": 1000},
        "1,000 steps, score by reconstruction": {"max_steps": 1000, "score_type": "contextual"},
        "three layers (32, 64, 128 channels), code 64, 1,000 steps of Adam(.5, .999)": DEEP_GAN,
    },
}
CHANGED_IN = {
    "DeepSAD": ["(i) 5% labelled"],
    "ESAD": ["(i) 5% labelled"],
    "AMA": ["(i) 0% labelled", "(i) 5% labelled"],
    "GANomaly": ["class out", "class out, 5% labelled"],
}

# Methods that take no anomalies: labels make no difference to them.
WITHOUT_LABELS = {("GANomaly", "paper")} | {
    (method, configuration)
    for method in ("DeepSVDD", "Autoencoder")
    for configuration in ("paper", "default")
}


def takes_part(setting, method, configuration):
    """Whether a method is run in a setting of `paper_problems.SETTINGS`."""
    if setting.startswith("other set"):
        return method in ("AMA", "PCA(64), DeepSAD")
    if setting.startswith("class out"):
        unlabeled = (method, configuration) == ("GANomaly", "paper") and "labelled" in setting
        return method in ("GANomaly", "PCA(64), DeepSAD") and not unlabeled
    labels_matter = setting.startswith("(i)") and setting != "(i) 0% labelled"
    return not (labels_matter and (method, configuration) in WITHOUT_LABELS)
