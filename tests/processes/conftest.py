"""Fixtures of the tests of several processes."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def one_thread():
    """Sums of floats in the order of a rank's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
