"""Where the recipe's data sets are, and what their columns are called.

Source: the table "Datasets" of the FuseChat-3.0 README for the list; the columns from each data set's own card.
"""

from fusionrun.api.data import Columns, Preset

_PRESETS: dict[Preset, tuple[str, Columns]] = {
    Preset.ULTRA_FEEDBACK: ("hf://openbmb/UltraFeedback", Columns(prompt="instruction")),
    Preset.MAGPIE_PRO_DPO: (
        "hf://Magpie-Align/Magpie-Llama-3.1-Pro-DPO-100K-v0.1",
        Columns(prompt="instruction"),
    ),
    Preset.HELP_STEER_2: ("hf://nvidia/HelpSteer2", Columns(prompt="prompt")),
    Preset.OPEN_MATH_INSTRUCT_2: (
        "hf://nvidia/OpenMathInstruct-2",
        Columns(prompt="problem", answer="expected_answer"),
    ),
    Preset.LEETCODE: ("hf://greengerong/leetcode", Columns(prompt="content", tests="tests")),
    Preset.SELF_OSS_INSTRUCT: (
        "hf://bigcode/self-oss-instruct-sc2-exec-filter-50k",
        Columns(prompt="instruction", tests="tests"),
    ),
    Preset.ALPACA_GPT4_ZH: ("hf://llamafactory/alpaca_gpt4_zh", Columns(prompt="instruction")),
    Preset.MAGPIE_QWEN2_CHINESE: (
        "hf://Magpie-Align/Magpie-Qwen2-Pro-200K-Chinese",
        Columns(prompt="instruction"),
    ),
}


def preset_uri(preset: Preset) -> str:
    """Return where a preset's data set is."""
    return _PRESETS[preset][0]


def preset_columns(preset: Preset) -> Columns:
    """Return the columns of a preset's data set."""
    return _PRESETS[preset][1]
