/* Float arithmetic is IEEE float32, one rounding an operation. No product of floats feeds a sum of
 * floats anywhere before a sample is made, so that contraction (-ffp-contract) changes no bit. */
#include <float.h>
#include <math.h> /* INFINITY; no function of it is called */
#include <stddef.h>
#include <stdint.h>

#if defined(__FAST_MATH__)
#error "samples would lose their bits: compile this file without -ffast-math"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "floats are computed in a wider type: use -msse2 -mfpmath=sse in place of the x87"
#endif
#if defined(__GNUC__)
#define QB_FUNCTION static __attribute__((unused))
#define QB_INLINE static inline __attribute__((always_inline, unused))
#else
#define QB_FUNCTION static
#define QB_INLINE static inline
#endif
#if defined(__ARM_FEATURE_SIMD32) && !defined(QBNNC_PLAIN)
#include <arm_acle.h>
#define QB_SMLAD 1 /* two products of 16 bits an instruction */
#endif

/* ---- two roundings: docs/semantics.md, section 2 ---------------------------------------------- */

/* rint(clip(v, lo, hi)), half to even, in integers alone; NaN gives lo. |lo|, |hi| <= 2^30. */
QB_FUNCTION int32_t qb_round(float v, float lo, float hi) {
  union {
    float real;
    uint32_t bits;
  } u;
  uint32_t exponent, mantissa, shift, whole;
  v = v > lo ? v : lo;
  v = v < hi ? v : hi;
  u.real = v;
  exponent = (u.bits >> 23) & 255u;
  mantissa = (u.bits & 0x7FFFFFu) | 0x800000u; /* |v| = mantissa * 2^(exponent - 150) */
  if (exponent >= 150u) {
    whole = mantissa << (exponent - 150u);
  } else if (exponent < 126u) {
    whole = 0; /* below one half */
  } else {
    shift = 150u - exponent;
    whole = (mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift;
  }
  return (u.bits >> 31) != 0u ? -(int32_t)whole : (int32_t)whole;
}

QB_FUNCTION uint8_t qb_requantize(int32_t acc, float m, int32_t z, int32_t lo, int32_t hi) {
  return (uint8_t)(z + qb_round((float)acc * m, (float)(lo - z), (float)(hi - z)));
}

QB_FUNCTION uint8_t qb_quantize(float v, float scale, int32_t z, int32_t lo, int32_t hi) {
  return (uint8_t)(z + qb_round(v / scale, (float)(lo - z), (float)(hi - z)));
}

/* A sum may leave int32 on the way, and its end never does: it is counted mod 2^32. */
QB_INLINE int32_t qb_signed(uint32_t sum) {
  union {
    uint32_t sum;
    int32_t number;
  } u;
  u.sum = sum;
  return u.number;
}

/* ---- the end of a layer: what an accumulator becomes ------------------------------------------ */

enum { QB_CODES, QB_REALS, QB_SUMS };
typedef struct {
  const float *factors; /* multipliers, or scales of numbers that leave the network */
  int32_t step;         /* 1: a factor for each channel; 0: one for all */
  int32_t kind, z, lo, hi;
  int32_t at_position, at_channel; /* strides of the result in elements */
} qb_end;

QB_FUNCTION void qb_finish(const qb_end *e, int32_t acc, int32_t position, int32_t channel,
                           void *out) {
  const int32_t at = position * e->at_position + channel * e->at_channel;
  if (e->kind == QB_CODES)
    ((uint8_t *)out)[at] =
        qb_requantize(acc, e->factors[channel * e->step], e->z, e->lo, e->hi);
  else if (e->kind == QB_REALS)
    ((float *)out)[at] = (float)acc * e->factors[channel * e->step];
  else
    ((int32_t *)out)[at] = acc;
}
