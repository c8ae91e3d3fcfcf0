"""Any source of samples as batches: see `open_source`."""

from ganforge.data.dataset import Dataset
from ganforge.data.shuffle import Shuffle
from ganforge.data.source import open_source

__all__ = ["Dataset", "Shuffle", "open_source"]
