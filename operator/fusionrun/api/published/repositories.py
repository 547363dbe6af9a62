"""Repositories of the recipe's data sets on the hub.

Source: README of SLIT-AI/FuseChat-3.0, "Data Construction" and the table "Datasets".
"""

from fusionrun.api.spec.data import Dataset, Preset

PRESET_URIS: dict[Preset, str] = {
    Preset.ULTRA_FEEDBACK: "hf://openbmb/UltraFeedback",
    Preset.MAGPIE_PRO_DPO: "hf://Magpie-Align/Magpie-Pro-DPO-100K-v0.1",
    Preset.HELP_STEER_2: "hf://nvidia/HelpSteer2",
    Preset.OPEN_MATH_INSTRUCT_2: "hf://nvidia/OpenMathInstruct-2",
    Preset.LEETCODE: "hf://greengerong/leetcode",
    Preset.LEETCODE_DATASET: "hf://newfacade/LeetCodeDataset",
    Preset.SELF_OSS_INSTRUCT: "hf://bigcode/self-oss-instruct-sc2-exec-filter-50k",
    Preset.ALPACA_GPT4_ZH: "hf://llamafactory/alpaca_gpt4_zh",
    Preset.MAGPIE_QWEN2_CHINESE: "hf://Magpie-Align/Magpie-Qwen2-Pro-200K-Chinese",
}


def dataset_uri(dataset: Dataset) -> str:
    """Return the URI of a data set: from the spec, else from its preset."""
    return dataset.uri or (PRESET_URIS[dataset.preset] if dataset.preset else "")
