"""Tasks of lm-eval, by their names, against a served model.

lm-eval builds the requests and grades the replies; this package sends them with the client of ``generate`` and stores
each reply, so that a restarted pod repeats nothing. lm-eval and the code of its tasks run in a process of their own
(``process``): the libraries read the folder of their data once, at import, and each task has a folder.

Source: EleutherAI, lm-evaluation-harness 0.4.13 (MIT). https://github.com/EleutherAI/lm-evaluation-harness
"""
