/* ---- one of several constants: docs/semantics.md, section 5 ---------------------------------- */

/* floor(lane * count / 65536) of a row's one lane; count <= 4096 */
QB_FUNCTION void qb_choose(uint64_t key, uint64_t row, int32_t count, int32_t *number) {
  *number = (int32_t)(((uint32_t)qb_derive(key, row) & 0xFFFFu) * (uint32_t)count >> 16);
}

/* The constants lie one after the other, with `size` elements each: none is copied. */
#define QB_CHOSEN(constants, size, number) ((constants) + (ptrdiff_t)(size) * *(number))

/* A layer with the weight that was chosen; `with` holds it. */
QB_INLINE const qb_conv *qb_with_weight(const qb_conv *d, ptrdiff_t size, const int32_t *number,
                                        qb_conv *with) {
  *with = *d;
  with->weight = QB_CHOSEN(d->weight, size, number);
  return with;
}
