"""Training: augmentation, input pipeline, losses, the training loop and evaluation. No tensorflow in here."""
