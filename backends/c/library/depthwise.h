/* ---- convolutions of each channel by itself: weight [taps, C] -------------------------------- */

QB_FUNCTION void qb_depthwise(const qb_conv *d, const int32_t *offset, const qb_end *e,
                              const uint8_t *x, int32_t *acc, void *out) {
  int32_t position, i, j, n;
  for (position = 0; position < d->oh * d->ow; position++) {
    const int32_t y = position / d->ow * d->sh - d->top, q = position % d->ow * d->sw - d->left;
    for (n = 0; n < d->c; n++) acc[n] = offset[n];
    for (i = 0; i < d->kh; i++)
      for (j = 0; j < d->kw; j++) {
        const int8_t *w = d->weight + (i * d->kw + j) * d->c;
        const int32_t v = y + i * d->dh, u = q + j * d->dw;
        const int32_t inside = v >= 0 && v < d->h && u >= 0 && u < d->w;
        const uint8_t *from = x + (inside ? (v * d->w + u) * d->c : 0);
        for (n = 0; n < d->c; n++) {
          const int32_t code = inside ? from[n] : d->xz;
          const int32_t weight = d->wz != NULL ? w[n] - d->wz[n] : w[n];
          acc[n] = qb_signed((uint32_t)acc[n] + (uint32_t)(code * weight));
        }
      }
    qb_finish(e, acc, d->c, position, 0, out);
  }
}
