"""How an encoder is made: from images and a table to the folder of a run.

train       `train`: one run
tune        `tune`: many runs, a search
request     `Training`: what a training is asked for
recipe      everything that decides how an encoder is trained
trainer     the loop: one step, one epoch, what is saved
losses      the losses
state       what a training has come to, and its file
search/     the parts of a hyper-parameter search; `search.trial` is one of its trainings
"""
