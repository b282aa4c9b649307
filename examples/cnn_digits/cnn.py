"""A small convolutional network on the handwritten digits that come with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


def load_data() -> dict[str, Any]:
    """Load 1,797 images of 8 x 8 pixels: three quarters for training, the rest for validation."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    X, V, y, w = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    return {"train": (X, y), "valid": (V, w)}


def make_model(channels: int, hidden: int, dropout: float) -> nn.Module:
    """Build two convolutions and a hidden layer. The arguments are the study's parameters of these names."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * 16, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, 10),
    )
