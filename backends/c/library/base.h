/* Float arithmetic is IEEE float32, one rounding an operation. No product of floats feeds a sum of
 * floats anywhere before a sample is made, so that contraction (-ffp-contract) changes no bit. The
 * one exception is a norm, whose product is volatile. */
#include <float.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__FAST_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__ASSOCIATIVE_MATH__) || \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0)
#error "samples would lose their bits: compile this file without -ffast-math and its parts"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "floats are computed in a wider type: -mfpmath=sse on x86, -fexcess-precision=fast on s390x"
#endif
#if defined(__GNUC__)
#define QB_FUNCTION static __attribute__((noinline, unused)) /* one copy: flash is scarce */
#define QB_INLINE static inline __attribute__((always_inline, unused))
#else
#define QB_FUNCTION static
#define QB_INLINE static inline
#endif
/* QBNNC_PLAIN leaves out everything that only some processors have. */
#if !defined(QBNNC_PLAIN) && defined(__GNUC__) && defined(__arm__) && !defined(__ARM_BIG_ENDIAN)
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#define QB_MVE 1 /* eight products of 16 bits an instruction */
#elif defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define QB_SMLAD 1 /* two products of 16 bits an instruction */
#endif
#if defined(__ARM_FP) && (__ARM_FP & 4) != 0
#define QB_VCVTR 1 /* rounds half to even */
#endif
#endif
#if !defined(QBNNC_PLAIN) && defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define QB_WASM 1 /* eight products of 16 bits an instruction */
#endif

/* ---- two roundings: docs/semantics.md, section 2 --------------------------------------------- */

typedef union {
  float real;
  uint32_t bits;
} qb_float;

/* rint(clip(v, lo, hi)), half to even; NaN gives lo. |lo|, |hi| <= 2^30. */
#if defined(QB_VCVTR)
QB_INLINE int32_t qb_round(float v, float lo, float hi) {
  union {
    float real;
    int32_t number;
  } whole;
  v = v > lo ? v : lo;
  v = v < hi ? v : hi;
  __asm__("vcvtr.s32.f32 %0, %1" : "=t"(whole.real) : "t"(v));
  return whole.number;
}
#else /* in integers alone */
QB_FUNCTION int32_t qb_round(float v, float lo, float hi) {
  qb_float u;
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
#endif

QB_INLINE uint8_t qb_quantize(float v, float scale, int32_t z, int32_t lo, int32_t hi) {
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

/* ---- the end of a layer: what an accumulator becomes ----------------------------------------- */

enum { QB_CODES, QB_REALS, QB_SUMS };
typedef struct {
  const float *factors; /* multipliers, or scales of numbers that leave the network */
  int32_t step;         /* 1: a factor for each channel; 0: one for all */
  int32_t kind, z, lo, hi;
  int32_t at_position, at_channel; /* strides of the result in elements */
} qb_end;

/* n accumulators, of channel `first` and on, at a position */
QB_FUNCTION void qb_finish(const qb_end *e, const int32_t *acc, int32_t n, int32_t position,
                           int32_t first, void *out) {
  const float *factor = e->factors + first * e->step;
  const int32_t at = position * e->at_position + first * e->at_channel;
  const int32_t step = e->step, stride = e->at_channel, z = e->z;
  int32_t i;
  if (e->kind == QB_CODES) {
    const float lo = (float)(e->lo - z), hi = (float)(e->hi - z);
    uint8_t *to = (uint8_t *)out + at;
    for (i = 0; i < n; i++, factor += step, to += stride)
      *to = (uint8_t)(z + qb_round((float)acc[i] * *factor, lo, hi));
  } else if (!QB_SUMS_LEAVE || e->kind == QB_REALS) {
    float *to = (float *)out + at;
    for (i = 0; i < n; i++, factor += step, to += stride) *to = (float)acc[i] * *factor;
  } else {
    int32_t *to = (int32_t *)out + at;
    for (i = 0; i < n; i++, to += stride) *to = acc[i];
  }
}
