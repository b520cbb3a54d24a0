// SPDX-License-Identifier: BSD-3-Clause
// The two forms that our own kernels take: a function of every entry of a matrix, and
// one of every row, by a team of threads that can add up what each of them found.
// Heavy products are the libraries' (blas.hpp).
//
// tests/cuda_on_host has a second version of this file, which runs the same functions
// on the host's processor, a team being one thread.
#pragma once

#include "cuda/device.hpp"
#include "upweight/view.hpp"

#include <algorithm>
#include <cuda_runtime.h>

namespace upweight::cuda {

/// Threads that share a row: a warp, or a block. Every member calls the same
/// collectives, in the same order.
class Team {
public:
  __device__ explicit Team(bool whole_block) : whole_block_(whole_block) {}

  [[nodiscard]] __device__ index rank() const {
    return static_cast<index>(whole_block_ ? threadIdx.x : threadIdx.x % 32);
  }
  [[nodiscard]] __device__ index size() const {
    return whole_block_ ? static_cast<index>(blockDim.x) : 32;
  }
  /// Waits for all, so that what each wrote is there for the others.
  __device__ void sync() const {
    if (whole_block_)
      __syncthreads();
    else
      __syncwarp();
  }
  /// The sum (the largest) of all members' x, in a fixed order; every member has it.
  template <class U>
  [[nodiscard]] __device__ U sum(U x) const {
    return reduce(x, [](U a, U b) { return a + b; });
  }
  template <class U>
  [[nodiscard]] __device__ U max(U x) const {
    return reduce(x, [](U a, U b) { return a > b ? a : b; });
  }
  struct Count {
    index before, total;
  };
  /// How many members before this one, and how many in all, say yes.
  [[nodiscard]] __device__ Count count(bool yes) const {
    const unsigned votes = __ballot_sync(0xffffffffu, yes), lane = threadIdx.x % 32;
    int before = __popc(votes & ((1u << lane) - 1)), total = __popc(votes);
    if (!whole_block_)
      return {before, total};
    __shared__ int of_warps[32];
    __syncthreads();  // of_warps may still be read by an earlier call
    if (lane == 0)
      of_warps[threadIdx.x / 32] = total;
    __syncthreads();
    total = 0;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) {
      before += warp < threadIdx.x / 32 ? of_warps[warp] : 0;
      total += of_warps[warp];
    }
    return {before, total};
  }

private:
  template <class U, class Join>
  [[nodiscard]] __device__ U reduce(U x, const Join& join) const {
    // a butterfly: at each stage two lanes join the same pair, so that all end alike
    for (int step = 16; step > 0; step /= 2)
      x = join(x, __shfl_xor_sync(0xffffffffu, x, step));
    if (!whole_block_)
      return x;
    __shared__ double of_warps[32];
    __syncthreads();  // of_warps may still be read by an earlier call
    if (threadIdx.x % 32 == 0)
      of_warps[threadIdx.x / 32] = static_cast<double>(x);
    __syncthreads();
    x = static_cast<U>(of_warps[0]);
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp)
      x = join(x, static_cast<U>(of_warps[warp]));
    return x;
  }

  bool whole_block_;
};

namespace detail {

constexpr unsigned block_threads = 256;
constexpr index most_blocks = 65535;  // in y

template <class F>
__global__ void __launch_bounds__(block_threads)
    each_entry(index rows, index cols, F f) {
  for (index i = static_cast<index>(blockIdx.y) * blockDim.y + threadIdx.y; i < rows;
       i += static_cast<index>(gridDim.y) * blockDim.y)
    for (index j = static_cast<index>(blockIdx.x) * blockDim.x + threadIdx.x; j < cols;
         j += static_cast<index>(gridDim.x) * blockDim.x)
      f(i, j);
}

template <class F>
__global__ void __launch_bounds__(block_threads) each_element(index count, F f) {
  const index step = static_cast<index>(gridDim.x) * blockDim.x;
  for (index i = static_cast<index>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step)
    f(i);
}

template <bool WholeBlock, class F>
__global__ void __launch_bounds__(block_threads) each_row(index rows, F f) {
  const index teams = WholeBlock ? 1 : block_threads / 32;
  const index first = static_cast<index>(blockIdx.x) * teams +
                      (WholeBlock ? 0 : static_cast<index>(threadIdx.x) / 32);
  for (index i = first; i < rows; i += static_cast<index>(gridDim.x) * teams)
    f(Team(WholeBlock), i);
}

}  // namespace detail

/// f(i, j) for every entry of a rows x cols matrix; f is a __device__ lambda. `name`
/// is what an error calls it.
template <class F>
void each(const Device& device, const char* name, index rows, index cols, const F& f) {
  if (rows <= 0 || cols <= 0)
    return;
  unsigned across = 1;  // threads along a row: no more than it has entries
  while (across < detail::block_threads && static_cast<index>(across) < cols)
    across *= 2;
  const unsigned down = detail::block_threads / across;
  const auto blocks = [](index count, unsigned threads, index most) {
    return static_cast<unsigned>(
        std::min(ceil_div(count, static_cast<index>(threads)), most));
  };
  const dim3 grid(blocks(cols, across, index(1) << 20),
                  blocks(rows, down, detail::most_blocks));
  device.use();
  detail::each_entry<<<grid, dim3(across, down), 0, device.stream()>>>(rows, cols, f);
  device.check_launch(name);
}

/// f(i) for i < count.
template <class F>
void each(const Device& device, const char* name, index count, const F& f) {
  if (count <= 0)
    return;
  const index blocks =
      std::min<index>(ceil_div(count, detail::block_threads), index(1) << 20);
  device.use();
  detail::each_element<<<static_cast<unsigned>(blocks), detail::block_threads, 0,
                         device.stream()>>>(count, f);
  device.check_launch(name);
}

/// f(team, i) for every row i, which takes steps of about `work` entries: a warp for
/// short rows, a block for long ones.
template <class F>
void each_row(const Device& device, const char* name, index rows, index work,
              const F& f) {
  if (rows <= 0)
    return;
  const bool whole = work > 1024;
  const index teams = whole ? 1 : detail::block_threads / 32;
  const auto blocks =
      static_cast<unsigned>(std::min<index>(ceil_div(rows, teams), index(1) << 20));
  device.use();
  if (whole)
    detail::each_row<true>
        <<<blocks, detail::block_threads, 0, device.stream()>>>(rows, f);
  else
    detail::each_row<false>
        <<<blocks, detail::block_threads, 0, device.stream()>>>(rows, f);
  device.check_launch(name);
}

}  // namespace upweight::cuda
