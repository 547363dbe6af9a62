"""Memory of one GPU, against numbers worked out by hand from each model's ``config.json``."""

import pytest

from fusionrun.api.spec.training import Lora
from fusionrun.api.tasks.demand import RewardDemand, ServedDemand, TrainingDemand
from fusionrun_stages.fit import memory
from fusionrun_stages.fit.architecture import parameters_of, read_architecture
from fusionrun_stages.fit.memory import GIB, Verdict
from fusionrun_stages.fit.sizes import trained_parameters

NAMES = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "num_key_value_heads",
         "vocab_size", "max_position_embeddings")  # fmt: skip


def config(kind, *numbers, **more):
    return {"model_type": kind, "torch_dtype": "bfloat16", **dict(zip(NAMES, numbers, strict=True)), **more}


LLAMA_8B = config("llama", 4096, 32, 14336, 32, 8, 128256, 131072)
QWEN_72B = config("qwen2", 8192, 80, 29568, 64, 8, 152064, 32768)
MISTRAL_123B = config("mistral", 12288, 88, 28672, 96, 8, 32768, 131072, head_dim=128)
GEMMA_27B = config("gemma2", 4608, 46, 36864, 32, 16, 256000, 8192, head_dim=128, sliding_window=4096,
                   attn_logit_softcapping=50.0)  # fmt: skip
LLAMA_1B = config("llama", 2048, 16, 8192, 32, 8, 128256, 131072, head_dim=64, tie_word_embeddings=True)
DEEPSEEK = config("deepseek_v3", 7168, 61, 18432, 128, 128, 129280, 163840, kv_lora_rank=512, qk_rope_head_dim=64)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        # 32 x (2 x 4096 x 4096 + 2 x 4096 x 1024 + 3 x 4096 x 14336) + 2 x 128256 x 4096
        (LLAMA_8B, 8_029_995_008),
        # 80 x (2 x 8192 x 8192 + 2 x 8192 x 1024 + 3 x 8192 x 29568) + 2 x 152064 x 8192; the biases are left out
        (QWEN_72B, 72_704_065_536),
        # 88 x (2 x 12288 x 12288 + 2 x 12288 x 1024 + 3 x 12288 x 28672) + 2 x 32768 x 12288
        (MISTRAL_123B, 122_607_894_528),
        # 46 x (2 x 4608 x 4096 + 2 x 4608 x 2048 + 3 x 4608 x 36864) + 256000 x 4608: tied embeddings
        (GEMMA_27B, 27_226_275_840),
        (LLAMA_1B, 1_235_746_816),
        (DEEPSEEK, None),
    ],
)
def test_the_number_of_parameters_follows_from_the_shape(model, parameters):
    assert read_architecture(model).parameters == parameters


def served(model, **settings):
    architecture = read_architecture(model)
    parameters = parameters_of(model, 0)
    demand = ServedDemand(field="sources[a].served", reference=0, **settings)
    return memory.served(demand, architecture, parameters, 2 * (parameters or 0))


@pytest.mark.parametrize(
    ("model", "settings", "weights", "cache"),
    [
        # 145,408,131,072 / 4; 2 x 80 layers x 2 heads x 128 x 2 bytes x 32,768 tokens
        (QWEN_72B, {"tensor_parallel_size": 4}, 36_352_032_768, 2_684_354_560),
        # 245,215,789,056 / 8; 2 x 88 x 1 x 128 x 2 x 131,072
        (MISTRAL_123B, {"tensor_parallel_size": 8}, 30_651_973_632, 5_905_580_032),
        # more GPUs than kv heads: each holds one head
        (MISTRAL_123B, {"tensor_parallel_size": 16, "max_model_len": 4096}, 15_325_986_816, 184_549_376),
        # 2 x 32 x 8 x 128 x 2 x 8,192
        (LLAMA_8B, {"max_model_len": 8192}, 16_059_990_016, 1_073_741_824),
        (LLAMA_8B, {"max_model_len": 8192, "kv_cache_bytes": 1}, 16_059_990_016, 536_870_912),
        (LLAMA_8B, {"max_model_len": 8192, "quantization": "fp8"}, 8_029_995_008, 1_073_741_824),
        (LLAMA_8B, {"max_model_len": 8192, "dtype": "float32"}, 32_119_980_032, 1_073_741_824),
        (LLAMA_8B, {"max_model_len": 8192, "pipeline_parallel_size": 2}, 8_029_995_008, 536_870_912),
        # 23 layers of 8,192 tokens and 23 of 4,096: 2 x 8 x 128 x 2 bytes each, on each of two GPUs
        (GEMMA_27B, {"tensor_parallel_size": 2}, 27_226_275_840, 1_157_627_904),
    ],
)
def test_a_served_model_needs_its_weights_and_the_cache_of_one_request(model, settings, weights, cache):
    assert list(served(model, **settings).parts.values()) == [weights, cache]


def test_latent_attention_is_not_split_over_gpus():
    demand = ServedDemand(field="f", reference=0, tensor_parallel_size=8, max_model_len=1000)
    need = memory.served(demand, read_architecture(DEEPSEEK), None, 688 * 10**9)
    # 61 layers x (512 + 64) x 2 bytes
    assert list(need.parts.values()) == [86 * 10**9, 70_272_000]


@pytest.mark.parametrize(
    ("model", "settings", "gib", "verdict"),
    [
        (QWEN_72B, {"tensor_parallel_size": 4}, 80, Verdict.FITS),
        (MISTRAL_123B, {"tensor_parallel_size": 8}, 80, Verdict.FITS),
        (QWEN_72B, {"tensor_parallel_size": 2}, 80, Verdict.TIGHT),
        (QWEN_72B, {"tensor_parallel_size": 2}, 40, Verdict.TOO_LARGE),
        (LLAMA_8B, {}, 24, Verdict.TOO_LARGE),  # 131,072 tokens need 16 GiB
        (LLAMA_8B, {"max_model_len": 4096}, 24, Verdict.FITS),
        (LLAMA_8B, {"max_model_len": 4096}, 18, Verdict.TIGHT),
        (LLAMA_8B, {"max_model_len": 4096}, None, Verdict.UNKNOWN),
    ],
)
def test_only_what_cannot_fit_is_refused(model, settings, gib, verdict):
    need = served(model, **settings)
    assert need.verdict(gib and gib * GIB) is verdict


def demanded(*, processes=8, zero_stage=3, **more):
    settings = {"sft_micro_batch": 2, "dpo_micro_batch": 1, "sft_max_length": 2048, "dpo_max_length": 2048}
    return TrainingDemand(reference=0, processes=processes, zero_stage=zero_stage, **settings | more)


def training(model, *, dpo=False, **settings):
    return memory.training(demanded(**settings), read_architecture(model), parameters_of(model, 0), dpo=dpo)


P = 8_029_995_008
# 32 layers x 16 x (2 x (4096 + 4096) + 2 x (4096 + 1024) + 3 x (4096 + 14336))
ADAPTERS = 41_943_040


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"zero_stage": 3}, [2 * P // 8, 4 * P // 8, 12 * P // 8]),  # 16.8 GiB
        ({"zero_stage": 3, "dpo": True}, [2 * P // 8, 4 * P // 8, 12 * P // 8, 2 * P // 8]),
        ({"zero_stage": 2}, [2 * P, 4 * P // 8, 12 * P // 8]),
        ({"zero_stage": 1}, [2 * P, 4 * P, 12 * P // 8]),
        ({"zero_stage": 0}, [4 * P, 4 * P, 8 * P]),
        ({"zero_stage": 3, "precision": "fp32"}, [4 * P // 8, 4 * P // 8, 8 * P // 8]),
        ({"zero_stage": 2, "offload": "Optimizer"}, [2 * P, 0, 0]),
        ({"zero_stage": 2, "lora": {"rank": 16}, "dpo": True}, [2 * P, 4 * ADAPTERS // 8, 12 * ADAPTERS // 8]),
    ],
)
def test_training_holds_weights_gradients_and_adam_by_zero_stage(settings, parts):
    assert list(training(LLAMA_8B, **settings).parts.values()) == parts


@pytest.mark.parametrize(
    ("model", "modules", "trained"),
    [
        (LLAMA_8B, None, ADAPTERS),
        # 32 x 16 x (4096 + 4096 + 4096 + 1024)
        (LLAMA_8B, ["q_proj", "self_attn.v_proj"], 6_815_744),
        (LLAMA_8B, ["q_proj", "embed_tokens"], None),
        (DEEPSEEK, None, None),
        ({"model_type": "mamba"}, None, None),
    ],
)
def test_the_parameters_of_adapters_follow_from_the_shape(model, modules, trained):
    assert trained_parameters(Lora(rank=16, target_modules=modules), P, read_architecture(model)) == trained


def test_training_keeps_the_input_of_each_layer_and_one_layer():
    tokens, hidden, intermediate, vocabulary = 2 * 2048, 4096, 14336, 128256
    layer = tokens * (16 * hidden + 8 * intermediate)
    head = 4096 * 32768 * 2 + 4 * hidden * (vocabulary + tokens)
    need = training(LLAMA_8B)
    assert need.estimates["activations"] == 32 * tokens * 2 * hidden + 2 * layer + head
    assert training(LLAMA_8B, gradient_checkpointing=False).estimates["activations"] == 33 * layer + head
    # A DPO micro-batch of one pair is two rows.
    assert training(LLAMA_8B, dpo=True).estimates["activations"] == need.estimates["activations"]


@pytest.mark.parametrize(
    ("settings", "kept", "layer", "width", "copies"),
    [
        ({"zero_stage": 3}, 2, 0, 2, None),
        ({"zero_stage": 3, "precision": "fp32"}, 4, 1, 4, None),
        ({"zero_stage": 0, "precision": "fp32"}, 4, 1, 4, None),
        # Autocast: the inputs of the layers and of their norms have float32, the rest 16 bits.
        ({"zero_stage": 0}, 4, 12 * 4096 / (16 * 4096 + 8 * 14336), 2, 2 * P),
        ({"zero_stage": 0, "dpo": True}, 4, 12 * 4096 / (16 * 4096 + 8 * 14336), 2, 2 * P),
        # Adapters are trained on weights of 16 bits.
        ({"zero_stage": 0, "lora": {"rank": 16}}, 2, 0, 2, None),
    ],
)
def test_the_width_of_activations_is_that_of_their_computation(settings, kept, layer, width, copies):
    tokens, hidden, intermediate, vocabulary = 2 * 2048, 4096, 14336, 128256
    one_layer = round((1 + layer) * tokens * (16 * hidden + 8 * intermediate))
    head = 4096 * 32768 * width + 4 * hidden * (vocabulary + tokens)
    estimates = training(LLAMA_8B, **settings).estimates
    assert estimates["activations"] == 32 * tokens * kept * hidden + 2 * one_layer + head
    assert estimates.get("16-bit copies of the weights") == copies


def test_without_gradient_checkpointing_autocast_keeps_the_copies_of_both_models():
    for dpo, copies in ((False, 2 * P), (True, 4 * P)):
        need = training(LLAMA_8B, dpo=dpo, zero_stage=0, gradient_checkpointing=False)
        assert need.estimates["16-bit copies of the weights"] == copies


@pytest.mark.parametrize(
    ("settings", "gib", "verdict"),
    [
        ({}, 80, Verdict.FITS),
        ({"processes": 1}, 80, Verdict.TOO_LARGE),
        ({"zero_stage": 0}, 80, Verdict.TOO_LARGE),
        ({"zero_stage": 3}, 24, Verdict.TIGHT),
    ],
)
def test_training_that_cannot_fit_is_refused(settings, gib, verdict):
    assert training(LLAMA_8B, **settings).verdict(gib * GIB) is verdict


@pytest.mark.parametrize(
    ("gib", "fits"),
    [
        (80, True),  # DPO: 15 + 15 of the reference + 3.7 + 11.2 GiB, and activations
        (48, False),
        (None, False),
    ],
)
def test_zero_stage_2_is_known_to_fit(gib, fits):
    model = read_architecture(LLAMA_8B)
    found = memory.fits_zero_stage_2(demanded(), model, parameters_of(LLAMA_8B, 0), gib and gib * GIB)
    assert found == fits


@pytest.mark.parametrize(
    ("gib", "step", "dpo", "largest"),
    [
        (80, 128, False, 16),
        (80, 48, False, 2),
        (80, 128, True, 16),
        (40, 128, False, 8),
        (80, None, False, 2),
        (None, 128, False, 2),
        (16, 128, False, 2),
    ],
    ids=["sft", "a step of 48 rows", "dpo", "a smaller GPU", "unknown step", "unknown GPU", "nothing fits"],
)
def test_the_largest_micro_batch_fits_and_divides_the_step(gib, step, dpo, largest):
    model, demand = read_architecture(LLAMA_8B), demanded(sft_global_batch=step, dpo_global_batch=step)
    found = memory.largest_micro_batch(demand, model, parameters_of(LLAMA_8B, 0), gib and gib * GIB, dpo=dpo)
    assert found == largest


@pytest.mark.parametrize(
    "broken",
    [
        {"model_type": "mamba"},
        {},
        {**LLAMA_8B, "hidden_size": "4096"},
        {**LLAMA_8B, "num_attention_heads": 0},
        {k: v for k, v in LLAMA_8B.items() if k != "vocab_size"},
    ],
)
def test_an_unknown_architecture_is_refused_only_for_its_weights(broken):
    assert read_architecture(broken) is None
    demand = ServedDemand(field="f", reference=0)
    need = memory.served(demand, None, parameters_of(broken, 0), 16 * GIB)
    assert need.verdict(80 * GIB) is Verdict.UNKNOWN
    assert need.verdict(16 * GIB) is Verdict.TOO_LARGE
    assert "the rest is unknown" in need.text()


def test_parameters_of_an_unknown_architecture_are_counted_from_its_weights():
    assert parameters_of({"model_type": "new", "dtype": "bfloat16"}, 16 * 10**9) == 8 * 10**9
    assert parameters_of({"model_type": "new", "dtype": "bfloat16", "quantization_config": {}}, 16) == 8
    assert parameters_of({"model_type": "new", "dtype": "bfloat16", "quantization_config": {"bits": 4}}, 16) is None


def test_the_reward_model_needs_its_weights_in_16_bits():
    demand = RewardDemand(reference=0, batch_size=16, max_length=4096)
    need = memory.reward(demand, read_architecture(LLAMA_8B), P, 2 * P)
    for limit, tokens in ((16_384, 16_384), (1024, 4096), (10**6, 65_536)):
        limited = memory.reward(
            demand.model_copy(update={"max_batch_tokens": limit}), read_architecture(LLAMA_8B), P, 2 * P
        )
        assert limited.estimates["activations"] * 65_536 == need.estimates["activations"] * tokens
    assert need.parts == {"weights": 2 * P}
    assert need.verdict(80 * GIB) is Verdict.FITS
    assert need.verdict(14 * GIB) is Verdict.TOO_LARGE
