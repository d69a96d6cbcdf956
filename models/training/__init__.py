"""Fitting heads on kept embeddings: data sets, training, calibration, evaluation, drift."""
