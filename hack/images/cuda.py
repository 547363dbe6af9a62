"""Build the CUDA variant of the train and reward images, and check the imports and the compiler of each.

No check needs a GPU.
"""

import subprocess
import time
from collections.abc import Callable

from builder import Builder, BuildError
from image_set import CUDA_IMAGES, image_keys

# The modules that the stages of an image import and that load without an NVIDIA driver.
IMPORTS = {
    "train-cuda": (
        "triton",
        "transformers.models.llama.modeling_llama",
        "accelerate",
        "peft",
        "tensorboardX",
        "deepspeed",
        "datasets",
        "trl.trainer.sft_trainer",
        "trl.trainer.dpo_trainer",
        "trl.kernels.chunked_logprob",
        "fusionrun_stages.sft",
        "fusionrun_stages.dpo",
        "fusionrun_stages.promote",
        "fusionrun_stages.preflight",
        "fusionrun_stages.training.trial",
    ),
    "reward-cuda": (
        "triton",
        "transformers.models.llama.modeling_llama",
        "safetensors.torch",
        "pyarrow.parquet",
        "fusionrun_stages.score",
        "fusionrun_stages.preflight",
        "fusionrun_stages.reward.model",
    ),
}
PROGRAM = """
import torch
assert torch.version.cuda, f"torch {torch.__version__} is built for CPUs: does pip use another package index?"
print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
import importlib, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    print("imported", name, getattr(module, "__version__", ""))
"""


def build_and_check(builder: Builder, log: Callable[[str], None]) -> dict[str, str]:
    """Build the missing images, check each one, log its size, and return the references."""
    keys = image_keys(CUDA_IMAGES)
    builder.build_missing(CUDA_IMAGES, keys)
    references = {name: builder.reference(name, keys) for name in IMPORTS}
    for name, reference in references.items():
        started = time.monotonic()
        log(f"checking {name}")
        try:
            builder.run_in(reference, "python", "-c", PROGRAM, *IMPORTS[name])
            builder.run_in(reference, "python", "-m", "fusionrun_stages.pod.compiler")
            builder.run_in(reference, "pip", "check")
        except subprocess.CalledProcessError as error:
            raise BuildError(f"{name} failed a check (see the output above)") from error
        log(f"{name}: checked in {time.monotonic() - started:.1f} s, {builder.size(reference)} unpacked")
    return references
