# SPDX-License-Identifier: BSD-3-Clause
"""A search for held-out numbers that are further from the truth than their bound."""
