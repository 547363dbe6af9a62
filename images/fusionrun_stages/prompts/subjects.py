"""Detect general prompts about code or mathematics, which the recipe removes from its general data sets.

Source: README of FuseChat-3.0, "Data Construction": "excluding code and math data". The authors do not say how they
detected them; these rules are FusionRun's. If the data set labels its prompts, the label decides; otherwise patterns
do. The patterns prefer to miss a prompt over a false positive (Java the island, the python at the zoo).
"""

import re

from fusionrun.api.spec.data import Subject

LABELS = {
    "coding & debugging": Subject.CODE,
    "coding": Subject.CODE,
    "code": Subject.CODE,
    "programming": Subject.CODE,
    "math": Subject.MATHEMATICS,
    "mathematics": Subject.MATHEMATICS,
}
"""Labels in lower case. Source: ``task_category`` of the Magpie sets ("Coding & Debugging", "Math"); FusionRun's
additions otherwise."""

_LANGUAGE = (
    r"(?:python|java|javascript|typescript|php|ruby|rust|golang|kotlin|swift|perl|matlab|bash|sql|html|css|c\+\+|c#)"
)
_PROGRAM = (
    r"(?:code|program|script|function|method|class|snippet|query|algorithm|app|application|api|library|module|loop|array"
    r"|regex|compiler|package|framework|developer|syntax)"
)
CODE = (
    r"```",
    r"^\s*(?:def \w+\(|class \w+[:({]|#include\s*<|import [\w.]+(?: as \w+)?\s*;?\s*$|from [\w.]+ import )",
    r"\bpublic (?:static|class|void)\b|\bfunction \w+\s*\(|\bconsole\.log\(|\bprintf?\(|</?(?:div|html|script)\b",
    r"\bselect\b[^.?!]{1,80}\bfrom \w+ (?:where|join|group by|order by|limit)\b",
    rf"\b{_LANGUAGE}(?!\w)[\s\-/]*(?:\w+\s+){{0,2}}{_PROGRAM}s?\b",
    rf"\b{_PROGRAM}s?\b\s+(?:in|using|with|for|of)\s+(?:\w+\s+)?{_LANGUAGE}(?!\w)",
    r"\b(?:javascript|typescript|node\.js|reactjs|django|numpy|pandas dataframe|regex|regular expression)\b",
    r"\bc(?:\+\+|#)|\b(?:in|using) python\b",
    r"\b(?:sql|mysql|postgresql|mongodb) (?:query|queries|database|table|statement)",
    r"\b(?:write|implement|create|develop|debug|refactor|optimi[sz]e|fix)\b[^.?!\n]{0,60}"
    r"\b(?:code(?! (?:of|enforcement|name|word)\b)|algorithm|stored procedure|unit tests?|shell script|compiler)\b",
    r"\b(?:code snippet|source code|pseudo-?code|programming language|programming problem|time complexity)\b",
    r"编程|代码|算法|写一个程序|编写程序|程序员|数据结构|正则表达式|数据库查询",
    r"(?:python|java|c\+\+|sql|javascript|html)\s*(?:函数|程序|脚本|语言|中|实现|编写|查询)",
    r"(?:用|使用)\s*(?:python|java|c\+\+)",
)
"""Patterns of prompts about code; ``^`` matches at the start of a line."""
MATHEMATICS = (
    r"\\(?:frac|sqrt|boxed|sum|int|cdot|times|begin\{(?:equation|align|[pb]?matrix))|\$[^$\n]*[=^\\][^$\n]*\$",
    r"\d\s*[+*\u00d7\u00f7^=]\s*-?\d|\b[xyzn]\s*[\^=]\s*-?\d|\b\d+\s*[xyzn]\b\s*[-+=]",
    r"\bsolve (?:for|the (?:following )?(?:equation|system|inequality))",
    r"\b(?:quadratic|linear|differential) equation",
    r"\b(?:derivative|integral|antiderivative|square root|determinant|eigenvalues?|factorial) of\b",
    r"\b(?:polynomial|trigonometr\w*|logarithm|hypotenuse|arithmetic (?:progression|sequence)|prime number)s?\b",
    r"\b(?:calculate|compute|find|what is|determine) the (?:\w+\s+)?"
    r"(?:sum|product|area|perimeter|volume|circumference|probability|average|mean|median|percentage|radius|slope)\b",
    r"\bprove that\b|\btheorem\b|\bmath(?:ematics|ematical)? (?:problem|question|puzzle|equation|homework)s?\b",
    r"方程|求解|平方根|三角形|概率是|求导|积分|数学题|数学问题|几何题|等于多少",
    r"计算.{0,12}(?:面积|体积|和|积|值|平均数|周长)",
)
"""Patterns of prompts about mathematics."""

_CODE = re.compile("|".join(CODE), re.IGNORECASE | re.MULTILINE)
_MATHEMATICS = re.compile("|".join(MATHEMATICS), re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_HOW_MANY = re.compile(
    r"\bhow (?:many|much|long|far|old)\b|\bwhat (?:is|was) the total\b|多少|几[个只本元岁天]", re.IGNORECASE
)
WORD_PROBLEM_NUMBERS = 2
"""A question for a quantity with at least this many numbers is a word problem (FusionRun's rule)."""


def subject_of(text: str, category: str | None) -> Subject | None:
    """Return the subject of a prompt by its label or, without a label, by its words."""
    if category is not None:
        return LABELS.get(category.strip().lower())
    if _CODE.search(text):
        return Subject.CODE
    if _MATHEMATICS.search(text):
        return Subject.MATHEMATICS
    is_word_problem = _HOW_MANY.search(text) and len(_NUMBER.findall(text)) >= WORD_PROBLEM_NUMBERS
    return Subject.MATHEMATICS if is_word_problem else None
