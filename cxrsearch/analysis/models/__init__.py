"""Second-stage models: they turn embeddings into probabilities, and are all fitted through one protocol.

model           the protocol: `fit(train, val)`, then `predict`; samples and their checks
model_registry  every model by name; a new model is a file here and a line there
knn_model       votes as models
logistic        logistic regression, with a penalty chosen on the validation part
calibration     Platt scaling, and ensembles of calibrated models
scaling         standardised embeddings
baselines       inputs that show no anatomy: view, grey levels
"""
