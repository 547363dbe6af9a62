"""Prompts labelled by hand: code, mathematics, and general prompts that look like them."""

import pytest

from fusionrun.api.spec.data import Subject
from fusionrun_stages.prompts.subjects import subject_of

CODE = [
    "Write a Python function that reverses a list.",
    "Fix the bug:\n```\nx = 1\n```",
    "def add(a, b):\n    ...\nWhat does this do?",
    "How do I centre a div with CSS code?",
    "Explain the difference between a class in Java and a class in C++.",
    "Write a SQL query that finds the oldest customer.",
    "What is the time complexity of quicksort?",
    "Implement an algorithm for finding the shortest path.",
    "Create a regex that matches an email address",
    "Can you debug my javascript?",
    "用Python编写一个函数 计算列表的平均值。",
    "请解释这段代码的含义。",
]
MATHEMATICS = [
    "Solve for x: 2x + 3 = 7",
    "What is 12 * 7?",
    "Find the area of a circle with radius 3.",
    "Tom has 3 apples and buys 5 more. How many apples does he have?",
    "Compute \\frac{1}{2} of ten",
    "What is the derivative of x^2?",
    "Prove that there are infinitely many prime numbers.",
    "Let $a = 3$. What follows?",
    "解方程 x^2 - 4 = 0",
    "小明有3个苹果 又买了5个 一共有多少个",
]
GENERAL = [
    "What should I see on the island of Java in 3 days?",
    "Write a story about a python at the zoo.",
    "Plan a party for 12/24 at 7pm for 10 people.",
    "How many people live in France?",
    "Summarize the novel in 3 sentences for my class.",
    "Write a letter to the code enforcement officer of my town.",
    "Which television program was popular in 1990?",
    "Family is an integral part of the culture. Discuss.",
    "What are the limits of freedom of speech?",
    "Half a cup of sugar is 1/2 cup: give me a cake recipe.",
    "Explain the role of the average voter.",
    "写一首关于秋天的诗。",
    "如何办理离婚的法律程序",
    "计算机的历史是什么",
]


SUBJECTS = [(Subject.CODE, CODE), (Subject.MATHEMATICS, MATHEMATICS), (None, GENERAL)]


@pytest.mark.parametrize(("text", "subject"), [(text, subject) for subject, texts in SUBJECTS for text in texts])
def test_the_subject_is_detected_by_words(text, subject):
    assert subject_of(text, None) is subject


@pytest.mark.parametrize(
    ("label", "subject"),
    [
        ("Coding & Debugging", Subject.CODE),
        ("Math", Subject.MATHEMATICS),
        (" math ", Subject.MATHEMATICS),
        ("Data analysis", None),
        ("Creative writing", None),
    ],
)
def test_a_label_takes_precedence_over_words(label, subject):
    assert subject_of("Write a Python function", label) is subject
