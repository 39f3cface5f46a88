"""CuPy's memory pools, which keep freed memory for later arrays; from outside that looks like a leak."""

from typing import Any

from minigan.backends.base import MemoryUse
from minigan.backends.gpu.graph import GraphSteps


class PooledMemory(GraphSteps):
    """The part of a backend that looks after its pools: CuPy's own, and those of the graphs."""

    _peak = 0

    def memory(self) -> MemoryUse:
        pools = self._pools()
        used, held = (sum(getattr(pool, of)() for pool in pools) for of in ("used_bytes", "total_bytes"))
        self._peak = max(self._peak, held)
        free, total = self.xp.cuda.runtime.memGetInfo()
        return MemoryUse(used, held, self._peak, free, total)

    def free_memory(self) -> None:
        """Releases memory that no array uses; the memory of graphs stays theirs."""
        self.memory()  # the peak
        self.xp.get_default_memory_pool().free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def _pools(self) -> list[Any]:
        return [self.xp.get_default_memory_pool(), *(graphs.pool for graphs in self.all_graphs)]
