// SPDX-License-Identifier: BSD-3-Clause
// Blocks of a design's rows on the device, wherever the design lies. Rows of the host
// come through two pinned buffers, so that the copy of a block overlaps with the work
// on the one before it.
#pragma once

#include "cuda/device.hpp"
#include "upweight/problem.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <vector>

namespace upweight::cuda {

template <class T>
[[nodiscard]] bool on_device(const Design<T>& X) {
  return is_device_memory(X.is_sparse() ? static_cast<const void*>(X.sparse.starts)
                                        : X.features.data);
}

/// Memory on the device, with a pinned twin of the host's once that is asked for: what
/// carries a block.
class Carrier {
public:
  Carrier(const Device& device, std::size_t bytes);
  ~Carrier();
  Carrier(const Carrier&) = delete;
  Carrier& operator=(const Carrier&) = delete;

  /// Waits until the last block that it carried is worked on.
  void wait();
  /// The same, then gives the host's memory. Pinning it takes a few milliseconds.
  [[nodiscard]] char* host();
  /// Sends the first `bytes`; work enqueued after this sees them at device().
  void send(std::size_t bytes);
  /// Sends from pinned memory of the caller's instead, rows of `width` bytes.
  void send_from(const void* from, std::size_t pitch, std::size_t width,
                 std::size_t height);
  [[nodiscard]] char* device() const { return device_memory_; }
  /// Says that all work on the block is enqueued.
  void worked_on();

private:
  const Device& device_;
  std::size_t bytes_;
  char *host_memory_ = nullptr, *device_memory_ = nullptr;
  cudaEvent_t arrived_ = nullptr, done_ = nullptr;
};

/// Whether the host's pages are pinned, so that copies from them need no other buffer.
[[nodiscard]] bool is_pinned(const void* data);

/// Some rows of a design, of which the k-th is row(k), as bytes of a carrier.
template <class T>
class BlockCopy {
public:
  BlockCopy(const Design<T>& X, const std::function<index(index)>& row, index first,
            index count)
      : X_(X), row_(row), first_(first), count_(count) {
    const index p = X.features.cols;
    if (!X.is_sparse()) {
      bytes_ = static_cast<std::size_t>(count * p) * sizeof(T);
      return;
    }
    index entries = 0;
    for (index k = first; k < first + count; ++k)
      entries += X.sparse.end(row(k)) - X.sparse.begin(row(k));
    const auto stored = static_cast<std::size_t>(entries);
    values_ = static_cast<std::size_t>(count + 1) * 8;
    columns_ = (values_ + stored * sizeof(T) + 7) / 8 * 8;
    bytes_ = columns_ + stored * 4;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  /// Fills `to` and returns the block as it will lie at `there`.
  [[nodiscard]] Design<T> fill(char* to, char* there) const {
    const index p = X_.features.cols;
    if (!X_.is_sparse()) {
      for (index k = 0; k < (p > 0 ? count_ : 0); ++k)
        std::memcpy(to + static_cast<std::size_t>(k * p) * sizeof(T),
                    X_.features.row(row_(first_ + k)),
                    static_cast<std::size_t>(p) * sizeof(T));
      return {MatrixView<const T>(reinterpret_cast<T*>(there), count_, p),
              X_.intercept,
              {}};
    }
    auto* starts = reinterpret_cast<std::int64_t*>(to);
    auto* values = reinterpret_cast<T*>(to + values_);
    auto* columns = reinterpret_cast<std::int32_t*>(to + columns_);
    std::int64_t next = 0;
    for (index k = 0; k < count_; ++k) {
      const index i = row_(first_ + k);
      starts[k] = next;
      for (index e = X_.sparse.begin(i); e < X_.sparse.end(i); ++e, ++next) {
        values[next] = X_.sparse.values[e];
        columns[next] = X_.sparse.columns[e];
      }
    }
    starts[count_] = next;
    return sparse_design(
        SparseView<T>{reinterpret_cast<T*>(there + values_),
                      reinterpret_cast<std::int32_t*>(there + columns_),
                      reinterpret_cast<std::int64_t*>(there)},
        count_, p, X_.intercept);
  }

private:
  const Design<T>& X_;
  const std::function<index(index)>& row_;
  index first_, count_;
  std::size_t values_ = 0, columns_ = 0, bytes_ = 0;  // of a sparse one: where they lie
};

/// work(block, first) for blocks of at most `most` rows, in order, each on the device.
/// Work is enqueued on the device's stream; a block's memory serves again later.
template <class T, class Work>
void each_block(const Device& device, const Design<T>& X, index most,
                const Work& work) {
  if (on_device(X)) {
    for (index first = 0; first < X.rows(); first += most) {
      device.pause_point();
      work(X.block(first, std::min(most, X.rows() - first)), first);
    }
    return;
  }
  each_carried_block(device, X, [](index k) { return k; }, X.rows(), most, true, work);
}

/// The same for rows of a design on the host in a given order.
template <class T, class Work>
void each_gathered_block(const Device& device, const Design<T>& X,
                         const std::int64_t* rows, index count, const Work& work) {
  each_carried_block(
      device, X, [rows](index k) { return static_cast<index>(rows[k]); }, count,
      index(1) << 20, false, work);
}

/// The same in blocks of at most `most` rows. Work that returns false ends it; only
/// rows in the order they lie in (`in_order`) may be copied from where they are.
template <class T, class Work>
void each_carried_block(const Device& device, const Design<T>& X,
                        const std::function<index(index)>& row, index rows, index most,
                        bool in_order, const Work& work) {
  constexpr std::size_t block_bytes = std::size_t(32) << 20;
  const std::size_t row_bytes =
      std::max<std::size_t>(BlockCopy<T>(X, row, 0, rows).bytes() /
                                static_cast<std::size_t>(std::max<index>(rows, 1)),
                            1);
  most = std::clamp<index>(static_cast<index>(block_bytes / row_bytes), 1, most);
  std::size_t largest = 0;
  for (index first = 0; first < rows; first += most)
    largest = std::max(
        largest, BlockCopy<T>(X, row, first, std::min(most, rows - first)).bytes());
  std::array<Carrier, 2> carriers{Carrier(device, largest), Carrier(device, largest)};
  const bool direct = in_order && !X.is_sparse() && is_pinned(X.features.data);
  for (index first = 0, turn = 0; first < rows; first += most, turn = 1 - turn) {
    device.pause_point();
    const index count = std::min(most, rows - first), p = X.features.cols;
    Carrier& carrier = carriers[static_cast<std::size_t>(turn)];
    Design<T> block;
    if (direct) {
      carrier.wait();
      carrier.send_from(X.features.row(first),
                        static_cast<std::size_t>(X.features.stride) * sizeof(T),
                        static_cast<std::size_t>(p) * sizeof(T),
                        static_cast<std::size_t>(count));
      block = {MatrixView<const T>(reinterpret_cast<T*>(carrier.device()), count, p),
               X.intercept,
               {}};
    } else {
      const BlockCopy<T> copy(X, row, first, count);
      block = copy.fill(carrier.host(), carrier.device());
      carrier.send(copy.bytes());
    }
    bool more = true;
    if constexpr (std::is_same_v<decltype(work(block, first)), bool>)
      more = work(block, first);
    else
      work(block, first);
    carrier.worked_on();
    if (!more)
      return;
  }
}

}  // namespace upweight::cuda
