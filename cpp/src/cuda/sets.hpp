// SPDX-License-Identifier: BSD-3-Clause
// Sets of rows as words of the device read them.
#pragma once

#include "cuda/device.hpp"
#include "upweight/backend.hpp"

#include <cstdint>
#include <vector>

namespace upweight::cuda {

/// The lists of RowSets and of where things of each set lie, on the device. Sets of one
/// row each need none but their members.
struct SetLists {
  index K;                      // outputs
  const std::int64_t* members;  // null unless they were asked for
  const std::int64_t* offsets;  // null when every set has one row
  const std::int64_t* starts;   // where blocks of (g K)^2 numbers a set begin
  const std::int64_t* sets;     // the set of each member

  [[nodiscard]] __device__ index begin(index b) const {
    return offsets ? static_cast<index>(offsets[b]) : b;
  }
  [[nodiscard]] __device__ index size(index b) const {
    return offsets ? static_cast<index>(offsets[b + 1] - offsets[b]) : 1;
  }
  [[nodiscard]] __device__ index block(index b) const {
    return offsets ? static_cast<index>(starts[b]) : b * K * K;
  }
  [[nodiscard]] __device__ index set_of(index m) const {
    return offsets ? static_cast<index>(sets[m]) : m;
  }
};

/// Those lists while a word runs.
class UploadedSets {
public:
  UploadedSets(const Device& device, const RowSets& sets, index K, bool with_members)
      : UploadedSets(device, sets, K, with_members, sets.total() == sets.count()) {}
  [[nodiscard]] const SetLists& lists() const { return lists_; }

private:
  UploadedSets(const Device& device, const RowSets& sets, index K, bool with_members,
               bool single)
      : members_(device, sets.members.data(), with_members ? sets.total() : 0),
        places_(
            upload(device, single ? std::vector<std::int64_t>() : places(sets, K))) {
    const index count = sets.count();
    const std::int64_t* at = single ? nullptr : places_.get();
    lists_ = {K, with_members ? members_.get() : nullptr, at,
              at ? at + count + 1 : nullptr, at ? at + 2 * (count + 1) : nullptr};
  }
  static Uploaded<std::int64_t> upload(const Device& device,
                                       const std::vector<std::int64_t>& list) {
    return {device, list.data(), static_cast<index>(list.size())};
  }
  /// offsets, starts and sets of SetLists, one behind the other.
  static std::vector<std::int64_t> places(const RowSets& sets, index K) {
    std::vector<std::int64_t> offsets, starts, set_of;
    std::int64_t start = 0;
    for (index b = 0; b < sets.count(); ++b) {
      const index order = sets.size(b) * K;
      offsets.push_back(sets.offsets[static_cast<std::size_t>(b)]);
      starts.push_back(start);
      set_of.insert(set_of.end(), static_cast<std::size_t>(sets.size(b)), b);
      start += order * order;
    }
    offsets.push_back(sets.total());
    starts.push_back(start);
    offsets.insert(offsets.end(), starts.begin(), starts.end());
    offsets.insert(offsets.end(), set_of.begin(), set_of.end());
    return offsets;
  }

  Uploaded<std::int64_t> members_, places_;
  SetLists lists_{};
};

/// Rows that the largest of the sets has.
[[nodiscard]] inline index largest_set(const RowSets& sets) {
  index most = 0;
  for (index b = 0; b < sets.count(); ++b)
    most = sets.size(b) > most ? sets.size(b) : most;
  return most;
}

}  // namespace upweight::cuda
