"""What the caller has set in torch for his own work stays outside of fit and scoring."""

from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_torch():
    """Undo inference mode, disabled gradients, autocast and a default device, inside.

    The default dtype is process-wide, so it is not touched: tensors are made with a dtype.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
