"""The peak speeds of GPUs by the names of devices and of node labels."""

import pytest

from fusionrun.api.published.gpu_models import GPU_MODELS, gpu_model


@pytest.mark.parametrize(
    ("name", "teraflops", "terabytes"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4, 3.35),
        ("NVIDIA-H100-80GB-HBM3", 989.4, 3.35),
        ("NVIDIA H100 PCIe", 756.0, 2.0),
        ("NVIDIA H100 NVL", 835.5, 3.9),
        ("NVIDIA H200", 989.4, 4.8),
        ("NVIDIA H200 NVL", 835.5, 4.8),
        ("NVIDIA GH200 480GB", 989.4, 4.0),
        ("NVIDIA B200", 2250.0, 8.0),
        ("NVIDIA-A100-SXM4-80GB", 312.0, 2.039),
        ("NVIDIA A100 80GB PCIe", 312.0, 1.935),
        ("NVIDIA A100-SXM4-40GB", 312.0, 1.555),
        ("NVIDIA A10G", 70.0, 0.6),
        ("NVIDIA A10", 125.0, 0.6),
        ("NVIDIA L4", 121.0, 0.3),
        ("NVIDIA L40S", 362.0, 0.864),
        ("NVIDIA GeForce RTX 4090", 165.2, 1.008),
    ],
)
def test_a_gpu_is_found_by_its_name(name, teraflops, terabytes):
    found = gpu_model(name)
    assert (found.teraflops, found.terabytes) == (teraflops, terabytes)
    assert found.flops == pytest.approx(teraflops * 1e12)


@pytest.mark.parametrize(
    "name", ["Tesla T4", "AMD Instinct MI300X", "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "NVIDIA-L4-SHARED", ""]
)
def test_other_gpus_and_parts_of_a_gpu_are_not_known(name):
    assert gpu_model(name) is None


def test_each_model_is_found_by_its_own_name():
    assert [gpu_model(model.name) for model in GPU_MODELS] == list(GPU_MODELS)
