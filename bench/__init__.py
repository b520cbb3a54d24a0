# SPDX-License-Identifier: BSD-3-Clause
"""Measure upweight against what its jobs are done with today: `python -m bench`."""
