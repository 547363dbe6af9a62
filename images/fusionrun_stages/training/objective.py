"""The DPO trainer whose logged rewards are those of the trained objective."""

from typing import Any

import torch
from trl import DPOTrainer

REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")


class ObjectiveDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """A DPOTrainer that logs length-normalized rewards for the loss ``sigmoid_norm``.

    TRL 1.16 logs beta times the *summed* log-ratios for every loss, so that its accuracy and margin are not those that
    ``sigmoid_norm`` trains: a long response has a larger reward. The loss itself is not changed. ``promote`` computes
    the same accuracy on the held-out pairs.

    The log-probabilities of a step are taken from the forward passes that the loss makes: that of the policy, then that
    of the reference model. With LoRA and no reference model, both are passes of the policy's module.
    Source: TRL 1.16.0, ``DPOTrainer._compute_loss``.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._log_probabilities: list[torch.Tensor] = []
        """Log-probabilities of the completion tokens, 0 elsewhere: (2B, T - 1) for each forward pass of a step."""
        if "sigmoid_norm" in self.loss_types:
            for module in filter(None, (self.model, self.ref_model)):
                module.register_forward_hook(self._remember)

    def _remember(self, _module: Any, _inputs: Any, output: Any) -> None:
        log_probabilities = getattr(output, "log_probs", None)
        if log_probabilities is not None:
            self._log_probabilities.append(log_probabilities.detach())

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: Any) -> Any:
        self._log_probabilities.clear()
        loss = super()._compute_loss(model, inputs, return_outputs)
        if self._log_probabilities:
            self._log_rewards(inputs["completion_mask"])
        return loss

    def _log_rewards(self, completion_mask: torch.Tensor) -> None:
        """Replace the rewards that TRL has logged for this batch; ``completion_mask`` is (2B, T), chosen first."""
        policy, reference = self._log_probabilities
        self._log_probabilities.clear()
        rewards = normalized_rewards(policy, reference, completion_mask, self.beta)
        chosen, rejected = self.accelerator.gather(rewards).unbind(dim=1)
        margins = chosen - rejected
        values = (chosen, rejected, margins, (margins > 0).float())
        logged = self._metrics["train" if self.model.training else "eval"]
        for name, value in zip(REWARDS, values, strict=True):
            logged[name][-1] = value.mean().item()


def normalized_rewards(
    policy: torch.Tensor, reference: torch.Tensor, completion_mask: torch.Tensor, beta: float
) -> torch.Tensor:
    """Return beta times the mean log-ratio per completion token, of chosen and rejected: (B, 2).

    ``policy`` and ``reference`` are log-probabilities in nats, (2B, T - 1), 0 outside of the completion;
    ``completion_mask`` is (2B, T). The first B rows are chosen, the others rejected.
    Source: FuseChat-3.0 (arXiv 2503.04222), length-normalized DPO; the count of tokens as in TRL's ``sigmoid_norm``.
    """
    ratios = policy.sum(dim=1) - reference.sum(dim=1)
    rewards = beta * ratios / completion_mask.sum(dim=1).clamp(min=1)
    return torch.stack(rewards.chunk(2), dim=1)
