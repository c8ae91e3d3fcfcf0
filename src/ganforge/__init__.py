"""ganforge: every GAN in a few readable lines, one excellent loop, honest scores."""

__version__ = "0.1.0"
