"""How good scores are, and how certain that is.

metrics     AUROC, AUPRC, Brier score and calibration error, for many findings at once
bootstrap   intervals and paired differences from resampled patients
roc         ROC curves with bands, and reliability curves
"""
