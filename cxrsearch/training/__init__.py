"""Train encoders: images and a table go in, the folder of a run comes out.

train       `train`: one run
tune        `tune`: a search over many runs
request     `Training`: the request for a training
recipe      all settings of a training
trainer     the loop: one step, one epoch, the saved files
losses      the losses
state       the state of a training, and its file
search/     the parts of a hyper-parameter search; `search.trial` is one of its trainings
"""
