"""The tables of ADBench, downloaded once."""

import csv
import hashlib
import os
import time
from difflib import get_close_matches
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

ADBENCH_COMMIT = "3dac8221081e190f157d78e93bfa8867f90d0965"
ADBENCH_URL = (
    f"https://raw.githubusercontent.com/Minqi824/ADBench/{ADBENCH_COMMIT}"
    "/adbench/datasets/Classical"
)
TIMEOUT = 30  # seconds that a server may be silent
N_TRIES, PAUSE = 3, 1  # downloads to try, seconds between them


@validate_params(
    {
        "name": [str],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_adbench(
    name, *, data_home=None, download_if_missing=True, return_X_y=False, as_frame=False
):
    """Load one of the 47 tabular data sets of ADBench, downloading it when needed.

    A download is checked against the size and hashes of a pinned commit before it is kept, and
    nothing is ever unpickled.

    Parameters
    ----------
    name : str
        Such as "thyroid" or "38_thyroid"; a wrong one raises an error that lists them all.
    data_home : str or path-like, default=None
        Folder with the files, or to download them to: ``NAME.npz`` in it or in its subfolder
        ``adbench``. A file that is already there is taken as it is, re-saved ones too. None: the
        environment variable ``SKAD_DATA``, and without that scikit-learn's data home.
    download_if_missing : bool, default=True
        Whether to download a file that is not there, or raise an OSError.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether data and target are a pandas DataFrame and Series.

    Returns
    -------
    Bunch or tuple
        With `data` of shape (n_samples, n_features); `target` of shape (n_samples,) in skad's
        convention, -1 anomaly and +1 normal; `feature_names`, `frame` (None unless `as_frame`),
        `filename` and `DESCR`.

    Raises
    ------
    ValueError
        For an unknown name, or a file that holds no table of finite numbers or only a pickled
        one.
    OSError
        When the file cannot be had, be it that the server is silent for 30 seconds, or is not the
        one that the pinned commit holds.

    References
    ----------
    Han, Hu, Huang, Jiang and Zhao, "ADBench: Anomaly detection benchmark", NeurIPS 2022.

    Examples
    --------
    >>> from skad.datasets import fetch_adbench, mask_labels
    >>> X, y = fetch_adbench("thyroid", return_X_y=True)  # doctest: +SKIP
    >>> rows, labels = mask_labels(y, labeled_anomalies=5, random_state=0)  # doctest: +SKIP
    """
    entry = _adbench_entry(name)
    folder = data_home or os.environ.get("SKAD_DATA") or get_data_home()
    folder, filename = Path(folder).expanduser(), f"{entry['file']}.npz"
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"data_home={str(folder)!r} is a file: pass the folder it is in.")
    candidates = [folder / filename, folder / "adbench" / filename]
    path = next((path for path in candidates if path.exists()), None)
    if path is None:
        path = candidates[1]
        if not download_if_missing:
            raise OSError(
                f"{filename} is neither in {folder} nor in its subfolder adbench. Pass "
                "download_if_missing=True, or the folder that has it as data_home or in SKAD_DATA."
            )
        _download(entry, path)
    X, y = _read(path)
    names = [f"x{i}" for i in range(X.shape[1])]
    frame = None
    if as_frame:
        import pandas as pd

        frame = pd.DataFrame(X, columns=names).assign(target=y)
        X, y = frame[names], frame["target"]
    if return_X_y:
        return X, y
    return Bunch(
        data=X,
        target=y,
        frame=frame,
        feature_names=names,
        filename=str(path),
        DESCR=f"ADBench {entry['file']}: {X.shape[0]} rows, {X.shape[1]} features, "
        f"{int((y == -1).sum())} anomalies. target: -1 anomaly, +1 normal.",
    )


def _adbench_entry(name):
    with (resources.files(__package__) / "adbench.csv").open(encoding="utf-8") as file:
        entries = {entry["file"]: entry for entry in csv.DictReader(file)}
    by_name = {full.partition("_")[2]: entry for full, entry in entries.items()}
    entry = entries.get(name) or by_name.get(name)
    if entry is None:
        close = get_close_matches(str(name), by_name, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"No ADBench data set {name!r}.{hint} There are: {', '.join(by_name)}.")
    return entry


def _download(entry, path):
    """Download into memory, and write the file only if it is the right one, in one go."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _fetch(f"{ADBENCH_URL}/{path.name}", int(entry["bytes"]))
    except (OSError, HTTPException) as error:
        raise OSError(
            f"{path.name} could not be downloaded ({error}). Try again, or get the file "
            "elsewhere and pass its folder as data_home or in SKAD_DATA."
        ) from error
    # Four files have no known sha256; a git blob's name is a hash of size and content.
    blob = b"blob %d\0" % len(content) + content
    right = hashlib.sha1(blob, usedforsecurity=False).hexdigest() == entry["git_blob_sha1"]
    if not right or entry["sha256"] not in ("", hashlib.sha256(content).hexdigest()):
        raise OSError(
            f"{path.name} was downloaded but is not the file of the pinned commit: "
            f"{len(content)} bytes came, {entry['bytes']} bytes were expected. Try again, or get "
            "the file elsewhere and pass its folder as data_home."
        )
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _fetch(url, n_bytes):
    """Read a URL, at most one byte more than expected, again after a fault of the network."""
    for n_left in reversed(range(N_TRIES)):
        try:
            with urlopen(url, timeout=TIMEOUT) as response:
                return response.read(n_bytes + 1)
        except HTTPError:
            raise
        except (OSError, HTTPException):
            if not n_left:
                raise
            time.sleep(PAUSE)


def _read(path):
    """X and y of an npz file, without unpickling; y in skad's convention."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            X, y = archive["X"], archive["y"]
    except Exception as error:
        advice = "Delete it to download it again"
        if "allow_pickle" in str(error):
            advice = "It holds pickled objects, which may run code: re-save it as plain numbers"
        raise ValueError(f"{path} cannot be read as a table ({error}). {advice}.") from error
    y = y.ravel()
    if X.ndim != 2 or len(X) != len(y) or not set(y.tolist()) <= {0, 1}:
        raise ValueError(
            f"{path} must hold X of shape (n, d) and y of shape (n,) with 1 for an anomaly and 0 "
            f"for the rest, got {X.shape} and {y.shape} with {np.unique(y)[:5]}."
        )
    if X.dtype.kind not in "biuf" or not np.isfinite(X).all():
        held = "missing or infinite values" if X.dtype.kind == "f" else f"dtype {X.dtype}"
        raise ValueError(f"{path} must hold finite numbers in X, got {held}.")
    return X, np.where(y == 1, -1, 1)
