// Cells whose units never see each other's memory: minGRU, minLSTM, QRNN, SRU and LRU.
//
// What a unit of a sequence recalls depends on its own past alone, so that a part of the work is a
// sequence, or some units of one where there are few. Gates are computed as the memory passes by,
// and again on the way back, which costs less than to read them from where they were kept. The
// slopes of what all sequences share are summed for each sequence by itself; who calls adds those
// up. No number depends on how many threads there are.
//
// Names: H units, N steps of all sequences, B sequences. `flows` [B, H] comes with the slope of the
// last memories and leaves with that of the first.

#include "vector.h"
#include "work.h"

// Some units, LANES of them or the last ones, at one step of a sequence.
struct Place {
  int64_t row, sequence, unit, hidden, left;
  bool first;

  const float *of(const float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (row * wide + part) * hidden + unit;
  }
  float *of(float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (row * wide + part) * hidden + unit;
  }
  const float *own(const float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (sequence * wide + part) * hidden + unit;
  }
  float *own(float *matrix, int64_t wide = 1, int64_t part = 0) const {
    return matrix + (sequence * wide + part) * hidden + unit;
  }
  // What stands in `matrix` [N, wide, H] a step earlier, or in `start` [B, wide, H].
  Vec before(const float *matrix, const float *start, int64_t wide = 1, int64_t part = 0) const {
    return load(first ? own(start, wide, part) : of(matrix, wide, part) - wide * hidden, left);
  }
  Vec shared(const float *vector, int64_t part = 0) const {
    return load(vector + part * hidden + unit, left);
  }
};

INLINE void add(float *to, Vec value, int64_t left) { store(to, load(to, left) + value, left); }

template <bool BACK, typename Step>
static void walk(const Batch &batch, const Step &step) {
  const int64_t hidden = batch.hidden, panels = (hidden + LANES - 1) / LANES;
  const int64_t wanted = (4 * batch.threads + batch.sequences - 1) / batch.sequences;
  const int64_t slices = batch.threads < 2 ? 1 : wanted < panels ? wanted : panels;
  share(batch.team, batch.threads, batch.sequences * slices, [&](int64_t part) {
    const int64_t sequence = batch.order[part / slices], slice = part % slices;
    const int64_t from = panels * slice / slices * LANES;
    const int64_t stop = panels * (slice + 1) / slices * LANES;
    const int64_t to = stop < hidden ? stop : hidden;
    const int64_t begin = batch.bounds[sequence], steps = batch.bounds[sequence + 1] - begin;
    for (int64_t done = 0; done < steps; ++done) {
      const int64_t row = begin + (BACK ? steps - 1 - done : done);
      for (int64_t unit = from; unit < to; unit += LANES)
        step(Place{row, sequence, unit, hidden, hidden - unit, row == begin});
    }
  });
}

// ---- minGRU and minLSTM ------------------------------------------------------------------------

// The gate that lets enter, as its drives say, and how it moves with each.
struct OneGate {
  static constexpr int drives = 1;
  static Vec open(const Vec (&drive)[1]) { return sigmoid(drive[0]); }
  static Vec open(const Vec (&drive)[1], Vec (&moves)[1]) {
    const Vec gate = sigmoid(drive[0]);
    moves[0] = gate * (1.0f - gate);
    return gate;
  }
};

// i / (f + i) of two sigmoids, whose powers are scaled so that none is too large.
struct TwoGates {
  static constexpr int drives = 2;
  static Vec open(const Vec (&drive)[2]) {
    Vec moves[2];
    return open(drive, moves);
  }
  static Vec open(const Vec (&drive)[2], Vec (&moves)[2]) {
    const Vec forget = -drive[0], enter = -drive[1], least = forget > enter ? forget : enter;
    const Vec most = least > 0.0f ? least : Vec{};
    const Vec one = exponential(-most);
    const Vec shut_forget = exponential(forget - most), shut_enter = exponential(enter - most);
    const Vec forgets = one + shut_forget, enters = one + shut_enter;
    const Vec gate = forgets / (forgets + enters), slope = gate * (1.0f - gate);
    moves[0] = -slope * shut_forget / forgets;
    moves[1] = slope * shut_enter / enters;
    return gate;
  }
};

struct Minimal {
  const float *start;   // [B, H]
  const float *bias;    // [gates + 1, H]
  const float *drives;  // [N, gates + 1, H], the fresh value's last
  float *outputs;       // [N, H]
};

struct MinimalBack {
  const float *start, *bias, *drives, *outputs;
  const float *slopes;  // [N, H]
  float *flows;         // [B, H]
  float *to_bias;       // [B, gates + 1, H]
  float *to_drives;     // [N, gates + 1, H]
};

template <typename Gate>
static void minimal_forward(const Batch &batch, const Minimal &cell) {
  constexpr int gates = Gate::drives, wide = gates + 1;
  walk<false>(batch, [&](const Place &at) {
    Vec drive[gates];
    for (int g = 0; g < gates; ++g)
      drive[g] = load(at.of(cell.drives, wide, g), at.left) + at.shared(cell.bias, g);
    const Vec value = load(at.of(cell.drives, wide, gates), at.left) + at.shared(cell.bias, gates);
    const Vec fresh = value >= 0.0f ? value + 0.5f : sigmoid(value);
    const Vec past = at.before(cell.outputs, cell.start);
    store(at.of(cell.outputs), past + Gate::open(drive) * (fresh - past), at.left);
  });
}

template <typename Gate>
static void minimal_backward(const Batch &batch, const MinimalBack &cell) {
  constexpr int gates = Gate::drives, wide = gates + 1;
  walk<true>(batch, [&](const Place &at) {
    Vec drive[gates], moves[gates];
    for (int g = 0; g < gates; ++g)
      drive[g] = load(at.of(cell.drives, wide, g), at.left) + at.shared(cell.bias, g);
    const Vec value = load(at.of(cell.drives, wide, gates), at.left) + at.shared(cell.bias, gates);
    const Vec low = sigmoid(value), fresh = value >= 0.0f ? value + 0.5f : low;
    const Vec rises = value >= 0.0f ? Vec{} + 1.0f : low * (1.0f - low);
    const Vec gate = Gate::open(drive, moves);
    const Vec past = at.before(cell.outputs, cell.start);
    float *flow = at.own(cell.flows);
    const Vec slope = load(flow, at.left) + load(at.of(cell.slopes), at.left);
    const Vec to_gate = slope * (fresh - past), to_fresh = slope * gate * rises;
    for (int g = 0; g < gates; ++g) {
      store(at.of(cell.to_drives, wide, g), to_gate * moves[g], at.left);
      add(at.own(cell.to_bias, wide, g), to_gate * moves[g], at.left);
    }
    store(at.of(cell.to_drives, wide, gates), to_fresh, at.left);
    add(at.own(cell.to_bias, wide, gates), to_fresh, at.left);
    store(flow, slope - slope * gate, at.left);
  });
}

// ---- QRNN --------------------------------------------------------------------------------------

struct Qrnn {
  const float *start;   // [B, H]
  const float *bias;    // [3, H]
  const float *drives;  // [N, 3, H]: fresh, keep, leave
  float *memory;        // [N, H]
  float *outputs;       // [N, H]
};

struct QrnnBack {
  const float *start, *bias, *drives, *memory, *outputs;
  const float *slopes;  // [N, H]
  float *flows;         // [B, H]
  float *to_bias;       // [B, 3, H]
  float *to_drives;     // [N, 3, H]
};

static void qrnn_steps(const Batch &batch, const Qrnn &cell) {
  walk<false>(batch, [&](const Place &at) {
    Vec drive[3];
    for (int g = 0; g < 3; ++g)
      drive[g] = load(at.of(cell.drives, 3, g), at.left) + at.shared(cell.bias, g);
    const Vec fresh = tangent(drive[0]), past = at.before(cell.memory, cell.start);
    const Vec memory = fresh + sigmoid(drive[1]) * (past - fresh);
    store(at.of(cell.memory), memory, at.left);
    store(at.of(cell.outputs), sigmoid(drive[2]) * memory, at.left);
  });
}

static void qrnn_steps_back(const Batch &batch, const QrnnBack &cell) {
  walk<true>(batch, [&](const Place &at) {
    Vec drive[3], to[3];
    for (int g = 0; g < 3; ++g)
      drive[g] = load(at.of(cell.drives, 3, g), at.left) + at.shared(cell.bias, g);
    const Vec fresh = tangent(drive[0]), keep = sigmoid(drive[1]), leave = sigmoid(drive[2]);
    const Vec past = at.before(cell.memory, cell.start), memory = load(at.of(cell.memory), at.left);
    const Vec slope = load(at.of(cell.slopes), at.left);
    float *flow = at.own(cell.flows);
    const Vec to_memory = load(flow, at.left) + slope * leave;
    to[0] = to_memory * (1.0f - keep) * (1.0f - fresh * fresh);
    to[1] = to_memory * (past - fresh) * keep * (1.0f - keep);
    to[2] = slope * memory * leave * (1.0f - leave);
    for (int g = 0; g < 3; ++g) {
      store(at.of(cell.to_drives, 3, g), to[g], at.left);
      add(at.own(cell.to_bias, 3, g), to[g], at.left);
    }
    store(flow, to_memory * keep, at.left);
  });
}

// ---- SRU ---------------------------------------------------------------------------------------

struct Sru {
  const float *start;   // [B, H]
  const float *shared;  // [4, H]: what forget and reset recall, and their biases
  const float *drives;  // [N, 3, H]: fresh, forget, reset
  const float *past;    // [N, H]: what goes past the memory
  float *memory;        // [N, H]
  float *outputs;       // [N, H]
};

struct SruBack {
  const float *start, *shared, *drives, *past, *memory, *outputs;
  const float *slopes;  // [N, H]
  float *flows;         // [B, H]
  float *to_shared;     // [B, 4, H]
  float *to_drives;     // [N, 3, H]
  float *to_past;       // [N, H]
};

struct SruGates {
  Vec before, fresh, forget, reset;
};

template <typename Cell>
INLINE SruGates sru_gates(const Place &at, const Cell &cell) {
  const Vec before = at.before(cell.memory, cell.start);
  auto gate = [&](int g) {
    const Vec drive = load(at.of(cell.drives, 3, g + 1), at.left) + at.shared(cell.shared, g + 2);
    return sigmoid(drive + at.shared(cell.shared, g) * before);
  };
  return {before, load(at.of(cell.drives, 3), at.left), gate(0), gate(1)};
}

static void sru_steps(const Batch &batch, const Sru &cell) {
  walk<false>(batch, [&](const Place &at) {
    const SruGates gates = sru_gates(at, cell);
    const Vec memory = gates.fresh + gates.forget * (gates.before - gates.fresh);
    const Vec past = load(at.of(cell.past), at.left);
    store(at.of(cell.memory), memory, at.left);
    store(at.of(cell.outputs), past + gates.reset * (memory - past), at.left);
  });
}

static void sru_steps_back(const Batch &batch, const SruBack &cell) {
  walk<true>(batch, [&](const Place &at) {
    const SruGates gates = sru_gates(at, cell);
    const Vec forget = gates.forget, reset = gates.reset;
    const Vec memory = load(at.of(cell.memory), at.left), past = load(at.of(cell.past), at.left);
    const Vec slope = load(at.of(cell.slopes), at.left);
    float *flow = at.own(cell.flows);
    const Vec to_memory = load(flow, at.left) + slope * reset;
    const Vec to_forget = to_memory * (gates.before - gates.fresh) * forget * (1.0f - forget);
    const Vec to_reset = slope * (memory - past) * reset * (1.0f - reset);
    store(at.of(cell.to_drives, 3), to_memory * (1.0f - forget), at.left);
    store(at.of(cell.to_drives, 3, 1), to_forget, at.left);
    store(at.of(cell.to_drives, 3, 2), to_reset, at.left);
    store(at.of(cell.to_past), slope * (1.0f - reset), at.left);
    add(at.own(cell.to_shared, 4), to_forget * gates.before, at.left);
    add(at.own(cell.to_shared, 4, 1), to_reset * gates.before, at.left);
    add(at.own(cell.to_shared, 4, 2), to_forget, at.left);
    add(at.own(cell.to_shared, 4, 3), to_reset, at.left);
    const Vec recalled =
        to_forget * at.shared(cell.shared) + to_reset * at.shared(cell.shared, 1);
    store(flow, to_memory * forget + recalled, at.left);
  });
}

// ---- LRU ---------------------------------------------------------------------------------------

// Complex numbers: all real parts of a row, then all imaginary ones.
struct Lru {
  const float *start;  // [B, 2, H]
  const float *turn;   // [2, H]
  const float *enter;  // [N, 2, H]
  float *memory;       // [N, 2, H]
};

struct LruBack {
  const float *start, *turn, *enter, *memory;
  const float *slopes;  // [N, 2, H]
  float *flows;         // [B, 2, H]
  float *to_turn;       // [B, 2, H]
  float *to_enter;      // [N, 2, H]
};

static void lru_steps(const Batch &batch, const Lru &cell) {
  walk<false>(batch, [&](const Place &at) {
    const Vec real = at.before(cell.memory, cell.start, 2);
    const Vec imaginary = at.before(cell.memory, cell.start, 2, 1);
    const Vec turn = at.shared(cell.turn), aside = at.shared(cell.turn, 1);
    const Vec enter = load(at.of(cell.enter, 2), at.left);
    const Vec enter_aside = load(at.of(cell.enter, 2, 1), at.left);
    store(at.of(cell.memory, 2), enter + turn * real - aside * imaginary, at.left);
    store(at.of(cell.memory, 2, 1), enter_aside + turn * imaginary + aside * real, at.left);
  });
}

static void lru_steps_back(const Batch &batch, const LruBack &cell) {
  walk<true>(batch, [&](const Place &at) {
    const Vec real = at.before(cell.memory, cell.start, 2);
    const Vec imaginary = at.before(cell.memory, cell.start, 2, 1);
    const Vec turn = at.shared(cell.turn), aside = at.shared(cell.turn, 1);
    float *flow = at.own(cell.flows, 2), *flow_aside = at.own(cell.flows, 2, 1);
    const Vec to = load(flow, at.left) + load(at.of(cell.slopes, 2), at.left);
    const Vec to_aside = load(flow_aside, at.left) + load(at.of(cell.slopes, 2, 1), at.left);
    store(at.of(cell.to_enter, 2), to, at.left);
    store(at.of(cell.to_enter, 2, 1), to_aside, at.left);
    add(at.own(cell.to_turn, 2), to * real + to_aside * imaginary, at.left);
    add(at.own(cell.to_turn, 2, 1), to_aside * real - to * imaginary, at.left);
    store(flow, turn * to + aside * to_aside, at.left);
    store(flow_aside, turn * to_aside - aside * to, at.left);
  });
}

// ---- what Python calls -------------------------------------------------------------------------

extern "C" {

void mingru_forward(const Batch *batch, const Minimal *cell) {
  minimal_forward<OneGate>(*batch, *cell);
}
void mingru_backward(const Batch *batch, const MinimalBack *cell) {
  minimal_backward<OneGate>(*batch, *cell);
}
void minlstm_forward(const Batch *batch, const Minimal *cell) {
  minimal_forward<TwoGates>(*batch, *cell);
}
void minlstm_backward(const Batch *batch, const MinimalBack *cell) {
  minimal_backward<TwoGates>(*batch, *cell);
}
void qrnn_forward(const Batch *batch, const Qrnn *cell) { qrnn_steps(*batch, *cell); }
void qrnn_backward(const Batch *batch, const QrnnBack *cell) { qrnn_steps_back(*batch, *cell); }
void sru_forward(const Batch *batch, const Sru *cell) { sru_steps(*batch, *cell); }
void sru_backward(const Batch *batch, const SruBack *cell) { sru_steps_back(*batch, *cell); }
void lru_forward(const Batch *batch, const Lru *cell) { lru_steps(*batch, *cell); }
void lru_backward(const Batch *batch, const LruBack *cell) { lru_steps_back(*batch, *cell); }
}
