// Cells with an elementwise recurrence: minGRU, minLSTM, QRNN, SRU and LRU.
//
// The state of a unit depends on its own past alone, so that one part of the work is a sequence, or
// some units of it where there are few sequences. Gates are computed during the forward pass and
// again during the backward pass, which costs less than to store and read them. Gradients of
// parameters that all sequences share are summed for each sequence by itself; the caller adds these
// sums up. No number depends on the number of threads.
//
// Names: H units, N steps of all sequences, B sequences. `carried` [B, H] comes in with the
// gradient of the last states and goes out with that of the first.

#include "vector.h"
#include "work.h"

// LANES units (fewer at the end) at one step of a sequence.
struct Position {
  int64_t row, sequence, unit, hidden, left;
  bool first;

  const float *row_of(const float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (row * wide + part) * hidden + unit;
  }
  float *row_of(float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (row * wide + part) * hidden + unit;
  }
  const float *state_of(const float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (sequence * wide + part) * hidden + unit;
  }
  float *state_of(float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (sequence * wide + part) * hidden + unit;
  }
  // The value in `matrix` [N, wide, H] one step earlier, or in `start` [B, wide, H].
  Vec before(const float *matrix, const float *start, int64_t wide = 1, int64_t part = 0) const {
    const float *last = row_of(matrix, wide, part) - wide * hidden;
    return load(first ? state_of(start, wide, part) : last, left);
  }
  Vec shared(const float *vector, int64_t part = 0) const {
    return load(vector + part * hidden + unit, left);
  }
};

INLINE void add(float *to, Vec value, int64_t left) { store(to, load(to, left) + value, left); }

template <bool BACK, typename Step>
static void for_each_step(const Batch &batch, const Step &step) {
  const int64_t hidden = batch.hidden, panels = (hidden + LANES - 1) / LANES;
  const int64_t wanted = (4 * batch.threads + batch.sequences - 1) / batch.sequences;
  const int64_t slices = batch.threads < 2 ? 1 : wanted < panels ? wanted : panels;
  run_parts(batch.team, batch.threads, batch.sequences * slices, [&](int64_t part) {
    const int64_t sequence = batch.order[part / slices], slice = part % slices;
    const int64_t from = panels * slice / slices * LANES;
    const int64_t stop = panels * (slice + 1) / slices * LANES;
    const int64_t to = stop < hidden ? stop : hidden;
    const int64_t begin = batch.bounds[sequence], steps = batch.bounds[sequence + 1] - begin;
    for (int64_t done = 0; done < steps; ++done) {
      const int64_t row = begin + (BACK ? steps - 1 - done : done);
      for (int64_t unit = from; unit < to; unit += LANES)
        step(Position{row, sequence, unit, hidden, hidden - unit, row == begin});
    }
  });
}

// ---- minGRU and minLSTM ------------------------------------------------------------------------

// The update gate, and its derivative by each input.
struct OneGate {
  static constexpr int gates = 1;
  static Vec open(const Vec (&input)[1]) { return sigmoid(input[0]); }
  static Vec open(const Vec (&input)[1], Vec (&derivatives)[1]) {
    const Vec gate = sigmoid(input[0]);
    derivatives[0] = gate * (1.0f - gate);
    return gate;
  }
};

// i / (f + i) of two sigmoids, whose exponentials are scaled so that none overflows.
struct TwoGates {
  static constexpr int gates = 2;
  static Vec open(const Vec (&input)[2]) {
    Vec derivatives[2];
    return open(input, derivatives);
  }
  static Vec open(const Vec (&input)[2], Vec (&derivatives)[2]) {
    const Vec forget = -input[0], enter = -input[1], least = forget > enter ? forget : enter;
    const Vec most = least > 0.0f ? least : Vec{};
    const Vec one = exponential(-most);
    const Vec shut_forget = exponential(forget - most), shut_enter = exponential(enter - most);
    const Vec forgets = one + shut_forget, enters = one + shut_enter;
    const Vec gate = forgets / (forgets + enters), grad = gate * (1.0f - gate);
    derivatives[0] = -grad * shut_forget / forgets;
    derivatives[1] = grad * shut_enter / enters;
    return gate;
  }
};

struct MinCell {
  const float *start;   // [B, H]
  const float *bias;    // [gates + 1, H]
  const float *inputs;  // [N, gates + 1, H], the candidate last
  float *outputs;       // [N, H]
};

struct MinCellBack {
  const float *start, *bias, *inputs, *outputs;
  const float *grads;  // [N, H]
  float *carried;      // [B, H]
  float *to_bias;      // [B, gates + 1, H]
  float *to_gates;     // [N, gates + 1, H]
};

template <typename Gate>
static void min_cell_forward(const Batch &batch, const MinCell &cell) {
  constexpr int gates = Gate::gates, wide = gates + 1;
  for_each_step<false>(batch, [&](const Position &at) {
    Vec input[gates];
    for (int g = 0; g < gates; ++g)
      input[g] = load(at.row_of(cell.inputs, wide, g), at.left) + at.shared(cell.bias, g);
    const Vec value =
        load(at.row_of(cell.inputs, wide, gates), at.left) + at.shared(cell.bias, gates);
    const Vec candidate = value >= 0.0f ? value + 0.5f : sigmoid(value);
    const Vec previous = at.before(cell.outputs, cell.start);
    store(at.row_of(cell.outputs), previous + Gate::open(input) * (candidate - previous), at.left);
  });
}

template <typename Gate>
static void min_cell_backward(const Batch &batch, const MinCellBack &cell) {
  constexpr int gates = Gate::gates, wide = gates + 1;
  for_each_step<true>(batch, [&](const Position &at) {
    Vec input[gates], derivatives[gates];
    for (int g = 0; g < gates; ++g)
      input[g] = load(at.row_of(cell.inputs, wide, g), at.left) + at.shared(cell.bias, g);
    const Vec value =
        load(at.row_of(cell.inputs, wide, gates), at.left) + at.shared(cell.bias, gates);
    const Vec low = sigmoid(value), candidate = value >= 0.0f ? value + 0.5f : low;
    const Vec rises = value >= 0.0f ? Vec{} + 1.0f : low * (1.0f - low);
    const Vec gate = Gate::open(input, derivatives);
    const Vec previous = at.before(cell.outputs, cell.start);
    float *carry = at.state_of(cell.carried);
    const Vec grad = load(carry, at.left) + load(at.row_of(cell.grads), at.left);
    const Vec to_gate = grad * (candidate - previous), to_candidate = grad * gate * rises;
    for (int g = 0; g < gates; ++g) {
      store(at.row_of(cell.to_gates, wide, g), to_gate * derivatives[g], at.left);
      add(at.state_of(cell.to_bias, wide, g), to_gate * derivatives[g], at.left);
    }
    store(at.row_of(cell.to_gates, wide, gates), to_candidate, at.left);
    add(at.state_of(cell.to_bias, wide, gates), to_candidate, at.left);
    store(carry, grad - grad * gate, at.left);
  });
}

// ---- QRNN --------------------------------------------------------------------------------------

struct Qrnn {
  const float *start;   // [B, H]
  const float *bias;    // [3, H]
  const float *inputs;  // [N, 3, H]: candidate, forget, output
  float *memory;        // [N, H]
  float *outputs;       // [N, H]
};

struct QrnnBack {
  const float *start, *bias, *inputs, *memory, *outputs;
  const float *grads;  // [N, H]
  float *carried;      // [B, H]
  float *to_bias;      // [B, 3, H]
  float *to_gates;     // [N, 3, H]
};

static void qrnn_steps(const Batch &batch, const Qrnn &cell) {
  for_each_step<false>(batch, [&](const Position &at) {
    Vec input[3];
    for (int g = 0; g < 3; ++g)
      input[g] = load(at.row_of(cell.inputs, 3, g), at.left) + at.shared(cell.bias, g);
    const Vec candidate = hyperbolic_tangent(input[0]);
    const Vec previous = at.before(cell.memory, cell.start);
    const Vec memory = candidate + sigmoid(input[1]) * (previous - candidate);
    store(at.row_of(cell.memory), memory, at.left);
    store(at.row_of(cell.outputs), sigmoid(input[2]) * memory, at.left);
  });
}

static void qrnn_steps_back(const Batch &batch, const QrnnBack &cell) {
  for_each_step<true>(batch, [&](const Position &at) {
    Vec input[3], to[3];
    for (int g = 0; g < 3; ++g)
      input[g] = load(at.row_of(cell.inputs, 3, g), at.left) + at.shared(cell.bias, g);
    const Vec candidate = hyperbolic_tangent(input[0]);
    const Vec keep = sigmoid(input[1]), leave = sigmoid(input[2]);
    const Vec previous = at.before(cell.memory, cell.start);
    const Vec memory = load(at.row_of(cell.memory), at.left);
    const Vec grad = load(at.row_of(cell.grads), at.left);
    float *carry = at.state_of(cell.carried);
    const Vec to_memory = load(carry, at.left) + grad * leave;
    to[0] = to_memory * (1.0f - keep) * (1.0f - candidate * candidate);
    to[1] = to_memory * (previous - candidate) * keep * (1.0f - keep);
    to[2] = grad * memory * leave * (1.0f - leave);
    for (int g = 0; g < 3; ++g) {
      store(at.row_of(cell.to_gates, 3, g), to[g], at.left);
      add(at.state_of(cell.to_bias, 3, g), to[g], at.left);
    }
    store(carry, to_memory * keep, at.left);
  });
}

// ---- SRU ---------------------------------------------------------------------------------------

struct Sru {
  const float *start;   // [B, H]
  const float *shared;  // [4, H]: recurrent weights of forget and reset, their biases
  const float *inputs;  // [N, 3, H]: candidate, forget, reset
  const float *skip;    // [N, H]: skip connection
  float *memory;        // [N, H]
  float *outputs;       // [N, H]
};

struct SruBack {
  const float *start, *shared, *inputs, *skip, *memory, *outputs;
  const float *grads;  // [N, H]
  float *carried;      // [B, H]
  float *to_shared;    // [B, 4, H]
  float *to_gates;     // [N, 3, H]
  float *to_skip;      // [N, H]
};

struct SruGates {
  Vec before, candidate, forget, reset;
};

template <typename Cell>
INLINE SruGates sru_gates(const Position &at, const Cell &cell) {
  const Vec before = at.before(cell.memory, cell.start);
  auto gate = [&](int g) {
    const Vec input =
        load(at.row_of(cell.inputs, 3, g + 1), at.left) + at.shared(cell.shared, g + 2);
    return sigmoid(input + at.shared(cell.shared, g) * before);
  };
  return {before, load(at.row_of(cell.inputs, 3), at.left), gate(0), gate(1)};
}

static void sru_steps(const Batch &batch, const Sru &cell) {
  for_each_step<false>(batch, [&](const Position &at) {
    const SruGates gates = sru_gates(at, cell);
    const Vec memory = gates.candidate + gates.forget * (gates.before - gates.candidate);
    const Vec skip = load(at.row_of(cell.skip), at.left);
    store(at.row_of(cell.memory), memory, at.left);
    store(at.row_of(cell.outputs), skip + gates.reset * (memory - skip), at.left);
  });
}

static void sru_steps_back(const Batch &batch, const SruBack &cell) {
  for_each_step<true>(batch, [&](const Position &at) {
    const SruGates gates = sru_gates(at, cell);
    const Vec forget = gates.forget, reset = gates.reset;
    const Vec memory = load(at.row_of(cell.memory), at.left);
    const Vec skip = load(at.row_of(cell.skip), at.left);
    const Vec grad = load(at.row_of(cell.grads), at.left);
    float *carry = at.state_of(cell.carried);
    const Vec to_memory = load(carry, at.left) + grad * reset;
    const Vec to_forget = to_memory * (gates.before - gates.candidate) * forget * (1.0f - forget);
    const Vec to_reset = grad * (memory - skip) * reset * (1.0f - reset);
    store(at.row_of(cell.to_gates, 3), to_memory * (1.0f - forget), at.left);
    store(at.row_of(cell.to_gates, 3, 1), to_forget, at.left);
    store(at.row_of(cell.to_gates, 3, 2), to_reset, at.left);
    store(at.row_of(cell.to_skip), grad * (1.0f - reset), at.left);
    add(at.state_of(cell.to_shared, 4), to_forget * gates.before, at.left);
    add(at.state_of(cell.to_shared, 4, 1), to_reset * gates.before, at.left);
    add(at.state_of(cell.to_shared, 4, 2), to_forget, at.left);
    add(at.state_of(cell.to_shared, 4, 3), to_reset, at.left);
    const Vec recalled =
        to_forget * at.shared(cell.shared) + to_reset * at.shared(cell.shared, 1);
    store(carry, to_memory * forget + recalled, at.left);
  });
}

// ---- LRU ---------------------------------------------------------------------------------------

// Complex numbers: all real parts of a row, then all imaginary ones.
struct Lru {
  const float *start;     // [B, 2, H]
  const float *rotation;  // [2, H]
  const float *enter;     // [N, 2, H]
  float *memory;          // [N, 2, H]
};

struct LruBack {
  const float *start, *rotation, *enter, *memory;
  const float *grads;  // [N, 2, H]
  float *carried;      // [B, 2, H]
  float *to_turn;      // [B, 2, H]
  float *to_enter;     // [N, 2, H]
};

static void lru_steps(const Batch &batch, const Lru &cell) {
  for_each_step<false>(batch, [&](const Position &at) {
    const Vec real = at.before(cell.memory, cell.start, 2);
    const Vec imag = at.before(cell.memory, cell.start, 2, 1);
    const Vec rotation = at.shared(cell.rotation), rotation_i = at.shared(cell.rotation, 1);
    const Vec enter = load(at.row_of(cell.enter, 2), at.left);
    const Vec enter_i = load(at.row_of(cell.enter, 2, 1), at.left);
    store(at.row_of(cell.memory, 2), enter + rotation * real - rotation_i * imag, at.left);
    store(at.row_of(cell.memory, 2, 1), enter_i + rotation * imag + rotation_i * real, at.left);
  });
}

static void lru_steps_back(const Batch &batch, const LruBack &cell) {
  for_each_step<true>(batch, [&](const Position &at) {
    const Vec real = at.before(cell.memory, cell.start, 2);
    const Vec imag = at.before(cell.memory, cell.start, 2, 1);
    const Vec rotation = at.shared(cell.rotation), rotation_i = at.shared(cell.rotation, 1);
    float *carry = at.state_of(cell.carried, 2), *carry_i = at.state_of(cell.carried, 2, 1);
    const Vec to = load(carry, at.left) + load(at.row_of(cell.grads, 2), at.left);
    const Vec to_i = load(carry_i, at.left) + load(at.row_of(cell.grads, 2, 1), at.left);
    store(at.row_of(cell.to_enter, 2), to, at.left);
    store(at.row_of(cell.to_enter, 2, 1), to_i, at.left);
    add(at.state_of(cell.to_turn, 2), to * real + to_i * imag, at.left);
    add(at.state_of(cell.to_turn, 2, 1), to_i * real - to * imag, at.left);
    store(carry, rotation * to + rotation_i * to_i, at.left);
    store(carry_i, rotation * to_i - rotation_i * to, at.left);
  });
}

// ---- what Python calls -------------------------------------------------------------------------

extern "C" {

void mingru_forward(const Batch *batch, const MinCell *cell) {
  min_cell_forward<OneGate>(*batch, *cell);
}
void mingru_backward(const Batch *batch, const MinCellBack *cell) {
  min_cell_backward<OneGate>(*batch, *cell);
}
void minlstm_forward(const Batch *batch, const MinCell *cell) {
  min_cell_forward<TwoGates>(*batch, *cell);
}
void minlstm_backward(const Batch *batch, const MinCellBack *cell) {
  min_cell_backward<TwoGates>(*batch, *cell);
}
void qrnn_forward(const Batch *batch, const Qrnn *cell) { qrnn_steps(*batch, *cell); }
void qrnn_backward(const Batch *batch, const QrnnBack *cell) { qrnn_steps_back(*batch, *cell); }
void sru_forward(const Batch *batch, const Sru *cell) { sru_steps(*batch, *cell); }
void sru_backward(const Batch *batch, const SruBack *cell) { sru_steps_back(*batch, *cell); }
void lru_forward(const Batch *batch, const Lru *cell) { lru_steps(*batch, *cell); }
void lru_backward(const Batch *batch, const LruBack *cell) { lru_steps_back(*batch, *cell); }
}
