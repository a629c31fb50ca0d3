// GRU and LSTM over sequences that lie end to end, forwards and backwards.
//
// A part of the work is a block of up to ROWS sequences, which one thread reads from their first
// step to their last; those that end leave it. At each step the block's last outputs meet the
// weights, packed so that they are read in order, in a product that stays in registers until the
// gates have been computed from it. No output depends on which sequences share a block, nor on how
// many threads there are: each is a sum in one order.
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
  const int64_t *own;  // its sequences, the longest first
};

INLINE int64_t up(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Cut the batch into blocks that are as even as can be, enough for all threads.
template <typename Read>
static void in_blocks(const Batch &batch, int64_t most, const Read &read) {
  int64_t blocks = up(batch.sequences, most);
  const int64_t even = up(blocks, batch.threads) * batch.threads;
  blocks = even < batch.sequences ? even : batch.sequences;
  share(batch.team, batch.threads, blocks, [&](int64_t place) {
    const int64_t begin = batch.sequences * place / blocks;
    const int64_t end = batch.sequences * (place + 1) / blocks;
    const int64_t *own = batch.order + begin;
    const int64_t steps = batch.bounds[own[0] + 1] - batch.bounds[own[0]];
    read(Block{end - begin, steps, own});
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
      const Vec value = all(rows[m][k]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[m][v] += weights[v] * value;
    }
  }
}

// weights [G * hidden, hidden] to panels of LANES units: [panels, hidden, G, LANES]
template <int G>
static Room pack_forward(const float *weights, int64_t hidden) {
  const int64_t panels = up(hidden, LANES);
  Room packed = room(panels * hidden * G * LANES);
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

constexpr int WIDE = 2;  // vectors of a panel on the way back

// weights [depth, hidden] to panels of WIDE vectors: [panels, depth, WIDE, LANES]
static Room pack_backward(const float *weights, int64_t depth, int64_t hidden) {
  const int64_t wide = WIDE * LANES, panels = up(hidden, wide);
  Room packed = room(panels * depth * wide);
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t left = hidden - panel * wide, count = left < wide ? left : wide;
      float *to = packed.get() + (panel * depth + k) * wide;
      std::memset(to, 0, 4 * static_cast<size_t>(wide));
      std::memcpy(to, weights + k * hidden + panel * wide, 4 * static_cast<size_t>(count));
    }
  return packed;
}

// flows [M, hidden] += rows [M, depth] times packed
template <int M>
INLINE void flow_back(float *const (&flows)[M], const float *const (&rows)[M], const float *packed,
                      int64_t depth, int64_t hidden) {
  for (int64_t unit = 0; unit < hidden; unit += WIDE * LANES, packed += depth * WIDE * LANES) {
    Vec sums[M][WIDE] = {};
    multiply<M, WIDE>(sums, rows, packed, depth);
    for (int m = 0; m < M; ++m)
      for (int v = 0; v < WIDE; ++v) {
        const int64_t place = unit + v * LANES, left = hidden - place;
        if (left <= 0) continue;
        store(flows[m] + place, load(flows[m] + place, left) + sums[m][v], left);
      }
  }
}

// Let a step be taken with so many rows, known when it is compiled.
template <int M, typename Step>
INLINE void with_rows(int64_t rows, const Step &step) {
  if constexpr (M > 0) {
    if (rows == M) return step(std::integral_constant<int, M>());
    with_rows<M - 1>(rows, step);
  }
}

// Take a step forwards: each panel of the weights is read once for all of the block's sequences,
// which meet it in groups of up to ROWS, as even as can be.
template <int GATES, int ROWS, typename Panel>
INLINE void by_panels(int64_t hidden, const float *packed, const int64_t *own, int64_t alive,
                      const Panel &panel) {
  const int64_t groups = up(alive, ROWS);
  for (int64_t unit = 0; unit < hidden; unit += LANES, packed += GATES * LANES * hidden)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = alive * group / groups, end = alive * (group + 1) / groups;
      with_rows<ROWS>(end - first, [&](auto m) { panel(m, packed, own + first, unit); });
    }
}

constexpr int GROUPS = 4;  // of sequences in a block, forwards

// ---- GRU ---------------------------------------------------------------------------------------

struct Gru {
  const float *weights;      // [3 H, H]: reset, keep, fresh
  const float *input_bias;   // [3 H]
  const float *again_bias;   // [3 H]
  const float *start;        // [sequences, H]
  float *gates;              // [N, 4 H]: the input's share of fresh, reset, keep; then as below
  float *outputs;            // [N, H]
};
// Left behind in `gates` for the way back: fresh, reset, keep, and U h' + d of fresh.

struct GruPanel {
  Vec reset, keep, fresh, fresh_again;
};

static GruPanel gru_bias(const Gru &gru, int64_t unit, int64_t hidden) {
  const int64_t left = hidden - unit;
  auto both = [&](int64_t gate) {
    const int64_t place = gate * hidden + unit;
    return load(gru.input_bias + place, left) + load(gru.again_bias + place, left);
  };
  return {both(0), both(1), load(gru.input_bias + 2 * hidden + unit, left),
          load(gru.again_bias + 2 * hidden + unit, left)};
}

template <int M>
static void gru_panel(const Batch &batch, const Gru &gru, const float *packed, const int64_t *own,
                      int64_t step, int64_t unit) {
  const int64_t hidden = batch.hidden;
  const float *before[M];
  float *gates[M], *outputs[M];
  for (int m = 0; m < M; ++m) {
    const int64_t row = batch.bounds[own[m]] + step;
    outputs[m] = gru.outputs + row * hidden;
    before[m] = step ? outputs[m] - hidden : gru.start + own[m] * hidden;
    gates[m] = gru.gates + row * 4 * hidden;
  }
  const int64_t left = hidden - unit;
  const GruPanel bias = gru_bias(gru, unit, hidden);
  Vec sums[M][3];
  for (int m = 0; m < M; ++m) {
    sums[m][0] = bias.reset, sums[m][1] = bias.keep, sums[m][2] = bias.fresh_again;
    for (int g = 0; g < 4; ++g) __builtin_prefetch(gates[m] + g * hidden + unit, 1);
  }
  multiply<M, 3>(sums, before, packed, hidden);
  for (int m = 0; m < M; ++m) {
    float *at = gates[m] + unit;
    const Vec reset = sigmoid(sums[m][0] + load(at + hidden, left));
    const Vec keep = sigmoid(sums[m][1] + load(at + 2 * hidden, left));
    const Vec fresh = tangent(load(at, left) + bias.fresh + reset * sums[m][2]);
    const Vec last = load(before[m] + unit, left);
    store(at, fresh, left), store(at + hidden, reset, left);
    store(at + 2 * hidden, keep, left), store(at + 3 * hidden, sums[m][2], left);
    store(outputs[m] + unit, fresh + keep * (last - fresh), left);
  }
}

struct GruBack {
  const float *weights;  // [3 H, H]
  const float *start;    // [sequences, H]
  const float *gates;    // [N, 4 H], as left behind
  const float *outputs;  // [N, H]
  const float *slopes;   // [N, H], of the outputs
  float *to_gates;       // [N, 4 H]: of the drives of fresh, reset, keep, and of U h' + d of fresh
  float *before;         // [N, H]: the output before each step
  float *to_start;       // [sequences, H]; holds the slope that flows back
};

template <int M>
static void gru_step_back(const Batch &batch, const GruBack &gru, const float *packed,
                          const int64_t *own, int64_t step) {
  const int64_t hidden = batch.hidden;
  const float *to_again[M];
  float *flows[M];
  for (int m = 0; m < M; ++m) {
    const int64_t row = batch.bounds[own[m]] + step;
    const float *gates = gru.gates + row * 4 * hidden, *slopes = gru.slopes + row * hidden;
    const float *last = step ? gru.outputs + (row - 1) * hidden : gru.start + own[m] * hidden;
    float *to = gru.to_gates + row * 4 * hidden, *kept = gru.before + row * hidden;
    flows[m] = gru.to_start + own[m] * hidden, to_again[m] = to + hidden;
    for (int64_t unit = 0; unit < hidden; unit += LANES) {
      const int64_t left = hidden - unit;
      const Vec slope = load(flows[m] + unit, left) + load(slopes + unit, left);
      const Vec fresh = load(gates + unit, left), reset = load(gates + hidden + unit, left);
      const Vec keep = load(gates + 2 * hidden + unit, left);
      const Vec again = load(gates + 3 * hidden + unit, left), past = load(last + unit, left);
      const Vec to_fresh = slope * (1.0f - keep) * (1.0f - fresh * fresh);
      store(to + unit, to_fresh, left);
      store(to + hidden + unit, to_fresh * again * reset * (1.0f - reset), left);
      store(to + 2 * hidden + unit, slope * (past - fresh) * keep * (1.0f - keep), left);
      store(to + 3 * hidden + unit, to_fresh * reset, left);
      store(kept + unit, past, left);
      store(flows[m] + unit, slope * keep, left);
    }
  }
  flow_back<M>(flows, to_again, packed, 3 * hidden, hidden);
}

// ---- LSTM --------------------------------------------------------------------------------------

struct Lstm {
  const float *weights;     // [4 H, H]: enter, forget, update, leave
  const float *input_bias;  // [4 H]
  const float *again_bias;  // [4 H]
  const float *start;       // [sequences, H], outputs
  const float *start_cell;  // [sequences, H]
  float *gates;             // [N, 4 H]: the input's share; then the gates
  float *cells;             // [N, H]
  float *outputs;           // [N, H]
};

template <int M>
static void lstm_panel(const Batch &batch, const Lstm &lstm, const float *packed, const int64_t *own,
                      int64_t step, int64_t unit) {
  const int64_t hidden = batch.hidden;
  const float *before[M], *past[M];
  float *gates[M], *outputs[M], *cells[M];
  for (int m = 0; m < M; ++m) {
    const int64_t row = batch.bounds[own[m]] + step;
    outputs[m] = lstm.outputs + row * hidden, cells[m] = lstm.cells + row * hidden;
    before[m] = step ? outputs[m] - hidden : lstm.start + own[m] * hidden;
    past[m] = step ? cells[m] - hidden : lstm.start_cell + own[m] * hidden;
    gates[m] = lstm.gates + row * 4 * hidden;
  }
  const int64_t left = hidden - unit;
  Vec bias[4], sums[M][4];
  for (int g = 0; g < 4; ++g) {
    const int64_t place = g * hidden + unit;
    bias[g] = load(lstm.input_bias + place, left) + load(lstm.again_bias + place, left);
  }
  for (int m = 0; m < M; ++m)
    for (int g = 0; g < 4; ++g) {
      sums[m][g] = bias[g];
      __builtin_prefetch(gates[m] + g * hidden + unit, 1);
    }
  multiply<M, 4>(sums, before, packed, hidden);
  for (int m = 0; m < M; ++m) {
    float *at = gates[m] + unit;
    const Vec enter = sigmoid(sums[m][0] + load(at, left));
    const Vec forget = sigmoid(sums[m][1] + load(at + hidden, left));
    const Vec update = tangent(sums[m][2] + load(at + 2 * hidden, left));
    const Vec leave = sigmoid(sums[m][3] + load(at + 3 * hidden, left));
    const Vec cell = forget * load(past[m] + unit, left) + enter * update;
    store(at, enter, left), store(at + hidden, forget, left);
    store(at + 2 * hidden, update, left), store(at + 3 * hidden, leave, left);
    store(cells[m] + unit, cell, left);
    store(outputs[m] + unit, leave * tangent(cell), left);
  }
}

struct LstmBack {
  const float *weights;     // [4 H, H]
  const float *start;       // [sequences, H]
  const float *start_cell;  // [sequences, H]
  const float *gates;       // [N, 4 H]
  const float *cells;       // [N, H]
  const float *outputs;     // [N, H]
  const float *slopes;      // [N, H], of the outputs
  float *to_gates;          // [N, 4 H], of the drives
  float *before;            // [N, H]
  float *to_start;          // [sequences, H]; holds the slope that flows back
  float *to_cell;           // [sequences, H]; first the slope of the last cells
};

template <int M>
static void lstm_step_back(const Batch &batch, const LstmBack &lstm, const float *packed,
                           const int64_t *own, int64_t step) {
  const int64_t hidden = batch.hidden;
  const float *to_gates[M];
  float *flows[M];
  for (int m = 0; m < M; ++m) {
    const int64_t row = batch.bounds[own[m]] + step;
    const float *gates = lstm.gates + row * 4 * hidden, *cells = lstm.cells + row * hidden;
    const float *slopes = lstm.slopes + row * hidden;
    const float *last = step ? lstm.outputs + (row - 1) * hidden : lstm.start + own[m] * hidden;
    const float *past = step ? cells - hidden : lstm.start_cell + own[m] * hidden;
    float *to = lstm.to_gates + row * 4 * hidden, *kept = lstm.before + row * hidden;
    float *to_cell = lstm.to_cell + own[m] * hidden;
    flows[m] = lstm.to_start + own[m] * hidden, to_gates[m] = to;
    for (int64_t unit = 0; unit < hidden; unit += LANES) {
      const int64_t left = hidden - unit;
      const Vec slope = load(flows[m] + unit, left) + load(slopes + unit, left);
      const Vec enter = load(gates + unit, left), forget = load(gates + hidden + unit, left);
      const Vec update = load(gates + 2 * hidden + unit, left);
      const Vec leave = load(gates + 3 * hidden + unit, left);
      const Vec said = tangent(load(cells + unit, left));
      const Vec through = load(to_cell + unit, left) + slope * leave * (1.0f - said * said);
      float *at = to + unit;
      store(at, through * update * enter * (1.0f - enter), left);
      store(at + hidden, through * load(past + unit, left) * forget * (1.0f - forget), left);
      store(at + 2 * hidden, through * enter * (1.0f - update * update), left);
      store(at + 3 * hidden, slope * said * leave * (1.0f - leave), left);
      store(kept + unit, load(last + unit, left), left);
      store(to_cell + unit, through * forget, left);
      store(flows[m] + unit, Vec{}, left);
    }
  }
  flow_back<M>(flows, to_gates, packed, 4 * hidden, hidden);
}

// ---- what Python calls -------------------------------------------------------------------------

extern "C" {

void gru_forward(const Batch *batch, const Gru *gru) {
  const Room packed = pack_forward<3>(gru->weights, batch->hidden);
  constexpr int rows = REGISTERS / 3;
  in_blocks(*batch, GROUPS * rows, [&](const Block &block) {
    int64_t alive = block.rows;
    for (int64_t step = 0; step < block.steps; ++step) {
      while (length(*batch, block.own[alive - 1]) <= step) --alive;
      by_panels<3, rows>(
          batch->hidden, packed.get(), block.own, alive,
          [&](auto m, const float *panel, const int64_t *own, int64_t unit) {
            gru_panel<m()>(*batch, *gru, panel, own, step, unit);
          });
    }
  });
}

void gru_backward(const Batch *batch, const GruBack *gru) {
  const Room packed = pack_backward(gru->weights, 3 * batch->hidden, batch->hidden);
  constexpr int rows = REGISTERS / WIDE;
  in_blocks(*batch, rows, [&](const Block &block) {
    int64_t alive = 1;
    for (int64_t step = block.steps - 1; step >= 0; --step) {
      while (alive < block.rows && length(*batch, block.own[alive]) > step) ++alive;
      with_rows<rows>(alive, [&](auto m) {
        gru_step_back<m()>(*batch, *gru, packed.get(), block.own, step);
      });
    }
  });
}

void lstm_forward(const Batch *batch, const Lstm *lstm) {
  const Room packed = pack_forward<4>(lstm->weights, batch->hidden);
  constexpr int rows = REGISTERS / 4;
  in_blocks(*batch, GROUPS * rows, [&](const Block &block) {
    int64_t alive = block.rows;
    for (int64_t step = 0; step < block.steps; ++step) {
      while (length(*batch, block.own[alive - 1]) <= step) --alive;
      by_panels<4, rows>(
          batch->hidden, packed.get(), block.own, alive,
          [&](auto m, const float *panel, const int64_t *own, int64_t unit) {
            lstm_panel<m()>(*batch, *lstm, panel, own, step, unit);
          });
    }
  });
}

void lstm_backward(const Batch *batch, const LstmBack *lstm) {
  const Room packed = pack_backward(lstm->weights, 4 * batch->hidden, batch->hidden);
  constexpr int rows = REGISTERS / WIDE;
  in_blocks(*batch, rows, [&](const Block &block) {
    int64_t alive = 1;
    for (int64_t step = block.steps - 1; step >= 0; --step) {
      while (alive < block.rows && length(*batch, block.own[alive]) > step) ++alive;
      with_rows<rows>(alive, [&](auto m) {
        lstm_step_back<m()>(*batch, *lstm, packed.get(), block.own, step);
      });
    }
  });
}
}
