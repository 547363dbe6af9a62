"""The memory of a trial is freed at its end, whoever still refers to it."""

import torch

from fusionrun_stages.training import trial


def test_what_a_trial_has_made_is_freed_and_nothing_else():
    earlier, leaked = torch.ones(5000), []
    with trial.own_memory():
        leaked += [torch.zeros(5000), torch.nn.Parameter(torch.zeros(100, 100)), torch.ones(3)]
        view = earlier[1000:]
    assert [each.untyped_storage().nbytes() for each in leaked] == [0, 0, 12]
    assert float(earlier.sum() + view.sum()) == 9000
