/* Starts a program on an emulated Cortex-M: vectors, memory, the FPU, printing by semihosting.
 * It counts instructions too, with qemu's -icount shift=0. */
#include <stdint.h>

#ifndef NANOSECONDS
#define NANOSECONDS 40 /* of a tick of SysTick: an instruction takes one */
#endif
#define AT(address) (*(volatile uint32_t *)(address))
#define RELOAD 0xE000E014u
#define COUNT 0xE000E018u
#define CONTROL 0xE000E010u
#define COPROCESSORS 0xE000ED88u
#define MOST 0xFFFFFFu /* SysTick counts 24 bits, downwards */

extern uint32_t board_stack, board_load, board_data, board_data_end, board_bss, board_bss_end;

int main(void);
void initialise_monitor_handles(void);
void _exit(int status);
void reset(void);
double instructions(void);

static volatile uint32_t wraps;

static void tick(void) { wraps++; }

double instructions(void) {
  uint32_t before, count;
  do {
    before = wraps;
    count = AT(COUNT);
  } while (before != wraps);
  return ((double)before * (MOST + 1.0) + (double)(MOST - count)) * NANOSECONDS;
}

void reset(void) {
  uint32_t *from = &board_load, *to = &board_data;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  AT(COPROCESSORS) |= 0xFu << 20;
  __asm volatile("dsb\n isb");
#endif
  while (to < &board_data_end) *to++ = *from++;
  for (to = &board_bss; to < &board_bss_end;) *to++ = 0;
  AT(RELOAD) = MOST;
  AT(COUNT) = 0;
  AT(CONTROL) = 7; /* on, with interrupts, at the clock of the CPU */
  initialise_monitor_handles();
  _exit(main());
}

static void fault(void) { _exit(99); }

struct vectors {
  uint32_t *stack;
  void (*handlers[15])(void);
};

extern const struct vectors vectors;
__attribute__((section(".vectors"), used)) const struct vectors vectors = {
    &board_stack,
    {reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
     fault, tick}};
