/* What page.js calls, and the memory that it reads and writes. */
#include "model.h"

static model_state state;
float page_input[MODEL_INPUTS];
float page_sample[MODEL_OUTPUTS];
model_prediction page_prediction;

int32_t page_predict(uint64_t seed, uint32_t samples) {
  return model_predict(&state, page_input, seed, 0, samples, &page_prediction);
}

int32_t page_begin(uint64_t seed) { return model_begin(&state, page_input, seed, 0); }

void page_take(uint32_t number) { model_sample(&state, number, page_sample); }
