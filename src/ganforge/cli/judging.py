"""score, diagnose, report, compare."""
