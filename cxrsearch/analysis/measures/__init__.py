"""How good scores are, and how sure that is.

metrics     AUROC, AUPRC, Brier score, calibration error, for many findings at once
bootstrap   intervals and paired differences over resampled patients
roc         ROC and reliability curves with their bands
"""
