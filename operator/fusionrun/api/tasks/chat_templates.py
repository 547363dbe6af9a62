"""The chat templates of this project, which replace that of a model.

The operator passes them to servers, and the stages write them into the models that they train.
"""

from fusionrun.api.stage import TemplateName

LLAMA_3 = r"""{#- The chat format of Llama 3: no default system prompt and no date. -#}
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|start_header_id|>' ~ message['role'] ~ '<|end_header_id|>\n\n' -}}
    {{- message['content'] | trim ~ '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%}
"""
"""``<|start_header_id|>ROLE<|end_header_id|>``, two newlines, the content without outer white space and ``<|eot_id|>``
for each message, after one ``bos_token``. Outer white space would merge with the two newlines into one token. Source:
Meta, "Model Cards and Prompt Formats", Meta Llama 3.
"""

TEMPLATES = {TemplateName.LLAMA_3: LLAMA_3}
"""Texts of the templates, in Jinja."""
