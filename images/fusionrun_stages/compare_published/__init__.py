"""Compare the rows of a run with those that the authors of FuseChat-3.0 published.

The files are ``train.json`` of FuseAI/FuseChat-3.0-SFT-Data and of FuseAI/FuseChat-3.0-DPO-Data. They answer questions
that paper and README leave open: whether a prompt is in both sets, how many pairs it has, which models respond to which
data set, and whether prompts have several turns (docs/data.md).
"""
