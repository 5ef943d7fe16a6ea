import os

# Set before torch and numpy load their thread pools: tiny models are slower with several threads.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# For shap: compiling takes seconds in each process, what is compiled runs for milliseconds.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # lets scikit-learn's array API check run

collect_ignore = ["typed_use.py"]  # for mypy

import matplotlib  # noqa: E402
import torch  # noqa: E402

matplotlib.use("Agg")
# Torch gives some warnings once per process; each test must see them as if it were the first.
torch.set_warn_always(True)
