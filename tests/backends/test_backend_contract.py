"""Properties of every kernel on every backend: coverage, determinism, results that are not overwritten."""

import re
import sys

import numpy as np
import pytest
from calling import DTYPES, assert_same_bits, call, draws, flat, to_backend, to_host, update
from engines import is_installed
from kernel_calls import CALLS, IN_PLACE, RETURNING, inputs_of

from minigan.backends import BACKENDS, Backend, array_module, get_backend
from minigan.backends.base import KERNELS
from minigan.errors import ConfigError, MissingExtraError


def spoilt(value):
    """Every array full of NaN."""
    if isinstance(value, tuple):
        return tuple(spoilt(item) for item in value)
    return np.full_like(value, np.nan) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(("name", "library", "extra"), [("cpu", "numba", "numba"), ("gpu", "cupy", "cuda13")])
def test_a_missing_library_is_named_with_the_extra_that_has_it(monkeypatch, name, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingExtraError, match=rf"the {name} backend needs {library}.*pip install 'minigan\[{extra}\]'"
    ):
        get_backend(name)


@pytest.mark.parametrize("library", ["numba", "cupy"])
def test_library_is_installed(library):
    """One skip for each backend that no test of this run looks at, see the `backend` fixture."""
    if not is_installed({"numba": "cpu", "cupy": "gpu"}[library]):
        pytest.skip(f"{library} is not installed: its kernels are not tested")


def test_every_kernel_has_a_call_here():
    assert set(CALLS) == set(KERNELS)


def test_coverage_lists_every_kernel_once(backend):
    assert [row.kernel for row in backend.coverage()] == list(KERNELS)
    assert len(set(KERNELS)) == len(KERNELS)


def test_coverage_tells_own_kernels_from_inherited_ones(backend):
    """Native is what is defined in the backend's own folder."""
    for kernel, origin in backend.coverage():
        owner = next(c for c in type(backend).__mro__ if kernel in vars(c))
        own = f"{owner.__module__}.".startswith(f"minigan.backends.{backend.name}.")
        assert origin == ("native" if own else "inherited"), kernel


def test_a_backend_describes_itself_in_one_line(backend):
    assert backend.name in BACKENDS
    assert backend.name in backend.describe()
    assert "\n" not in backend.describe()


def test_a_backend_shows_what_runs_at_a_prompt(backend):
    assert repr(backend) == f"<{backend.describe()}>"
    engine = {"reference": "NumPy", "cpu": "threads?", "gpu": "fp32"}[backend.name]
    assert re.search(engine, repr(backend))


def test_backends_are_found_by_name(backend):
    assert get_backend(backend.name).name == backend.name
    assert isinstance(get_backend("auto"), Backend)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tensorflow", "got 'tensorflow'. Write \"auto\" for the fastest one here."),
        ("cuda", "got 'cuda'. Did you mean 'gpu'?"),
        ("numpy", "got 'numpy'. Did you mean 'reference'?"),
        ("CPU", "got 'CPU'. Did you mean 'cpu'?"),
        (3, "got 3. Write"),
        (["gpu"], "got ['gpu']. Write"),
    ],
)
def test_an_unknown_backend_is_told_with_the_known_ones(name, says):
    with pytest.raises(ConfigError, match=r"^backend must be one of auto, reference, cpu, gpu, ") as caught:
        get_backend(name)
    assert says in str(caught.value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_go_there_and_back(backend, dtype):
    (host,) = draws(1, dtype, (3, 4))
    array = backend.asarray(host)
    assert array_module(array) is backend.xp
    assert_same_bits(np.array(backend.to_numpy(array)), host)
    turned = backend.asarray(host.T)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(backend.to_numpy(turned), host.T)
    other = DTYPES[1 - DTYPES.index(dtype)]
    assert backend.asarray(host, dtype=other).dtype == other


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", RETURNING)
def test_the_same_inputs_give_the_same_bits(backend, kernel, dtype):
    """Also after a call on nothing but NaN: no scratch buffer carries anything over."""
    arguments, options = inputs_of(kernel, dtype, 3)
    first = call(backend, kernel, *arguments, **options)
    call(backend, kernel, *spoilt(arguments), **{key: spoilt(value) for key, value in options.items()})
    for _ in range(3):
        assert_same_bits(call(backend, kernel, *arguments, **options), first)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", IN_PLACE)
def test_the_same_step_gives_the_same_bits(backend, kernel, dtype):
    arguments, options = inputs_of(kernel, dtype, 3)
    first = update(backend, kernel, *arguments, **options)
    assert_same_bits(update(backend, kernel, *arguments, **options), first)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", RETURNING)
def test_a_result_outlives_later_calls(backend, kernel, dtype):
    """Two tapes may be alive at once: no result lives in a buffer that the next call uses again."""
    arguments, options = inputs_of(kernel, dtype, 3)
    arguments, options = to_backend(backend, arguments), {k: to_backend(backend, v) for k, v in options.items()}
    result = getattr(backend, kernel)(*arguments, **options)
    kept = flat(result if isinstance(result, tuple) else (result,))
    before = [to_host(backend, array) for array in kept]
    other_arguments, other_options = inputs_of(kernel, dtype, 5)
    again = call(backend, kernel, *other_arguments, **other_options)
    assert all((one != other).any() for one, other in zip(before, flat((again,)), strict=False))
    for array, bits in zip(kept, before, strict=True):
        assert_same_bits(to_host(backend, array), bits)


@pytest.mark.parametrize("kernel", [k for k in RETURNING if CALLS[k][3] is not None])
def test_add_to_accumulates_in_the_given_array(backend, kernel):
    """Twice into one array is the sum of both, and what was there stays in it."""
    arguments, options = inputs_of(kernel, np.dtype(np.float64), 3)
    start = flat((options["add_to"],))
    _, once = call(backend, kernel, *arguments, **options)
    twice = {**options, "add_to": once}
    _, after = call(backend, kernel, *arguments, **twice)
    for zero, one, two in zip(start, flat((once,)), flat((after,)), strict=True):
        assert (one != zero).any()
        np.testing.assert_allclose(two - one, one - zero, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", [k for k in RETURNING if CALLS[k][3] is not None])
def test_add_to_may_be_a_view_into_an_arena(backend, kernel):
    """Gradients are views into one block: their neighbors stay as they are."""
    arguments, options = inputs_of(kernel, np.dtype(np.float32), 3)
    wanted = flat((call(backend, kernel, *arguments, **options)[1],))
    start = flat((options["add_to"],))
    arena = backend.asarray(np.full(sum(t.size for t in start) + 20, 7, np.float32))
    views, offset = [], 10
    for array in start:
        views.append(arena[offset : offset + array.size].reshape(array.shape))
        views[-1][...] = backend.asarray(array)
        offset += array.size
    nested = isinstance(options["add_to"], tuple)
    given = {k: to_backend(backend, v) for k, v in options.items() if k != "add_to"}
    given["add_to"] = tuple(views) if nested else views[0]
    getattr(backend, kernel)(*to_backend(backend, arguments), **given)
    for view, expected in zip(views, wanted, strict=True):
        assert_same_bits(to_host(backend, view), expected)
    host = backend.to_numpy(arena)
    assert (host[:10] == 7).all()
    assert (host[-10:] == 7).all()
