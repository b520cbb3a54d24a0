# SPDX-License-Identifier: BSD-3-Clause
"""What training rows look like: images, texts, or rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._device import to_host
from .._sparse import is_sparse
from ._display import check_names

KINDS = ("bars", "images", "text", "table")


@dataclass(frozen=True, eq=False)
class Items:
    """The looks of some rows, all of one kind, and of the test row when given.

    Attributes
    ----------
    kind : {"bars", "images", "text", "table"}
        What they are made for; ``"bars"`` when there are none.
    rows : list
        Arrays (h, w) or (h, w, channels), str, or lists of a table's entries.
    test : array, str, list or None
    columns : tuple of str
        Headings, of a table.
    """

    kind: str
    rows: list[Any]
    test: Any = None
    columns: tuple[str, ...] = ()


def collect_items(
    items: Any,
    test_item: Any,
    rows: Sequence[int],
    kind: str,
    feature_names: Any = None,
) -> Items:
    """Fetch what the given training rows look like, and find or check the kind."""
    if items is None:
        for given, name in ((test_item, "test_item"), (feature_names, "feature_names")):
            if given is not None:
                raise TypeError(
                    f"items: expected what training rows look like, beside {name}, "
                    "got None"
                )
        if kind not in ("auto", "bars"):
            raise TypeError(f"items: expected images, texts or rows for kind={kind!r}")
        return Items("bars", [])
    if kind == "bars":
        return Items("bars", [])
    fetch = _fetcher(items, max(rows))
    looks = [_plain(fetch(int(row))) for row in rows]
    test = None if test_item is None else _plain(test_item)
    found = _kind_of(looks[0])
    if kind not in ("auto", found):
        raise ValueError(f"items: expected what kind={kind!r} shows, got {found}")
    if found == "text":
        _check_texts(looks, test)
        return Items(found, looks, test)
    if found == "images":
        return Items(found, *_checked_images(looks, test))
    return _checked_table(looks, test, _frame_columns(items), feature_names)


def _frame_columns(frame: Any) -> list[Any] | None:
    """Return the column names of a data frame; None for all else."""
    columns = getattr(frame, "columns", None)
    return None if columns is None or not hasattr(frame, "shape") else list(columns)


def _fetcher(items: Any, last: int) -> Callable[[int], Any]:
    """Return a function from a row's number to its look."""
    if callable(items) and not hasattr(items, "__getitem__"):
        return items  # type: ignore[no-any-return]
    if is_sparse(items):
        raise TypeError(
            "items: expected images, texts, a frame or an array, got a "
            f"scipy.sparse {type(items).__name__}; make the rows that matter dense"
        )
    if not hasattr(items, "__getitem__"):
        raise TypeError(
            "items: expected an array, a list, a frame or a function, got "
            f"{type(items).__name__}"
        )
    size = items.shape[0] if hasattr(items, "shape") else len(items)
    if size <= last:
        raise ValueError(
            f"items: expected one a training row, at least {last + 1}, got {size}"
        )
    if _frame_columns(items) is not None:
        return lambda row: _frame_row(items, row)
    if hasattr(items, "iloc"):
        return lambda row: items.iloc[row]
    return lambda row: items[row]


def _frame_row(frame: Any, row: int) -> dict[Any, Any]:
    """Return a frame's row by column, each entry of its own type."""
    names = _frame_columns(frame) or []
    if hasattr(frame, "iloc"):
        entries = [frame.iloc[row, j] for j in range(len(names))]
    else:  # polars
        entries = list(frame.row(row))
    return dict(zip(names, entries, strict=True))


def _plain(look: Any) -> Any:
    """Return a str, an image as an array, or a table's row: a mapping or a list."""
    if isinstance(look, (str, Mapping)):
        return look
    if isinstance(look, bytes):
        return look.decode(errors="replace")
    if _frame_columns(look) is not None and len(look) == 1:
        return _frame_row(look, 0)
    if hasattr(look, "iloc"):  # a row of pandas
        return look.to_dict()
    array = np.asarray(to_host(look))
    if array.ndim == 1:
        return list(look)
    if array.ndim in (2, 3) and array.dtype.kind in "fiub":
        return array
    raise TypeError(
        "items: expected images, texts or rows of a table, got "
        f"{type(look).__name__} of shape {array.shape}, dtype {array.dtype}"
    )


def _kind_of(look: Any) -> str:
    if isinstance(look, str):
        return "text"
    return "images" if isinstance(look, np.ndarray) else "table"


def _check_texts(looks: list[Any], test: Any) -> None:
    others = [look for look in looks if not isinstance(look, str)]
    if others:
        raise TypeError(f"items: expected texts, got also {type(others[0]).__name__}")
    if test is not None and not isinstance(test, str):
        raise TypeError(f"test_item: expected a text, got {type(test).__name__}")


def _checked_images(looks: list[Any], test: Any) -> tuple[list[Any], Any]:
    shape = looks[0].shape
    named = [(look, "items") for look in looks]
    if test is not None:
        named.append((test, "test_item"))
    images = []
    for look, name in named:
        if not isinstance(look, np.ndarray):
            raise TypeError(f"{name}: expected an image, got {type(look).__name__}")
        if look.shape != shape:
            raise ValueError(
                f"{name}: expected images of one size, {shape} as the first, "
                f"got {look.shape}"
            )
        images.append(_checked_image(look, name))
    if test is None:
        return images, None
    return images[:-1], images[-1]


def _checked_image(image: NDArray[Any], name: str) -> NDArray[Any]:
    """Return a gray image as (h, w), a coloured one as matplotlib takes it."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2:
        return image
    if image.shape[2] not in (3, 4):
        raise ValueError(
            f"{name}: expected images of shape (h, w), (h, w, 3) or (h, w, 4), "
            f"got {image.shape}; channels come last"
        )
    most = 1.0 if image.dtype.kind == "f" else 255.0
    if not ((image >= 0) & (image <= most)).all():
        raise ValueError(
            f"{name}: expected colours from 0 to {most:g} for dtype {image.dtype}, "
            f"got {image.min()} to {image.max()}"
        )
    return image


def _checked_table(
    looks: list[Any], test: Any, columns: list[Any] | None, feature_names: Any
) -> Items:
    first = looks[0]
    names = columns
    if names is None and isinstance(first, Mapping):
        names = list(first)
    elif names is None:
        names = [f"x{j}" for j in range(len(first))]
    headings = names
    if feature_names is not None:
        headings = list(
            check_names(feature_names, len(names), "feature_names", "column")
        )
    rows = [_entries(look, names, "items") for look in looks]
    row = None if test is None else _entries(test, names, "test_item")
    return Items("table", rows, row, tuple(str(heading) for heading in headings))


def _entries(look: Any, names: list[Any], name: str) -> list[Any]:
    """Return a table's row as a list, in the order of `names`."""
    if isinstance(look, Mapping):
        missing = [column for column in names if column not in look]
        if missing:
            raise ValueError(f"{name}: expected the column {missing[0]!r} in every row")
        return [look[column] for column in names]
    if not isinstance(look, list):
        raise TypeError(f"{name}: expected a row of a table, got {type(look).__name__}")
    if len(look) != len(names):
        raise ValueError(
            f"{name}: expected {len(names)} entries in every row, got {len(look)}"
        )
    return look
