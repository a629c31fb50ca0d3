// Runs independent parts of a computation on several threads, each taking the next part in turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

// GOMP_parallel of GNU's OpenMP. torch's own threads are used where it is found, so that two
// thread pools do not compete for the cores.
typedef void (*ThreadTeam)(void (*)(void *), void *, unsigned, unsigned);

template <typename Part>
void run_parts(ThreadTeam team, int64_t threads, int64_t parts, const Part &part) {
  std::atomic<int64_t> next{0};
  auto loop = [&] {
    for (int64_t index = next++; index < parts; index = next++) part(index);
  };
  if (threads > parts) threads = parts;
  if (threads < 2) return loop();
  if (team) {
    auto run = [](void *given) { (*static_cast<decltype(loop) *>(given))(); };
    return team(run, &loop, static_cast<unsigned>(threads), 0);
  }
  std::vector<std::thread> others;
  try {
    for (int64_t more = 1; more < threads; ++more) others.emplace_back(loop);
  } catch (const std::system_error &) {
    // The system gives no more threads: those that were started do all parts.
  }
  loop();
  for (auto &other : others) other.join();
}

struct FreeMemory {
  void operator()(void *memory) const { std::free(memory); }
};
typedef std::unique_ptr<float[], FreeMemory> Buffer;

inline Buffer allocate(int64_t floats) {
  const size_t bytes = (static_cast<size_t>(floats) * 4 + 63) / 64 * 64;
  return Buffer(static_cast<float *>(std::aligned_alloc(64, bytes)));
}

// Sequences that are stored end to end: sequence s is steps bounds[s] to bounds[s + 1].
struct Batch {
  int64_t sequences, hidden, threads;
  const int64_t *bounds;  // [sequences + 1]
  const int64_t *order;   // sequences, the longest first
  ThreadTeam team;
};
