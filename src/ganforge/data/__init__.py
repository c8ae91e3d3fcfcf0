"""Any source of samples as batches: `open_source` opens it, `inspect` says what is there."""

from ganforge.data.dataset import Dataset
from ganforge.data.inspecting import inspect
from ganforge.data.shuffle import Shuffle
from ganforge.data.source import open_source

__all__ = ["Dataset", "Shuffle", "inspect", "open_source"]
