# SPDX-License-Identifier: BSD-3-Clause
"""The GPU's own bench: ``python -m bench.gpu``, see ``bench/README.md``."""
