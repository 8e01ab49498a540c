"""LoRA adapters that cost what they should: the projections that read one input share its dropout and their products.

PEFT draws a dropout mask for each projection and keeps its dropped input; q, k and v read the same input, and so do
gate and up. Here they share one mask, the small matrices A are one product, and B is added into the projection's own
output. What is computed, and the state that is saved, stay PEFT's. Imports torch: import this module inside functions.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear

TOGETHER = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
"""The projections of a layer, by the input that they read."""

Tensor = torch.Tensor


def group_adapters(model: Any) -> int:
    """Let every group of `TOGETHER` in a PEFT model compute its projections at once; the number of groups found."""
    from peft.tuners.lora import LoraLayer

    found = 0
    for module in model.modules():
        for names in TOGETHER:
            layers = [getattr(module, name, None) for name in names]
            if all(isinstance(layer, LoraLayer) and _is_plain(layer) for layer in layers):
                group = _Group(layers)
                for index, layer in enumerate(layers):
                    layer.forward = partial(group.project, index)
                found += 1
    return found


def _is_plain(layer: Any) -> bool:
    """Whether a layer is an ordinary LoRA adapter on an ordinary or a 4-bit matrix."""
    if list(layer.lora_A) != ["default"] or layer.use_dora["default"]:
        return False
    weight = layer.base_layer.weight
    return hasattr(weight, "quant_state") or weight.is_floating_point()


def _weight(layer: Any) -> Tensor:
    """The frozen matrix of a layer, (out, in), de-quantised where it is held in 4 bits."""
    weight = layer.base_layer.weight
    if (state := getattr(weight, "quant_state", None)) is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, state)


class _Group:
    """Projections of one input. The first that is called computes them all, the others find theirs ready."""

    def __init__(self, layers: list[Any]):
        self.layers = layers
        self.scale = layers[0].scaling["default"]
        self.dropout = getattr(layers[0].lora_dropout["default"], "p", 0.0)
        self.input: Tensor | None = None
        self.outputs: dict[int, Tensor] = {}

    def project(self, index: int, x: Tensor) -> Tensor:
        """The output of projection `index` for `x`, (…, in) → (…, out)."""
        if x is not self.input or index not in self.outputs:
            down = [layer.lora_A["default"].weight for layer in self.layers]
            up = [layer.lora_B["default"].weight for layer in self.layers]
            dropout = self.dropout if self.layers[0].training else 0.0
            with torch.autocast(x.device.type, enabled=False):
                outputs = _Projections.apply(
                    x.to(_dtype(self.layers[0])), self.layers, self.scale, dropout, *down, *up
                )
            self.input, self.outputs = x, dict(enumerate(outputs))
        output = self.outputs.pop(index)
        if not self.outputs:
            self.input = None
        return output


def _dtype(layer: Any) -> torch.dtype:
    """The number format that a layer computes in."""
    weight = layer.base_layer.weight
    state = getattr(weight, "quant_state", None)
    return weight.dtype if state is None else state.dtype


class _Projections(torch.autograd.Function):
    """y_i = x W_iᵀ + b_i + s · drop(x) A_iᵀ B_iᵀ for all i, where only A_i (rank, in) and B_i (out, rank) are trained.

    They may be held in float32 while all else is in bfloat16: they are rounded for the product, as autocast does.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layers: list[Any], scale: float, dropout: float, *adapters: Tensor
    ) -> tuple[Tensor, ...]:
        flat = x.reshape(-1, x.shape[-1])
        half = len(adapters) // 2
        down, up = torch.cat(adapters[:half]).to(x.dtype), [matrix.to(x.dtype) for matrix in adapters[half:]]
        keep, dropped = None, flat
        if dropout:
            keep = keep_mask(flat.shape, dropout, flat.device)
            dropped, scale = flat * keep, scale / (1 - dropout)
        inner = dropped @ down.T
        outputs = []
        for layer, part, matrix in zip(layers, inner.chunk(half, -1), up, strict=True):
            output = linear(flat, _weight(layer), layer.base_layer.bias).addmm_(part, matrix.T, alpha=scale)
            outputs.append(output.view(*x.shape[:-1], -1))
        ctx.save_for_backward(dropped, keep, inner, down, *up)
        ctx.layers, ctx.scale, ctx.shape, ctx.held = layers, scale, x.shape, adapters[0].dtype
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        dropped, keep, inner, down, *up = ctx.saved_tensors
        gradients = [gradient.reshape(-1, gradient.shape[-1]) for gradient in gradients]
        of_inner = torch.cat(
            [gradient @ matrix for gradient, matrix in zip(gradients, up, strict=True)], -1
        ).mul_(ctx.scale)
        of_down = (of_inner.T @ dropped).to(ctx.held)
        of_up = [
            (gradient.T @ part).mul_(ctx.scale).to(ctx.held)
            for gradient, part in zip(gradients, inner.chunk(len(up), -1), strict=True)
        ]
        of_x = None
        if ctx.needs_input_grad[0]:  # not so at the lowest adapted layer
            of_x = of_inner @ down
            if keep is not None:
                of_x.mul_(keep)
            for gradient, layer in zip(gradients, ctx.layers, strict=True):
                of_x.addmm_(gradient, _weight(layer))
            of_x = of_x.view(ctx.shape)
        return of_x, None, None, None, *of_down.chunk(len(up)), *of_up


def keep_mask(shape: tuple[int, ...], dropout: float, device: torch.device) -> Tensor:
    """Ones, and zeros with probability `dropout`, a byte each, from the device's generator: a resumed run draws the same.

    On a CPU torch draws one number after the other; 16 random bits an element, four elements a draw, cost a sixth.
    """
    if device.type != "cpu":
        return torch.rand(shape, device=device) >= dropout
    count = math.prod(shape)
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[:count].view(shape)
    return (bits >= round(dropout * 2**16) - 2**15).view(torch.uint8)
