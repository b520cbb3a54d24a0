// SPDX-License-Identifier: BSD-3-Clause
// Designs copied whole into a device's memory.
#include "cuda/backend.hpp"
#include "cuda/stream.hpp"

#include <memory>
#include <utility>
#include <vector>

namespace upweight::cuda {
namespace {

/// Arrays of a design on the device, freed together.
class Arrays {
public:
  explicit Arrays(std::shared_ptr<const Device> device) : device_(std::move(device)) {}
  ~Arrays() {
    for (void* data : owned_)
      device_->free(data);
  }
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;

  template <class U>
  [[nodiscard]] MatrixView<U> take(index rows, index cols) {
    const auto size = static_cast<std::size_t>(rows * cols) * sizeof(U);
    owned_.push_back(nullptr);
    owned_.back() = device_->allocate(size > 0 ? size : 1);
    bytes_ += static_cast<index>(size);
    return {static_cast<U*>(owned_.back()), rows, cols};
  }
  template <class U>
  [[nodiscard]] const U* copy(const U* from, index count) {
    const MatrixView<U> to = take<U>(1, count);
    to_device(*device_, from, to);
    return to.data;
  }
  [[nodiscard]] index bytes() const { return bytes_; }

private:
  std::shared_ptr<const Device> device_;
  std::vector<void*> owned_;
  index bytes_ = 0;
};

/// The same entries by columns, on the host.
template <class T>
struct Columns {
  std::vector<T> values;
  std::vector<std::int32_t> rows;
  std::vector<std::int64_t> starts;
};

template <class T>
Columns<T> by_columns(const Design<T>& X) {
  const SparseView<T>& S = X.sparse;
  const index first = S.begin(0), last = S.end(X.rows() - 1);
  const auto count = static_cast<std::size_t>(last - first);
  Columns<T> to{
      std::vector<T>(count), std::vector<std::int32_t>(count),
      std::vector<std::int64_t>(static_cast<std::size_t>(X.features.cols) + 1, 0)};
  for (index e = first; e < last; ++e)
    ++to.starts[static_cast<std::size_t>(S.columns[e]) + 1];
  for (std::size_t j = 1; j < to.starts.size(); ++j)
    to.starts[j] += to.starts[j - 1];
  std::vector<std::int64_t> next(to.starts.begin(), to.starts.end() - 1);
  for (index i = 0; i < X.rows(); ++i)
    for (index e = S.begin(i); e < S.end(i); ++e) {
      const auto at =
          static_cast<std::size_t>(next[static_cast<std::size_t>(S.columns[e])]++);
      to.values[at] = S.values[e];
      to.rows[at] = static_cast<std::int32_t>(i);
    }
  return to;
}

}  // namespace

template <class T>
Resident<T> CudaBackend<T>::resident(const Design<T>& X) const {
  if (on_device(X))
    return {X, nullptr, 0};
  auto arrays = std::make_shared<Arrays>(device_);
  const index n = X.rows(), p = X.features.cols;
  Design<T> design;
  if (!X.is_sparse()) {
    const MatrixView<T> to = arrays->template take<T>(n, p);
    each_block(device(), X, n, [&](const Design<T>& block, index first) {
      copy_within<T>(device(), block.features, to.block(first, block.rows()));
    });
    design = {to, X.intercept, {}, {}};
  } else {
    const SparseView<T>& S = X.sparse;
    const index first = S.begin(0), entries = S.end(n - 1) - first;
    std::vector<std::int64_t> starts(S.starts, S.starts + n + 1);
    for (std::int64_t& start : starts)
      start -= first;
    design = sparse_design(SparseView<T>{arrays->copy(S.values + first, entries),
                                         arrays->copy(S.columns + first, entries),
                                         arrays->copy(starts.data(), n + 1)},
                           n, p, X.intercept);
    const Columns<T> columns = by_columns(X);
    design.by_columns = {arrays->copy(columns.values.data(), entries),
                         arrays->copy(columns.rows.data(), entries),
                         arrays->copy(columns.starts.data(), p + 1)};
  }
  const index bytes = arrays->bytes();
  return {design, std::move(arrays), bytes};
}

template Resident<double> CudaBackend<double>::resident(const Design<double>&) const;
template Resident<float> CudaBackend<float>::resident(const Design<float>&) const;

}  // namespace upweight::cuda
