/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port without wires: what is sent is gone at once, what is received waits here until
 * it is read. The interrupt is an edge on an eventfd whenever a cause appears where there was none.
 */
#ifndef VMM_UART_H
#define VMM_UART_H

#include "../bus.h"

struct state_writer;
struct state_reader;

enum { UART_PORTS = 8, UART_INPUT_SIZE = 256 };

struct uart {
	pthread_mutex_t lock;
	int irq_fd; /* eventfd, the caller's; -1: none */
	/* On the vCPU's thread, under the lock: must not wait. */
	void (*output)(void *user, const void *data, size_t size);
	void *user;
	struct uart_registers {
		uint8_t ier, lcr, mcr, scr, dll, dlm;
		bool fifo;
		bool sent; /* the transmitter became empty, which nobody has seen */
		bool overrun;
		bool asserted; /* the interrupt line */
	} regs;
	uint8_t input[UART_INPUT_SIZE];
	unsigned first, count;
};

extern const struct bus_ops uart_ops; /* UART_PORTS ports */

void uart_init(struct uart *uart, int irq_fd,
	       void (*output)(void *user, const void *data, size_t size), void *user);
void uart_done(struct uart *uart);
void uart_reset(struct uart *uart);
/* From any thread. @return how much was taken: the rest must come again later */
size_t uart_input(struct uart *uart, const void *data, size_t size);
int uart_save(struct uart *uart, struct state_writer *writer);
/* Raises the interrupt again: an edge on its way is not in any state. */
int uart_load(struct uart *uart, struct state_reader *reader);

#endif
