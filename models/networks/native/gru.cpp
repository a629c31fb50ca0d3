// A GRU over sequences that lie end to end, forwards and backwards through time.
//
// The work is cut into blocks of up to ROWS sequences. One thread reads a block from its first
// step to its last; sequences that end leave the block. At each step the block's last outputs are
// multiplied by the recurrent weights, which are packed in the order in which they are read; the
// products stay in registers until the gates are computed from them. Each output is a sum in one
// fixed order: it depends neither on the other sequences of its block nor on the number of threads.
//
// Names: H units, N steps of all sequences. Sequence s is steps bounds[s] to bounds[s + 1].

#include "vector.h"
#include "work.h"

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int REGISTERS = 24;  // of 32, for sums
#else
constexpr int REGISTERS = 12;  // of 16
#endif

struct Block {
  int64_t rows, steps;
  const int64_t *members;  // its sequences, the longest first
};

INLINE int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Cut the batch into blocks of nearly equal size, at least one for each thread.
template <typename Read>
static void for_each_block(const Batch &batch, int64_t max_rows, const Read &read) {
  int64_t blocks = ceil_div(batch.sequences, max_rows);
  const int64_t rounded = ceil_div(blocks, batch.threads) * batch.threads;
  blocks = rounded < batch.sequences ? rounded : batch.sequences;
  run_parts(batch.team, batch.threads, blocks, [&](int64_t index) {
    const int64_t begin = batch.sequences * index / blocks;
    const int64_t end = batch.sequences * (index + 1) / blocks;
    const int64_t *members = batch.order + begin;
    const int64_t steps = batch.bounds[members[0] + 1] - batch.bounds[members[0]];
    read(Block{end - begin, steps, members});
  });
}

INLINE int64_t length(const Batch &batch, int64_t sequence) {
  return batch.bounds[sequence + 1] - batch.bounds[sequence];
}

// sums += rows [M, depth] times packed [depth, V vectors]
template <int M, int V>
INLINE void multiply(Vec (&sums)[M][V], const float *const (&rows)[M], const float *packed,
                     int64_t depth) {
  for (int64_t k = 0; k < depth; ++k, packed += V * LANES) {
    Vec weights[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) weights[v] = load(packed + v * LANES);
#pragma GCC unroll 24
    for (int m = 0; m < M; ++m) {
      const Vec value = broadcast(rows[m][k]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[m][v] += weights[v] * value;
    }
  }
}

// weights [G * hidden, hidden] to panels of LANES units: [panels, hidden, G, LANES]
template <int G>
static Buffer pack_forward(const float *weights, int64_t hidden) {
  const int64_t panels = ceil_div(hidden, LANES);
  Buffer packed = allocate(panels * hidden * G * LANES);
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t g = 0; g < G; ++g)
      for (int64_t lane = 0; lane < LANES; ++lane) {
        const int64_t unit = panel * LANES + lane;
        const float *from = weights + (g * hidden + unit) * hidden;
        float *to = packed.get() + (panel * hidden * G + g) * LANES + lane;
        for (int64_t k = 0; k < hidden; ++k) to[k * G * LANES] = unit < hidden ? from[k] : 0.0f;
      }
  return packed;
}

constexpr int WIDE = 2;  // vectors of a panel, backwards

// weights [depth, hidden] to panels of WIDE vectors: [panels, depth, WIDE, LANES]
static Buffer pack_backward(const float *weights, int64_t depth, int64_t hidden) {
  const int64_t wide = WIDE * LANES, panels = ceil_div(hidden, wide);
  Buffer packed = allocate(panels * depth * wide);
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t left = hidden - panel * wide, count = left < wide ? left : wide;
      float *to = packed.get() + (panel * depth + k) * wide;
      std::memset(to, 0, 4 * static_cast<size_t>(wide));
      std::memcpy(to, weights + k * hidden + panel * wide, 4 * static_cast<size_t>(count));
    }
  return packed;
}

// carried [M, hidden] += rows [M, depth] times packed
template <int M>
INLINE void add_products(float *const (&carried)[M], const float *const (&rows)[M],
                         const float *packed, int64_t depth, int64_t hidden) {
  for (int64_t unit = 0; unit < hidden; unit += WIDE * LANES, packed += depth * WIDE * LANES) {
    Vec sums[M][WIDE] = {};
    multiply<M, WIDE>(sums, rows, packed, depth);
    for (int m = 0; m < M; ++m)
      for (int v = 0; v < WIDE; ++v) {
        const int64_t index = unit + v * LANES, left = hidden - index;
        if (left <= 0) continue;
        store(carried[m] + index, load(carried[m] + index, left) + sums[m][v], left);
      }
  }
}

// Call `step` with the number of rows as a compile-time constant.
template <int M, typename Step>
INLINE void with_rows(int64_t rows, const Step &step) {
  if constexpr (M > 0) {
    if (rows == M) return step(std::integral_constant<int, M>());
    with_rows<M - 1>(rows, step);
  }
}

// One step forwards: each panel of the weights is read once for all sequences of the block, which
// are multiplied by it in groups of up to ROWS, of nearly equal size.
template <int GATES, int ROWS, typename Panel>
INLINE void for_each_panel(int64_t hidden, const float *packed, const int64_t *members,
                           int64_t active, const Panel &panel) {
  const int64_t groups = ceil_div(active, ROWS);
  for (int64_t unit = 0; unit < hidden; unit += LANES, packed += GATES * LANES * hidden)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = active * group / groups, end = active * (group + 1) / groups;
      with_rows<ROWS>(end - first, [&](auto m) { panel(m, packed, members + first, unit); });
    }
}

constexpr int GROUPS = 4;  // groups of sequences in a block, forwards

// ---- GRU ---------------------------------------------------------------------------------------

struct Gru {
  const float *weights;         // [3 H, H]: reset, update, candidate
  const float *input_bias;      // [3 H]
  const float *recurrent_bias;  // [3 H]
  const float *start;           // [sequences, H]
  float *gates;                 // [N, 4 H]: projected input of candidate, reset, update; then below
  float *outputs;               // [N, H]
};
// What `gates` holds afterwards, for the gradients: candidate, reset, update, and U h' + d of the
// candidate.

struct GruPanel {
  Vec reset, update, candidate, candidate_state;
};

static GruPanel gru_bias(const Gru &gru, int64_t unit, int64_t hidden) {
  const int64_t left = hidden - unit;
  auto summed = [&](int64_t gate) {
    const int64_t index = gate * hidden + unit;
    return load(gru.input_bias + index, left) + load(gru.recurrent_bias + index, left);
  };
  return {summed(0), summed(1), load(gru.input_bias + 2 * hidden + unit, left),
          load(gru.recurrent_bias + 2 * hidden + unit, left)};
}

template <int M>
static void gru_panel(const Batch &batch, const Gru &gru, const float *packed,
                      const int64_t *members, int64_t step, int64_t unit) {
  const int64_t hidden = batch.hidden;
  const float *before[M];
  float *gates[M], *outputs[M];
  for (int m = 0; m < M; ++m) {
    const int64_t row = batch.bounds[members[m]] + step;
    outputs[m] = gru.outputs + row * hidden;
    before[m] = step ? outputs[m] - hidden : gru.start + members[m] * hidden;
    gates[m] = gru.gates + row * 4 * hidden;
  }
  const int64_t left = hidden - unit;
  const GruPanel bias = gru_bias(gru, unit, hidden);
  Vec sums[M][3];
  for (int m = 0; m < M; ++m) {
    sums[m][0] = bias.reset, sums[m][1] = bias.update, sums[m][2] = bias.candidate_state;
    for (int g = 0; g < 4; ++g) __builtin_prefetch(gates[m] + g * hidden + unit, 1);
  }
  multiply<M, 3>(sums, before, packed, hidden);
  for (int m = 0; m < M; ++m) {
    float *at = gates[m] + unit;
    const Vec reset = sigmoid(sums[m][0] + load(at + hidden, left));
    const Vec update = sigmoid(sums[m][1] + load(at + 2 * hidden, left));
    const Vec candidate = hyperbolic_tangent(load(at, left) + bias.candidate + reset * sums[m][2]);
    const Vec previous = load(before[m] + unit, left);
    store(at, candidate, left), store(at + hidden, reset, left);
    store(at + 2 * hidden, update, left), store(at + 3 * hidden, sums[m][2], left);
    store(outputs[m] + unit, candidate + update * (previous - candidate), left);
  }
}

struct GruBack {
  const float *weights;  // [3 H, H]
  const float *start;    // [sequences, H]
  const float *gates;    // [N, 4 H], as `gru_forward` leaves them
  const float *outputs;  // [N, H]
  const float *grads;    // [N, H], gradients of the outputs
  float *to_gates;       // [N, 4 H], gradients of candidate, reset and update before their
                         // nonlinearity, and of U h' + d of the candidate
  float *before;         // [N, H]: the output before each step
  float *to_start;       // [sequences, H]; holds the gradient on its way back through time
};

template <int M>
static void gru_step_backward(const Batch &batch, const GruBack &gru, const float *packed,
                              const int64_t *members, int64_t step) {
  const int64_t hidden = batch.hidden;
  const float *to_recurrent[M];
  float *carried[M];
  for (int m = 0; m < M; ++m) {
    const int64_t row = batch.bounds[members[m]] + step;
    const float *gates = gru.gates + row * 4 * hidden, *grads = gru.grads + row * hidden;
    const float *last = step ? gru.outputs + (row - 1) * hidden : gru.start + members[m] * hidden;
    float *to = gru.to_gates + row * 4 * hidden, *before = gru.before + row * hidden;
    carried[m] = gru.to_start + members[m] * hidden, to_recurrent[m] = to + hidden;
    for (int64_t unit = 0; unit < hidden; unit += LANES) {
      const int64_t left = hidden - unit;
      const Vec grad = load(carried[m] + unit, left) + load(grads + unit, left);
      const Vec candidate = load(gates + unit, left), reset = load(gates + hidden + unit, left);
      const Vec update = load(gates + 2 * hidden + unit, left);
      const Vec recurrent = load(gates + 3 * hidden + unit, left);
      const Vec previous = load(last + unit, left);
      const Vec to_candidate = grad * (1.0f - update) * (1.0f - candidate * candidate);
      store(to + unit, to_candidate, left);
      store(to + hidden + unit, to_candidate * recurrent * reset * (1.0f - reset), left);
      store(to + 2 * hidden + unit, grad * (previous - candidate) * update * (1.0f - update), left);
      store(to + 3 * hidden + unit, to_candidate * reset, left);
      store(before + unit, previous, left);
      store(carried[m] + unit, grad * update, left);
    }
  }
  add_products<M>(carried, to_recurrent, packed, 3 * hidden, hidden);
}

// ---- what Python calls -------------------------------------------------------------------------

extern "C" {

void gru_forward(const Batch *batch, const Gru *gru) {
  const Buffer packed = pack_forward<3>(gru->weights, batch->hidden);
  constexpr int rows = REGISTERS / 3;
  for_each_block(*batch, GROUPS * rows, [&](const Block &block) {
    int64_t active = block.rows;
    for (int64_t step = 0; step < block.steps; ++step) {
      while (length(*batch, block.members[active - 1]) <= step) --active;
      for_each_panel<3, rows>(
          batch->hidden, packed.get(), block.members, active,
          [&](auto m, const float *panel, const int64_t *members, int64_t unit) {
            gru_panel<m()>(*batch, *gru, panel, members, step, unit);
          });
    }
  });
}

void gru_backward(const Batch *batch, const GruBack *gru) {
  const Buffer packed = pack_backward(gru->weights, 3 * batch->hidden, batch->hidden);
  constexpr int rows = REGISTERS / WIDE;
  for_each_block(*batch, rows, [&](const Block &block) {
    int64_t active = 1;
    for (int64_t step = block.steps - 1; step >= 0; --step) {
      while (active < block.rows && length(*batch, block.members[active]) > step) ++active;
      with_rows<rows>(active, [&](auto m) {
        gru_step_backward<m()>(*batch, *gru, packed.get(), block.members, step);
      });
    }
  });
}
}
