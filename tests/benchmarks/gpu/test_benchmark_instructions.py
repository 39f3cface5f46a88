"""Counting the instructions of a loop, from a disassembly."""

import json
import shutil

import pytest

from benchmarks import gpu_instructions
from benchmarks.gpu_instructions import inner_loop, kernel_listings, resources

LISTING = """
.section	.text.first,"ax",@progbits
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDS R4, [R3+0x10] ;
        /*0020*/              @!P0 BRA `(.L_x_0) ;
.section	.text.second,"ax",@progbits
.L_x_1:
        /*0000*/                   S2R R0, SR_TID.X ;
.L_x_2:
        /*0010*/                   LDSM.16.M88.4 R4, [R3] ;
        /*0020*/                   F2FP.TF32.F32.PACK_B R4, R4 ;
        /*0030*/                   HMMA.1688.F32.TF32 R8, R4, R6, R8 ;
        /*0040*/               @P1 IMAD.IADD R3, R3, 0x1, R2 ;
        /*0050*/                   HMMA.1688.F32.TF32 R12, R4, R6, R12 ;
        /*0060*/               @P0 BRA `(.L_x_2) ;
        /*0070*/               @P2 BRA `(.L_x_3) ;
.L_x_3:
        /*0080*/                   EXIT ;
"""
REPORT = """ptxas info    : Compiling entry function 'first' for 'sm_90'
    8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
ptxas info    : Compiling entry function 'second' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers"""


def test_the_loop_of_the_tensor_cores_is_found():
    kernels = kernel_listings(LISTING)
    assert list(kernels) == ["first", "second"]
    assert inner_loop(kernels["second"]) == ["LDSM", "F2FP", "HMMA", "IMAD", "HMMA", "BRA"]
    assert inner_loop(kernels["first"]) == []


def test_what_the_compiler_reports():
    assert resources(REPORT) == {"first": (255, 4), "second": (32, 0)}


def test_without_the_tools_nothing_is_counted(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert gpu_instructions.main([]) == 2
    assert "benchmarks.gpu_instructions needs nvcc" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(gpu_instructions.RESULTS.glob("*-instructions.json")), ids=lambda f: f.name)
def test_what_was_recorded(file):
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["format"] == gpu_instructions.FORMAT
    for row in document["rows"]:
        assert row["instructions_each"] == pytest.approx(row["instructions"] / row["tensor_core_operations"], abs=0.01)
        if row["precision"] == "tf32" and row["tile"] in ("256x128", "256x64", "128x128"):
            assert row["instructions_each"] <= 6
