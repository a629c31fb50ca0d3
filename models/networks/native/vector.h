// Vectors of floats as wide as this processor's registers, and the functions that gates need.
//
// Written with the vector extensions of GCC and Clang, so that one source serves AVX-512, AVX2,
// NEON and other instruction sets. NaN is passed on by every function.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

#define INLINE static inline __attribute__((always_inline))

constexpr int LANES = BYTES / 4;
typedef float Vec __attribute__((vector_size(BYTES)));
typedef uint32_t Bits __attribute__((vector_size(BYTES)));

INLINE Vec load(const float *from) {
  Vec read;
  std::memcpy(&read, from, BYTES);
  return read;
}

INLINE void store(float *to, Vec value) { std::memcpy(to, &value, BYTES); }

// The first `count` numbers, then zeros.
INLINE Vec load(const float *from, int64_t count) {
  if (count >= LANES) return load(from);
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
#else
  Vec read = {};
  std::memcpy(&read, from, 4 * static_cast<size_t>(count));
  return read;
#endif
}

INLINE void store(float *to, Vec value, int64_t count) {
  if (count >= LANES) return store(to, value);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)value);
#else
  std::memcpy(to, &value, 4 * static_cast<size_t>(count));
#endif
}

// Subtracting zero changes no value; compilers turn this into one broadcasting load.
INLINE Vec broadcast(float value) { return value - Vec{}; }

INLINE Vec clamp(Vec value, float limit) {
  value = value < -limit ? broadcast(-limit) : value;
  return value > limit ? broadcast(limit) : value;
}

INLINE Vec reciprocal(Vec value) {
#if defined(__AVX512F__)
  // 14 bits from a table, doubled by one Newton step: a division would take three times as long.
  const Vec guess = (Vec)_mm512_maskz_rcp14_ps(0xffff, (__m512)value);
  return guess + guess * (1.0f - value * guess);
#else
  return 1.0f / value;
#endif
}

// exp(value) = scale (1 + rest), for |value| <= 87; the rest is exact to its last digits.
struct Power {
  Vec scale, rest;
};

INLINE Power power(Vec value) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const Vec shifted = value * 1.44269504f + magic;
  const Vec whole = shifted - magic;
  const Vec r = value - whole * 0.693359375f - whole * -2.12194440e-4f;
  Vec sum = r * 1.98756915e-4f + 1.39819995e-3f;
  sum = sum * r + 8.33345190e-3f;
  sum = sum * r + 4.16657959e-2f;
  sum = sum * r + 1.66666654e-1f;
  sum = sum * r + 0.5f;
  Bits exponent;
  std::memcpy(&exponent, &shifted, BYTES);
  exponent = (exponent << 23) + 0x3f800000u;
  Power found;
  std::memcpy(&found.scale, &exponent, BYTES);
  found.rest = sum * (r * r) + r;
  return found;
}

INLINE Vec exponential(Vec value) {
  const Power e = power(clamp(value, 87.0f));
  return e.scale + e.scale * e.rest;
}

INLINE Vec sigmoid(Vec value) { return reciprocal(1.0f + exponential(-value)); }

INLINE Vec hyperbolic_tangent(Vec value) {
  const Power e = power(clamp(2.0f * value, 40.0f));
  const Vec less_one = e.scale * e.rest + (e.scale - 1.0f);
  return less_one * reciprocal(less_one + 2.0f);
}
