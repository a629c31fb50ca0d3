// Work cut into parts that know nothing of each other, handed to threads as they come free.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

// OpenMP's own way to run a team: the team that torch has is used again where it can be found, so
// that two do not fight for the processors.
typedef void (*Team)(void (*)(void *), void *, unsigned, unsigned);

template <typename Part>
void share(Team team, int64_t threads, int64_t parts, const Part &part) {
  std::atomic<int64_t> next{0};
  auto loop = [&] {
    for (int64_t own = next++; own < parts; own = next++) part(own);
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
    // No more threads are to be had: those that there are do it all.
  }
  loop();
  for (auto &other : others) other.join();
}

struct Free {
  void operator()(void *room) const { std::free(room); }
};
typedef std::unique_ptr<float[], Free> Room;

inline Room room(int64_t floats) {
  const size_t bytes = (static_cast<size_t>(floats) * 4 + 63) / 64 * 64;
  return Room(static_cast<float *>(std::aligned_alloc(64, bytes)));
}

// Sequences that lie end to end: sequence s is steps bounds[s] to bounds[s + 1].
struct Batch {
  int64_t sequences, hidden, threads;
  const int64_t *bounds;  // [sequences + 1]
  const int64_t *order;   // sequences, the longest first
  Team team;
};
