"""preflight: check one part of the run before the first model server starts.

Run: ``FUSIONRUN_TASK=task.json torchrun --standalone --nproc-per-node=2 -m fusionrun_stages preflight``
(one process: ``python -m fusionrun_stages preflight``)

``training`` runs the code of ``dpo`` and ``sft`` on synthetic rows, each as long as ``maxLength`` allows, with the
target model, the micro-batch size and the processes of the run. ``reward`` runs the calibration of the reward model.
``publishing`` checks that the credentials of ``publish`` can write to its destination.
The artifact has no files: its manifest has the figures.
"""

import logging
import shutil
from dataclasses import replace
from typing import Any

from fusionrun.api.results.values import Preflighted
from fusionrun.api.stage import PreflightSubject
from fusionrun.api.tasks.parameters import PreflightParameters, RewardCheckParameters
from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages import dpo, sft
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.remote.publishing_check import check_publishing
from fusionrun_stages.reward.calibration import calibrate
from fusionrun_stages.reward.scorer import load_scorer
from fusionrun_stages.training import ranks
from fusionrun_stages.training.zero import gradient_accumulation_steps
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")

MICRO_BATCHES_MAX = 8
"""Micro-batches per process of a measured step. The seconds of a step with more are computed from these: the memory is
the same, and one GPU would need minutes for 128 rows. The recipe on 16 GPUs has 8."""
GPU_STEPS = 2
"""Optimizer steps of a trial on GPUs. The first compiles kernels and connects the ranks; the last is measured."""


def run(work: Work) -> Made:
    """Run the check; raise UserError if the run would fail later."""
    parameters = work.parameters(PreflightParameters)
    if parameters.subject is PreflightSubject.TRAINING and parameters.sft and parameters.dpo:
        return _training(work, parameters.sft, parameters.dpo)
    if parameters.subject is PreflightSubject.REWARD and parameters.reward:
        return _reward(work, parameters.reward)
    if parameters.subject is PreflightSubject.PUBLISHING and parameters.publishing:
        checked = check_publishing(parameters.publishing, work.pod_uid)
        return Made(values=Preflighted(), details={"publishing": checked})
    raise InfrastructureError(f"the task has no parameters of {parameters.subject}")


def _training(work: Work, of_sft: SftParameters, of_dpo: DpoParameters) -> Made:
    accumulated = [gradient_accumulation_steps(each, ranks.world_size()) for each in (of_dpo, of_sft)]
    # DPO first: it has a second model, and its peak must not contain what SFT has left.
    with ranks.explain_torch_errors("dpo"):
        dpo_values, dpo_details = _trial(work, of_dpo, accumulated[0])
    with ranks.explain_torch_errors("sft"):
        sft_values, sft_details = _trial(work, of_sft, accumulated[1])
        from fusionrun_stages.training import trial

        figures = Preflighted(
            **dpo_values,
            **sft_values,
            gpu_memory_bytes=max((d["gpu_memory_bytes"] for d in (dpo_details, sft_details)), key=lambda n: n or 0),
            gpu=trial.gpu_name(),
            bandwidth=trial.bandwidth(),
        )
    ranks.wait_for_all()
    if ranks.rank() == 0:
        for kind in (of_dpo.kind, of_sft.kind):
            shutil.rmtree(work.output / kind, ignore_errors=True)
    ranks.leave_process_group()
    return Made(values=figures, details={"dpo": dpo_details, "sft": sft_details})


def _trial(work: Work, parameters: SftParameters | DpoParameters, accumulated: int) -> tuple[dict[str, Any], Any]:
    """Train for a few steps; return the fields of the result, and details for the manifest."""
    from fusionrun_stages.training import trial
    from fusionrun_stages.training.rows import load_tokenizer

    steps = GPU_STEPS if work.task.gpus else 1
    measured = min(accumulated, MICRO_BATCHES_MAX)
    rows = parameters.micro_batch_size * measured * ranks.world_size()
    output = work.output / parameters.kind
    data = output / f"rows-{ranks.rank()}.parquet"  # each rank writes its own: no rank can wait for another yet
    tokenizer = load_tokenizer(parameters.model_path, parameters.chat_template)
    tokens = trial.write_longest_rows(data, tokenizer, parameters, rows * steps)
    changed = parameters.model_copy(
        update={"data_path": str(data), "global_batch_size": rows, "trial_steps": steps, "save_steps": None}
    )
    part = replace(work, output=output, task=work.task.model_copy(update={"parameters": changed}))
    with trial.own_memory():
        step = (dpo if isinstance(parameters, DpoParameters) else sft).run(part).details["trial"]
    log.info("%s: a step of %d rows of %d tokens took %s", parameters.kind, rows, tokens, step)
    fields = {
        f"{parameters.kind}_step_seconds": step.seconds * accumulated / measured,
        f"{parameters.kind}_tokens_per_second": tokens * rows / step.seconds,
    }
    details = {**step._asdict(), "rows": rows, "tokens_per_row": tokens, "accumulation_steps": accumulated}
    return fields, details


def _reward(work: Work, parameters: RewardCheckParameters) -> Made:
    scorer = load_scorer(parameters, "cuda" if work.task.gpus else "cpu")
    scores = calibrate(scorer, parameters.calibration)
    return Made(values=Preflighted(pairs=len(scores)), details=scorer.details | {"calibration": scores})
