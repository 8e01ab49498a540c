"""Adapters of one input, computed together, compute what PEFT computes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import get_peft_model

from scripts.training.lora_groups import group_adapters, keep_mask
from scripts.training.pytorch_model import load_base, lora_config
from tests.training.recipes import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = torch.tensor([[1, 40, 41, 42, 2, 50]])


@pytest.mark.parametrize("packed", [False, True], ids=["dense", "4-bit"])
def test_grouped_adapters_have_the_logits_and_the_gradients_of_peft(smoke: Path, packed: bool):
    model = load_base(smoke, packed, torch.float32)
    model = get_peft_model(model, lora_config(model, replace(PLAIN, rank=4))).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    logits, gradients = logits_and_gradients(model)
    assert group_adapters(model) == 2 * 4  # layers × groups
    grouped_logits, grouped_gradients = logits_and_gradients(model)
    assert torch.allclose(logits, grouped_logits, atol=1e-5) and len(gradients) == 2 * 2 * 7
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, grouped_gradients[name], atol=1e-6, rtol=1e-4), name


def logits_and_gradients(model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    logits = model(IDS).logits
    model.zero_grad()
    logits.square().mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


def test_a_mask_drops_its_share_of_the_elements_independently():
    torch.manual_seed(0)
    mask = keep_mask((1000, 999), 0.05, torch.device("cpu")).float()
    assert mask.mean().item() == pytest.approx(0.95, abs=1e-3) and set(mask.unique().tolist()) == {0.0, 1.0}
    columns, rows = mask.mean(0), mask.mean(1)
    assert columns.std().item() == pytest.approx((0.05 * 0.95 / 1000) ** 0.5, rel=0.1)
    assert rows.std().item() == pytest.approx((0.05 * 0.95 / 999) ** 0.5, rel=0.1)
    torch.manual_seed(0)
    assert torch.equal(mask, keep_mask((1000, 999), 0.05, torch.device("cpu")).float())
