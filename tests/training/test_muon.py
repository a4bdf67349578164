"""Muon: orthogonalised updates, and agreement with the implementation in torch."""

import pytest
import torch

from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.optimizers import MuonWithAdam, orthogonalised


@pytest.mark.parametrize("shape", [(6, 40), (32, 8), (16, 16)])
def test_orthogonalised_matrix_keeps_its_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=make_generator(0, "m"))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    along = left.T @ orthogonalised(matrix) @ right.T
    assert torch.allclose(along, along.diagonal().diag(), atol=1e-4)
    assert along.diagonal().min() > 0.6
    assert along.diagonal().max() < 1.3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_are_updated_as_matrices_are_by_torch(layout: torch.memory_format) -> None:
    kernel = torch.nn.Parameter(torch.randn(6, 4, 3, 2, generator=make_generator(0, "w")).to(memory_format=layout))
    bias = torch.nn.Parameter(torch.zeros(6))
    matrix = torch.nn.Parameter(kernel.detach().clone().reshape(6, 24))
    ours, theirs = MuonWithAdam([kernel], [bias], 0.1, 0.01), torch.optim.Muon([matrix], lr=0.1, weight_decay=0.0)
    for index in range(3):
        gradient = torch.randn(6, 4, 3, 2, generator=make_generator(index, "g"))
        kernel.grad, bias.grad, matrix.grad = gradient, torch.ones(6), gradient.reshape(6, 24)
        ours.step()
        theirs.step()
    assert kernel.stride() == torch.zeros(6, 4, 3, 2).to(memory_format=layout).stride()
    # torch orthogonalises in bfloat16
    assert torch.allclose(kernel.reshape(6, 24), matrix, atol=5e-3)
    assert torch.allclose(bias, torch.full((6,), -0.03), atol=1e-4)
