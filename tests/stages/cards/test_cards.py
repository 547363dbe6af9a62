"""The data set's card: its content in both formats, accessibility, security, and reproducibility."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest
import yaml
from huggingface_hub import ModelCard

from fusionrun.api.published.repositories import PRESET_URIS
from fusionrun.api.results.values import Constructed, Prepared, SourceCounts
from fusionrun.api.spec.data import Preset
from fusionrun.api.spec.evaluation import BenchmarkPreset
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import TemplateName
from fusionrun.api.status.results import BenchmarkResult, GroupResult, ModelDifference, ModelScore
from fusionrun.plan.defaults import fill
from fusionrun.plan.presets import preset_data
from fusionrun_stages.cards import licences
from fusionrun_stages.cards.dataset import build_dataset_card, build_sections
from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.cards.licences import Outputs
from fusionrun_stages.cards.model import build_model_card
from fusionrun_stages.cards.scores import Scores
from fusionrun_stages.construction.summary import Summary
from fusionrun_stages.models.recipe_template import SavedTemplate
from support.runs import called_reward, make_spec

MADE = Constructed(
    sft_rows=1200,
    pairs=800,
    held_out_pairs=16,
    by_source={"ada": SourceCounts(sft_rows=700, pairs=300), "bob": SourceCounts(sft_rows=500, pairs=500)},
    drops={"MarginBelow": 70, "Contaminated": 3, "NoCorrectResponse": 200},
)
HOSTILE = "<script>alert(1)</script> | `x` $a$"


def make_summary(size: int = 300) -> dict:
    """Return a summary of generated responses and rows."""
    summary = Summary(["ada", "bob"])
    rows = [
        {"prompt": p, "dataset": ("math", "code")[p % 2], "task": ("Mathematics", "Coding")[p % 2], "source": source,
         "sample": sample, "answered": (p + sample) % 19 > 0,
         "finished": (p + sample) % 19 > 0 and (p * 7 + sample) % 9 > 0,
         "score": (p * 37 + sample * 911 + source * 6_000) % 120_000 - 20_000, "right": (p + sample + source) % 3 > 0,
         "wrong": (p + sample + source) % 3 == 0, "fault": False,
         "missing": "numpy" if p % 50 == 1 + 2 * source else None}
        for p in range(size) for source in (0, 1) for sample in range(4)
    ]  # fmt: skip
    summary.add_candidates(pl.DataFrame(rows))
    summary.add_rows(
        pl.DataFrame(
            [
                {"dataset": ("math", "code")[p % 2], "task": ("Mathematics", "Coding")[p % 2],
                 "kind": ("sft", "pair", "held-out")[p % 3], "source": ("ada", "bob")[p % 2],
                 "second": None if p % 3 == 0 else 1, "first_text": "a" * (1 + p * p % 4001),
                 "second_text": None if p % 3 == 0 else "b" * (1 + p * 13 % 2777),
                 "chosen_score_micro": 100_000 + p * 100 % 7919, "rejected_score_micro": 80_000 - p * 211 % 60_000}
                for p in range(size)
            ],
            schema_overrides={"second": pl.UInt32},
        )
    )  # fmt: skip
    return summary.document()


@pytest.fixture(scope="module")
def facts():
    models = ("hf://meta-llama/Meta-Llama-3-70B-Instruct", "hf://Qwen/Qwen2.5-72B-Instruct")
    sources = [
        {"name": name, "served": {"model": {"uri": uri, "revision": "a" * 40}}}
        for name, uri in zip(("ada", "bob"), models, strict=True)
    ]
    prepared = {
        "datasets": {"math": {"prompts": 900, "contaminated": 3, "duplicates": 0}, "code": {"prompts": 700}},
        "contamination": [{"prompt": HOSTILE, "benchmark": "math-test", "shared": "the sum of"}],
    }
    return Facts(
        name="tiny",
        spec=fill(FusionRunSpec.model_validate(make_spec(sources=sources))),
        made=MADE,
        details={
            "by_dataset": {"math": {"sft": 700, "pair": 500, "held-out": 10},
                           "code": {"sft": 500, "pair": 300, "held-out": 6}},
            "drops_by_dataset": {"math": {"MarginBelow": 70}, "code": {"NoCorrectResponse": 200}},
        },
        summary=make_summary() | {"prepared": prepared},
        pins={"datasets[math]": "0123456789ab", "sources[ada].served.model": "ba9876543210"},
        licences={"datasets[code]": "cc-by-4.0"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def cards(facts):
    return build_dataset_card(facts)


class Page(HTMLParser):
    """Collect the tags, identifiers and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [v for k, v in found.items() if k in ("href", "src", "xlink:href")]


def test_the_front_matter_has_the_hubs_keys(cards):
    matter = yaml.safe_load(cards[0].split("---\n")[1])
    assert matter["size_categories"] == ["1K<n<10K"]
    assert matter["license"] == "other"
    assert [c["data_files"] for c in matter["configs"]] == ["sft.parquet", "pairs.parquet", "held-out.parquet"]


@pytest.mark.parametrize(
    "line",
    [
        "| sft.parquet | 1,200 |",
        "| math | Mathematics | 900 | 700 | 500 | 10 | 70 |",
        "| MarginBelow | 70 | 70 |",
        "| Contaminated | 3 | 3 |",
        "| source ada | Meta Llama 3 Community License | forbidden |",
        "| source bob | Qwen License Agreement | allowed under conditions |",
        "| data set code | CC BY 4.0 |",
        "| data set math | unknown | unknown |",
        "> **Warning.** source ada: Meta Llama 3 Community License: training on outputs is forbidden.",
        f"| source | ada | hf://meta-llama/Meta-Llama-3-70B-Instruct | {'a' * 40} | ba9876543210 |",
        "| seed of construction and sampling | 42 |",
        "| reward margin | 0.1 to 5.0, inclusive |",
        "0.1 and 5.0, inclusive",
    ],
)
def test_both_formats_have_the_same_content(cards, line):
    markdown, page = cards
    assert line in markdown
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for part in line.replace("> **Warning.** ", "").strip("| ").split(" | "):
        assert part in words


def test_only_licences_that_forbid_training_have_a_warning(cards):
    assert cards[0].count("**Warning.**") == cards[1].count('class="warning"') == 1


def test_texts_of_the_data_set_are_escaped(cards):
    markdown, page = cards
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;script>alert(1)&lt;/script> \\| \\`x\\` $a$ |" in markdown


def test_the_page_has_no_external_resources_and_no_scripts(cards):
    page = Page(cards[1])
    assert all(link.startswith("#") for link in page.links)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe")]
    assert "@import" not in cards[1]
    assert "url(http" not in cards[1]


def test_every_plot_has_a_title_and_a_description(cards):
    page = Page(cards[1])
    plots = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(plots) == 7
    for plot in plots:
        assert plot["role"] == "img"
        assert set(plot["aria-labelledby"].split()) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)
    for text in re.findall(r"<desc[^>]*>([^<]*)</desc>", cards[1]):
        assert text


def test_plots_use_the_colours_of_the_page(cards):
    drawn = "".join(re.findall(r"<svg.*?</svg>", cards[1], re.DOTALL))
    assert "var(--one)" in drawn
    assert not re.findall(r"#[0-9a-f]{6}\b", drawn)


def test_the_same_facts_give_the_same_bytes(facts, cards):
    assert build_dataset_card(facts) == cards


def test_without_a_summary_the_card_has_no_plots(facts):
    bare = Facts(name="tiny", spec=facts.spec, made=Constructed(sft_rows=3), details={}, summary={})
    markdown, page = build_dataset_card(bare)
    assert "## Rewards" not in markdown
    assert "<svg" not in page
    assert "None" not in markdown


@pytest.mark.parametrize(
    ("model", "licence", "outputs"),
    [
        ("hf://google/gemma-2-27b-it", "Gemma Terms of Use", Outputs.CONDITIONS),
        ("hf://mistralai/Mistral-Large-Instruct-2407", "Mistral AI Research License", Outputs.RESEARCH),
        ("hf://Qwen/Qwen2.5-72B-Instruct", "Qwen License Agreement", Outputs.CONDITIONS),
        ("hf://Qwen/Qwen2.5-Math-72B-Instruct", "Qwen License Agreement", Outputs.CONDITIONS),
        ("hf://meta-llama/Llama-3.1-70B-Instruct", "Llama 3.1 Community License", Outputs.CONDITIONS),
        ("hf://meta-llama/Meta-Llama-3-8B-Instruct", "Meta Llama 3 Community License", Outputs.FORBIDDEN),
        ("hf://meta-llama/Llama-2-70b-chat-hf", "Llama 2 Community License", Outputs.FORBIDDEN),
        ("hf://Qwen/Qwen2.5-7B-Instruct", "Apache 2.0", Outputs.FREE),
        ("gpt-4o", "OpenAI Terms of Use", Outputs.FORBIDDEN),
        ("pvc://claim/models/ada", "unknown", Outputs.UNKNOWN),
    ],
)
def test_licences_are_known_by_model_name(model, licence, outputs):
    found = licences.licence_of_model(model)
    assert (found.name, found.outputs) == (licence, outputs)


def test_a_declared_licence_takes_precedence_over_the_name():
    assert licences.licence_of_model("hf://x/Llama-3.1-8B", "mit").outputs is Outputs.FREE
    assert licences.licence_of_model("hf://x/Llama-3.1-8B", "acme-1").outputs is Outputs.UNKNOWN
    assert licences.declared_licence({"license": "other", "license_name": "mrl"}) == "mrl"
    assert licences.declared_licence({"license": "Apache-2.0"}) == "apache-2.0"
    assert licences.declared_licence(None) is None


def test_the_model_card_lists_the_licences_of_its_data_and_of_the_benchmarks(facts):
    known = replace(facts, licences={"target": "gemma", **facts.licences}, benchmark_licences={"math-test": "MIT"})
    card = build_model_card(known, Scores())
    assert "| base model | Gemma Terms of Use | allowed under conditions |" in card
    assert "| source ada | Meta Llama 3 Community License | forbidden |" in card
    assert "| data set code | CC BY 4.0 | allowed under conditions | Attribution is required. |" in card
    assert "| math-test | MIT |\n| code-test | unknown |" in card
    assert "| math-test | MIT |\n| code-test | unknown |" in build_dataset_card(known)[0]


@pytest.mark.parametrize("preset", Preset, ids=str)
def test_the_licence_and_the_repository_of_a_preset_are_known(facts, preset):
    """The spec of a run with presets has no URIs of data sets."""
    dataset = {"name": "recipe", "preset": preset, "task": preset_data(preset).task}
    changed = replace(facts, spec=fill(FusionRunSpec.model_validate(make_spec(datasets=[dataset]))))
    card = build_dataset_card(changed)[0]
    assert f"| data set | recipe | {PRESET_URIS[preset]} (train) |" in card
    assert "| data set recipe | unknown |" not in card
    assert "| data set recipe | " in card


def test_a_run_without_benchmarks_lists_no_licence_of_them(facts):
    spec = fill(FusionRunSpec.model_validate(make_spec(evaluation={})))
    card = build_model_card(replace(facts, spec=spec), Scores())
    assert "licence of the questions" not in card + build_dataset_card(replace(facts, spec=spec))[0]


def test_every_licence_has_a_source():
    assert all(one.source.startswith("https://") for one in licences.LICENCES.values())


def test_an_external_reward_model_is_shown_with_its_address(facts):
    spec = fill(FusionRunSpec.model_validate(make_spec(rewardModel=called_reward())))
    markdown = build_dataset_card(replace(facts, spec=spec))[0]
    assert "Scores by judge-8b at https://judge for all" in markdown
    assert "| reward model |  | judge-8b at https://judge |" in markdown


LINKING = "![x](https://tracker/p.png) <img src=x onerror=y> [link](https://x) `code` | cell\n# heading"


def test_text_of_others_is_neither_html_nor_a_link_or_image(facts):
    source = {"name": "far", "type": "Endpoint", "endpoint": {"url": "https://far/v1", "model": LINKING}}
    reward = called_reward() | {"endpoint": {"url": "https://judge", "model": LINKING}}
    spec = fill(FusionRunSpec.model_validate(make_spec(sources=[source], rewardModel=reward)))
    example = {"benchmark": "b", "shared": LINKING, "prompt": LINKING}
    changed = replace(facts, spec=spec, summary={"prepared": {"contamination": [example]}})
    markdown, page = build_dataset_card(changed)
    for text in (markdown, build_model_card(changed, Scores())):
        lines = [line for line in text.splitlines() if "tracker" in line]
        assert lines
        assert not [part for part in ("<img", "![", "[link]", "`code`", " | cell\n") for line in lines if part in line]
        assert "\n# heading" not in text
    assert "<img" not in page


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (SavedTemplate(TemplateName.LLAMA_3, "ab12"), "the recipe's, llama3"),
        (SavedTemplate(None, "ab12"), "the base model's own"),
        (None, None),
    ],
    ids=["recipe", "own", "no file"],
)
def test_the_model_card_names_the_chat_template(facts, template, line):
    lines = [text for text in build_model_card(facts, Scores(), template).splitlines() if "template" in text]
    assert lines == ([f"Chat template: {line} (`chat_template.jinja`, SHA-256 `ab12`)."] if line else [])


def test_presets_are_compared_with_the_published_sizes(facts):
    datasets = [
        make_spec()["datasets"][0],
        {"name": "helpsteer", "preset": "HelpSteer2", "task": "Instruction"},
        {"name": "zh", "preset": "alpaca_gpt4_zh", "task": "SftOnly"},
        {"name": "magpie", "preset": "Magpie-Pro-DPO-100K", "task": "Instruction"},
    ]
    details = {"by_dataset": {"math": {"sft": 1}, "helpsteer": {"sft": 3700, "pair": 2830}, "zh": {"sft": 2471}}}
    spec = fill(FusionRunSpec.model_validate(make_spec(datasets=datasets)))
    changed = replace(facts, spec=spec, details=details)
    (sizes,) = [section for section in build_sections(changed) if section.heading == "Sizes"]
    assert sizes.rows == [
        ("helpsteer", "3,700", "3,774", "-2.0 %", "2,830", "5,661", "-50.0 %", "⚠ no"),
        ("zh", "2,471", "2,471", "+0.0 %", "0", "0", "", "yes"),
        ("magpie", "0", "8,149", "-100.0 %", "0", "12,225", "-100.0 %", "⚠ no"),
    ]
    for text in build_dataset_card(changed):
        assert "data set helpsteer: 2,830 pairs, the recipe has 5,661 (-50%)" in text
        assert "⚠ no" in text
    assert "Sizes" not in [section.heading for section in build_sections(facts)]


def test_missing_modules_are_counted_by_source(cards):
    markdown, page = cards
    assert "| module | ada | bob |" in markdown
    assert "| numpy | 24 | 24 |" in markdown
    assert "Missing modules" in page


def test_drops_of_prepare_are_shown_by_reason_and_data_set(facts):
    names = [name for name in Prepared.model_fields if name not in ("kind", "prompts", "by_dataset")]
    counts = {name: number for number, name in enumerate(names, 2)}
    drops = {str(reason): count for reason, count in Prepared(**counts).drops.items()}
    assert sorted(drops.values()) == sorted(counts.values())
    made = Constructed(drops=drops)
    changed = replace(facts, made=made, details={}, summary={"prepared": {"datasets": {"math": counts}}})
    (dropped,) = [section for section in build_sections(changed) if section.heading == "Dropped prompts"]
    assert dropped.head == ("reason", "prompts", "math")
    assert {row[0]: row[1:] for row in dropped.rows} == {
        reason: (str(count), str(count)) for reason, count in drops.items()
    }


def benchmark_row(**fields):
    """Return the results of a judged benchmark."""
    numbers = {"base": 5.1, "sft": 5.5, "final": 6.25, "unit": "Rating", "modified": True, "judge": "judge | 7b"}
    scores = [
        ModelScore(model="base", score=5.1),
        ModelScore(model="final", score=6.25, lower=6.0, upper=6.5, prompts=80),
    ]
    differences = [
        ModelDifference(model="final", against="base", delta=1.15, lower=0.9, upper=1.4, p_value=0.0002),
        ModelDifference(model="final", against="sft", delta=0.75, lower=0.1, upper=1.4, p_value=0.03),
    ]
    named = {"benchmark": "math-test", "protocol": "FuseEval/MTBench 1", "scores": scores, "differences": differences}
    return BenchmarkResult(**numbers | named | fields)


def test_the_model_card_has_intervals_paired_differences_protocol_and_judge(facts):
    group = GroupResult(group="All", benchmarks=2, modified=1, base=5.1, final=6.25, published_target="Gemma-2-9B-It",
                        published_base=43.9)  # fmt: skip
    plain = BenchmarkResult(benchmark="code-test", base=10.0, final=40.0)
    card = build_model_card(facts, Scores([benchmark_row(), plain], [group]))
    assert (
        "| math-test | 5.10 | 5.50 | 6.25 (6.00 to 6.50) | +1.15 (0.90 to 1.40), p < 0.001 "
        "| +0.75 (0.10 to 1.40), p = 0.03 | rating, 1 to 10 | FuseEval/MTBench 1, modified | judge \\| 7b |"
    ) in card
    assert "| code-test | 10.0 |  | 40.0 | +30.0 |  | percent |  |  |" in card
    assert "| All | 2, 1 modified | 5.1 |  | 6.2 | 43.9 |  |  |" in card
    assert "published for Gemma-2-9B-It over the same benchmarks." in card
    for absent in ("Undefined", "None"):
        assert absent not in card


JUDGED = {"judge": "judge | 7b", "templates_sha256": {"judge.txt": "ab" * 32}, "unparsed": 3}


@pytest.mark.parametrize(
    ("details", "row"),
    [
        ({"position_consistency": 0.751, "length_bias": -0.1234}, "0.75 | -0.12"),
        ({"position_consistency": None, "length_bias": None}, " | "),
    ],
    ids=["known", "not known"],
)
def test_the_model_card_describes_the_judges(facts, details, row):
    evaluated = {"math-test": {"score": 40.0, "unparsed": 0}, "mt": JUDGED | details}
    card = build_model_card(replace(facts, evaluated=evaluated), Scores())
    (line,) = [text for text in card.partition("### Judges")[2].partition("## Sources")[0].splitlines() if "7b" in text]
    assert line == f"| mt | judge \\| 7b | judge.txt abababababab | 3 | {row} |"
    assert "### Judges" not in build_model_card(replace(facts, evaluated={"math-test": {"unparsed": 0}}), Scores())


def test_the_hub_reads_the_scores_of_the_final_model(facts):
    """Its own class reads the model-index of the card."""
    evaluation = facts.spec.evaluation
    hub = evaluation.benchmarks[0].model_copy(update={"uri": "hf://org/set", "revision": "b" * 40})
    spec = facts.spec.model_copy(
        update={"evaluation": evaluation.model_copy(update={"benchmarks": [hub, *evaluation.benchmarks[1:]]})}
    )
    scores = Scores(
        [benchmark_row(benchmark=hub.name), BenchmarkResult(benchmark=evaluation.benchmarks[1].name, final=1.0)]
    )
    card = ModelCard(build_model_card(replace(facts, spec=spec), scores))
    first, second = card.data.eval_results
    assert (first.dataset_type, first.dataset_revision, first.metric_type) == ("org/set", "b" * 40, "rating")
    assert (first.metric_value, first.metric_name) == (6.25, "FuseEval/MTBench 1, modified")
    assert first.metric_args == {
        "protocol": "FuseEval/MTBench 1", "modified": True, "judge": "judge | 7b", "prompts": 80,
        "lower": 6.0, "upper": 6.5,
    }  # fmt: skip
    assert (second.dataset_type, second.metric_value, second.metric_args) == (evaluation.benchmarks[1].name, 1.0, None)
    assert card.data.model_name == "tiny"
    assert ModelCard(build_model_card(facts, Scores())).data.eval_results is None


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ([{"preset": "HelpSteer2"}, {"uri": "hf://org/own"}, {"uri": "hf://org/own", "split": "dev"},
          {"uri": "pvc://fusion-data/m"}, {"uri": "s3://bucket/m"}], ["nvidia/HelpSteer2", "org/own"]),
        ([{"uri": "pvc://fusion-data/m"}], None),
    ],
    ids=["hub", "claim"],
)  # fmt: skip
def test_the_hub_reads_the_licence_and_the_data_sets_of_the_model(facts, datasets, expected):
    named = [
        {"name": f"d{number}", "task": "Instruction", "columns": {"prompt": "prompt"}} | dataset
        for number, dataset in enumerate(datasets)
    ]
    spec = fill(FusionRunSpec.model_validate(make_spec(datasets=named)))
    data = ModelCard(build_model_card(replace(facts, spec=spec), Scores())).data
    assert (data.license, data.license_name) == ("other", "of-the-base-model-sources-and-data-sets")
    assert data.datasets == expected


def test_questions_whose_owners_ask_for_it_are_not_shown(facts):
    """A training prompt that shares words with GPQA would show them."""
    evaluation = facts.spec.evaluation
    hidden = evaluation.benchmarks[0].model_copy(update={"preset": BenchmarkPreset.GPQA_DIAMOND})
    benchmarks = [hidden, *evaluation.benchmarks[1:]]
    spec = facts.spec.model_copy(update={"evaluation": evaluation.model_copy(update={"benchmarks": benchmarks})})
    for before, after in zip(build_dataset_card(facts), build_dataset_card(replace(facts, spec=spec)), strict=True):
        assert "the sum of" in before
        assert "the sum of" not in after
