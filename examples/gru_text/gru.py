"""A character-level language model of a text that every Python has: the topics of its built-in help."""

from __future__ import annotations

from pydoc_data.topics import topics
from typing import Any

import torch
from torch import nn


def load_data(characters: int = 200_000, length: int = 64) -> dict[str, Any]:
    """Cut the text into sequences; the target of each character is the next one.

    Args:
        characters: How much of the text to use; nine tenths for training, the rest for validation.
        length: Characters per sequence.
    """
    text = "\n".join(topics[name] for name in sorted(topics))[:characters]
    alphabet = {character: i for i, character in enumerate(sorted(set(text)))}
    codes = torch.tensor([alphabet[character] for character in text])
    sequences = codes[: len(codes) - (len(codes) - 1) % length - 1]
    inputs, targets = sequences.view(-1, length), codes[1 : len(sequences) + 1].view(-1, length)
    cut = len(inputs) * 9 // 10
    return {
        "train": (inputs[:cut], targets[:cut]),
        "valid": (inputs[cut:], targets[cut:]),
        "letters": len(alphabet),  # LanguageModel has an argument of this name
    }


class LanguageModel(nn.Module):
    """Predicts at each character how likely each character is to come next."""

    def __init__(self, letters: int, embedding: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, embedding)
        self.gru = nn.GRU(embedding, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, letters)

    def forward(self, codes: Any) -> Any:
        """(n, length) codes -> (n, letters, length) scores, the shape for the cross entropy."""
        states, _ = self.gru(self.embed(codes))
        return self.out(self.dropout(states)).transpose(1, 2)
