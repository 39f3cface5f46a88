"""The check of the GPU: one line, with the remedy, for each thing that CuPy is missing."""

import importlib
import socket
import warnings
from types import ModuleType

from minigan.distributed.nccl import Seat
from minigan.errors import BackendError
from minigan.support.launch import find_launch

NO_DEVICE, INSUFFICIENT_DRIVER = 100, 35  # cudaError_t


def check_device(cupy: ModuleType) -> None:
    """Finds the device, compiles a kernel and multiplies two matrices: all that a training step needs.

    Of processes that were started together on this host, each takes the GPU of its number.

    Raises:
        BackendError: the driver, the device, or a part of CUDA that CuPy needs at run time is missing.
    """
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise BackendError(f"cupy {cupy.__version__} finds no usable GPU: {_why(error, runtime)}") from None
    if count == 0:
        raise BackendError(f"cupy {cupy.__version__} finds no GPU. Use another backend.")
    launch = find_launch()
    if launch.size > 1:
        cupy.cuda.Device(launch.local_rank % count).use()
    try:
        x = cupy.ones((2, 2))
        cupy.asnumpy(x @ x + x)
    except MemoryError as error:
        raise BackendError(f"the GPU's memory is full: {error} Stop other programs that use it (nvidia-smi).") from None
    except (RuntimeError, ImportError, OSError, cupy.cuda.compiler.CompileException) as error:
        raise BackendError(
            f"cupy {cupy.__version__} cannot compute on the GPU: {first_line(error)}. It needs NVRTC, cuBLAS and the "
            f"headers of CUDA: pip install '{extra(runtime)}'"
        ) from None


def seat(cupy: ModuleType) -> Seat:
    """The current device's place, and whether NCCL can be used there."""
    runtime = cupy.cuda.runtime
    found = nccl_of(cupy)
    package = f"nvidia-nccl-cu{runtime.runtimeGetVersion() // 1000}"
    missing = "" if found is not None else f"cupy {cupy.__version__} does not find it. pip install {package}"
    return Seat("gpu", socket.gethostname(), runtime.deviceGetPCIBusId(cupy.cuda.Device().id), missing)


def nccl_of(cupy: ModuleType) -> ModuleType | None:
    """cupy.cuda.nccl; None without its library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several lines about what is missing
        try:
            nccl = importlib.import_module(f"{cupy.__name__}.cuda.nccl")
        except ImportError:
            return None
    return nccl if getattr(nccl, "available", True) else None


def extra(runtime: ModuleType) -> str:
    """The extra for the CUDA that this CuPy was built for."""
    return f"minigan[cuda{runtime.runtimeGetVersion() // 1000}]"


def first_line(error: BaseException) -> str:
    """The first line that says something; CuPy draws rulers and prints whole logs."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((line for line in lines if line.strip("=- ")), type(error).__name__)
    return said.rstrip(".")


def _why(error: Exception, runtime: ModuleType) -> str:
    """CUDA's error when it is asked for devices, in words, with the remedy."""
    status = getattr(error, "status", None)
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if status == INSUFFICIENT_DRIVER and driver == 0:
        return "no NVIDIA driver. Install one, or use another backend."
    if status == INSUFFICIENT_DRIVER:
        return (
            f"the NVIDIA driver is for CUDA {_version(driver)}, cupy for CUDA {_version(needed)}. Update the driver, "
            f"or pip uninstall cupy-cuda{needed // 1000}x and pip install 'minigan[cuda{driver // 1000}]'"
        )
    if status == NO_DEVICE:
        return "the driver shows none. Look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use another backend."
    return f"{error}. Use another backend."


def _version(number: int) -> str:
    """12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"
