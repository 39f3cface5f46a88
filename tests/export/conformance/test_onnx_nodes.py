"""minigan's layers and kernels against ONNX's own conformance cases: each is run, or listed with a reason."""

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx_adapter
from onnx_cases import OPERATORS, Case, all_cases
from unsupported import UNSUPPORTED

from minigan.backends import Backend
from minigan.errors import MiniganError

LISTED = {name: reason for reason, names in UNSUPPORTED.items() for name in names}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return all_cases()


def of(operator: str, cases: dict[str, Case]) -> Iterator[Case]:
    return (case for case in cases.values() if case.operator == operator)


def difference(case: Case, backend: Backend) -> str | None:
    """How what minigan makes of the case differs from what ONNX expects."""
    try:
        made = onnx_adapter.outputs(case, backend)
        assert len(made) == len(case.outputs)
        for one, other in zip(made, case.outputs, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    except (onnx_adapter.Unsupported, MiniganError, AssertionError) as error:
        return f"{case.name}: {type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("operator", OPERATORS)
def test_cases_that_are_not_listed_as_unsupported_agree(operator: str, backend: Backend, cases: dict[str, Case]):
    """A case that is new in ONNX fails here: run it, or list it."""
    run = [case for case in of(operator, cases) if case.name not in LISTED]
    assert run
    wrong = [text for case in run if (text := difference(case, backend))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operator", OPERATORS)
def test_what_is_listed_is_unsupported(operator: str, reference: Backend, cases: dict[str, Case]):
    """Nothing that minigan can do hides behind a reason."""
    for case in of(operator, cases):
        if case.name in LISTED:
            with pytest.raises((onnx_adapter.Unsupported, MiniganError)):
                onnx_adapter.outputs(case, reference)


def test_the_table_is_of_cases_that_there_are(cases: dict[str, Case]):
    assert sorted(LISTED.keys() - cases.keys()) == []
    assert sum(map(len, UNSUPPORTED.values())) == len(LISTED)
    assert set(onnx_adapter.ADAPTERS) == set(OPERATORS) == {case.operator for case in cases.values()}
    assert all(len(reason) > 20 for reason in UNSUPPORTED)


def test_an_adapter_that_is_wrong_is_found_out(reference: Backend, cases: dict[str, Case]):
    """The comparison is one: changed numbers, shapes and counts are differences."""
    case = cases["test_conv_with_strides_padding"]
    assert difference(case, reference) is None
    (y,) = case.outputs
    for outputs in ((y * 1.01,), (y[..., :-1],), (y, y)):
        assert difference(case._replace(outputs=outputs), reference) is not None
