"""Second-stage models: embeddings to probabilities, all fitted through one protocol.

model           the protocol: `fit(train, val)`, then `predict`; samples and their checks
model_registry  every model by name; a new one is a file here and a line there
knn_model       votes as models
logistic        logistic regression, a penalty per finding
calibration     Platt scaling, ensembles of calibrated models
scaling         standardised embeddings
baselines       inputs that see no anatomy: view, grey levels
"""
