/* SPDX-License-Identifier: Apache-2.0 */
#include "uart.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "machine/state.h"

enum { /* registers; the first two are the divisor's while LCR_DIVISOR is set */
       REG_DATA = 0,
       REG_IER = 1,
       REG_IIR = 2, /* FCR when written */
       REG_LCR = 3,
       REG_MCR = 4,
       REG_LSR = 5,
       REG_MSR = 6,
       REG_SCR = 7,
};

enum {
	IER_RECEIVED = 0x01,
	IER_SENT = 0x02,
	IER_LINE = 0x04,
	IER_MASK = 0x0f,
	IIR_NONE = 0x01,
	IIR_SENT = 0x02,
	IIR_RECEIVED = 0x04,
	IIR_LINE = 0x06,
	IIR_FIFO = 0xc0,
	FCR_ENABLE = 0x01,
	FCR_CLEAR_INPUT = 0x02,
	LCR_DIVISOR = 0x80,
	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08, /* lets the interrupt out of the chip, on a PC */
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,
	LSR_RECEIVED = 0x01,
	LSR_OVERRUN = 0x02,
	LSR_EMPTY = 0x60, /* nothing to be sent, nothing being sent */
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
	TAG = STATE_TAG('U', 'A', 'R', 'T'),
	VERSION = 1,
};

static const struct uart_registers reset_values = { .dll = 12, .lcr = 3 };

static uint8_t cause(const struct uart *uart)
{
	const struct uart_registers *regs = &uart->regs;

	if (regs->overrun && (regs->ier & IER_LINE))
		return IIR_LINE;
	if (uart->count && (regs->ier & IER_RECEIVED))
		return IIR_RECEIVED;
	if (regs->sent && (regs->ier & IER_SENT))
		return IIR_SENT;
	return IIR_NONE;
}

static void update_interrupt(struct uart *uart)
{
	bool asserted = cause(uart) != IIR_NONE && (uart->regs.mcr & MCR_OUT2);

	if (asserted && !uart->regs.asserted && uart->irq_fd >= 0)
		(void)eventfd_write(uart->irq_fd, 1);
	uart->regs.asserted = asserted;
}

static void receive(struct uart *uart, uint8_t byte)
{
	if (uart->count == UART_INPUT_SIZE) {
		uart->regs.overrun = true;
		return;
	}
	uart->input[(uart->first + uart->count++) % UART_INPUT_SIZE] = byte;
}

static uint8_t take_byte(struct uart *uart)
{
	uint8_t byte = uart->input[uart->first];

	if (!uart->count)
		return 0;
	uart->first = (uart->first + 1) % UART_INPUT_SIZE;
	uart->count--;
	return byte;
}

static void transmit(struct uart *uart, uint8_t byte)
{
	if (uart->regs.mcr & MCR_LOOP)
		receive(uart, byte);
	else
		uart->output(uart->user, &byte, 1);
	uart->regs.sent = true;
}

static uint8_t read_iir(struct uart *uart)
{
	uint8_t value = cause(uart);

	if (value == IIR_SENT)
		uart->regs.sent = false;
	return (uint8_t)(value | (uart->regs.fifo ? IIR_FIFO : 0));
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t value = LSR_EMPTY;

	if (uart->count)
		value |= LSR_RECEIVED;
	if (uart->regs.overrun)
		value |= LSR_OVERRUN;
	uart->regs.overrun = false;
	return value;
}

/* The other side is always there; in a loop it is we. */
static uint8_t read_msr(const struct uart *uart)
{
	static const struct {
		uint8_t output, input;
	} wires[] = { { MCR_RTS, MSR_CTS },
		      { MCR_DTR, MSR_DSR },
		      { MCR_OUT1, MSR_RI },
		      { MCR_OUT2, MSR_DCD } };
	uint8_t value = 0;

	if (!(uart->regs.mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	for (size_t i = 0; i < sizeof(wires) / sizeof(wires[0]); i++)
		if (uart->regs.mcr & wires[i].output)
			value |= wires[i].input;
	return value;
}

static uint8_t read_register(struct uart *uart, uint64_t reg)
{
	const struct uart_registers *regs = &uart->regs;
	bool divisor = regs->lcr & LCR_DIVISOR;

	switch (reg) {
	case REG_DATA:
		return divisor ? regs->dll : take_byte(uart);
	case REG_IER:
		return divisor ? regs->dlm : regs->ier;
	case REG_IIR:
		return read_iir(uart);
	case REG_LCR:
		return regs->lcr;
	case REG_MCR:
		return regs->mcr;
	case REG_LSR:
		return read_lsr(uart);
	case REG_MSR:
		return read_msr(uart);
	default:
		return regs->scr;
	}
}

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Who asks for this interrupt gets it at once: there is always room. */
	if ((value & IER_SENT) && !(uart->regs.ier & IER_SENT))
		uart->regs.sent = true;
	uart->regs.ier = value & IER_MASK;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	uart->regs.fifo = value & FCR_ENABLE;
	if (value & FCR_CLEAR_INPUT)
		uart->count = 0;
}

static void write_register(struct uart *uart, uint64_t reg, uint8_t value)
{
	struct uart_registers *regs = &uart->regs;
	bool divisor = regs->lcr & LCR_DIVISOR;

	if (reg == REG_DATA && divisor)
		regs->dll = value;
	else if (reg == REG_DATA)
		transmit(uart, value);
	else if (reg == REG_IER && divisor)
		regs->dlm = value;
	else if (reg == REG_IER)
		write_ier(uart, value);
	else if (reg == REG_IIR)
		write_fcr(uart, value);
	else if (reg == REG_LCR)
		regs->lcr = value;
	else if (reg == REG_MCR)
		regs->mcr = value & MCR_MASK;
	else if (reg == REG_SCR)
		regs->scr = value;
}

static void on_read(void *user, uint64_t offset, void *data, size_t size)
{
	struct uart *uart = user;
	uint8_t value;

	(void)pthread_mutex_lock(&uart->lock);
	value = read_register(uart, offset);
	update_interrupt(uart);
	(void)pthread_mutex_unlock(&uart->lock);
	memset(data, 0xff, size);
	memcpy(data, &value, sizeof(value));
}

static void on_write(void *user, uint64_t offset, const void *data, size_t size)
{
	struct uart *uart = user;

	(void)size;
	(void)pthread_mutex_lock(&uart->lock);
	write_register(uart, offset, *(const uint8_t *)data);
	update_interrupt(uart);
	(void)pthread_mutex_unlock(&uart->lock);
}

const struct bus_ops uart_ops = { .read = on_read, .write = on_write };

void uart_init(struct uart *uart, int irq_fd,
	       void (*output)(void *user, const void *data, size_t size), void *user)
{
	*uart = (struct uart){
		.irq_fd = irq_fd, .output = output, .user = user, .regs = reset_values
	};
	(void)pthread_mutex_init(&uart->lock, NULL);
}

void uart_done(struct uart *uart)
{
	(void)pthread_mutex_destroy(&uart->lock);
}

void uart_reset(struct uart *uart)
{
	(void)pthread_mutex_lock(&uart->lock);
	uart->regs = reset_values;
	uart->count = 0;
	(void)pthread_mutex_unlock(&uart->lock);
}

size_t uart_input(struct uart *uart, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	size_t n = 0;

	(void)pthread_mutex_lock(&uart->lock);
	while (n < size && uart->count < UART_INPUT_SIZE && !(uart->regs.mcr & MCR_LOOP))
		receive(uart, bytes[n++]);
	update_interrupt(uart);
	(void)pthread_mutex_unlock(&uart->lock);
	return n;
}

int uart_save(struct uart *uart, struct state_writer *writer)
{
	const struct uart_registers *regs = &uart->regs;
	const uint8_t values[] = { regs->ier, regs->lcr,  regs->mcr,  regs->scr,    regs->dll,
				   regs->dlm, regs->fifo, regs->sent, regs->overrun };

	state_begin(writer, TAG, VERSION);
	state_put(writer, values, sizeof(values));
	state_put_u16(writer, (uint16_t)uart->count);
	for (unsigned i = 0; i < uart->count; i++)
		state_put_u8(writer, uart->input[(uart->first + i) % UART_INPUT_SIZE]);
	return state_end(writer);
}

int uart_load(struct uart *uart, struct state_reader *reader)
{
	uint8_t values[9];
	unsigned count;
	int r = state_enter(reader, TAG, VERSION);

	if (r < 0)
		return r;
	state_get(reader, values, sizeof(values));
	count = state_get_u16(reader);
	if (count > UART_INPUT_SIZE)
		return -EPROTO;
	state_get(reader, uart->input, count);
	r = state_leave(reader);
	if (r < 0)
		return r;
	uart->regs = (struct uart_registers){ .ier = values[0] & IER_MASK,
					      .lcr = values[1],
					      .mcr = values[2] & MCR_MASK,
					      .scr = values[3],
					      .dll = values[4],
					      .dlm = values[5],
					      .fifo = values[6],
					      .sent = values[7],
					      .overrun = values[8] };
	uart->first = 0;
	uart->count = count;
	update_interrupt(uart);
	return 0;
}
