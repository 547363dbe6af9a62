"""The order of the rows: random steps, each sorted by length, so that a micro-batch has little padding.

A step has the same rows as without sorting, so its loss and gradient are the same up to rounding: SFT divides by the
tokens of the whole step, and in DPO every micro-batch has the same number of pairs. transformers' own strategies do
not have this property: ``group_by_length`` sorts over 50 steps, so that a step has rows of one length only, and
``batch_rebalance`` gives the micro-batches of a step different numbers of rows, which weights the pairs of DPO
unequally, and ignores the seed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler


class SortedSteps(Sampler[int]):  # type: ignore[misc]
    """The permutation of ``SeedableRandomSampler``, with the rows of each step in descending order of length.

    accelerate gives the k-th micro-batch of a step to rank k modulo the number of ranks, so that the ranks have rows of
    similar length at the same time and do not wait for each other.

    Parameters
    ----------
    lengths
        Tokens of each row.
    step
        Rows per optimizer step, over all ranks.
    seed
        Seed of the permutation. The permutation of epoch E depends on ``seed + E`` only, so a resumed training has the
        same one.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self._lengths = lengths
        self._step = step
        self._random = SeedableRandomSampler(range(len(lengths)), data_seed=seed)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        order = list(self._random)
        for start in range(0, len(order), self._step):
            yield from sorted(order[start : start + self._step], key=lambda row: -self._lengths[row])

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; accelerate calls it before each epoch."""
        self._random.set_epoch(epoch)


class SortsSteps:
    """A mix-in for trainers: with ``row_lengths`` set, the training rows have the order of ``SortedSteps``."""

    row_lengths: Sequence[int] | None = None
    """Tokens of each training row; for a pair, of its longer side."""

    def get_train_dataloader(self: Any) -> Any:
        """Return the loader, with the sampler where accelerate sets the epoch.

        Without ``set_sampler``, accelerate does not reach a sampler that is not its own if several ranks skip the
        batches before a checkpoint: the rest of a resumed epoch would have the rows of the first epoch. Source:
        ``DataLoaderShard.set_epoch`` and ``skip_first_batches`` of accelerate 1.15.0.
        """
        loader = super().get_train_dataloader()  # type: ignore[misc]
        if self.row_lengths is not None:
            loader.set_sampler(self._get_train_sampler())
        return loader

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        if self.row_lengths is None:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        args = self.args
        step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        return SortedSteps(self.row_lengths, step, args.data_seed)
