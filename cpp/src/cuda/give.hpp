// SPDX-License-Identifier: BSD-3-Clause
// Results on their way out of the device, for the words whose results may be the
// host's.
#pragma once

#include "cuda/device.hpp"
#include "cuda/stream.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

namespace upweight::cuda {

/// Takes tiles to the host through two buffers on the device and two pinned ones, so
/// that a tile is computed while the one before it is copied: the mirror of Carrier.
class Returner {
public:
  /// For tiles of at most `bytes`.
  Returner(const Device& device, std::size_t bytes);
  ~Returner();
  Returner(const Returner&) = delete;
  Returner& operator=(const Returner&) = delete;

  /// Memory on the device for the next tile.
  [[nodiscard]] void* take();
  /// Sends the tile, which all work enqueued so far has written there without gaps, to
  /// rows of `width` bytes, `pitch` apart.
  void give(void* to, std::size_t pitch, std::size_t width, std::size_t height);
  /// Waits until all that was given is there.
  void finish();

private:
  struct Slot {
    char *device = nullptr, *pinned = nullptr;
    cudaEvent_t written = nullptr, arrived = nullptr;
    bool on_its_way = false;
    char* to = nullptr;  // where the host copies it to; null when it went there itself
    std::size_t pitch = 0, width = 0, height = 0;
  };
  void receive(Slot& slot);

  const Device& device_;
  std::size_t bytes_;
  std::array<Slot, 2> slots_;
  std::size_t turn_ = 0;
};

/// The tiles of a result that lies on the device or the host.
template <class T>
class Tiles {
public:
  /// Bytes of a tile for the host: a copy of so many is no longer slowed by its start,
  /// and pinning them takes a few milliseconds.
  static constexpr index host_bytes = index(8) << 20;

  /// For tiles of at most rows x cols.
  Tiles(const Device& device, MatrixView<T> out, index rows, index cols) : out_(out) {
    if (!is_device_memory(out.data))
      returner_.emplace(device, static_cast<std::size_t>(rows * cols) * sizeof(T));
  }

  /// Where the device writes the tile.
  [[nodiscard]] MatrixView<T> take(index first_row, index rows, index first_col,
                                   index cols) {
    tile_ = {out_.row(first_row) + first_col, rows, cols, out_.stride};
    return returner_ ? MatrixView<T>(static_cast<T*>(returner_->take()), rows, cols)
                     : tile_;
  }
  /// Says that all work on it is enqueued.
  void give() {
    if (returner_)
      returner_->give(tile_.data, static_cast<std::size_t>(tile_.stride) * sizeof(T),
                      static_cast<std::size_t>(tile_.cols) * sizeof(T),
                      static_cast<std::size_t>(tile_.rows));
  }
  /// Waits for the host's results; the device's come in the order of the stream.
  void finish() {
    if (returner_)
      returner_->finish();
  }

private:
  MatrixView<T> out_, tile_;
  std::optional<Returner> returner_;
};

}  // namespace upweight::cuda
