"""Benchmarks in the files of their owners: one module of ``layouts`` per format.

A layout finds its files by their names, anywhere below the folder of the benchmark. Some formats also have files that
only judges and aggregations read: ``prepare`` copies them to ``materials/<benchmark>/`` of its artifact::

    layout      file            what it is, as published
    AlpacaEval  judge.txt       template of the judge: alpaca_eval_clf.txt
                gamed.csv       judgements of two gamed models: df_gamed.csv
    ArenaHard   judge.yaml      system prompt and template of the judge: judge_config.yaml of FuseEval
    MTBench     judge_prompts.jsonl  the templates of the judge
    AlignBench  dimension_set.json, dimension_definition.json, subcategory_question_mapping.json
                judge.py        has the template of the judge in a text; it is never run

No question, answer or template is part of this project.
"""
