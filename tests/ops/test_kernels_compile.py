"""Every Triton kernel compiled for Hopper and Ampere, which needs no GPU; its results have their
own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from p2seg.ops.affinity import triton as affinity
from p2seg.ops.components import triton as components
from p2seg.ops.owners import triton as owners

INTEGERS = {"groups": "*i32", "valid": "*u8", "labels": "*i32", "parent": "*i32",
            "numbers": "*i32", "regions": "*i32", "sole": "*i64", "start": "*i64", "stop": "*i64",
            "order": "*i64", "owner": "*i64"}
SIZES = "N", "N_PAD", "height", "width", "pixels", "count", "candidates"
SCALARS = dict.fromkeys(SIZES, "i32")
SCALARS |= {"origin": "fp32", "beta": "fp32"}
kind, channels, matrix, target = sys.argv[1:]
content = {"float32": "*fp32", "bfloat16": "*bf16"}[matrix]
constants = dict(D=int(channels), P_PAD=16, CLASSES=4, ROUNDS=2, GROUPS=61, VALID=True,
                 PRECISION="tf32", BLOCK=256, MOVED=True)
kernels = {
    "pairs": affinity.pair_kernel, "spread": affinity.spread_kernel,
    "merge": components._merge, "look_up": components._look_up, "owners": owners._owners,
}
kernel = kernels[kind]
import torch
rows, columns = affinity._block(getattr(torch, matrix), kind == "pairs")
constants |= dict(ROWS=rows, COLUMNS=columns)
used = {name: constants[name] for name in kernel.arg_names if name in constants}
pointers = {"content": content, **INTEGERS}
signature = {
    name: "constexpr" if name in used else SCALARS.get(name, pointers.get(name, "*fp32"))
    for name in kernel.arg_names
}
source = ASTSource(fn=kernel, signature=signature, constexprs=used)
stages = 2 if matrix == "bfloat16" else 1
options = dict(num_warps=8 if int(channels) > 128 else 4, num_stages=stages)
made = triton.compile(source, target=GPUTarget("cuda", int(target), 32), options=options)
print(json.dumps({"shared": made.metadata.shared, "matrix units": "mma" in made.asm["ptx"]}))
"""
SHARED = {90: 227 * 1024, 80: 163 * 1024}
"""Shared memory of a program, bytes, by compute capability."""


def compiled(kind: str, channels: int, matrix: str, target: int) -> dict:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    words = [sys.executable, "-c", SCRIPT, kind, str(channels), matrix, str(target)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("target", SHARED)
@pytest.mark.parametrize("matrix", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels", [64, 256])
@pytest.mark.parametrize("kind", ["pairs", "spread"])
def test_affinity_kernels(kind, channels, matrix, target):
    made = compiled(kind, channels, matrix, target)
    assert made["matrix units"]
    assert made["shared"] <= SHARED[target]


@pytest.mark.parametrize("kind", ["merge", "look_up", "owners"])
@pytest.mark.slow  # the interpreter runs them quicker
def test_label_kernels(kind):
    assert compiled(kind, 64, "float32", 90)["shared"] <= SHARED[90]
