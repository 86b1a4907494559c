/* ---- codes, element by element; docs/semantics.md, section 4 --------------------------------- */

typedef struct {
  const float *offset, *scale;
  int32_t offset_step, scale_step, channels, plane; /* the input is [channels, plane] */
  int32_t at_channel, at_element, z, lo, hi;
} qb_input;

/* 0, or 1 if a number is not finite */
QB_FUNCTION int qb_read(const qb_input *d, const float *x, uint8_t *out) {
  int32_t c, i;
  for (c = 0; c < d->channels; c++)
    for (i = 0; i < d->plane; i++) {
      const float v = x[c * d->plane + i], offset = d->offset[c * d->offset_step];
      const float moved = offset != 0.0f ? v - offset : v;
      if (!(v - v == 0.0f)) return 1;
      out[c * d->at_channel + i * d->at_element] =
          qb_quantize(moved, d->scale[c * d->scale_step], d->z, d->lo, d->hi);
    }
  return 0;
}

/* 0, or 1 if a code is out of range */
QB_FUNCTION int qb_read_codes(const qb_input *d, const uint8_t *x, uint8_t *out) {
  int32_t c, i;
  for (c = 0; c < d->channels; c++)
    for (i = 0; i < d->plane; i++) {
      const int32_t code = x[c * d->plane + i];
      if (code < d->lo || code > d->hi) return 1;
      out[c * d->at_channel + i * d->at_element] = (uint8_t)code;
    }
  return 0;
}

/* Factor i is that of element (i / divisor) % count of the accumulators. */
typedef struct {
  const float *factors;
  int32_t n, divisor, count, z, lo, hi;
} qb_rounding;

QB_FUNCTION void qb_requantize_all(const qb_rounding *d, const int32_t *acc, uint8_t *out) {
  const float lo = (float)(d->lo - d->z), hi = (float)(d->hi - d->z);
  int32_t i;
  for (i = 0; i < d->n; i++) {
    const float factor = d->factors[i / d->divisor % d->count];
    out[i] = (uint8_t)(d->z + qb_round((float)acc[i] * factor, lo, hi));
  }
}

/* Strides of up to 6 axes, innermost last: what moves, repeats, joins or broadcasts. */
typedef struct {
  int32_t size[6], from[6], to[6], from_start, to_start;
} qb_walk;

#define QB_WALK(d, body)                                                                       \
  do {                                                                                         \
    int32_t a_, b_, c_, d_, e_, f_;                                                            \
    for (a_ = 0; a_ < (d)->size[0]; a_++)                                                      \
      for (b_ = 0; b_ < (d)->size[1]; b_++)                                                    \
        for (c_ = 0; c_ < (d)->size[2]; c_++)                                                  \
          for (d_ = 0; d_ < (d)->size[3]; d_++)                                                \
            for (e_ = 0; e_ < (d)->size[4]; e_++) {                                            \
              int32_t from = (d)->from_start + a_ * (d)->from[0] + b_ * (d)->from[1] +         \
                             c_ * (d)->from[2] + d_ * (d)->from[3] + e_ * (d)->from[4];        \
              int32_t to = (d)->to_start + a_ * (d)->to[0] + b_ * (d)->to[1] +                 \
                           c_ * (d)->to[2] + d_ * (d)->to[3] + e_ * (d)->to[4];                \
              for (f_ = 0; f_ < (d)->size[5]; f_++) {                                          \
                body;                                                                          \
                from += (d)->from[5];                                                          \
                to += (d)->to[5];                                                              \
              }                                                                                \
            }                                                                                  \
  } while (0)

QB_FUNCTION void qb_move(const qb_walk *d, const uint8_t *x, uint8_t *out) {
  QB_WALK(d, out[to] = x[from]);
}
QB_FUNCTION void qb_move_reals(const qb_walk *d, const float *x, float *out) {
  QB_WALK(d, out[to] = x[from]);
}
QB_FUNCTION void qb_move_sums(const qb_walk *d, const int32_t *x, int32_t *out) {
  QB_WALK(d, out[to] = x[from]);
}
QB_FUNCTION void qb_fill(uint8_t *out, int32_t n, int32_t code) {
  int32_t i;
  for (i = 0; i < n; i++) out[i] = (uint8_t)code;
}
QB_FUNCTION void qb_fill_reals(float *out, int32_t n) {
  int32_t i;
  for (i = 0; i < n; i++) out[i] = 0.0f;
}

/* keep ? q : z; a mask [count] for each `count` codes */
QB_FUNCTION void qb_drop(const uint8_t *keep, int32_t count, const uint8_t *x, int32_t n, int32_t z,
                         uint8_t *out) {
  const uint8_t *const end = x + n;
  int32_t i;
  for (; x < end; x += count, out += count)
    for (i = 0; i < count; i++) out[i] = keep[i] != 0 ? x[i] : (uint8_t)z;
}

/* The same for a mask that walks beside the codes. */
QB_FUNCTION void qb_select(const qb_walk *d, const uint8_t *keep, const uint8_t *x, int32_t z,
                           uint8_t *out) {
  QB_WALK(d, out[to] = keep[from] != 0 ? x[to] : (uint8_t)z);
}

QB_FUNCTION void qb_look_up(const uint8_t *table, const uint8_t *x, int32_t n, uint8_t *out) {
  int32_t i;
  for (i = 0; i < n; i++) out[i] = table[x[i]];
}
QB_FUNCTION void qb_look_up_reals(const float *table, const uint8_t *x, int32_t n, float *out) {
  int32_t i;
  for (i = 0; i < n; i++) out[i] = table[x[i]];
}
QB_FUNCTION void qb_clamp(const uint8_t *x, int32_t n, int32_t lo, int32_t hi, uint8_t *out) {
  int32_t i;
  for (i = 0; i < n; i++) out[i] = (uint8_t)(x[i] < lo ? lo : x[i] > hi ? hi : x[i]);
}

/* Numbers that codes and accumulators mean: f32(q - z) * s, by channels as a rounding's factors. */
QB_FUNCTION void qb_reals(const qb_rounding *d, const uint8_t *x, float *out) {
  int32_t i;
  for (i = 0; i < d->n; i++)
    out[i] = (float)(x[i] - d->z) * d->factors[i / d->divisor % d->count];
}
QB_FUNCTION void qb_reals_of_sums(const qb_rounding *d, const int32_t *x, float *out) {
  int32_t i;
  for (i = 0; i < d->n; i++) out[i] = (float)x[i] * d->factors[i / d->divisor % d->count];
}

/* The numbers of both come from tables: a product here could be fused with the sum. */
typedef struct {
  const float *a, *b;
  float scale;
  int32_t n, z, lo, hi;
} qb_sum;

QB_FUNCTION void qb_add(const qb_sum *d, const uint8_t *a, const uint8_t *b, uint8_t *out) {
  int32_t i;
  for (i = 0; i < d->n; i++)
    out[i] = qb_quantize(d->a[a[i]] + d->b[b[i]], d->scale, d->z, d->lo, d->hi);
}

/* (a - za)(b - zb); the second operand walks beside the first one's strides. */
QB_FUNCTION void qb_multiply(const qb_walk *first, const qb_walk *second, const uint8_t *a,
                             int32_t za, const uint8_t *b, int32_t zb, int32_t *out) {
  QB_WALK(first, out[to] = a[from] - za);
  QB_WALK(second, out[to] *= b[from] - zb);
}
