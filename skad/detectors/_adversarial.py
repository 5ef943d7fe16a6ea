"""What AMA and GANomaly share: a net with two optimizers, and the detectors' template."""

from typing import Annotated, Any

import numpy as np
import torch

from .._arguments import check_optimizer, optimizer_options
from .._modules import ScaleImage, code_width, make_decoder
from .._net import MemberNet
from .._parameters import Positive
from ..base_deep import BalancedBatchesMixin, BaseDeepDetector
from ._gan_networks import make_dcgan_decoder, make_dcgan_encoder

COLLAPSED_LOSS = 1e-5  # of a discriminator that has won: its gradients vanish
COLLAPSED_CODE = 1e-3  # spread of codes that have all shrunk to one point


class AdversarialNet(MemberNet):
    """Member net whose module's `critic` is trained against the rest, by its own optimizer.

    Parameters
    ----------
    losses : tuple of callables
        ``reconstruct(network, rows, y)`` gives what both losses need of a batch; the critic's and
        the generator's loss, called with (network, batch), give one number per member.
    critic_optimizer, critic_steps
        The critic's optimizer, and its steps per step of the generator.
    restarts : bool
        Whether a critic that has won starts anew.
    """

    def __init__(self, *args, losses, critic_optimizer, critic_steps, restarts, **kwargs):
        super().__init__(*args, **kwargs)
        self.losses = losses
        self.critic_optimizer, self.critic_steps = critic_optimizer, critic_steps
        self.restarts = restarts

    def initialize_optimizer(self):
        critic = list(self.module_.critic.named_parameters())
        of_critic = {parameter for _, parameter in critic}
        rest = [item for item in self.module_.named_parameters() if item[1] not in of_critic]
        for name, parameters in (("optimizer", rest), ("critic_optimizer", critic)):
            args, kwargs = self.get_params_for_optimizer(name, parameters)
            setattr(self, f"{name}_", getattr(self, name)(*args, **kwargs))
        self.first_critic_ = [
            tensor.clone() for tensor in self.module_.critic.state_dict().values()
        ]
        return self

    def train_step(self, batch, **fit_params):
        network = self.module_
        reconstruct, get_critic_loss, get_generator_loss = self.losses
        fakes = reconstruct(network, *batch)
        for _ in range(self.critic_steps):
            critic_loss = get_critic_loss(network, fakes)
            self._descend(self.critic_optimizer_, critic_loss, batch)
        network.critic.requires_grad_(False)  # its gradients would be thrown away
        loss = get_generator_loss(network, fakes)
        self._descend(self.optimizer_, loss, batch)
        network.critic.requires_grad_(True)
        self.last_critic_loss_ = critic_loss.detach()
        return {"loss": loss, "critic_loss": critic_loss, "y_pred": None}

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if training and self.restarts:
            won = np.flatnonzero(self.last_critic_loss_.cpu() < COLLAPSED_LOSS).tolist()
            self.restart_critics(won)
            self.history.record("restarts", won)

    def restart_critics(self, members):
        """Give members' critics their initial weights, and set the optimizer's moments to 0."""
        critic = self.module_.critic
        for k in members:
            for tensor, first in zip(critic.state_dict().values(), self.first_critic_, strict=True):
                tensor[k] = first[k]
            for parameter in critic.parameters():
                for moment in self.critic_optimizer_.state[parameter].values():
                    if getattr(moment, "shape", None) == parameter.shape:
                        moment[k] = 0


class AdversarialDetector(BalancedBatchesMixin, BaseDeepDetector):
    """Base of the detectors whose autoencoder is trained against a critic.

    In place of one loss a subclass writes what both need of a batch,
    ``_reconstruct(network, rows, y)``, and ``_critic_loss(network, batch)`` and
    ``_generator_loss(network, batch)``.

    Parameters
    ----------
    critic_optimizer : class or None
        The critic's optimizer; None takes `optimizer`. Settings go in by
        ``functools.partial(torch.optim.Adam, betas=(0, 0.9))``, here as for `optimizer`.
    critic_lr : float or None
        The critic's learning rate; None takes `lr`.
    """

    critic_optimizer: Annotated[Any, callable] | None = None
    critic_lr: Positive | None = None
    labeled_fraction = 0.1

    _auto_sizes = (64, 32), 32
    _auto_image_sizes = {True: ((16, 32), 32), False: ((32, 64, 128), 64)}
    _net_class = AdversarialNet
    _restarts = False  # whether a critic that has won starts anew
    critic_steps = 1

    def _loss(self, network, rows, y):
        return self._generator_loss(network, self._reconstruct(network, rows, y))

    def _net_options(self):
        if self.critic_optimizer is not None:
            check_optimizer(self.critic_optimizer, "critic_optimizer")
        optimizer = self.critic_optimizer or self.optimizer
        return {
            "losses": (self._reconstruct, self._critic_loss, self._generator_loss),
            "critic_optimizer": optimizer,
            "critic_optimizer__lr": self.critic_lr or self.lr,
            **optimizer_options("critic_optimizer", optimizer, self.weight_decay),
            "critic_steps": self.critic_steps,
            "restarts": self._restarts,
        }

    def _make_encoder(self, n_features):
        if self.module is None and self._image_shape is not None:
            return make_dcgan_encoder(self._image_shape, *self._sizes())
        return super()._make_encoder(n_features, batch_norm=True)

    def _make_autoencoder(self, n_features):
        """Make the encoder, and the built-in decoder that fits it."""
        encoder = self._make_encoder(n_features)
        hidden, latent_dim = self._sizes()
        if self.module is not None:
            latent_dim = code_width(encoder, n_features)
        if self._image_shape is None:
            return encoder, make_decoder(n_features, hidden, latent_dim, batch_norm=True)
        return encoder, make_dcgan_decoder(self._image_shape, hidden, latent_dim)

    def _make_scaler(self, X):
        if self.standardize and self._image_shape is not None:
            return ScaleImage(X, self._image_shape, symmetric=True)
        return super()._make_scaler(X)

    def _check_fit(self, X, usual):
        codes = self._apply(self.scoring_module_.encode, X)[:, usual]
        if (codes.std(1, correction=0).amax(-1) < COLLAPSED_CODE).any():
            self._warn_of_collapse("the codes of all rows have become the same")
        if self._restarts:
            losses = np.array(self.history_[-1]["train_critic_loss_members"])
            if (losses < COLLAPSED_LOSS).any():
                self._warn_of_collapse("the critic tells real from generated rows without error")

    def _warn_of_collapse(self, what):
        self._warn_of_failure(
            f"has collapsed: {what}. Lower lr or critic_lr, or take more members, of which some "
            "may not collapse (n_estimators)."
        )


def mean_where(mask, values):
    """Mean over the rows of the mask, 0 where there are none."""
    return torch.where(mask, values, 0).sum(-1) / mask.sum(-1).clamp(min=1)
