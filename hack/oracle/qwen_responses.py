"""Invented responses to questions of mathematics, in many forms of marking an answer and of writing it."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from oracle.pairs import pairs


class Answered(NamedTuple):
    """A gold answer and a response."""

    kind: str
    gold: str
    response: str


SHAPES = {
    "box": "We add up: 3 + 4 = 7.\n\nThus $\\boxed{{{a}}}$.",
    "several boxes": "First $\\boxed{{{b}}}$. Checking again gives\n\\[\\boxed{{{a}}}\\]",
    "several boxes, the wrong one last": "So $\\boxed{{{a}}}$ and for the other case $\\boxed{{{b}}}$",
    "box and more text": "\\[ \\boxed{{{a}}} \\]\nThis is 12 more than 5, as $x = 9$ shows.",
    "box that is not closed": "The result is \\boxed{{{a}",
    "box without braces": "The result is $\\boxed {a}$ for 3 of them",
    "box with line breaks": "\\boxed{{\n  {a}\n}}",
    "box with a point": "Therefore \\boxed{{{a}.}} .",
    "box in a phrase": "The answer is {b}. No: the final answer is $\\boxed{{{a}}}$.",
    "empty box": "The answer is {a}: \\boxed{{}}",
    "word box at the end": "I put {a} into a frame, that is boxed",
    "the answer is": "After 3 steps, the answer is {a}.",
    "the answer is, twice": "Perhaps the answer is {b}? No, the answer is {a}",
    "the answer is, with a colon": "Hence the answer is: {a}.\n",
    "the answer is, in formula signs": "So The answer is ${a}$.",
    "the answer is, then text": "The answer is {a}, since 2 + 2 = 4.\nAll is well.",
    "the answer is, with an equation": "the answer is $x = {a}$.",
    "final answer is": "My final answer is {a}.",
    "the final answer is": "The final answer is {a}/",
    "Minerva": "Final step. The final answer is ${a}$. I hope it is correct.",
    "Minerva and a box": "\\boxed{{{b}}} The final answer is ${a}$. I hope it is correct.",
    "last number": "There are 14 in the first and {a} in the second.",
    "last number in bold": "1. Count: 14\n2. Total: **{a}**",
    "other heading": "### Answer\n{a}",
    "Chinese phrase": "\u56e0\u6b64\uff0c\u7b54\u6848\u662f{a}",
    "Chinese phrase and more": "\u7b54\u6848\u662f {a}\n\n\u9a8c\u7b97\uff1a3+4=7",
    "Chinese phrase, twice": "\u7b54\u6848\u662f{a}\u3002\u5bf9\u5417\uff1f\u7b54\u6848\u662f{b}",
    "Chinese phrase and a box": "\u7b54\u6848\u662f{b}\uff0c\u5373 $\\boxed{{{a}}}$\u3002",
    "noise of a tokenizer": "\u043a\u0438 \\boxed{{\u043a\u0438{a}}}",
    "thought": "<think>The answer is {b}.</think>\n\\boxed{{{a}}}",
    "white space": "  \n\\boxed{{ {a} }}\n\n",
}
"""Places for the answer ``a`` and for another number, ``b``."""

LETTERS = (
    "\\boxed{{{x}}}", "\\boxed{{\\text{{{x}}}}}", "\\boxed{{\\textbf{{({x})}}\\ 12}}", "The answer is ({x}).", "{x}", "({x}) 14",
    "Option {y} fails, so {x}.", "The choice is {x}, not {y}.", "The answer is {x}.\n\nNext question: the answer is {y}.",
    "I choose {x} because A is 3", "\\boxed{{14}} which is {x}", "the answer is {l}", "none", "\\boxed{{}}", "{x}{y}", "{x}/", "{x}.:",
)  # fmt: skip
"""Responses to questions whose gold answer is a letter ``x`` (small: ``l``)."""

SETS = ("\\boxed{{{s}}}", "The answer is {s}.", "\\boxed{{{t}}}", "Both {t} and {s}", "\\boxed{{{c}}}", "\\boxed{{\\text{{{c}}}}}", "12")
"""Responses to questions whose gold answer is several letters ``s``; ``c`` has commas, ``t`` is another set."""

WRITTEN = {
    "3": ["three", "three apples", "3rd", "3 \\text{ and } 4", "+3", "3.", "03", "3.000", "3,", "3\\", "3\\%", "300", "0.03", "3.0003", "3.0004"],
    "21": ["twenty one", "twenty-one", "I counted twenty one", "two one", "21 cm^2", "21cm", "21^{\\circ}", "21\\text{%}", "\\$21", "$21"],
    "1500": ["one thousand five hundred", "fifteen hundred", "1,500", "1{,}500", "1\\,500", "1.5e3", "1.5 \\times 10^3", "1500.00 dollars"],
    "2500000": ["two million five hundred thousand", "2.5 million", "2,500,000", "two point five million", "2 500 000"],
    "5.5": ["five point five", "5\\frac12", "5 1/2", "\\frac{11}{2}", "11/2", "5,5", "5.50", "five and a half", "five point x"],
    "\\frac{1}{3}": ["1/3", "\\frac13", "\\frac1{3}", "\\dfrac{1}{3}", "\\tfrac 13", "0.333", "0.3333", "0.33333", "33.3333", "33.33\\%", "2/6", "-\\frac{1}{-3}", "\\frac{1", "\\frac", "\\frac1", "1:3", "0.\\overline{3}", "0.[3]", "3^{-1}"],
    "\\frac{\\sqrt{3}}{2}": ["sqrt(3)/2", "\\sqrt3/2", "\\sqrt{3}/2", "\\frac{\\sqrt3}2", "\\sin 60^\\circ", "0.866", "0.8660254", "\\sqrt{\\frac{3}{4}}", "\\frac{3}{2\\sqrt{3}}", "\\cos(\\pi/6)", "sqrt(3)*0.5", "3**0.5/2"],
    "2\\sqrt{2}": ["\\sqrt8", "\\sqrt{8}", "2\\sqrt2", "2*sqrt(2)", "sqrt(8)", "2\\cdot\\sqrt{2}", "2.828", "2.8284", "8^{1/2}", "8^{0.5}", "2^{\\frac{3}{2}}", "2**1.5", "\\sqrt[2]{8}", "\\sqrt[4]{64}"],
    "(1,2)": ["(1, 2)", "[1,2]", "\\{1,2\\}", "1,2", "(1,2]", "(2,1)", "(1.0,2.0)", "\\left(1,2\\right)", "(1,2,3)", "x=1,y=2", "(\\frac{2}{2},2)", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\langle 1,2\\rangle", "1 and 2", "(1;2)"],
    "[0,\\infty)": ["[0,infinity)", "[0,inf)", "[0, +\\infty)", "x\\ge0", "(0,\\infty)", "[0,\\infty]", "\\mathbb{R}", "[0.0,\\infty)", "0\\le x<\\infty"],
    "\\mathbb{R}": ["(-\\infty,\\infty)", "\\mathbf{R}", "R", "(-\\infty, \\infty)", "all real numbers", "\\mathbb R"],
    "(-\\infty,2)\\cup(3,\\infty)": ["(-\\infty, 2) \\cup (3, \\infty)", "x<2 \\text{ or } x>3", "(3,\\infty)\\cup(-\\infty,2)", "(-\\infty,2]\\cup[3,\\infty)", "(-\\infty,2)\\cup(4,\\infty)"],
    "\\begin{pmatrix}1\\\\2\\end{pmatrix}": ["\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}", "\\begin{pmatrix}1.0\\\\2\\end{pmatrix}", "\\begin{array}{c}1\\\\2\\end{array}", "(1,2)", "\\begin{pmatrix}2\\\\1\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{vmatrix}1\\\\2\\end{vmatrix}", "\\begin{pmatrix}\\frac22\\\\2\\\\\\end{pmatrix}", "\\left[\\begin{matrix}1\\\\2\\end{matrix}\\right]"],
    "\\begin{pmatrix}1&\\frac{1}{2}\\\\0&x\\end{pmatrix}": ["\\begin{bmatrix}1&0.5\\\\0&x\\end{bmatrix}", "\\begin{pmatrix} 1 & 1/2 \\\\ 0 & x \\end{pmatrix}", "\\begin{pmatrix}1&\\frac12\\\\0&y\\end{pmatrix}", "2\\begin{pmatrix}1&2\\\\0&x\\end{pmatrix}"],
    "\\{1,2,3\\}": ["1,2,3", "\\{1, 2, 3\\}", "{1,2,3}", "\\{3,2,1\\}", "\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}", "(1,2,3)", "1, 2, and 3", "123"],
    "y=2x+1": ["y = 2x + 1", "2x+1", "2x-y+1=0", "y=1+2x", "y-1=2x", "y=2x-1", "f(x)=2x+1", "-y=-2x-1", "2x + 1 = y", "y=2x+1=0", "x=\\frac{y-1}{2}"],
    "x=4": ["4", "x = 4.0", "4=x", "n=4", "x=5", "x-4=0", "x = \\pm 4", "k=4", "ab=4", "abc=4"],
    "34x+45y-20z-100=0": ["-34x-45y+20z+100=0", "34x+45y-20z=100", "68x+90y-40z-200=0", "34x+45y-20z-10=0"],
    "x^2+2x+1": ["(x+1)^2", "x**2+2*x+1", "1+2x+x^2", "(x+1)(x+1)", "x(x+2)+1", "(1+x)**2", "x^2+2x+2", "(x-1)^2", "X^2+2X+1", "t^2+2t+1", "x^2 + 2x + 1 + C", "x^{2}+2x^{1}+x^0", "x^2+2x+1=0"],
    "\\frac{n(n+1)}{2}": ["n(n+1)/2", "\\frac{n^2+n}{2}", "n*(n+1)/2", "\\binom{n+1}{2}", "\\sum_{k=1}^n k", "\\frac{1}{2}n(n+1)", "\\frac{n(n-1)}{2}", "\\frac{m(m+1)}{2}"],
    "\\ln 2": ["\\log 2", "\\ln(2)", "ln 2", "log(2)", "0.6931", "0.693147", "\\log_e 2", "\\log_{2} e", "\\int_1^2 \\frac{1}{x} dx"],
    "e^{2}": ["e^2", "\\exp(2)", "exp(2)", "E**2", "7.389", "7.389056", "e*e", "e^{-2}"],
    "\\pi": ["pi", "\\Pi", "3.14", "3.1416", "3.14159", "180^\\circ", "\\pi \\text{ radians}", "\\frac{2\\pi}{2}", "22/7", "\\arccos(-1)"],
    "3+4i": ["3 + 4i", "4i+3", "3+4j", "3+i4", "(3+4i)", "3-4i", "3+4\\mathrm{i}", "5", "3+4*I", "3+4\\sqrt{-1}", "3 + 4 \\cdot i"],
    "6!": ["720", "1\\cdot2\\cdot3\\cdot4\\cdot5\\cdot6", "factorial(6)", "6 !", "5!", "720.0", "\\frac{7!}{7}", "6\\times 5!"],
    "\\binom{5}{2}": ["10", "{5 \\choose 2}", "C(5,2)", "\\frac{5!}{2!3!}", "\\dbinom{5}{2}", "binomial(5,2)", "\\binom{5}{3}", "\\tbinom52"],
    "|x|": ["\\sqrt{x^2}", "\\left|x\\right|", "abs(x)", "Abs(x)", "\\lvert x \\rvert", "x", "\\max(x,-x)"],
    "\\sin^2 x": ["(\\sin x)^2", "1-\\cos^2 x", "sin(x)**2", "\\frac{1-\\cos 2x}{2}", "\\sin x^2", "\\sin^{2}(x)", "\\sin^2(t)"],
    "x \\ge 2": ["x\\geq 2", "x\\geqslant2", "[2,\\infty)", "2\\le x", "x>2", "x >= 2", "x\\ge 3", "x \\leq 2"],
    "2<x<3": ["(2,3)", "2 < x < 3", "x\\in(2,3)", "3>x>2", "2\\le x\\le 3", "2<x<4"],
    "\\pm 2": ["2,-2", "+2,-2", "2", "-2", "\\pm2", "\\mp 2", "x=\\pm 2", "2 \\text{ or } -2"],
    "1,2": ["1, 2", "2,1", "1 and 2", "12", "1;2", "\\{1,2\\}", "1,2,3", "1.2", "1,3"],
    "a,b": ["a, b", "a,c", "b,a", "(a,b)", "ab", "a\\text{ and }b", "a"],
    "2:3": ["2 : 3", "4:6", "\\frac{2}{3}", "2/3", "2\\colon 3", "3:2", "2 to 3", "2 \\text{ to } 3"],
    "10:30": ["10:30 am", "10.30", "\\text{10:30 a.m.}", "1030", "10:31", "half past ten"],
    "12_8": ["12_{8}", "12_{\\text{eight}}", "10", "12", "12_9", "1010_2"],
    "Monday": ["\\text{Monday}", "monday", "Mon", "Tuesday", "Monday.", "\\textbf{Monday}", "\\mathrm{Monday}", "on Monday"],
    "\\text{No solution}": ["no solution", "\\emptyset", "No solutions", "none", "0", "\\varnothing"],
    "\\emptyset": ["{}", "\\{\\}", "\\varnothing", "empty set", "0", "no solution"],
    "True": ["true", "\\text{True}", "False", "1", "yes", "True."],
    "\\infty": ["infinity", "inf", "+\\infty", "-\\infty", "oo", "\\text{infinite}", "1/0", "nan"],
    "0": ["0.0", "-0", "zero", "0\\%", "0.00001", "\\sin \\pi", "1-1", "x-x", "\\emptyset", "00", "0 \\text{ m}"],
    "-7": ["- 7", "\\text{-7}", "minus seven", "-7.0", "7", "-\\frac{14}{2}", "(-7)", "--7", "\u22127", "3-10"],
    "12\\text{ cm}^2": ["12", "12 cm^2", "12\\text{ cm}^{2}", "12\\,\\text{cm}^2", "12 square cm", "12\\mathrm{~cm}^2", "12 \\text{ m}^2", "1200\\text{ mm}^2"],
    "45^\\circ": ["45", "45°", "45 \\text{ degrees}", "45 degrees", "\\frac{\\pi}{4}", "45^{\\circ}", "45\\degree", "0.785"],
    "\\$3.50": ["3.5", "$3.50$", "\\$3.5", "3.50 dollars", "350 cents", "USD 3.50", "3.5\\$"],
    "50\\%": ["0.5", "50", "50 percent", "\\frac{1}{2}", "5000", "fifty percent", "0.005", "50%"],
    "x_1": ["x_{1}", "x1", "x_2", "x", "x_{1}+0"],
    "f(x)=x^2": ["x^2", "f(t)=t^2", "y=x^2", "f(x) = x\\cdot x", "g(x)=x^2"],
    "\\sqrt{x}+C": ["\\sqrt{x} + C", "x^{1/2}+C", "C+\\sqrt{x}", "sqrt(x)+C", "\\sqrt x", "\\sqrt{x}+c", "\\sqrt{x}+k"],
    "\\vec{a}+\\vec{b}": ["\\vec{b}+\\vec{a}", "a+b", "\\mathbf{a}+\\mathbf{b}", "\\overrightarrow{a}+\\overrightarrow{b}"],
    "2^{10}": ["1024", "2^10", "1,024", "4^5", "2**10", "1024.0", "2^{1}0", "32^2"],
    "x^y": ["x**y", "x^{y}", "y^x", "e^{y\\ln x}", "x^y+0"],
    "\\lfloor x\\rfloor": ["floor(x)", "\\lfloor x \\rfloor", "[x]", "x", "\\left\\lfloor x\\right\\rfloor"],
    "\\frac{d}{dx}x^2": ["2x", "\\frac{d}{dx} x^{2}", "2*x", "x"],
}  # fmt: skip
"""Answers, and other answers to compare them with."""


def answered() -> Iterator[Answered]:
    """Return all responses, the same each time."""
    chance = random.Random("responses")
    for number, pair in enumerate(pairs(600, seed=29)):
        shapes = list(SHAPES)
        shape = shapes[number % len(shapes)]
        gold = pair.gold.rsplit("####", 1)[-1].strip()
        other = str(chance.randint(2, 999))
        yield Answered(shape, gold, SHAPES[shape].format(a=pair.answer, b=other))
    for form in LETTERS:
        for x, y in ("AB", "CE", "DA", "EB"):
            yield Answered("letter", x, form.format(x=x, y=y, l=x.lower()))
    for form in SETS:
        for s, t in (("AC", "AB"), ("BDE", "ABCDE")):
            yield Answered("letters", s, form.format(s=s, t=t, c=", ".join(s)))
    for gold, others in WRITTEN.items():
        for other in others:
            yield Answered("written", gold, f"Hence $\\boxed{{{other}}}$.")
            yield Answered("written, the other way round", other, f"Hence $\\boxed{{{gold}}}$.")
